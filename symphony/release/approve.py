"""Approve a release: sign, on the officer's own machine, what ``review`` found to hold (POL-07)."""

from __future__ import annotations

from tuf.api.metadata import Metadata

from contracts.errors import Refused
from contracts.keys import public_hex, signer_of
from symphony.release.client import ControlPlane, Officer
from symphony.release.review import Review, review

__all__ = ["Review", "approve", "review"]


def approve(control: ControlPlane, officer: Officer, reviewed: Review) -> str:
    """Sign the role that was reviewed and send the signature; the release's status after it.

    Raises ``OFFICER_UNKNOWN`` or ``OFFICER_IS_PROPOSER`` before anything is signed.
    """
    release, role = reviewed.release, reviewed.release.role
    material = public_hex(officer.key)
    if material not in release.trust.officers.values():
        raise Refused("OFFICER_UNKNOWN", f"{officer.name} is no officer of {role.environment}")
    if material == release.trust.officers[role.proposer_key_id]:
        raise Refused("OFFICER_IS_PROPOSER")
    signature = signer_of(officer.key).sign(Metadata.from_bytes(release.metadata).signed_bytes).signature
    envelope = officer.ask("approve", role.environment, role.number, role.digest, signature=signature)
    answer = control.post(f"/v1/releases/{role.environment}/{role.number}/approvals", {"envelope": envelope})
    return str(answer["status"])
