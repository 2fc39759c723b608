"""``symphony fleet``: which sidecar runs what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import Layout

_COLUMNS = ("service", "instance", "desired", "delivered", "active", "state", "mode", "lease", "seen", "refused")


@click.command()
@dir_option
@output_option
def fleet(folder: Path, output: str) -> None:
    """Each service instance: which release it should run, was shown, runs, and refused.

    \b
    desired    the active release of its environment
    delivered  the newest release that it was shown
    active     what it enforces
    state      ready, NOT READY, or SILENT (no report for half a minute)
    lease      what is left of its lease on the release
    refused    number, reason code, and whether it is tried again by itself (transient) or not (permanent)
    """
    from symphony.stack.release_one import PROPOSER, control_plane

    services = control_plane(Layout.open(folder), PROPOSER).get("/v1/fleet")["services"]
    if output == "json":
        show_json(services)
        return
    if not services:
        say("no service has reported yet")
        return
    for line in table([_COLUMNS, *(row(entry, datetime.now(UTC)) for entry in services)]):
        say(line)


def row(entry: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """One instance, a text for each column."""
    state = "SILENT" if entry["silent"] else "ready" if entry["ready"] else "NOT READY"
    return (
        entry["service"], entry["instance"], *(_number(entry[f"{what}_number"]) for what in ("desired", "delivered", "active")),
        state, entry["mode"], _left(entry["lease_expires_at"], now), _ago(entry["last_seen"], now), _refused(entry),
    )  # fmt: skip


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest text."""
    widths = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(one, widths, strict=True)).rstrip() for one in rows]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _refused(entry: Mapping[str, Any]) -> str:
    if not entry["refused_code"]:
        return "-"
    kind = "permanent" if entry["refused_permanent"] else "transient"
    return f"{entry['refused_number']}: {entry['refused_code']} ({kind})"


def _left(expires_at: str | None, now: datetime) -> str:
    if expires_at is None:
        return "-"
    left = (datetime.fromisoformat(expires_at) - now).total_seconds()
    return _seconds(left) if left > 0 else "RUN OUT"


def _ago(moment: str, now: datetime) -> str:
    return f"{_seconds(max(0.0, (now - datetime.fromisoformat(moment)).total_seconds()))} ago"


def _seconds(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
