"""The figures of a packet follow from its records and from nothing else (PIL-07)."""

from __future__ import annotations

from typing import Any

from symphony.packet.parts import derive


def attested(*instructions: tuple[str, str, str | None], reject: str | None = None, **fields: Any) -> dict[str, Any]:
    """An attestation record with these instructions: id, decision, reason."""
    return {
        "schema": "symphony.evidence/attestation/1", "recorded_at": "2026-01-01T00:00:00.000000Z", "attestation_id": "a",
        "decision": "REJECT" if reject else "ACCEPT", "reason_code": reject, "participant_id": "p", "stream": "s", "seq": 1,
        "release_number": 1, "instructions": [
            {"instruction_id": name, "decision": decision, "reason_code": reason} for name, decision, reason in instructions
        ], **fields,
    }  # fmt: skip


def attempted(name: str, state: str, code: str | None = None) -> dict[str, Any]:
    """An attempt record."""
    return {
        "schema": "symphony.evidence/attempt/1", "recorded_at": "2026-01-01T00:00:01.000000Z", "outbox_id": name, "state": state,
        "error_code": code, "attempt_no": 1, "stream": "s", "seq": 2, "release_number": 1,
    }  # fmt: skip


def figures(*records: dict[str, Any]) -> dict[str, Any]:
    """The KPIs of these records."""
    documents = dict(enumerate(records))
    entries = derive.timelines(documents)
    return derive.kpis(documents, entries, derive.exceptions(documents, entries))


def test_completeness_is_the_share_of_accepted_payments_with_an_outcome() -> None:
    """PIL-07: evidence completeness, in basis points, rounded down; refused payments are no part of it."""
    found = figures(
        attested(("a", "ALLOW", None), ("b", "ALLOW", None), ("c", "ALLOW", None), ("d", "REFUSED", "CAP_DAILY_VALUE")),
        attempted("a", "DISPATCHED"), attempted("b", "FAILED", "ACCOUNT_CLOSED"), attempted("c", "DISPATCHING"),
    )  # fmt: skip
    assert (found["accepted"], found["refused"], found["evidence_complete_basis_points"], found["open"]) == (3, 1, 6666, 1)


def test_without_an_accepted_payment_completeness_is_unknown_not_perfect() -> None:
    """PIL-07, REC-13."""
    assert figures(attested(reject="TOKEN_EXPIRED"))["evidence_complete_basis_points"] is None


def test_duplicates_and_replays_that_were_stopped_are_counted_by_their_reasons() -> None:
    """PIL-07: duplicate and replay suppression."""
    found = figures(
        attested(("a", "REFUSED", "DUPLICATE_TRANSACTION")), attested(reject="TOKEN_REPLAYED"), attested(reject="TOKEN_REPLAYED"),
        attested(reject="IDEMPOTENCY_KEY_REUSED"), attested(reject="TOKEN_EXPIRED"), attested(repeats="a0"),
    )  # fmt: skip
    assert (found["duplicates_stopped"], found["repeats_answered"], found["records"]) == (4, 1, 6)


def test_ambiguous_payments_are_counted_and_the_five_commonest_reasons_named() -> None:
    """PIL-07: ambiguous count, top 5 reasons; equal counts by name, so that two machines agree."""
    rejects = [attested(reject=code) for code in ("F", "E", "D", "C", "B", "A", "B")]
    found = figures(attested(("a", "ALLOW", None)), attempted("a", "PENDING_MANUAL", "OUTCOME_UNKNOWN"), *rejects)
    assert (found["ambiguous"], found["open"]) == (1, 1)
    assert [(one["reason_code"], one["count"]) for one in found["reasons_top"]] == [("B", 2), ("A", 1), ("C", 1), ("D", 1), ("E", 1)]
