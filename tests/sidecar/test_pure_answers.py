"""From a recorded answer to HTTP: 202 or 422, reason and ISO code, never more than durability (REC-02, ATT-15)."""

from __future__ import annotations

import orjson
import pytest

from contracts.reasons import REASONS
from sidecar.intake.answers import json_body, rejection, render_request, status_of
from sidecar.intake.handover import WHOLE_MESSAGE, Answer, Entry

REFS = {"instruction_ref": "I1", "end_to_end_ref": "E1", "tx_ref": None, "uetr": None}


def answer(*entries: Entry, **changes: object) -> Answer:
    """An answer of these entries."""
    filled: dict[str, object] = {
        "attestation_id": "a-1", "received_at": "2026-11-24T12:00:00.000000Z", "release_number": 3, "policy_checksum": "cc",
        "message_type": "pacs.008.001.08", "message_id": "M1", "entries": list(entries), **changes,
    }  # fmt: skip
    return Answer(**filled)  # type: ignore[arg-type]


def entry(code: str | None = None, index: int = 0, **changes: object) -> Entry:
    """An accepted payment, or one refused with a code."""
    filled: dict[str, object] = {
        "instruction_id": f"i-{index}", "tx_index": index, "decision": "REFUSED" if code else "ALLOW", "reason_code": code,
        "refs": REFS, **changes,
    }  # fmt: skip
    return Entry(**filled)  # type: ignore[arg-type]


def test_one_accepted_payment_is_enough_for_202_and_none_is_422() -> None:
    """REC-02."""
    assert status_of(answer(entry(), entry("AGENT_MISMATCH", 1))) == 202
    assert status_of(answer(entry("AGENT_MISMATCH"))) == 422
    assert status_of(answer()) == 422


def test_an_accepted_payment_is_recorded_and_nothing_more() -> None:
    """REC-02: id, state, time, policy; no word of acceptance by a rail."""
    (one,) = orjson.loads(json_body(answer(entry()), {}))
    assert (one["instruction_id"], one["state"], one["attestation_id"]) == ("i-0", "RECORDED", "a-1")
    assert (one["policy_version"], one["policy_checksum"], one["received_at"]) == (3, "cc", "2026-11-24T12:00:00.000000Z")
    assert (one["reason_code"], one["iso_reason"], one["repeated"], one["refs"]) == (None, None, False, REFS)


@pytest.mark.parametrize("code", sorted(code for code, reason in REASONS.items() if reason.station in {"normalise", "decide", "record"}))
def test_a_refused_payment_names_its_reason_its_iso_code_and_what_to_do_next(code: str) -> None:
    """ATT-15, design section 12: every code that a payment can be refused with."""
    (one,) = orjson.loads(json_body(answer(entry(code)), {}))
    reason = REASONS[code]
    assert (one["state"], one["reason_code"], one["iso_reason"]) == ("REFUSED", code, reason.iso)
    assert (one["next_step"], one["detail"]) == (reason.next_step, reason.meaning)


def test_a_repeated_answer_shows_current_states_of_what_was_accepted() -> None:
    """REC-06: a refused payment stays refused, whatever else is said of it."""
    states = {"i-0": {"state": "SUCCEEDED"}, "i-1": {"state": "SUCCEEDED"}}
    body = orjson.loads(json_body(answer(entry(), entry("AGENT_MISMATCH", 1), entry(None, 2), repeated=True), states))
    assert [(one["state"], one["repeated"]) for one in body] == [("SUCCEEDED", True), ("REFUSED", True), ("RECORDED", True)]


def test_a_rejected_message_is_a_problem_document_with_its_attestation() -> None:
    """ATT-15, RFC 9457."""
    status, body = rejection(answer(rejected_code="TOKEN_REPLAYED", rejected_detail="d"), "c-1")
    document = orjson.loads(body)
    assert (status, document["status"], document["reason_code"]) == (401, 401, "TOKEN_REPLAYED")
    assert (document["attestation_id"], document["correlation_id"], document["detail"]) == ("a-1", "c-1", "d")


def test_a_status_report_carries_one_line_a_payment_or_one_for_the_whole_message() -> None:
    """pacs.002: ACTC or RJCT, with the ISO code; the refusal of the whole message is the group's."""
    request = render_request(answer(entry(), entry("DUPLICATE_TRANSACTION", 1)), "r1", "t")
    assert [(line.status, line.code) for line in request.results] == [("ACTC", None), ("RJCT", "DUPLICATE_TRANSACTION")]
    assert request.results[1].iso_reason == REASONS["DUPLICATE_TRANSACTION"].iso
    assert (request.group, request.original.tx_count) == (None, 2)
    whole = render_request(answer(entry("SCHEMA_INVALID", WHOLE_MESSAGE)), "r1", "t")
    assert whole.group is not None
    assert (whole.group.status, whole.group.code, whole.results, whole.original.tx_count) == ("RJCT", "SCHEMA_INVALID", (), 0)
