"""From a recorded answer to HTTP: a list, one entry a payment; 202 if one is accepted, 422 if all are refused (REC-02).

The acknowledgement promises durability and a later outcome, never rail acceptance. A refusal of station 1, and a reused
idempotency key, are problem documents (RFC 9457) with the reason code.
"""

from __future__ import annotations

from typing import Any

import orjson

from contracts.problem import CONTENT_TYPE, problem
from contracts.reasons import by_code
from rails.sdk import MessageInfo, References, RenderRequest, StatusReport, TransactionStatus
from sidecar.intake.handover import WHOLE_MESSAGE, Answer, Entry

JSON = "application/json"


def status_of(answer: Answer) -> int:
    """202, or 422 when nothing of the message is accepted."""
    return 202 if any(entry.decision == "ALLOW" for entry in answer.entries) else 422


def json_body(answer: Answer, states: dict[str, dict[str, Any]]) -> bytes:
    """The list. ``states``: current states by instruction, for a repeated request."""
    return orjson.dumps([_entry(answer, entry, states.get(entry.instruction_id, {})) for entry in answer.entries])


def rejection(answer: Answer, correlation_id: str) -> tuple[int, bytes]:
    """Status and problem document of a message that station 1 refused."""
    assert answer.rejected_code is not None
    status, body = problem(answer.rejected_code, answer.rejected_detail, correlation_id)
    return status, orjson.dumps({**orjson.loads(body), "attestation_id": answer.attestation_id})


def _entry(answer: Answer, entry: Entry, state: dict[str, Any]) -> dict[str, Any]:
    accepted = entry.decision == "ALLOW"
    reason = by_code(entry.reason_code) if entry.reason_code else None
    return {
        "instruction_id": entry.instruction_id, "tx_index": entry.tx_index, "attestation_id": answer.attestation_id,
        "state": state.get("state", "RECORDED") if accepted else "REFUSED", "received_at": answer.received_at,
        "policy_version": answer.release_number, "policy_checksum": answer.policy_checksum,
        "reason_code": entry.reason_code, "iso_reason": reason.iso if reason else None,
        "detail": entry.detail or (reason.meaning if reason else ""), "next_step": reason.next_step if reason else "",
        "repeated": answer.repeated, "refs": entry.refs,
    }  # fmt: skip


def render_request(answer: Answer, report_id: str, created_at: str) -> RenderRequest:
    """What the adapter needs to write the answer in the rail's own format (pacs.002)."""
    whole = [entry for entry in answer.entries if entry.tx_index == WHOLE_MESSAGE]
    return RenderRequest(
        report=StatusReport(report_id=report_id, created_at=created_at),
        original=MessageInfo(
            message_type=answer.message_type, message_id=answer.message_id, tx_count=len(answer.entries) - len(whole)
        ),
        results=tuple(_transaction(entry) for entry in answer.entries if entry.tx_index != WHOLE_MESSAGE),
        group=_transaction(whole[0]) if whole else None,
    )


def _transaction(entry: Entry) -> TransactionStatus:
    code = entry.reason_code
    return TransactionStatus(
        status="ACTC" if entry.decision == "ALLOW" else "RJCT", refs=References(**entry.refs),
        iso_reason=by_code(code).iso if code else None, code=code, detail=entry.detail,
    )  # fmt: skip


__all__ = ["CONTENT_TYPE", "JSON", "json_body", "rejection", "render_request", "status_of"]
