"""Dispatch with a real database and a ledger double: accepted, rejected, not sent, in doubt, decided again (OUT-04 to OUT-13)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rails.sdk import Outcome, SubmitItem, SubmitResult
from sidecar.store import Fenced
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import capped, payment


async def test_an_accepted_payment_is_dispatched_once_under_a_permit_of_this_attempt(stage: Stage) -> None:
    """OUT-04, OUT-06, OUT-07: the permit names epoch, attempt, release and the attestation's leaf, and binds the body."""
    await stage.begin()
    (one,) = await stage.accept(payment(amount=700))
    assert await stage.dispatch() == 1
    assert stage.state(one) == "SUCCEEDED"
    assert stage.attempts(one) == [(1, "DISPATCHING"), (1, "DISPATCHED")]
    (claims,) = stage.rail.submits
    leaf = stage.one("SELECT encode(leaf_hash, 'hex') FROM symphony.ingress_attestations")
    found = (claims.instruction_id, claims.epoch, claims.attempt, claims.release_number, claims.attestation_leaf_hash)
    assert found == (one, 1, 1, 1, leaf)
    assert (stage.usage(), stage.dispatcher.in_flight) == ((700, 1), 0)
    assert await stage.dispatch() == 0


async def test_many_payments_go_in_one_batch_under_one_signature(stage: Stage) -> None:
    """BAT-09; every permit of the tree verifies by itself."""
    await stage.begin()
    ids = await stage.accept(*(payment() for _ in range(17)))
    assert await stage.dispatch() == 17
    assert {stage.state(one) for one in ids} == {"SUCCEEDED"}
    assert len({claims.instruction_id for claims in stage.rail.submits}) == 17


async def test_a_rejected_payment_is_failed_and_its_usage_is_given_back(stage: Stage) -> None:
    """OUT-04; the daily cap has room again."""
    await stage.begin(support.active(data=capped(1_000, 1_500, 2)))
    first, second = await stage.accept(payment(amount=1_000), payment(amount=500))
    stage.rail.script = [lambda _: SubmitResult(outcome=Outcome.REJECTED_FINAL, code="ACCOUNT_UNKNOWN")]
    await stage.dispatch()
    states = {stage.state(first), stage.state(second)}
    assert states == {"FAILED", "SUCCEEDED"}
    assert stage.usage()[1] == 1
    failed = next(record for record in stage.evidence("attempt") if record["state"] == "FAILED")
    assert failed["error_code"] == "ACCOUNT_UNKNOWN"
    await stage.accept(payment(amount=1_500 - stage.usage()[0] if stage.state(first) == "FAILED" else 500))


async def test_what_was_surely_not_sent_is_retried_after_a_back_off_and_posted_once(stage: Stage) -> None:
    """OUT-13: not before it is due; the next attempt has the next number."""
    await stage.begin(support.active(retry={"attempts_max": 5, "backoff_ms_min": 5_000, "backoff_ms_max": 60_000}))
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.SURELY_NOT_SENT]
    await stage.dispatch()
    assert stage.state(one) == "QUEUED"
    assert await stage.dispatch() == 0
    stage.make_due()
    assert await stage.dispatch() == 1
    assert stage.attempts(one) == [(1, "DISPATCHING"), (1, "RETRYABLE"), (2, "DISPATCHING"), (2, "DISPATCHED")]
    assert [claims.attempt for claims in stage.rail.submits] == [1, 2]


async def test_at_the_ceiling_a_payment_is_parked_and_claimed_no_more(stage: Stage) -> None:
    """OUT-13, OUT-12: PENDING_MANUAL; its usage stays taken, because nobody knows better."""
    await stage.begin(support.active(retry={"attempts_max": 3, "backoff_ms_min": 1, "backoff_ms_max": 1}))
    (one,) = await stage.accept(payment(amount=10))
    stage.rail.script = [Outcome.SURELY_NOT_SENT] * 3
    for _ in range(4):
        stage.make_due()
        await stage.dispatch()
    assert (stage.state(one), stage.usage()) == ("NEEDS_REVIEW", (10, 1))
    assert [state for _, state in stage.attempts(one)][-1] == "PENDING_MANUAL"
    assert stage.one("SELECT reason_code FROM symphony.parked") == "RETRIES_EXHAUSTED"
    assert len(stage.rail.submits) == 3


async def test_an_answer_in_doubt_writes_nothing_and_is_left_to_recovery(stage: Stage) -> None:
    """OUT-11: nothing is inferred; the lease stays."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT]
    await stage.dispatch()
    assert (stage.state(one), stage.attempts(one)) == ("EXECUTING", [(1, "DISPATCHING")])
    assert stage.dispatcher.in_doubt == {one}
    assert await stage.dispatch() == 0


@pytest.mark.parametrize("trouble", [OSError("gone"), KeyError("result"), ValueError("frame"), RuntimeError("bug")])
async def test_an_adapter_that_breaks_its_contract_leaves_payments_in_doubt(stage: Stage, trouble: Exception) -> None:
    """OUT-11: whatever comes out of a submit, the dispatcher goes on and nothing is sent again blindly."""
    await stage.begin()

    def breaks(item: SubmitItem) -> SubmitResult:
        raise trouble

    ids = await stage.accept(payment(), payment())
    stage.rail.script = [breaks]
    await stage.dispatch()
    assert stage.dispatcher.in_doubt == set(ids)
    assert (stage.dispatcher.in_flight, stage.rail.posts.total()) == (0, 0)


async def test_a_release_that_denies_what_an_older_one_accepted_voids_it(stage: Stage) -> None:
    """Design section 3, Permit: decided again before the permit; a deny is VOIDED, nothing is sent, usage is given back."""
    await stage.begin()
    small, large = await stage.accept(payment(amount=100), payment(amount=5_000))
    stage.active = support.active(2, data=capped(1_000, 1_000_000, 1_000))
    assert await stage.dispatch() == 2
    assert (stage.state(small), stage.state(large)) == ("SUCCEEDED", "FAILED")
    assert stage.attempts(large) == [(1, "VOIDED")]
    assert [claims.release_number for claims in stage.rail.submits] == [2]
    assert stage.usage() == (100, 1)
    voided = next(record for record in stage.evidence("attempt") if record["state"] == "VOIDED")
    assert (voided["error_code"], voided["release_number"]) == ("POLICY_VOIDED", 2)


@pytest.mark.parametrize("frozen", [None, b"", b"{", b"[]", b"{}", b'{"instruction": {}}'])
async def test_a_decision_input_that_cannot_be_read_again_is_voided(stage: Stage, frozen: bytes | None) -> None:
    """Fail closed: it must not end the dispatcher, nor keep the payments behind it waiting."""
    await stage.begin()
    bad, good = await stage.accept(payment(), payment())
    stage.sql("UPDATE symphony.payloads SET decision_input = %s WHERE instruction_id = %s", frozen, bad)
    stage.active = support.active(2)
    await stage.dispatch()
    assert (stage.state(bad), stage.state(good)) == ("FAILED", "SUCCEEDED")


async def test_the_money_of_one_batch_is_bounded(stage: Stage) -> None:
    """BAT-02: rows are taken while their sum stays within the bound, one at least."""
    await stage.begin(support.active(batch_money={"value_minor_max": 250}))
    await stage.accept(*(payment(amount=amount) for amount in (100, 100, 100, 400)))
    claims = [await stage.dispatch() for _ in range(4)]
    assert sum(claims) == 4
    assert max(claims) == 2


async def test_a_batch_that_grew_old_before_it_was_sent_is_not_sent(stage: Stage) -> None:
    """BAT-02: it goes back to pending with its attempt counted."""
    await stage.begin(support.active(batch_money={"age_ms_max": 0}))
    (one,) = await stage.accept(payment())
    await stage.dispatch()
    assert stage.rail.submits == []
    assert stage.attempts(one)[-1] == (1, "RETRYABLE")


async def test_the_loop_claims_no_more_than_there_is_room_for(stage: Stage) -> None:
    """BAT-05, BAT-06: a rail that stalls does not pull the outbox into memory."""
    await stage.begin(support.active(in_flight={"worker_max": 3}))
    await stage.accept(*(payment() for _ in range(8)))
    stage.rail.gate = asyncio.Event()
    loop = asyncio.create_task(stage.dispatcher.run())
    await asyncio.sleep(0.7)
    assert (stage.dispatcher.in_flight, stage.one("SELECT count(*) FROM symphony.outbox_leases")) == (3, 3)
    stage.rail.gate.set()
    for _ in range(100):
        if stage.rail.posts.total() == 8:
            break
        await asyncio.sleep(0.05)
    await stage.dispatcher.stop(2)
    await asyncio.wait_for(loop, 1)
    assert stage.rail.posts.total() == 8


async def test_stopping_lets_what_is_in_flight_end_and_claims_nothing_more(stage: Stage) -> None:
    """A drain is bounded: a rail that never answers does not hang the process."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.gate = asyncio.Event()
    loop = asyncio.create_task(stage.dispatcher.run())
    while not stage.dispatcher.in_flight:
        await asyncio.sleep(0.01)
    begun = asyncio.get_running_loop().time()
    await stage.dispatcher.stop(0.2)
    assert asyncio.get_running_loop().time() - begun < 1
    await asyncio.wait_for(loop, 1)
    stage.rail.gate.set()
    await stage.dispatcher.stop(2)
    assert stage.state(one) == "SUCCEEDED"


@pytest.mark.parametrize("trouble", ["a database that is away", "a defect"])
async def test_trouble_with_a_claim_does_not_end_the_loop(stage: Stage, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """REC-08: it pauses, and goes on; only a newer writer ends it."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    real = stage.dispatcher._claim
    hits: list[int] = []

    async def claim(*arguments: Any) -> Any:
        if len(hits) < 2:
            hits.append(1)
            if trouble == "a defect":
                raise KeyError("instruction")
            stage.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'symphony-writer'")
        return await real(*arguments)

    monkeypatch.setattr(stage.dispatcher, "_claim", claim)
    loop = asyncio.create_task(stage.dispatcher.run())
    for _ in range(100):
        if stage.rail.posts:
            break
        await asyncio.sleep(0.05)
    assert stage.rail.posts[one] == 1
    await stage.begin()
    with pytest.raises(Fenced):
        await asyncio.wait_for(loop, 3)
