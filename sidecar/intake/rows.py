"""From what was judged to what is written: evidence records and the rows of ``record_batch`` (ATT-09, REC-03, EVD-01).

Evidence carries ids, digests, values and reason codes; never payload, names or account numbers (EVD-09). What a salted
commitment hides can be disclosed later, one field at a time, from the ``payloads`` row.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from uuid_utils import uuid7

from contracts import evidence
from contracts.canonical_fast import fast_canonical_bytes
from sidecar.intake.verdict import Judged, JudgedItem

SALT_BYTES = 16
DETAIL_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """What every record of a stream begins with, and the release that it was made under."""

    environment: str
    service: str
    stream: str
    rail: str
    release_number: int
    policy_checksum: str


@dataclass(slots=True)
class Rows:
    """The parameters of ``record_batch``, in the order of their rows."""

    attestations: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[bytes] = field(default_factory=list)
    instructions: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes | None] = field(default_factory=list)
    inputs: list[bytes | None] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)


def posting_body(instruction: dict[str, Any], instruction_id: str) -> dict[str, Any]:
    """The request that the ledger gets for a payment: settlement accounts only, no party (``symphony.posting/1``)."""
    return {
        "schema": "symphony.posting/1", "instruction_id": instruction_id, "purpose": "post", "kind": instruction["kind"],
        "rail": instruction["rail"], "amount_minor": instruction["amount_minor"], "currency": instruction["currency"],
        "debit_agent": instruction["instructing_agent"], "credit_agent": instruction["instructed_agent"],
        "settlement_date": instruction["settlement_date"],
    }  # fmt: skip


def build(judged: Sequence[Judged], *, first_seq: int, recorded_at: str, frame: Frame) -> Rows:
    """Rows and evidence of a judged batch; record n has the number ``first_seq + n``."""
    rows = Rows()
    for n, one in enumerate(judged):
        attestation_id = str(uuid7())
        first = len(rows.instructions)
        for index, item in enumerate(one.items):
            _add_instruction(rows, one, item, n, attestation_id, frame, carries_raw=index == 0)
        rows.attestations.append(_attestation(one, n, attestation_id, frame))
        mine, salts = rows.instructions[first:], rows.salts[first:]
        rows.evidence.append(_record(one, rows.attestations[-1], mine, salts, first_seq + n, recorded_at, frame))
    return rows


def _attestation(judged: Judged, n: int, attestation_id: str, frame: Frame) -> dict[str, Any]:
    identity, message = judged.checked.identity, judged.checked.message
    code = judged.reject_code
    if code is None and judged.items and not any(item.allowed for item in judged.items):
        code = judged.items[0].reason_code  # POL-11: a message of which nothing is accepted is a REJECT at ingress
    expires = identity.token_expires_at
    return {
        "n": n, "attestation_id": attestation_id, "received_at": message.received_at, "tenant": judged.participant_id,
        "client_id": identity.client_id, "correlation_id": message.correlation_id, "jwt_iss": identity.jwt_iss,
        "jwt_aud": identity.jwt_aud, "jwt_kid": identity.jwt_kid, "jti_hash": identity.jti_hash,
        "token_hash": identity.token_sha256, "certificate": identity.certificate_sha256, "x5t": identity.x5t_s256,
        "pop_mode": identity.pop_mode, "signature_alg": identity.signature_alg, "body_sha256": message.body_sha256,
        "key": identity.idempotency_key, "policy_version": frame.release_number, "policy_checksum": frame.policy_checksum,
        "decision": "ACCEPT" if code is None else "REJECT", "reason_code": code, "tenant_seq_no": judged.tenant_seq_no,
        "spends": judged.spends, "jti_day": identity.token_day.isoformat() if identity.token_day else None,
        "jti_tenant": judged.participant_id or "", "jti_expires_at": expires.isoformat() if expires else None,
    }  # fmt: skip


def _add_instruction(
    rows: Rows, judged: Judged, item: JudgedItem, n: int, attestation_id: str, frame: Frame, *, carries_raw: bool
) -> None:
    instruction = item.item.instruction or {}
    instruction_id = str(uuid7())
    message, identity = judged.checked.message, judged.checked.identity
    rows.instructions.append({
        "n": len(rows.instructions), "message": n, "instruction_id": instruction_id, "attestation_id": attestation_id,
        "participant": judged.participant_id, "client_id": identity.client_id, "key": identity.idempotency_key,
        "tx_index": item.item.tx_index, "decision": "ALLOW" if item.allowed else "REFUSED", "reason_code": item.reason_code,
        "detail": item.detail[:DETAIL_CHARACTERS_MAX], "body_sha256": message.body_sha256,
        "business_key": instruction.get("business_key"), "sequence_id": item.sequence_id, "kind": instruction.get("kind"),
        "rail": frame.rail, "message_type": message.message_type, "message_id": message.message_id,
        "refs": orjson.dumps(item.item.refs).decode(), "amount_minor": instruction.get("amount_minor"),
        "currency": instruction.get("currency"), "instructing_agent": instruction.get("instructing_agent"),
        "instructed_agent": instruction.get("instructed_agent"), "settlement_date": instruction.get("settlement_date"),
        "policy_version": frame.release_number, "policy_checksum": frame.policy_checksum,
        "payload": fast_canonical_bytes(posting_body(instruction, instruction_id)).decode() if item.allowed else None,
    })  # fmt: skip
    rows.raw.append(message.raw if carries_raw else None)
    rows.inputs.append(item.item.decision_input or None)
    rows.salts.append(os.urandom(SALT_BYTES))


def _record(
    judged: Judged, attestation: dict[str, Any], instructions: list[dict[str, Any]], salts: list[bytes], seq: int,
    recorded_at: str, frame: Frame,
) -> bytes:  # fmt: skip
    message = judged.checked.message
    return evidence.record(
        "attestation", environment=frame.environment, service=frame.service, stream=frame.stream, seq=seq,
        recorded_at=recorded_at, attestation_id=attestation["attestation_id"], received_at=message.received_at,
        decision=attestation["decision"], reason_code=attestation["reason_code"], participant_id=judged.participant_id,
        tenant_seq_no=judged.tenant_seq_no, pop_mode=attestation["pop_mode"],
        certificate_sha256=attestation["certificate"], token_jti_hash=attestation["jti_hash"],
        request_body_sha256=message.body_sha256, idempotency_key_sha256=_hidden(attestation["key"]),
        client_id_sha256=_hidden(attestation["client_id"]), correlation_id=message.correlation_id,
        message_type=message.message_type, release_number=frame.release_number, policy_digest=frame.policy_checksum,
        repeats=judged.existing[0]["attestation_id"] if judged.existing else None, db_role="ingest",
        instructions=[_instruction_fields(row, salt, judged) for row, salt in zip(instructions, salts, strict=True)],
    )  # fmt: skip


def _instruction_fields(row: dict[str, Any], salt: bytes, judged: Judged) -> dict[str, Any]:
    digest = hashlib.sha256(salt + judged.checked.message.raw).hexdigest()
    names = (
        "instruction_id", "tx_index", "decision", "reason_code", "sequence_id", "amount_minor", "currency", "kind",
        "instructing_agent", "instructed_agent",
    )  # fmt: skip
    return {**{name: row[name] for name in names}, "payload_commitment": digest}


def _hidden(value: str | None) -> str | None:
    return None if value is None else hashlib.sha256(value.encode()).hexdigest()
