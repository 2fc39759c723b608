"""Recovery by seal: what is in doubt is asked about, never sent again blindly, and posted at most once (D7, OUT-10, NEG-30)."""

from __future__ import annotations

import asyncio

import pytest

from rails.sdk import Outcome, RailStatus, SubmitItem, SubmitResult
from sidecar.store import Fenced
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import payment

IN_DOUBT = SubmitResult(outcome=Outcome.IN_DOUBT)


async def test_doubt_about_a_payment_that_never_arrived_ends_in_one_posting(stage: Stage) -> None:
    """OUT-10: seal with n + 1, "not found" is final under it, ZOMBIE_REQUEUE, posted once as attempt n + 2."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT]
    await stage.dispatch()
    assert await stage.recover() == 1
    assert stage.attempts(one) == [(1, "DISPATCHING"), (2, "ZOMBIE_REQUEUE")]
    stage.make_due()
    await stage.dispatch()
    assert stage.attempts(one)[2:] == [(3, "DISPATCHING"), (3, "DISPATCHED")]
    assert ([c.attempt for c in stage.rail.submits], [c.attempt for c in stage.rail.seals]) == ([1, 3], [2])
    assert (stage.rail.posts[one], stage.state(one)) == (1, "SUCCEEDED")
    assert stage.dispatcher.in_doubt == set()


async def test_doubt_about_a_payment_that_did_arrive_is_dispatched_without_sending_it_again(stage: Stage) -> None:
    """NEG-30, REC-13: posted, the answer lost; the seal finds it."""
    await stage.begin()
    (one,) = await stage.accept(payment())

    def answer_lost(item: SubmitItem) -> SubmitResult:
        stage.rail.post(item)
        return IN_DOUBT

    stage.rail.script = [answer_lost]
    await stage.dispatch()
    await stage.recover()
    assert stage.attempts(one) == [(1, "DISPATCHING"), (1, "DISPATCHED")]
    assert (stage.rail.posts[one], len(stage.rail.submits)) == (1, 1)
    assert (await stage.recover(), await stage.dispatch()) == (0, 0)


async def test_a_lease_that_ran_out_while_the_rail_had_it_is_not_sent_again(stage: Stage) -> None:
    """NEG-30: a worker that died between claim and outcome; the late answer of the old claim is refused (OUT-08, NEG-29)."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.gate = asyncio.Event()
    assert stage.active is not None
    await stage.dispatcher._claim_some(stage.active, 10)
    stage.expire_leases()
    assert await stage.recover() == 1
    assert stage.attempts(one) == [(1, "DISPATCHING"), (2, "ZOMBIE_REQUEUE")]
    stage.rail.gate.set()  # the first submit arrives at the ledger only now, after the seal
    await asyncio.wait(list(stage.dispatcher._tasks))
    assert stage.rail.posts == {}
    stage.make_due()
    await stage.dispatch()
    assert (stage.rail.posts[one], stage.state(one)) == (1, "SUCCEEDED")


async def test_a_late_answer_after_the_takeover_writes_nothing(stage: Stage) -> None:
    """OUT-08, NEG-29: the outcome belongs to whoever holds the lease."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    late: list[SubmitItem] = []

    def keep(item: SubmitItem) -> SubmitResult:
        late.append(item)
        stage.expire_leases()
        return SubmitResult(outcome=Outcome.REJECTED_FINAL, code="ACCOUNT_UNKNOWN")

    stage.rail.script = [keep]
    await stage.dispatch()
    assert stage.attempts(one) == [(1, "DISPATCHING")]
    await stage.recover()
    assert stage.attempts(one)[-1] == (2, "ZOMBIE_REQUEUE")
    assert stage.rail.post(late[0]).outcome is Outcome.IN_DOUBT  # PERMIT_SUPERSEDED


async def test_a_crashed_writers_leases_are_taken_over_at_once_by_the_next_epoch(stage: Stage) -> None:
    """D5, D7: no wait for the lease; the stale writer's outcome and claim are fenced; posted once."""
    await stage.begin()
    ids = await stage.accept(payment(), payment())
    stage.rail.gate = asyncio.Event()
    old = stage.parts()
    await old.dispatcher._claim_some(stage.active, 10)
    await stage.begin()
    assert await stage.recover() == 2
    stage.rail.gate.set()
    await asyncio.wait(list(old.dispatcher._tasks))
    with pytest.raises(Fenced):
        await old.dispatcher._claim_some(stage.active, 10)
    stage.make_due()
    await stage.dispatch()
    assert [stage.rail.posts[one] for one in ids] == [1, 1]
    assert {(claims.epoch, claims.attempt) for claims in stage.rail.posted.values()} == {(2, 3)}


async def test_a_crash_after_the_posting_and_before_the_outcome_is_found_by_the_next_epoch(stage: Stage) -> None:
    """OUT-10: kill at the worst moment; the seal of epoch 2 finds the posting of epoch 1."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    work: list[SubmitItem] = []

    def crash(item: SubmitItem) -> SubmitResult:
        work.append(item)
        stage.rail.post(item)
        raise RuntimeError("the writer is gone")

    stage.rail.script = [crash]
    await stage.dispatch()
    await stage.begin()
    await stage.recover()
    assert (stage.state(one), stage.rail.posts[one], len(work)) == ("SUCCEEDED", 1, 1)


async def test_a_rail_that_cannot_say_is_asked_again_and_then_people_decide(stage: Stage) -> None:
    """NEG-25, OUT-11: UNCERTAIN meanwhile, PENDING_MANUAL at the ceiling, never sent again, usage stays taken."""
    await stage.begin(support.active(retry={"attempts_max": 3, "backoff_ms_min": 1, "backoff_ms_max": 1}))
    (one,) = await stage.accept(payment(amount=10))
    stage.rail.script = [Outcome.IN_DOUBT]
    stage.rail.words = [RailStatus.CANNOT_SAY, RailStatus.NOT_FOUND_YET, RailStatus.ACCEPTED_PENDING]
    await stage.dispatch()
    for asked in (1, 2, 3):
        assert await stage.recover() == 1
        assert await stage.recover() == 0
        assert stage.state(one) == ("UNCERTAIN" if asked < 3 else "NEEDS_REVIEW")
        stage.expire_leases()
    assert stage.attempts(one) == [(1, "DISPATCHING"), (1, "PENDING_MANUAL")]
    assert stage.one("SELECT reason_code FROM symphony.parked") == "OUTCOME_UNKNOWN"
    assert (await stage.recover(), await stage.dispatch(), stage.usage()) == (0, 0, (10, 1))
    assert len(stage.rail.submits) == 1


async def test_a_seal_that_answered_nothing_is_repeated_with_the_same_number(stage: Stage) -> None:
    """Design section 3, Permit: the ledger takes an equal (epoch, attempt) of the same purpose and bytes as a repeat."""
    await stage.begin()
    await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT]
    stage.rail.words = [RailStatus.CANNOT_SAY]
    await stage.dispatch()
    await stage.recover()
    stage.expire_leases()
    await stage.recover()
    first, second = stage.rail.seals
    assert (first.attempt, first.request_sha256) == (second.attempt, second.request_sha256) == (2, second.request_sha256)


async def test_a_payment_that_is_lost_each_time_is_parked_at_the_ceiling(stage: Stage) -> None:
    """OUT-13: doubt, seal, "not found", again and again, has an end."""
    await stage.begin(support.active(retry={"attempts_max": 5, "backoff_ms_min": 1, "backoff_ms_max": 1}))
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT] * 50
    for _ in range(10):
        stage.make_due()
        await stage.dispatch()
        await stage.recover()
    assert (stage.state(one), len(stage.rail.submits)) == ("NEEDS_REVIEW", 3)
    assert stage.one("SELECT reason_code FROM symphony.parked") == "RETRIES_EXHAUSTED"


async def test_a_rejected_payment_under_the_seal_is_failed_and_gives_usage_back(stage: Stage) -> None:
    """OUT-10."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.script, stage.rail.words = [Outcome.IN_DOUBT], [RailStatus.REJECTED_FINAL]
    await stage.dispatch()
    await stage.recover()
    assert (stage.state(one), stage.usage()) == ("FAILED", (0, 0))


async def test_a_rail_with_manual_recovery_parks_without_asking(stage: Stage) -> None:
    """Manifest ``recovery: manual``."""
    await stage.begin(support.active(recovery="manual"))
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT]
    await stage.dispatch()
    await stage.recover()
    assert (stage.state(one), stage.rail.seals) == ("NEEDS_REVIEW", [])


async def test_an_adapter_that_breaks_its_contract_does_not_end_recovery(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT-11: no answer is "cannot say", counted, and the loop goes on to the next round."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.script = [Outcome.IN_DOUBT]
    await stage.dispatch()
    real, calls = stage.rail.query_status, []

    async def breaks(items: list[SubmitItem], *, timeout_ms: int) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("result")
        return await real(items, timeout_ms=timeout_ms)

    monkeypatch.setattr(stage.rail, "query_status", breaks)
    loop = asyncio.create_task(stage.recovery.run())
    for _ in range(100):
        stage.expire_leases()
        if stage.attempts(one)[-1][1] == "ZOMBIE_REQUEUE":
            break
        await asyncio.sleep(0.05)
    assert stage.attempts(one)[-1] == (2, "ZOMBIE_REQUEUE")
    await stage.begin()
    with pytest.raises(Fenced):
        await asyncio.wait_for(loop, 3)


async def test_a_database_that_is_away_when_the_outcome_is_known_costs_no_payment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """REC-08, REC-13: posted, but the outcome could not be written; recovery asks and writes it."""
    await stage.begin()
    (one,) = await stage.accept(payment())

    def posts_and_cuts(item: SubmitItem) -> SubmitResult:
        stage.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'symphony-writer'")
        return stage.rail.post(item)

    stage.rail.script = [posts_and_cuts]
    await stage.dispatch()
    assert (stage.attempts(one), stage.dispatcher.in_doubt) == ([(1, "DISPATCHING")], {one})
    await stage.recover()
    assert (stage.state(one), stage.rail.posts[one]) == ("SUCCEEDED", 1)
