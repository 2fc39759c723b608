"""Nothing comes into the outbox without an accepted attestation of its own participant (NEG-18, ATT-13, INV-022)."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sidecar.rows import KAFUE, LUANGWA, Bench, Row, attestation, instruction, refusal, refused, says


@pytest.fixture
def taken_out(bench: Bench) -> Row:
    """An accepted instruction whose outbox row is gone: what the single form of enqueue is for."""
    message = attestation()
    payment = instruction(message)
    bench.record([message], [payment])
    bench.admin.do("DELETE FROM symphony.payment_outbox_pending")
    return payment


def parameters(payment: Row, **changes: Any) -> list[Any]:
    names = ("instruction_id", "participant", "key", "rail", "payload", "attestation_id")
    return list({**{name: payment[name] for name in names}, **changes}.values())


def test_an_accepted_instruction_is_enqueued_once(bench: Bench, taken_out: Row) -> None:
    """OUT-19, INV-011: again changes nothing; the row is built from what was recorded."""
    for _ in range(2):
        assert str(bench.ingest.call("enqueue_payment_outbox", *parameters(taken_out))) == taken_out["instruction_id"]
    rows = bench.admin.do("SELECT participant_id, sequence_id, amount_minor, attempt_count FROM symphony.payment_outbox_pending")
    assert rows == [(KAFUE, 1, 100, 0)]


def other_attestation(bench: Bench, what: str) -> Any:
    """An attestation that gives no right to this payment."""
    match what:
        case "none":
            return None
        case "unknown":
            return str(uuid4())
        case "rejected":
            row = refused(tenant=KAFUE, tenant_seq_no=2)
        case "nobody's":
            row = refused()
        case "another participant's":
            row = attestation(tenant=LUANGWA, jti_tenant=LUANGWA)
        case "another message's":
            row = attestation(tenant_seq_no=2)
    bench.record([row])
    return row["attestation_id"]


@pytest.mark.parametrize("what", ["none", "unknown", "rejected", "nobody's", "another participant's", "another message's"])
def test_a_payment_without_its_accepted_attestation_is_not_enqueued(bench: Bench, taken_out: Row, what: str) -> None:
    """NEG-18, ATT-13, INV-022, must-never 6: 23503, and the outbox stays empty."""
    parent = other_attestation(bench, what)
    assert refusal(bench.ingest.call, "enqueue_payment_outbox", *parameters(taken_out, attestation_id=parent)).sqlstate == "23503"
    assert bench.count("payment_outbox_pending") == 0


@pytest.mark.parametrize("change", [{"participant": LUANGWA}, {"key": "other"}, {"instruction_id": "01a20d5c-ceba-7425-bc3a-5c8874d07822"}], ids=str)
def test_what_was_not_recorded_so_is_not_enqueued(bench: Bench, taken_out: Row, change: Row) -> None:
    """NEG-18, D9: another participant, another key, no instruction."""
    assert refusal(bench.ingest.call, "enqueue_payment_outbox", *parameters(taken_out, **change)).sqlstate == "23503"
    assert bench.count("payment_outbox_pending") == 0


def test_a_refused_instruction_is_not_enqueued(bench: Bench) -> None:
    """POL-11, NEG-18."""
    message = attestation()
    payments = [instruction(message, 0), instruction(message, 1, tx_index=1, decision="REFUSED", reason_code="CAP_DAILY_VALUE")]
    bench.record([message], payments)
    assert refusal(bench.ingest.call, "enqueue_payment_outbox", *parameters(payments[1])).sqlstate == "23503"
    assert bench.count("payment_outbox_pending") == 1


def test_a_large_payload_is_no_message(bench: Bench, taken_out: Row) -> None:
    """OUT-15, REC-16."""
    error = refusal(bench.ingest.call, "enqueue_payment_outbox", *parameters(taken_out, payload="x" * 4097))
    assert says(error) == ("23514", "payment_outbox_pending_payload_check")
    assert bench.count("payment_outbox_pending") == 0


@pytest.mark.parametrize("state", ["DISPATCHED", "FAILED", "VOIDED", "PENDING_MANUAL", "claimed"])
def test_a_payment_under_way_or_at_its_end_is_not_enqueued_again(bench: Bench, state: str) -> None:
    """NEG-18, NEG-08, must-never 4: 23505."""
    message = attestation()
    payment = instruction(message)
    bench.record([message], [payment])
    (claimed,) = bench.claim()
    if state != "claimed":
        bench.end(claimed, state)
    assert refusal(bench.ingest.call, "enqueue_payment_outbox", *parameters(payment)).sqlstate == "23505"
    assert bench.count("payment_outbox_pending") == 0


def test_an_enqueue_that_races_the_claim_adds_nothing(bench: Bench) -> None:
    """NEG-08: it waits for the claim, and then finds the lease."""
    message = attestation()
    payment = instruction(message)
    bench.record([message], [payment])
    ends: list[Any] = []

    def enqueue(hands: Any) -> None:
        try:
            ends.append(hands.call("enqueue_payment_outbox", *parameters(payment)))
        except psycopg.Error as error:
            ends.append(error.sqlstate)

    with bench.executor.open() as connection:
        connection.execute("SELECT * FROM symphony.claim_outbox_batch('rows-a', 1, 'w1', 10, 10, 1000, 60000)")
        thread = threading.Thread(target=enqueue, args=(bench.another("symphony_ingest"),))
        thread.start()
        thread.join(0.2)
        assert ends == []
    thread.join(10)
    assert ends == ["23505"]
    assert (bench.count("payment_outbox_pending"), bench.count("outbox_leases")) == (0, 1)


FAULTS: dict[str, Row] = {
    "of no message": {"message": 7},
    "of another id": {"attestation_id": "00000000-0000-4000-8000-000000000000"},
    "of another participant": {"participant": LUANGWA},
    "of nobody": {"participant": None},
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_batch_accepts_a_payment_by_the_attestation_beside_it_only(bench: Bench, what: str) -> None:
    """NEG-18, ATT-13: ``record_batch`` holds the writer to it, too."""
    message = attestation()
    payment = instruction(message) | FAULTS[what]
    before = bench.counts()
    assert refusal(bench.record, [message], [payment]).sqlstate in {"23503", "23502"}
    assert (bench.counts(), bench.next_seq) == (before, 1)


def test_a_rejected_message_accepts_no_payment(bench: Bench) -> None:
    """NEG-18, POL-11: what it carries can only be refused."""
    message = attestation(decision="REJECT", reason_code="CAP_DAILY_VALUE")
    assert refusal(bench.record, [message], [instruction(message)]).sqlstate == "23503"
    assert bench.count("payment_instructions") + bench.count("payment_outbox_pending") + bench.count("seen_jti") == 0
    assert bench.record([message], [instruction(message, decision="REFUSED", reason_code="CAP_DAILY_VALUE")]) == 0
    assert (bench.count("payment_instructions"), bench.count("payment_outbox_pending")) == (1, 0)


def test_the_column_itself_demands_an_attestation(bench: Bench) -> None:
    """INV-022: whoever writes it."""
    bench.accept()
    query = (
        "INSERT INTO symphony.payment_outbox_pending SELECT gen_random_uuid() AS o, instruction_id, participant_id, 99, 'k', rail_type, payload,"
        " amount_minor, 0, now(), now(), NULL, attestation_leaf_hash, 1 FROM symphony.payment_outbox_pending"
    )
    assert refusal(bench.owner.do, query).sqlstate in {"23502", "23514"}
    assert bench.count("payment_outbox_pending") == 1
