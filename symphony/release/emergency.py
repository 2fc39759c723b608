"""Break-glass as officers do it: seal, approve, open, close, review (ADR 0013). Everything is checked here before it is signed.

``seal`` takes policy, bundle and invariants from the files that a release is proposed from; the rest of an emergency release is
its bounds. An opening is one text that two officers sign: the first writes it, the second reads it here and signs the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from tuf.api.metadata import Metadata, TargetFile, Targets

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.keys import EMERGENCY_CLOSE_TYPE, EMERGENCY_OPEN_TYPE, EMERGENCY_REVIEW_TYPE, EMERGENCY_TYPE
from contracts.release import emergency
from contracts.release.contents import GATED
from contracts.release.emergency import Sealed
from contracts.release.envelope import make_envelope
from contracts.release.limits import EMERGENCY_SEALED_MAX
from contracts.release.model import FIELD
from contracts.release.trust import digest_of_signed
from contracts.times import rfc3339
from symphony.release.client import Officer


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an emergency release may do: ``caps`` by currency, and its two clocks in seconds."""

    caps: Mapping[str, Mapping[str, int]]
    valid_for_s: int
    review_within_s: int
    sealed_for: timedelta = EMERGENCY_SEALED_MAX


@dataclass(frozen=True, slots=True)
class EmergencyDraft:
    """A sealed release before it is sent: its role file without signatures, and its targets by relative path."""

    environment: str
    number: int
    metadata: bytes
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """What approvers sign."""
        return digest_of_signed(Metadata.from_bytes(self.metadata))


def draft(
    officer: Officer, files: Mapping[str, bytes], gate: bytes, bounds: Bounds, *, environment: str, number: int, reason: str,
    change_ticket: str, now: datetime,
) -> EmergencyDraft:  # fmt: skip
    """Role file and signed proposal of emergency ``number``. ``files`` holds at least the gated targets."""
    targets = {name: files[name] for name in GATED}
    expires = (now + bounds.sealed_for).replace(microsecond=0)
    said = {
        "schema": emergency.PROPOSAL_SCHEMA, "environment": environment, "number": number, "sealed_at": rfc3339(now),
        "valid_for_s": bounds.valid_for_s, "review_within_s": bounds.review_within_s,
        "caps": {name: dict(cap) for name, cap in bounds.caps.items()},
        "targets": {name: sha256_hex(data) for name, data in targets.items()}, "gate_sha256": sha256_hex(gate),
        "proposer_key_id": officer.key_id, "reason": reason, "change_ticket": change_ticket,
    }  # fmt: skip
    proposal = orjson.dumps(make_envelope(officer.key, EMERGENCY_TYPE, canonical_bytes(said)))
    complete = {**targets, "gate.json": gate, "release.json": proposal}
    prefix = f"{emergency.role_name(environment)}/{number}/"
    listed = {prefix + name: TargetFile.from_data(prefix + name, data, ["sha256"]) for name, data in complete.items()}
    ours = {name: said[name] for name in (
        "environment", "number", "sealed_at", "valid_for_s", "review_within_s", "caps", "proposer_key_id",
    )}  # fmt: skip
    role = Targets(version=number, expires=expires, targets=listed, unrecognized_fields={FIELD: ours})
    return EmergencyDraft(environment, number, Metadata(role).to_bytes(), complete)


def opening(
    officer: Officer, sealed: Sealed, *, over: int, reason: str, now: datetime
) -> dict[str, Any]:
    """The opening with its first signature."""
    said = _about(emergency.OPENING_SCHEMA, sealed, now, reason)
    said |= {"metadata_digest": sealed.role.digest, "over": over}
    return make_envelope(officer.key, EMERGENCY_OPEN_TYPE, canonical_bytes(said))


def closing(officer: Officer, sealed: Sealed, opening_sha256: str, *, reason: str, now: datetime) -> dict[str, Any]:
    """The closing, by one officer."""
    said = {**_about(emergency.CLOSING_SCHEMA, sealed, now, reason), "opening_sha256": opening_sha256}
    return make_envelope(officer.key, EMERGENCY_CLOSE_TYPE, canonical_bytes(said))


def reviewed(officer: Officer, sealed: Sealed, opening_sha256: str, *, reason: str, now: datetime) -> dict[str, Any]:
    """The review, by an officer who neither opened nor closed."""
    said = {**_about(emergency.REVIEW_SCHEMA, sealed, now, reason), "opening_sha256": opening_sha256}
    return make_envelope(officer.key, EMERGENCY_REVIEW_TYPE, canonical_bytes(said))


def _about(schema: str, sealed: Sealed, now: datetime, reason: str) -> dict[str, Any]:
    return {
        "schema": schema, "environment": sealed.role.environment, "number": sealed.number, "at": rfc3339(now), "reason": reason,
    }  # fmt: skip
