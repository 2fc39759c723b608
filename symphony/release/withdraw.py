"""Withdraw a release: an officer burns its number; a security officer revokes what was signed (design section 4).

In this order: what is withdrawn cannot become active any more, so its revocation never stops a fleet.
"""

from __future__ import annotations

import base64
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.errors import NotTrusted
from contracts.release import rules
from symphony.release.ceremony import revocation
from symphony.release.client import ControlPlane, Officer
from symphony.release.revoke import published, revoke

MISSING = "missing"


def withdraw(control: ControlPlane, officer: Officer, environment: str, number: int, reason: str) -> str:
    """Withdraw release ``number``; its revocation is ``not_needed``, ``published`` or ``missing``. Again is no error.

    Raises ``RELEASE_IN_FORCE`` for the active release.
    """
    digest = str(control.release(environment, number)["metadata_digest"])
    envelope = officer.ask("withdraw", environment, number, digest, reason=reason)
    answer = control.post(f"/v1/releases/{environment}/{number}/withdrawal", {"envelope": envelope})
    return str(answer["revocation"])


def running(control: ControlPlane, environment: str, number: int) -> list[str]:
    """The services that said last that they run release ``number``: they stop when it is revoked."""
    fleet = control.get("/v1/fleet")["services"]
    there = [one for one in fleet if (one["environment"], one["active_number"]) == (environment, number)]
    return [f"{one['service']} ({one['instance']})" for one in there]


def revoke_release(
    control: ControlPlane, key: Ed25519PrivateKey, environment: str, number: int, reason: str, *, root: bytes, now: datetime
) -> int:
    """Revoke a release by the digest of its signed role metadata, reckoned here; the list's version. Again is no error.

    ``control`` speaks as the security officer, ``key`` is his. What the control plane shows must be this very number's
    role: another digest could be that of the active release.
    """
    trust, list_now = published(control, environment, root)
    metadata = base64.b64decode(control.release(environment, number)["metadata"], validate=True)
    role = rules.read_role(trust, metadata, environment)
    if role.number != number:
        raise NotTrusted("RELEASE_SHAPE", f"asked for release {number}, got {role.number}")
    if any((e["kind"], e["id"], e["until"]) == ("release", role.digest, None) for e in list_now.entries):
        return list_now.version
    entry = revocation("release", role.digest, reason, now)
    return revoke(control, key, environment, [entry], root=root, now=now)
