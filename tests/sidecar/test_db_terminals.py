"""One end for each payment, and nothing after it: races with real connections (D6, NEG-06 to NEG-08, NUM-03)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sidecar.rows import STREAM, Bench, Hands, Row, attempt, claim_parameters, evidence, refusal, says

ONE_WINS = [("23505", "payment_terminals_pkey"), None]
THIS_MONTH = datetime.now(UTC)
NEXT_MONTH = (THIS_MONTH.replace(day=1) + timedelta(days=32)).replace(day=2)


def race(*turns: Callable[[], Any]) -> list[Any]:
    """What each turn ends in, begun at the same moment in threads: ``None``, or SQLSTATE and constraint."""
    barrier = threading.Barrier(len(turns))
    ends: list[Any] = [None] * len(turns)

    def run(place: int) -> None:
        barrier.wait(10)
        try:
            turns[place]()
        except psycopg.Error as error:
            ends[place] = says(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(turns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return sorted(ends, key=lambda end: end is None)


def write_end(hands: Hands, claimed: Row, state: str, at: datetime, barrier: threading.Barrier) -> None:
    """Outcome attempt and terminal in one transaction, past every function: only the constraint is left to hold."""
    with hands.open() as connection:
        connection.execute(
            "INSERT INTO symphony.payment_outbox_attempts (attempt_id, created_at, outbox_id, instruction_id, participant_id, sequence_id,"
            " attempt_no, state, epoch, claimed_by, claimed_at, rail, policy_version, stream_seq, leaf_hash, evidence)"
            " VALUES (%s, %s, %s, %s, 'k', 1, 1, %s, 1, 'w', %s, 'r', 1, 1, '', '')",
            (uuid4(), at, claimed["outbox_id"], claimed["outbox_id"], state, at),
        )
        barrier.wait(10)
        connection.execute(
            "INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, finished_at) VALUES (%s, %s, 1, 'attempt', %s)",
            (claimed["outbox_id"], state, at),
        )


@pytest.mark.parametrize("months", [(THIS_MONTH, THIS_MONTH), (THIS_MONTH, NEXT_MONTH)], ids=["one month", "two months"])
@pytest.mark.parametrize("states", [("DISPATCHED", "DISPATCHED"), ("DISPATCHED", "FAILED"), ("VOIDED", "DISPATCHED")], ids="-".join)
def test_of_two_ends_written_at_once_one_is_and_the_other_leaves_nothing(
    bench: Bench, states: tuple[str, str], months: tuple[datetime, datetime]
) -> None:
    """NEG-06, NEG-07, D6, OUT-05, I-OUTBOX-02: also when the attempts are in two partitions."""
    claimed = bench.claimed()
    both = threading.Barrier(2)
    first, second = bench.another("owner"), bench.another("owner")
    ends = race(
        lambda: write_end(first, claimed, states[0], months[0], both),
        lambda: write_end(second, claimed, states[1], months[1], both),
    )
    assert ends == ONE_WINS
    (attempted,) = bench.admin.do("SELECT state::text FROM symphony.payment_outbox_attempts")
    assert bench.admin.do("SELECT state::text FROM symphony.payment_terminals") == [attempted]
    assert attempted[0] in states


@pytest.mark.parametrize("states", [("DISPATCHED", "DISPATCHED"), ("DISPATCHED", "FAILED"), ("FAILED", "RETRYABLE")], ids="-".join)
def test_of_two_completions_of_one_lease_one_is_written(bench: Bench, states: tuple[str, str]) -> None:
    """NEG-06 through the API: the loser comes to a number or a lease that is gone; nothing of it stays."""
    claimed = bench.claimed()
    first_seq = bench.next_seq
    workers = [bench.another("symphony_executor") for _ in states]
    turns = [
        lambda worker=worker, state=state: bench.complete(attempt(claimed, state), by=worker, first_seq=first_seq)
        for worker, state in zip(workers, states, strict=True)
    ]
    assert race(*turns) == [("SY002", None), None]
    assert refusal(bench.complete, attempt(claimed, "DISPATCHED")).sqlstate == "SY003"
    assert bench.count("payment_outbox_attempts") == 1
    assert bench.count("payment_terminals") + bench.count("payment_outbox_pending") == 1
    assert bench.next_seq == first_seq + 1


def ended(bench: Bench, state: str = "DISPATCHED") -> Row:
    claimed = bench.claimed()
    bench.end(claimed, state)
    return claimed


def lease_again(bench: Bench, claimed: Row) -> None:
    """As if a lease had outlived its payment's end: no function makes one."""
    bench.admin.do(
        "INSERT INTO symphony.outbox_leases VALUES (%s, 'w1', %s, 1, 1, 0, 0, clock_timestamp(), clock_timestamp() + interval '1 min')",
        claimed["outbox_id"], claimed["lease_token"],
    )  # fmt: skip


@pytest.mark.parametrize("state", ["DISPATCHED", "FAILED", "VOIDED"])
def test_a_second_end_is_refused_by_the_key_and_leaves_nothing(bench: Bench, state: str) -> None:
    """OUT-05, D6: even for a worker that holds a valid lease."""
    claimed = ended(bench)
    lease_again(bench, claimed)
    before = (bench.counts(), bench.next_seq, bench.usage())
    assert says(refusal(bench.complete, attempt(claimed, state))) == ("23505", "payment_terminals_pkey")
    assert (bench.counts(), bench.next_seq, bench.usage()) == before


@pytest.mark.parametrize("state", ["RETRYABLE", "ZOMBIE_REQUEUE"])
def test_nothing_goes_back_to_the_outbox_after_an_end(bench: Bench, state: str) -> None:
    """NEG-08, OUT-09, must-never 4."""
    claimed = ended(bench)
    lease_again(bench, claimed)
    bench.complete(attempt(claimed, state))
    assert bench.pending(claimed["outbox_id"]) == 0
    assert bench.claim() == []
    assert bench.admin.do("SELECT state FROM symphony.instruction_states") == [("SUCCEEDED",)]


@pytest.mark.parametrize("blocker", ["payment_terminals", "parked"])
def test_a_payment_that_ended_or_is_parked_is_never_claimed(bench: Bench, blocker: str) -> None:
    """NEG-08, OUT-09, OUT-11, D8: whatever put its row into the outbox."""
    (payment,) = bench.accept()
    values = {
        "payment_terminals": "(outbox_id, state, attempt_no, source, finished_at) VALUES (%s, 'FAILED', 1, 'attempt', now())",
        "parked": "VALUES (%s, 'OUTCOME_UNKNOWN', now())",
    }
    bench.admin.do(f"INSERT INTO symphony.{blocker} {values[blocker]}", payment)
    assert bench.claim() == []
    assert (bench.count("outbox_leases"), bench.pending(payment)) == (0, 1)


def test_a_claim_that_races_an_end_takes_nothing(bench: Bench) -> None:
    """NEG-08: the end is in a transaction that has the row's lock; the claim skips it, and finds the end afterwards."""
    (payment,) = bench.accept()
    owner = bench.another("owner").connection
    with owner.transaction():
        owner.execute("SELECT 1 FROM symphony.payment_outbox_pending WHERE outbox_id = %s FOR UPDATE", (payment,))
        owner.execute(
            "INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, finished_at)"
            " VALUES (%s, 'VOIDED', 1, 'attempt', now())",
            (payment,),
        )
        assert bench.claim() == []
    assert bench.claim() == []
    assert bench.count("outbox_leases") == 0


def test_a_resolution_and_an_end_of_the_rail_are_one_end(bench: Bench) -> None:
    """D6, D8: the resolution of a payment that has an end is refused whole."""
    claimed = bench.claimed()
    bench.end(claimed, "PENDING_MANUAL")
    bench.admin.do(
        "INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, finished_at) VALUES (%s, 'DISPATCHED', 1, 'attempt', now())",
        claimed["outbox_id"],
    )
    before = (bench.counts(), bench.next_seq)
    resolution = {
        "resolution_id": str(uuid4()), "outbox_id": str(claimed["outbox_id"]), "decision": "FAILED", "reason": "r", "maker": "a",
        "checker": "b", "evidence_reference": "e",
    }  # fmt: skip
    error = refusal(bench.executor.call, "resolve_parked", STREAM, 1, bench.next_seq, resolution, evidence(1)[0])
    assert says(error) == ("23505", "payment_terminals_pkey")
    assert (bench.counts(), bench.next_seq) == before


def test_an_open_state_is_no_end(bench: Bench) -> None:
    """OUT-04, D6: the table of ends holds ends only."""
    claimed = bench.claimed()
    for state in ("DISPATCHING", "RETRYABLE", "PENDING_MANUAL", "ZOMBIE_REQUEUE"):
        insert = "INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, finished_at) VALUES (%s, %s, 1, 'attempt', now())"
        error = refusal(bench.owner.do, insert, claimed["outbox_id"], state)
        assert says(error) == ("23514", "payment_terminals_state_check")
    assert bench.count("payment_terminals") == 0


def test_many_workers_end_many_payments_once_each(bench: Bench) -> None:
    """NUM-03, OUT-05: three workers, no order between them, each payment with one end and no number lost."""
    bench.accept(30)
    lock = threading.Lock()

    def work(hands: Hands) -> None:
        while rows := hands.table("claim_outbox_batch", *claim_parameters(limit=4)):
            with lock:  # the numbers of the stream are given out by one writer at a time
                bench.complete(*[attempt(row, "DISPATCHED", n) for n, row in enumerate(rows)], by=hands, first_seq=numbers[0])
                numbers[0] += len(rows)

    numbers = [bench.next_seq]
    workers = [bench.another("symphony_executor") for _ in range(3)]
    assert race(*[lambda worker=worker: work(worker) for worker in workers]) == [None, None, None]
    assert (bench.count("payment_terminals"), bench.count("payment_outbox_attempts"), bench.next_seq) == (30, 30, numbers[0])
    seqs = [row[0] for row in bench.admin.do("SELECT stream_seq FROM symphony.evidence_records ORDER BY 1")]
    assert seqs == list(range(1, numbers[0]))
