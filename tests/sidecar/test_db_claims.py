"""What is claimed, by whom, and how much at once (OUT-01, OUT-02, OUT-06, OUT-09, INV-012)."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.sidecar.rows import (
    KAFUE,
    LUANGWA,
    STREAM,
    Bench,
    Hands,
    attempt,
    claim_parameters,
    evidence,
    refusal,
    says,
)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [str(row["outbox_id"]) for row in rows]


def test_a_claim_moves_rows_from_the_outbox_to_leases_of_its_worker(bench: Bench) -> None:
    """OUT-06, OUT-02: deleted and leased in one transaction, each under a token of its own, for so long."""
    payments = bench.accept(3)
    rows = bench.claim(lease_ms=5000)
    assert sorted(ids(rows)) == sorted(payments)
    assert (bench.count("payment_outbox_pending"), bench.count("outbox_leases")) == (0, 3)
    assert len({row["lease_token"] for row in rows}) == 3
    query = "SELECT DISTINCT claimed_by, epoch, attempt_no, expires_at - claimed_at BETWEEN '4.9 s' AND '5.1 s' FROM symphony.outbox_leases"
    assert bench.admin.do(query) == [("w1", 1, 1, True)]
    assert [row["attempt_no"] for row in rows] == [1, 1, 1]
    assert all(row["parent_attestation_id"] and row["waited_us"] >= 0 for row in rows)


def test_two_open_claims_share_no_row_and_neither_waits(bench: Bench) -> None:
    """OUT-06, INV-012: SKIP LOCKED, while both transactions are open."""
    payments = bench.accept(6)
    one, two = bench.another("symphony_executor"), bench.another("symphony_executor")
    with one.open(), two.open():
        two.connection.execute("SET LOCAL lock_timeout = '500ms'")
        first = one.within("claim_outbox_batch", *claim_parameters(worker="w1", limit=4))
        second = two.within("claim_outbox_batch", *claim_parameters(worker="w2", limit=4))
    assert (len(first), len(second)) == (4, 2)
    assert sorted(ids(first) + ids(second)) == sorted(payments)


def test_what_an_aborted_claim_took_is_due_again(bench: Bench) -> None:
    """OUT-06: a worker that dies in its claim holds nothing."""
    payments = bench.accept(2)
    hands = bench.another("symphony_executor")
    with hands.connection.transaction(force_rollback=True), hands.open():
        assert len(hands.within("claim_outbox_batch", *claim_parameters())) == 2
    assert sorted(ids(bench.claim())) == sorted(payments)
    assert bench.count("outbox_leases") == 2


def test_many_workers_claim_each_row_once(bench: Bench) -> None:
    """OUT-06, must-never 3."""
    payments = bench.accept(60)
    taken: list[str] = []

    def work(hands: Hands) -> None:
        while rows := hands.table("claim_outbox_batch", *claim_parameters(limit=3)):
            taken.extend(ids(rows))

    threads = [threading.Thread(target=work, args=(bench.another("symphony_executor"),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    while rows := bench.claim(limit=3):  # a row that a worker skipped because another held it
        taken.extend(ids(rows))
    assert sorted(taken) == sorted(payments)


def test_only_due_rows_are_claimed(bench: Bench) -> None:
    """INV-012, OUT-13: what went back waits for its time, and comes with the next attempt number."""
    bench.accept(2)
    soon, later = bench.claim()
    bench.complete(attempt(soon, "RETRYABLE", 0, retry_in_ms=100), attempt(later, "ZOMBIE_REQUEUE", 1, retry_in_ms=3_600_000))
    assert bench.claim() == []
    time.sleep(0.15)
    (row,) = bench.claim()
    assert (row["outbox_id"], row["attempt_no"]) == (soon["outbox_id"], 2)
    assert bench.pending(later["outbox_id"]) == 1


def test_the_longest_due_is_claimed_first(bench: Bench) -> None:
    """OUT-01: the order of ``ix_pending_due``."""
    bench.accept(3)
    delays = {1: -1_000, 2: -60_000, 3: -30_000}
    outcomes = [attempt(row, "RETRYABLE", n, retry_in_ms=delays[row["sequence_id"]]) for n, row in enumerate(bench.claim())]
    bench.complete(*outcomes)
    assert [bench.claim(limit=1)[0]["sequence_id"] for _ in range(3)] == [2, 3, 1]


@pytest.mark.parametrize(("value", "taken"), [(0, 1), (99, 1), (100, 1), (250, 2), (300, 3), (10**15, 4)])
def test_the_money_of_a_claim_is_bounded_but_one_payment_always_goes(bench: Bench, value: int, taken: int) -> None:
    """OUT-06, BAT-02: no payment above the bound blocks the rail, and no batch is above it by more than one."""
    bench.accept(4)
    assert len(bench.claim(value=value)) == taken
    assert bench.count("payment_outbox_pending") == 4 - taken


def test_a_claim_takes_no_more_of_one_participant_than_it_may(bench: Bench) -> None:
    """BAT-05: another participant's payments go on."""
    bench.accept(3)
    bench.accept(1, tenant=LUANGWA)
    rows = bench.claim(each=2)
    assert sorted(row["participant_id"] for row in rows) == [KAFUE, KAFUE, LUANGWA]
    assert [row["participant_id"] for row in bench.claim(each=2)] == [KAFUE]


def test_a_claim_is_bounded_by_its_limit(bench: Bench) -> None:
    """BAT-01, BAT-09: a batch is one statement, and no larger than it was asked for."""
    bench.accept(5)
    assert [len(bench.claim(limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_an_attempt_is_written_for_a_lease_that_is_held_or_not_at_all(bench: Bench) -> None:
    """OUT-07, OUT-08: before a byte leaves, under the claim's own token, and only as DISPATCHING."""
    claimed = bench.claimed()
    before = (bench.counts(), bench.next_seq)
    for change in ({"lease_token": None}, {"claimed_by": "w2"}, {"state": "DISPATCHED"}, {"state": "FAILED", "error_code": "X"}):
        row = {**attempt(claimed), **change}
        error = refusal(bench.executor.call, "record_dispatching", STREAM, 1, bench.next_seq, [row], evidence(1))
        assert error.sqlstate in {"SY003", "22023"}, change
    assert (bench.counts(), bench.next_seq) == before
    bench.dispatching(claimed)
    assert bench.count("payment_outbox_attempts") == 1


def test_a_payment_has_one_lease_at_most(bench: Bench) -> None:
    """D10, OUT-02: the primary key; a claim that would make a second one takes nothing at all."""
    (payment,) = bench.accept()
    bench.admin.do("INSERT INTO symphony.outbox_leases VALUES (%s, 'w0', gen_random_uuid(), 1, 1, 0, 0, now(), now())", payment)
    assert says(refusal(bench.claim)) == ("23505", "outbox_leases_pkey")
    assert (bench.count("outbox_leases"), bench.pending(payment)) == (1, 1)


def test_the_single_form_of_completion_is_the_same(bench: Bench) -> None:
    """OUT-19: ``complete_outbox_attempt``."""
    claimed = bench.claimed()
    stale = {**attempt(claimed, "DISPATCHED"), "claimed_by": "w2"}
    assert refusal(bench.executor.call, "complete_outbox_attempt", STREAM, 1, bench.next_seq, stale, b"e").sqlstate == "SY003"
    row = attempt(claimed, "DISPATCHED")
    assert bench.executor.call("complete_outbox_attempt", STREAM, 1, bench.next_seq, row, b"e") == 1
    assert bench.admin.do("SELECT state FROM symphony.instruction_states") == [("SUCCEEDED",)]


def test_the_indexes_of_the_hot_tables_are_the_ones_that_were_designed(bench: Bench) -> None:
    """OUT-01, OUT-03: few, and these."""
    rows = bench.admin.do(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'symphony' AND tablename IN ('payment_outbox_pending', 'payment_outbox_attempts')"
    )
    found = sorted(row[0].split(" ON ")[1].split(" USING ")[1] + (" unique" if "UNIQUE" in row[0] else "") for row in rows)
    assert found == sorted([
        "btree (outbox_id) unique", "btree (participant_id, sequence_id) unique", "btree (instruction_id, idempotency_key) unique",
        "btree (next_attempt_at, created_at)", "btree (attempt_id, created_at) unique", "btree (outbox_id, claimed_at DESC)",
        "btree (claimed_at) WHERE (state = 'DISPATCHING'::symphony.outbox_attempt_state)", "btree (stream_seq)",
    ])  # fmt: skip
