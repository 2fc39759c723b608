"""Roll back to release M: the next release with the digests of M, approved as any other (design section 4).

Bundle, invariants, environment data, schemas, manifests and gate result are M's own bytes. Revocations never go back.
"""

from __future__ import annotations

from datetime import datetime

from contracts.errors import Refused
from symphony.release.client import ControlPlane, Officer
from symphony.release.propose import Draft, propose
from symphony.release.review import downloaded


def rollback(
    control: ControlPlane,
    officer: Officer,
    *,
    environment: str,
    to: int,
    reason: str,
    change_ticket: str,
    root: bytes,
    now: datetime,
) -> Draft:
    """Propose the next release with the digests of release ``to``, which must have been active."""
    status = control.release(environment, to)["status"]
    if status not in {"ACTIVE", "SUPERSEDED"}:
        raise Refused("RELEASE_STATE", f"release {to} was never active ({status})")
    files = downloaded(control, environment, to, root).files
    kept = {path: data for path, data in files.items() if path not in {"release.json", "gate.json"}}
    return propose(
        control,
        officer,
        kept,
        files["gate.json"],
        environment=environment,
        reason=reason,
        change_ticket=change_ticket,
        root=root,
        now=now,
    )
