"""Who lost its lease or its epoch writes nothing (OUT-08, INV-013, NEG-29)."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sidecar.rows import (
    NONE,
    STREAM,
    WORKER,
    ZONE,
    Bench,
    Row,
    attempt,
    claim_parameters,
    event,
    evidence,
    refusal,
    refused,
)


def state(bench: Bench) -> Any:
    leases = bench.admin.do("SELECT l::text FROM symphony.outbox_leases AS l ORDER BY 1")
    return bench.counts(), bench.next_seq, bench.usage(), leases


@pytest.mark.parametrize("change", [
    {"lease_token": "00000000-0000-4000-8000-000000000000"}, {"claimed_by": "w2"}, {"lease_token": None}, {"claimed_by": None},
    {"outbox_id": "00000000-0000-4000-8000-000000000000"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("outcome", ["DISPATCHED", "RETRYABLE"])
def test_an_outcome_without_its_own_lease_is_refused(bench: Bench, change: Row, outcome: str) -> None:
    """NEG-29, INV-013, OUT-08: a stale token, another worker, no lease at all: SY003."""
    claimed = bench.claimed()
    before = state(bench)
    assert refusal(bench.complete, attempt(claimed, outcome, **change)).sqlstate == "SY003"
    assert state(bench) == before


def test_an_outcome_after_the_lease_ran_out_is_refused(bench: Bench) -> None:
    """NEG-29, NEG-30: nobody else need have taken it."""
    bench.accept()
    (claimed,) = bench.claim(lease_ms=0)
    before = state(bench)
    assert refusal(bench.complete, attempt(claimed, "DISPATCHED")).sqlstate == "SY003"
    assert state(bench) == before


def test_one_lost_lease_refuses_the_whole_batch_of_outcomes(bench: Bench) -> None:
    """OUT-08, BAT-04: nothing of it is written; the others complete without it."""
    bench.accept(3)
    rows = bench.claim()
    outcomes = [attempt(row, "DISPATCHED", n) for n, row in enumerate(rows)]
    outcomes[1]["lease_token"] = str(uuid4())
    before = state(bench)
    assert refusal(bench.complete, *outcomes).sqlstate == "SY003"
    assert state(bench) == before
    assert bench.complete(outcomes[0], {**outcomes[2], "n": 1}) == 2


def test_one_lease_gives_one_outcome(bench: Bench) -> None:
    """OUT-08: twice in one call, and once more later."""
    claimed = bench.claimed()
    before = state(bench)
    twice = [attempt(claimed, "DISPATCHED", 0), attempt(claimed, "FAILED", 1)]
    assert refusal(bench.complete, *twice).sqlstate == "SY003"
    assert state(bench) == before
    bench.end(claimed, "RETRYABLE")
    assert refusal(bench.complete, attempt(claimed, "DISPATCHED")).sqlstate == "SY003"


@pytest.mark.parametrize("undefined", ["DISPATCHING", "SUCCEEDED", "", None])
def test_an_outcome_is_one_of_six(bench: Bench, undefined: str | None) -> None:
    """OUT-04, REC-12: a move that is not defined is refused, and its lease stays."""
    claimed = bench.claimed()
    before = state(bench)
    error = refusal(bench.complete, {**attempt(claimed), "state": undefined, "error_code": "X"})
    assert error.sqlstate in {"22023", "22P02", "23502"}
    assert state(bench) == before


@pytest.mark.parametrize("missing", ["payload", "retry_in_ms"])
def test_a_payment_goes_back_with_all_it_needs_or_stays_leased(bench: Bench, missing: str) -> None:
    """OUT-13, OUT-10: no payment is lost between the lease and the outbox."""
    claimed = bench.claimed()
    before = state(bench)
    assert refusal(bench.complete, attempt(claimed, "RETRYABLE", **{missing: None})).sqlstate == "23502"
    assert state(bench) == before


def test_a_new_epoch_ends_every_older_writer(bench: Bench) -> None:
    """D10, INV-013: SY001 for recording, judging, claiming, completing, taking over and events; nothing is written."""
    claimed = bench.claimed()
    assert bench.executor.call("begin_epoch", STREAM) == {"epoch": 2, "next_seq": bench.next_seq}
    before = state(bench)
    number = bench.next_seq
    calls: list[tuple[Any, ...]] = [
        (bench.record, [refused()]),
        (bench.ingest.call, "judge_batch", STREAM, 1, ZONE, NONE, NONE),
        (bench.executor.call, "claim_outbox_batch", *claim_parameters()),
        (bench.executor.call, "record_dispatching", STREAM, 1, number, [attempt(claimed)], evidence(1)),
        (bench.complete, attempt(claimed, "DISPATCHED")),
        (bench.executor.call, "complete_outbox_attempt", STREAM, 1, number, attempt(claimed, "DISPATCHED"), b"e"),
        (bench.executor.call, "take_over_leases", STREAM, 1, WORKER, [], 10, 1000),
        (bench.executor.call, "record_events", STREAM, 1, number, [event()], evidence(1)),
    ]
    for call, *parameters in calls:
        assert refusal(call, *parameters).sqlstate == "SY001", parameters
    assert state(bench) == before


def test_a_lease_of_an_older_epoch_completes_in_none(bench: Bench) -> None:
    """INV-013: the token is right and unexpired, the epoch that claimed it is over; the new one takes it over first."""
    claimed = bench.claimed()
    bench.executor.call("begin_epoch", STREAM)
    before = state(bench)
    assert refusal(bench.complete, attempt(claimed, "DISPATCHED"), epoch=2).sqlstate == "SY003"
    assert state(bench) == before
    (mine,) = bench.executor.table("take_over_leases", STREAM, 2, "w2", [], 10, 60_000)
    assert (mine["recoveries"], mine["attempt_no"]) == (1, 1)
    assert mine["lease_token"] != claimed["lease_token"]
    late = attempt({**mine, "lease_token": claimed["lease_token"]}, "DISPATCHED", claimed_by="w2")
    assert refusal(bench.complete, late, epoch=2).sqlstate == "SY003"
    assert bench.complete(attempt(mine, "DISPATCHED", claimed_by="w2", epoch=2), epoch=2) == 1


def test_only_lost_leases_are_taken_over_and_each_by_one(bench: Bench) -> None:
    """OUT-10, D7: expired or named as in doubt; a live lease stays with its worker; two recoveries share nothing."""
    bench.accept(4)
    lost = [row["outbox_id"] for row in bench.claim(limit=2, lease_ms=0)]
    live = [row["outbox_id"] for row in bench.claim(limit=2)]
    one, two = bench.another("symphony_executor"), bench.another("symphony_executor")
    with one.open():
        first = one.within("take_over_leases", STREAM, 1, "r1", [live[0]], 10, 60_000)
        assert two.table("take_over_leases", STREAM, 1, "r2", [live[0]], 10, 60_000) == []
    assert {row["outbox_id"] for row in first} == {*lost, live[0]}
    holders = bench.admin.do("SELECT claimed_by, recoveries, count(*) FROM symphony.outbox_leases GROUP BY 1, 2 ORDER BY 1")
    assert holders == [("r1", 1, 3), (WORKER, 0, 1)]


def test_a_payment_that_is_asked_after_is_uncertain_until_it_is_known(bench: Bench) -> None:
    """REC-12, REC-13, OUT-11: the derived states along the way."""
    seen = []

    def look() -> None:
        seen.append(bench.one("SELECT state FROM symphony.instruction_states"))

    bench.accept()
    look()
    bench.claim(lease_ms=0)
    look()
    (mine,) = bench.executor.table("take_over_leases", STREAM, 1, WORKER, [], 10, 60_000)
    look()
    bench.end(mine, "PENDING_MANUAL")
    look()
    assert bench.claim() == []
    assert seen == ["QUEUED", "EXECUTING", "UNCERTAIN", "NEEDS_REVIEW"]


def test_begin_epoch_waits_for_the_writer_that_is_committing(bench: Bench) -> None:
    """D10: the older writer's commit is before the new epoch or not at all."""
    started: list[Any] = []
    with bench.ingest.open():
        bench.ingest.within("record_batch", *bench.batch([refused()]))
        other = bench.another("symphony_executor")
        thread = threading.Thread(target=lambda: started.append(other.call("begin_epoch", STREAM)))
        thread.start()
        thread.join(0.2)
        assert started == []
    thread.join(10)
    assert started == [{"epoch": 2, "next_seq": 2}]
    with pytest.raises(psycopg.Error, match="is over"):
        bench.record([refused()])
