"""Usage is exact, parked payments are closed by two people, and each participant sees its own (D8, OUT-12, REC-12)."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from tests.sidecar.rows import (
    KAFUE,
    LUANGWA,
    STREAM,
    ZONE,
    Bench,
    Row,
    attempt,
    attestation,
    evidence,
    instruction,
    refusal,
    says,
)

CAP = 12


@pytest.mark.parametrize(("state", "used"), [
    ("DISPATCHED", 1), ("PENDING_MANUAL", 1), ("RETRYABLE", 1), ("ZOMBIE_REQUEUE", 1), ("FAILED", 0), ("VOIDED", 0),
])  # fmt: skip
def test_what_failed_or_was_never_sent_counts_against_no_cap(bench: Bench, state: str, used: int) -> None:
    """PIL-02: given back in the outcome's own commit; what may have happened stays counted."""
    claimed = bench.claimed()
    assert bench.usage() == (100, 1)
    bench.end(claimed, state)
    assert bench.usage() == (100 * used, used)


def test_usage_is_given_back_to_the_day_and_currency_that_bore_it(bench: Bench) -> None:
    """PIL-02: yesterday's payment that fails today frees nothing of today."""
    message = attestation()
    bench.record([message], [instruction(message)], day="2026-01-31")
    message = attestation(tenant_seq_no=2)
    payments = [instruction(message, 0, sequence_id=2), instruction(message, 1, sequence_id=3, tx_index=1, currency="USD", amount_minor=7)]
    bench.record([message], payments, day="2026-02-01")
    rows = {row["sequence_id"]: row for row in bench.claim()}
    bench.complete(attempt(rows[1], "FAILED", 0), attempt(rows[3], "VOIDED", 1))
    query = "SELECT day::text, currency, value_minor, payment_count FROM symphony.usage_daily ORDER BY 1, 2"
    assert bench.admin.do(query) == [("2026-01-31", "ZMW", 0, 0), ("2026-02-01", "USD", 0, 0), ("2026-02-01", "ZMW", 100, 1)]


def test_a_cap_holds_exactly_when_batches_come_at_once(bench: Bench) -> None:
    """PIL-02, D12: judge and record hold the stream's row, so no two batches see the same usage."""
    accepted: list[int] = []

    def work(_: int) -> None:
        hands = bench.another("symphony_ingest")
        for _turn in range(6):
            with hands.open():
                item = {"n": 0, "i": 0, "business_key": "x", "participant": KAFUE, "currency": "ZMW"}
                judged = hands.within("judge_batch", STREAM, 1, ZONE, [{"n": 0, "participant": KAFUE}], [item])[0]["judge_batch"]
                used = judged["usage"][0][3] if judged["usage"] else 0
                sequence, seq_no = judged["counters"].get(KAFUE, [1, 1])
                message = attestation(tenant_seq_no=seq_no)
                payments = [instruction(message, sequence_id=sequence)] if used < CAP else []
                hands.within("record_batch", *bench.batch([message], payments, first_seq=judged["first_seq"], day=judged["day"]))
                accepted.append(len(payments))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(accepted), sum(accepted), bench.usage()) == (24, CAP, (100 * CAP, CAP))


def test_usage_never_falls_below_nothing(bench: Bench) -> None:
    """PIL-02: a payment given back twice would be refused whole."""
    claimed = bench.claimed()
    bench.admin.do("UPDATE symphony.usage_daily SET value_minor = 0")
    assert says(refusal(bench.complete, attempt(claimed, "FAILED"))) == ("23514", "usage_daily_value_minor_check")
    assert (bench.count("payment_terminals"), bench.count("outbox_leases")) == (0, 1)


def test_todays_usage_is_read_by_currency(bench: Bench) -> None:
    """The acceptor's copy: the same numbers as the judge's."""
    judged = bench.ingest.call("judge_batch", STREAM, 1, ZONE, [{"n": 0}], [{"n": 0}])
    message = attestation()
    bench.record([message], [instruction(message)], day=judged["day"])
    (row,) = bench.ingest.table("usage_today", ZONE)
    assert (row["participant_id"], row["currency"], row["value_minor"], row["payment_count"]) == (KAFUE, "ZMW", 100, 1)


def parked(bench: Bench) -> str:
    claimed = bench.claimed()
    bench.end(claimed, "PENDING_MANUAL")
    return str(claimed["outbox_id"])


def resolve(bench: Bench, outbox_id: str, **changes: Any) -> None:
    resolution = {
        "resolution_id": str(uuid4()), "outbox_id": outbox_id, "decision": "DISPATCHED", "reason": "the rail's statement says so",
        "maker": "a", "checker": "b", "evidence_reference": "statement 7", **changes,
    }  # fmt: skip
    bench.executor.call("resolve_parked", STREAM, 1, bench.next_seq, resolution, evidence(1)[0])


@pytest.mark.parametrize(("decision", "state", "used"), [("DISPATCHED", "SUCCEEDED", 1), ("FAILED", "FAILED", 0)])
def test_two_people_close_a_parked_payment_once(bench: Bench, decision: str, state: str, used: int) -> None:
    """D8, OUT-12: the record names both and its evidence; a payment that did not happen gives its usage back."""
    payment = parked(bench)
    resolve(bench, payment, decision=decision)
    assert bench.admin.do("SELECT state FROM symphony.instruction_states") == [(state,)]
    assert bench.admin.do("SELECT maker, checker, evidence_reference FROM symphony.resolutions") == [("a", "b", "statement 7")]
    assert bench.admin.do("SELECT source FROM symphony.payment_terminals") == [("resolution",)]
    assert bench.admin.do("SELECT event_type, stream_seq FROM symphony.evidence_events") == [("RESOLUTION", 3)]
    assert bench.usage() == (100 * used, used)
    assert refusal(resolve, bench, payment).sqlstate == "23503"
    assert bench.count("resolutions") == 1


@pytest.mark.parametrize(("changes", "expected"), [
    ({"checker": "a"}, ("23514", "ck_resolutions_two_people")), ({"reason": ""}, ("23514", "resolutions_reason_check")),
    ({"decision": "VOIDED"}, ("23514", "resolutions_decision_check")), ({"checker": None}, ("23502", None)),
    ({"maker": None}, ("23502", None)), ({"evidence_reference": None}, ("23502", None)),
    ({"outbox_id": "00000000-0000-4000-8000-000000000000"}, ("23503", None)),
], ids=str)  # fmt: skip
def test_a_resolution_that_is_not_one_of_two_people_with_a_reason_leaves_the_payment_parked(
    bench: Bench, changes: Row, expected: tuple[str, str | None]
) -> None:
    """D8, OUT-12: maker = checker is refused by ``ck_resolutions_two_people``; nothing is written, nothing unparked."""
    payment = parked(bench)
    before = (bench.counts(), bench.next_seq, bench.usage())
    assert says(refusal(resolve, bench, **{"outbox_id": payment, **changes})) == expected
    assert (bench.counts(), bench.next_seq, bench.usage()) == before


@pytest.mark.parametrize("state", ["pending", "claimed", "DISPATCHED", "FAILED"])
def test_only_a_parked_payment_is_resolved(bench: Bench, state: str) -> None:
    """D8."""
    (payment,) = bench.accept()
    if state != "pending":
        (claimed,) = bench.claim()
        if state != "claimed":
            bench.end(claimed, state)
    before = (bench.counts(), bench.next_seq)
    assert refusal(resolve, bench, payment).sqlstate == "23503"
    assert (bench.counts(), bench.next_seq) == before


def test_an_instruction_is_shown_to_its_own_participant_only(bench: Bench) -> None:
    """REC-12, POL-08: state, version of it, release and numbers; another participant learns nothing."""
    (payment,) = bench.accept()
    seen = bench.ingest.call("instruction_status", payment, KAFUE)
    assert (seen["state"], seen["sequence_id"], seen["policy_version"], seen["state_version"]) == ("QUEUED", 1, 1, 1)
    for participant in (LUANGWA, "", None):
        assert bench.ingest.call("instruction_status", payment, participant) is None
    assert bench.ingest.call("instruction_status", str(uuid4()), KAFUE) is None
    (claimed,) = bench.claim()
    bench.dispatching(claimed)
    bench.end(claimed, "FAILED")
    after = bench.ingest.call("instruction_status", payment, KAFUE)
    assert (after["state"], after["reason_code"]) == ("FAILED", "SOME_CODE")
    assert after["state_version"] > seen["state_version"]


def test_the_frozen_decision_input_is_for_the_executor(bench: Bench) -> None:
    """Design section 3, Permit: what was decided on is what is decided on again."""
    message = attestation()
    payment = instruction(message)
    bench.record([message], [payment], inputs=[b'{"frozen": true}'])
    (row,) = bench.executor.table("decision_input", [payment["instruction_id"]])
    assert bytes(row["decision_input"]) == b'{"frozen": true}'
    assert refusal(bench.ingest.call, "decision_input", [payment["instruction_id"]]).sqlstate == "42501"
