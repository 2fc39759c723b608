"""Promote an approved release: ask, signed, that the control plane publishes it. It cannot publish another."""

from __future__ import annotations

from symphony.release.client import ControlPlane, Officer


def promote(control: ControlPlane, officer: Officer, environment: str, number: int) -> str:
    """Activate release ``number``; its metadata digest. Raises the server's reason code."""
    digest = str(control.release(environment, number)["metadata_digest"])
    envelope = officer.ask("promote", environment, number, digest)
    answer = control.post(f"/v1/releases/{environment}/{number}/promotion", {"envelope": envelope})
    return str(answer["metadata_digest"])
