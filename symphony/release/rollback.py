"""The bytes of a release again, as the next release, approved as any other (design section 4): one thing, two verbs.

``rollback`` brings back release M; ``renew`` gives the active release another life before its role runs out. Bundle,
invariants, environment data, schemas, manifests and gate result are M's own bytes, so nothing is built or checked anew: the
checks of its proposal were about these digests. Reason, times and proposer are new. Revocations never go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from contracts.errors import Refused
from symphony.release.client import ControlPlane, Officer
from symphony.release.propose import Draft, propose
from symphony.release.review import attachments, downloaded


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
    impact: Callable[[Mapping[str, bytes]], bytes] | None = None,
) -> Draft:
    """Propose the next release with the digests of release ``to``, which must have been active and is not withdrawn.

    ``impact`` makes its impact report of the release's targets: what was recorded since then is none of M's report.
    Its SBOM and provenance are M's own bytes, too: it says of the same bytes how they were built.
    """
    status = control.release(environment, to)["status"]
    if status == "WITHDRAWN":
        raise Refused("RELEASE_STATE", f"release {to} was withdrawn")
    if status not in {"ACTIVE", "SUPERSEDED"}:
        raise Refused("RELEASE_STATE", f"release {to} was never active ({status})")
    release = downloaded(control, environment, to, root)
    files = release.files
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
        impact=None if impact is None else impact(kept),
        build=attachments(control, release),
    )


def renew(
    control: ControlPlane, officer: Officer, *, environment: str, reason: str, change_ticket: str, root: bytes, now: datetime
) -> tuple[int, Draft]:
    """Propose the next release with the digests of the active one: its number, and the draft."""
    active = [int(entry["number"]) for entry in control.releases(environment) if entry["status"] == "ACTIVE"]
    if not active:
        raise Refused("RELEASE_STATE", f"no release of {environment} is active", next_step="symphony release list")
    draft = rollback(
        control, officer, environment=environment, to=active[0], reason=reason, change_ticket=change_ticket, root=root, now=now
    )
    return active[0], draft
