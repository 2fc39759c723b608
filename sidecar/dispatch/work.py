"""One claimed or recovered payment in hand, and the rows and permits that are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils import uuid7

from contracts import evidence, permit
from contracts.canonical import sha256_hex
from contracts.keys import key_id_of
from contracts.release import VerifiedRelease
from contracts.times import rfc3339
from sidecar.dispatch.outcomes import Written
from sidecar.intake.rows import Frame


@dataclass(slots=True)
class Work:
    """A payment under our lease. ``body`` is the posting request (or the seal) of this attempt."""

    outbox_id: str
    participant_id: str
    sequence_id: int
    rail: str
    body: bytes
    posting: str
    attempt_no: int
    attestation_leaf_hash: bytes
    policy_version: int
    lease_token: str
    claimed_at: datetime
    recoveries: int = 0


@dataclass(frozen=True, slots=True)
class PermitMaker:
    """The sidecar's permit key and what its claims say besides the payment (design section 3, Permit)."""

    key: Ed25519PrivateKey
    sidecar: str
    epoch: int

    def make(
        self, work: Sequence[Work], purpose: str, release: VerifiedRelease, now: datetime, attempts: Sequence[int]
    ) -> list[bytes]:
        """One permit per payment under one signature."""
        settings = release.manifest["sidecar"]["permit"]
        iat = int(now.timestamp())
        key_id = key_id_of(self.key)
        claims = [
            {
                "version": 1, "environment": release.environment, "sidecar": self.sidecar, "key_id": key_id,
                "instruction_id": one.outbox_id, "attempt": attempt, "epoch": self.epoch, "purpose": purpose,
                "request_sha256": sha256_hex(one.body), "release_number": release.number,
                "policy_digest": release.policy_digest, "attestation_leaf_hash": one.attestation_leaf_hash.hex(),
                "audience": settings["audience"], "iat": iat, "exp": iat + settings["lifetime_s"],
            }
            for one, attempt in zip(work, attempts, strict=True)
        ]  # fmt: skip
        return permit.issue(self.key, claims)


@dataclass(frozen=True, slots=True)
class AttemptRows:
    """Rows and evidence of attempts, in order."""

    rows: list[dict[str, Any]]
    evidence: list[bytes]


def attempt_rows(
    items: Sequence[tuple[Work, Written]], *, first_seq: int, now: datetime, frame: Frame, epoch: int, worker: str,
    started_at: datetime | None = None,
) -> AttemptRows:  # fmt: skip
    """The rows of ``record_dispatching`` and ``complete_outbox_attempts``, each with its evidence record."""
    out = AttemptRows([], [])
    for n, (work, written) in enumerate(items):
        requeued = written.state == "ZOMBIE_REQUEUE"
        attempt_no = work.attempt_no + 1 if requeued else work.attempt_no
        finished = None if written.state == "DISPATCHING" else now
        latency = int((now - started_at).total_seconds() * 1_000_000) if started_at and finished else None
        request_hash = sha256_hex(work.body)
        out.rows.append({
            "n": n, "attempt_id": str(uuid7()), "outbox_id": work.outbox_id, "participant_id": work.participant_id,
            "sequence_id": work.sequence_id, "attempt_no": attempt_no, "state": written.state, "epoch": epoch,
            "claimed_by": worker, "lease_token": work.lease_token, "claimed_at": rfc3339(work.claimed_at),
            "started_at": rfc3339(started_at) if started_at else None, "finished_at": rfc3339(finished) if finished else None,
            "rail": work.rail, "rail_reference": written.rail_reference, "request_hash": request_hash,
            "correlation_id": work.outbox_id, "error_class": written.error_class, "error_code": written.error_code,
            "latency_us": latency, "policy_version": frame.release_number, "payload": work.posting,
            "retry_in_ms": written.retry_in_ms,
        })  # fmt: skip
        out.evidence.append(evidence.record(
            "attempt", environment=frame.environment, service=frame.service, stream=frame.stream, seq=first_seq + n,
            recorded_at=rfc3339(now), outbox_id=work.outbox_id, instruction_id=work.outbox_id, attempt_no=attempt_no,
            state=written.state, epoch=epoch, participant_id=work.participant_id, request_sha256=request_hash,
            attestation_leaf_hash=work.attestation_leaf_hash.hex(), release_number=frame.release_number,
            policy_digest=frame.policy_checksum, rail=work.rail, rail_reference=written.rail_reference,
            error_class=written.error_class, error_code=written.error_code,
        ))  # fmt: skip
    return out
