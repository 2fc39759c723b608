"""A parked payment is closed by two officers, after the rail was asked: once, and only as the rail bears out (D8, OUT-12)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import resolution
from contracts.errors import SymphonyError
from contracts.keys import key_id_of, public_hex
from contracts.release.envelope import countersigned
from contracts.times import SystemClock
from rails.sdk import Outcome, RailStatus, SubmitItem, SubmitResult
from sidecar.active import ActiveRelease
from sidecar.dispatch import resolution as resolving
from sidecar.dispatch.resolution import Resolver
from sidecar.dispatch.work import PermitMaker
from tests.sidecar import support
from tests.sidecar.stage import STREAM, Stage
from tests.sidecar.support import payment

pytestmark = pytest.mark.needs_schema("sidecar", 8)

ALICE, BOB, MALLORY = (Ed25519PrivateKey.generate() for _ in range(3))
ONCE = {"attempts_max": 1}
SILENT = [RailStatus.CANNOT_SAY, RailStatus.ACCEPTED_PENDING, RailStatus.NOT_FOUND_YET]


def active(**sidecar: Any) -> ActiveRelease:
    """A release of two officers."""
    from dataclasses import replace

    release = support.release(**{"retry": ONCE, **sidecar})
    return ActiveRelease(replace(release, officers={key_id_of(key): public_hex(key) for key in (ALICE, BOB)}))


def resolver(stage: Stage) -> Resolver:
    """The writer's resolver of the stage's newest epoch."""
    permits = PermitMaker(support.permit_key(), support.SERVICE, stage.store.epoch)
    return Resolver(
        stage.store, stage.rail, permits, active=lambda: stage.active, service=support.SERVICE, clock=SystemClock()  # type: ignore[arg-type]
    )  # fmt: skip


async def parked(stage: Stage, *, posted: bool = False, **sidecar: Any) -> str:
    """A payment that is parked; ``posted``: the ledger has it, and the answer was lost."""
    await stage.begin(active(**sidecar))
    (one,) = await stage.accept(payment())

    def lost(item: SubmitItem) -> SubmitResult:
        if posted:
            stage.rail.post(item)
        return SubmitResult(outcome=Outcome.IN_DOUBT)

    stage.rail.script = [lost]
    await stage.dispatch()
    stage.rail.words = [RailStatus.CANNOT_SAY]
    await stage.recover()
    assert stage.state(one) == "NEEDS_REVIEW"
    return one


def envelope(stage: Stage, one: str, decision: str, *, checker: Ed25519PrivateKey = BOB, **changes: Any) -> bytes:
    """What Alice made and the checker signed."""
    reason_code, parked_at = stage.sql(
        "SELECT reason_code, symphony.rfc3339(parked_at) FROM symphony.parked WHERE outbox_id = %s", one
    )[0] if stage.state(one) == "NEEDS_REVIEW" else ("OUTCOME_UNKNOWN", "2026-11-24T11:00:00.000000Z")  # fmt: skip
    fields = {
        "environment": "sandbox", "service": support.SERVICE, "stream": STREAM, "instruction_id": one, "decision": decision,
        "reason": "the rail's statement of today", "evidence_reference": "CASE-17", "reason_code": reason_code,
        "parked_at": parked_at, "now": datetime.now(UTC), **changes,
    }  # fmt: skip
    return json.dumps(countersigned(resolution.made(ALICE, **fields), checker)).encode()


async def refused(call: Any) -> str:
    with pytest.raises(SymphonyError) as caught:
        await call
    return caught.value.code


@pytest.mark.parametrize(("posted", "decision", "state", "used"), [
    (True, "DISPATCHED", "SUCCEEDED", (12_500, 1)), (False, "FAILED", "FAILED", (0, 0)),
], ids=["posted", "not posted"])  # fmt: skip
async def test_what_the_rail_bears_out_is_recorded_once(
    stage: Stage, posted: bool, decision: str, state: str, used: tuple[int, int]
) -> None:
    """D8, OUT-12: record, terminal, usage and evidence in one; the wrong decision is refused and changes nothing."""
    one = await parked(stage, posted=posted)
    hands, wrong = resolver(stage), "FAILED" if decision == "DISPATCHED" else "DISPATCHED"
    assert await refused(hands.resolve(one, envelope(stage, one, wrong))) == "RESOLUTION_CONTRADICTED"
    assert (stage.state(one), stage.usage(), stage.evidence("resolution")) == ("NEEDS_REVIEW", (12_500, 1), [])
    data = envelope(stage, one, decision)
    done = await hands.resolve(one, data)
    assert (done["repeated"], done["terminal"]["source"], done["resolution"]["decision"]) == (
        False,
        "resolution",
        decision,
    )
    assert (stage.state(one), stage.usage(), len(stage.rail.posts)) == (state, used, int(posted))
    (record,) = stage.evidence("resolution")
    assert (record["maker_key_id"], record["checker_key_id"]) == (key_id_of(ALICE), key_id_of(BOB))
    assert (record["rail_status"], record["evidence_reference"]) == (
        "accepted_final" if posted else "not_found_final",
        "CASE-17",
    )
    assert "statement of today" not in json.dumps(record)
    again = await hands.resolve(one, data)
    assert again == {**done, "repeated": True}
    assert await refused(hands.resolve(one, envelope(stage, one, wrong))) == "RESOLUTION_STALE"
    assert (stage.state(one), stage.usage(), len(stage.evidence("resolution"))) == (state, used, 1)


async def test_a_late_answer_of_the_rail_changes_no_terminal(stage: Stage) -> None:
    """D6, OUT-12: what was resolved as failed was sealed; the old post is refused, and a contradiction writes nothing."""
    one = await parked(stage)
    data = envelope(stage, one, "FAILED")
    await resolver(stage).resolve(one, data)
    (late,) = stage.rail.submits
    assert stage.rail.marks[one] > (late.epoch, late.attempt), "the old permit can still post"
    stage.rail.posted[one] = late  # a rail that takes its own word back
    before = stage.evidence()
    assert (await stage.recover(), await stage.dispatch()) == (0, 0)
    assert (await resolver(stage).resolve(one, data))["repeated"] is True
    assert await refused(resolver(stage).resolve(one, envelope(stage, one, "DISPATCHED"))) == "RESOLUTION_STALE"
    assert (stage.state(one), stage.evidence()) == ("FAILED", before)


@pytest.mark.parametrize("word", SILENT, ids=str)
@pytest.mark.parametrize("decision", ["DISPATCHED", "FAILED"])
async def test_a_rail_that_cannot_say_is_waited_for(stage: Stage, word: RailStatus, decision: str) -> None:
    """OUT-11: under ``query`` no evidence reference stands for the rail's word."""
    one = await parked(stage)
    stage.rail.words = [word]
    assert await refused(resolver(stage).resolve(one, envelope(stage, one, decision))) == "OUTCOME_UNKNOWN"
    assert (stage.state(one), stage.evidence("resolution")) == ("NEEDS_REVIEW", [])


@pytest.mark.parametrize(("words", "decision", "code"), [
    ([RailStatus.CANNOT_SAY], "DISPATCHED", None), ([RailStatus.CANNOT_SAY], "FAILED", None),
    ([RailStatus.REJECTED_FINAL], "DISPATCHED", "RESOLUTION_CONTRADICTED"), ([], "DISPATCHED", "RESOLUTION_CONTRADICTED"),
    ([RailStatus.ACCEPTED_FINAL], "FAILED", "RESOLUTION_CONTRADICTED"),
], ids=str)  # fmt: skip
async def test_where_recovery_is_manual_evidence_decides_until_the_rail_speaks(
    stage: Stage, words: list[RailStatus], decision: str, code: str | None
) -> None:
    """OUT-12: the manifest's rule ``manual``; a final answer is never gone against."""
    one = await parked(stage)
    stage.active, stage.rail.words = active(recovery="manual"), words
    call = resolver(stage).resolve(one, envelope(stage, one, decision))
    if code is None:
        assert (await call)["resolution"]["decision"] == decision
        assert [r["recovery"] for r in stage.evidence("resolution")] == ["manual"]
    else:
        assert await refused(call) == code


async def test_an_adapter_that_breaks_has_said_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT-11: whatever goes wrong on the way to the rail."""
    one = await parked(stage)

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(stage.rail, "query_status", broken)
    assert await refused(resolver(stage).resolve(one, envelope(stage, one, "FAILED"))) == "OUTCOME_UNKNOWN"
    assert stage.state(one) == "NEEDS_REVIEW"


@pytest.mark.parametrize(("changes", "code"), [
    ({"checker": MALLORY}, "OFFICER_UNKNOWN"), ({"checker": ALICE}, "RESOLUTION_TWO_OFFICERS"),
    ({"environment": "staging"}, "RESOLUTION_SCOPE"), ({"service": "other"}, "RESOLUTION_SCOPE"), ({"stream": "b"}, "RESOLUTION_SCOPE"),
    ({"instruction_id": "0190b1c2-0000-7000-8000-000000000001"}, "RESOLUTION_SCOPE"),
    ({"now": datetime(2026, 11, 1, tzinfo=UTC)}, "RESOLUTION_EXPIRED"),
    ({"parked_at": "2026-11-24T11:00:00.000001Z"}, "RESOLUTION_STALE"), ({"reason_code": "RETRIES_EXHAUSTED"}, "RESOLUTION_STALE"),
], ids=["a stranger", "one officer twice", "environment", "service", "stream", "payment", "expired", "parked since", "reason"])  # fmt: skip
async def test_a_resolution_that_is_none_is_refused_before_the_rail_is_asked(
    stage: Stage, changes: dict[str, Any], code: str
) -> None:
    """D8: nothing changed, nothing asked."""
    one = await parked(stage)
    seals, before = len(stage.rail.seals), stage.evidence()
    assert await refused(resolver(stage).resolve(one, envelope(stage, one, "FAILED", **changes))) == code
    assert (stage.state(one), len(stage.rail.seals), stage.evidence()) == ("NEEDS_REVIEW", seals, before)


async def test_only_what_is_parked_here_is_resolved_and_only_under_a_release(stage: Stage) -> None:
    """OUT-12: unknown, pending, and no release in force."""
    await stage.begin(active())
    (one,) = await stage.accept(payment())
    hands, unknown = resolver(stage), "0190b1c2-0000-7000-8000-000000000001"
    assert await refused(hands.resolve(one, envelope(stage, one, "FAILED"))) == "RESOLUTION_STALE"
    assert await refused(hands.look(unknown)) == "NOT_FOUND"
    assert await refused(hands.look("last")) == "REQUEST_INVALID"
    data, stage.active = envelope(stage, one, "FAILED"), None
    assert await refused(hands.resolve(one, data)) == "NO_ACTIVE_RELEASE"
    assert stage.state(one) == "QUEUED"


async def test_the_rail_is_asked_outside_of_any_transaction(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT-16."""
    one, open_then = await parked(stage), []
    asked = stage.rail.query_status

    async def watched(items: Any, *, timeout_ms: int) -> Any:
        open_then.append(
            stage.one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'symphony-writer'"
                " AND state LIKE 'idle in transaction%%' AND datname = current_database()"
            )
        )
        return await asked(items, timeout_ms=timeout_ms)

    monkeypatch.setattr(stage.rail, "query_status", watched)
    await resolver(stage).resolve(one, envelope(stage, one, "FAILED"))
    assert open_then == [0]


class _Killed(BaseException):
    """As if the process had ended there."""


async def test_killed_between_the_rails_answer_and_the_commit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written; the next writer takes the same file, under a higher epoch."""
    one = await parked(stage)
    data, reached = envelope(stage, one, "FAILED"), []

    def kill(name: str) -> None:
        reached.append(name)
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(resolving, "failpoint", kill)
        with pytest.raises(_Killed):
            await resolver(stage).resolve(one, data)
    assert (reached, stage.state(one), stage.evidence("resolution")) == (["resolve.answered"], "NEEDS_REVIEW", [])
    await stage.begin()
    assert (await resolver(stage).resolve(one, data))["repeated"] is False
    assert (stage.state(one), stage.usage(), len(stage.evidence("resolution"))) == ("FAILED", (0, 0), 1)


async def test_a_writer_that_is_over_resolves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """INV-012: a newer writer began while the rail was asked."""
    one = await parked(stage)
    old, data = resolver(stage), envelope(stage, one, "FAILED")
    asked = stage.rail.query_status

    async def overtaken(items: Any, *, timeout_ms: int) -> Any:
        said = await asked(items, timeout_ms=timeout_ms)
        await stage.begin()
        return said

    with monkeypatch.context() as patched:
        patched.setattr(stage.rail, "query_status", overtaken)
        assert await refused(old.resolve(one, data)) == "STORE_UNAVAILABLE"
    assert stage.state(one) == "NEEDS_REVIEW"
    assert (await resolver(stage).resolve(one, data))["resolution"]["decision"] == "FAILED"


async def test_two_approvals_that_race_are_one_record(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """D6, D8: both have the rail's answer in hand; the first writes, the other finds it, or is told that it has ended."""
    one = await parked(stage)
    hands, both, asked = resolver(stage), asyncio.Barrier(3), stage.rail.query_status

    async def together(items: Any, *, timeout_ms: int) -> Any:
        said = await asked(items, timeout_ms=timeout_ms)
        await both.wait()
        return said

    monkeypatch.setattr(stage.rail, "query_status", together)
    same, other = envelope(stage, one, "FAILED"), envelope(stage, one, "FAILED", evidence_reference="CASE-18")
    answers = await asyncio.gather(*(hands.resolve(one, data) for data in (same, same, other)), return_exceptions=True)
    codes = sorted(a.code if isinstance(a, SymphonyError) else str(a["repeated"]) for a in answers)  # type: ignore[index]
    assert codes in (["False", "RESOLUTION_STALE", "True"], ["False", "RESOLUTION_STALE", "RESOLUTION_STALE"]), answers
    assert (stage.one("SELECT count(*) FROM symphony.resolutions"), len(stage.evidence("resolution"))) == (1, 1)
    assert (stage.state(one), stage.usage()) == ("FAILED", (0, 0))


async def test_few_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operation is bounded, and free again afterwards."""
    one, gate = await parked(stage), asyncio.Event()
    hands, asked = resolver(stage), stage.rail.query_status

    async def waits(items: Any, *, timeout_ms: int) -> Any:
        await gate.wait()
        return await asked(items, timeout_ms=timeout_ms)

    monkeypatch.setattr(stage.rail, "query_status", waits)
    tasks = [asyncio.create_task(hands.look(one)) for _ in range(resolving.AT_ONCE_MAX)]
    await asyncio.sleep(0.2)
    assert await refused(hands.look(one)) == "OVERLOADED"
    gate.set()
    assert [(await task)["rail"]["status"] for task in tasks] == ["not_found_final"] * resolving.AT_ONCE_MAX
    assert (await hands.look(one))["parked"]["reason_code"] == "OUTCOME_UNKNOWN"
