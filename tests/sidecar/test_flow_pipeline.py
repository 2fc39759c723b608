"""Stations 1 to 3 of one request, with an adapter of our own, up to a real recorder: what is handed over, and what never is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.times import SystemClock, rfc3339
from contracts.wire import ConnectionLost
from rails.sdk import MessageInfo, NormaliseAnswer, Refusal
from rails.sdk.types import TransactionResult
from sidecar.attestation import Presented
from sidecar.intake.handover import Answer, Handover, HandoverAnswer
from sidecar.intake.pipeline import Pipeline, View, view_of
from sidecar.policy.errors import PolicyFailed
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, KEY_CANARY, LUANGWA, certificate, payment, token


class Doubles:
    """An adapter that answers what it was given, and the writer's socket before a real recorder."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.answers: list[NormaliseAnswer | Exception] = []
        self.configured: list[int] = []
        self.handed: list[Handover] = []
        self.trouble: Exception | None = None
        self.instead: list[Answer | str] | None = None

    async def configure(self, release_number: int, schemas: dict[str, bytes], context: Any) -> None:
        """As ``AdapterClient.configure``."""
        self.configured.append(release_number)

    async def normalise(self, raw: bytes, **request: Any) -> NormaliseAnswer:
        """As ``AdapterClient.normalise``."""
        told = self.answers.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    async def call(self, method: str, params: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """As ``wire.Client.call``."""
        assert method == "record"
        if self.trouble is not None:
            raise self.trouble
        handover = msgspec.convert(params, Handover, builtin_types=(bytes,))
        self.handed.append(handover)
        answers = self.instead or await self.stage.record(*handover.messages)
        return dict(msgspec.to_builtins(HandoverAnswer(answers=list(answers))))


class World:
    """A pipeline with its view, on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.doubles = Doubles(stage)
        self.pipeline: Any = Pipeline(
            writer=Path("/none"), adapter=Path("/none"), environment="sandbox", service=support.SERVICE, clock=SystemClock()
        )
        self.pipeline.writer = self.pipeline.adapter = self.doubles

    async def begin(self, **changes: Any) -> World:
        """With a release here and at the writer."""
        await self.stage.begin(support.active(**changes))
        assert self.stage.active is not None
        self.pipeline.bound(self.stage.active)
        self.pipeline.view = View(self.stage.active, datetime.now(UTC))
        return self

    def says(self, *results: dict[str, Any] | Refusal, group: Refusal | None = None) -> None:
        """What the adapter makes of the next message."""
        made = tuple(
            TransactionResult(refused=one) if isinstance(one, Refusal) else TransactionResult(instruction=one) for one in results
        )
        message = MessageInfo(message_type="pacs.008.001.08", message_id="M1", tx_count=len(made))
        self.doubles.answers.append(NormaliseAnswer(message=message, results=made, group_refused=group))

    async def send(self, *, by: str = KAFUE, presents: str | None = None, **changes: Any) -> Answer:
        """One request."""
        body = uuid4().bytes
        filled: dict[str, Any] = {
            "certificate_der": certificate(presents or by).der, "authorization": f"Bearer {token(by)}",
            "idempotency_key": KEY_CANARY + uuid4().hex, "content_type": "application/xml", "body": body,
            "body_sha256": hashlib.sha256(body).hexdigest(), "correlation_id": str(uuid4()),
        }  # fmt: skip
        answer: Answer = await self.pipeline.handle(Presented(**{**filled, **changes}), source="s", received_at=datetime.now(UTC))
        return answer


@pytest.fixture
def world(stage: Stage) -> World:
    """A world that has not begun."""
    return World(stage)


async def test_what_the_acceptor_decides_the_writer_takes(world: World) -> None:
    """Design section 3: the frozen input of station 3 passes the writer's own checks, and the payment is accepted."""
    await world.begin()
    world.says(payment(amount=100), payment(amount=200))
    answer = await world.send()
    assert [entry.decision for entry in answer.entries] == ["ALLOW", "ALLOW"]
    assert world.stage.usage() == (300, 2)
    (message,) = world.doubles.handed[0].messages
    assert [item.allow for item in message.items] == [True, True]


async def test_refused_payments_go_beside_allowed_ones_each_with_its_first_reason(world: World) -> None:
    """POL-11: station 2's refusal, an agent of another bank, Rego's denial, and one that is allowed."""
    await world.begin()
    refused = Refusal(code="AMOUNT_INVALID", detail="zero", tx_index=0)
    world.says(refused, payment(by=LUANGWA, to=KAFUE), payment(currency="AUD"), payment())
    answer = await world.send()
    reasons = [entry.reason_code for entry in answer.entries]
    assert reasons[:2] == ["AMOUNT_INVALID", "AGENT_MISMATCH"]
    assert reasons[2] is not None
    assert reasons[3] is None
    inputs = [item.decision_input for item in world.doubles.handed[0].messages[0].items]
    assert [bool(one) for one in inputs] == [False, False, True, True], "Rego was not asked about what fixed code refuses"


async def test_a_message_that_is_refused_whole_is_handed_over_as_such(world: World) -> None:
    """Design section 8: ``tx_index`` −1."""
    await world.begin()
    world.says(group=Refusal(code="MESSAGE_MALFORMED", detail="no root"))
    answer = await world.send()
    assert [(entry.tx_index, entry.reason_code) for entry in answer.entries] == [(-1, "MESSAGE_MALFORMED")]


async def test_a_result_that_is_neither_is_refused(world: World) -> None:
    """An adapter that breaks its contract costs a refusal, never a payment."""
    await world.begin()
    message = MessageInfo(message_type="pacs.008.001.08", message_id="M1", tx_count=1)
    world.doubles.answers.append(NormaliseAnswer(message=message, results=(TransactionResult(),)))
    answer = await world.send()
    assert [entry.reason_code for entry in answer.entries] == ["INPUT_INVALID"]


async def test_a_caller_who_is_not_verified_reaches_neither_adapter_nor_policy(world: World) -> None:
    """ATT-02, ATT-05: and is recorded."""
    await world.begin()
    answer = await world.send(presents=LUANGWA)
    assert (answer.rejected_code, answer.entries) == ("POP_MISMATCH", [])
    assert world.stage.evidence("attestation")[0]["reason_code"] == "POP_MISMATCH"


async def test_refusals_of_strangers_are_rows_up_to_the_bound_and_an_aggregate_above(world: World) -> None:
    """D3, NEG-24."""
    await world.begin(intake={"rejects_per_source_per_minute_max": 2})
    answers = [await world.send(authorization=None) for _ in range(5)]
    assert {answer.rejected_code for answer in answers} == {"TOKEN_MISSING"}
    assert [answer.attestation_id is not None for answer in answers] == [True, True, False, False, False]
    assert len(world.stage.evidence("attestation")) == 2
    (aggregate,) = world.pipeline.limiter.drain(datetime.now(UTC), final=True)
    assert aggregate.codes == {"TOKEN_MISSING": 3}


async def code_of(sent: Any) -> str:
    """The code of the error that a request ends in."""
    with pytest.raises(SymphonyError) as caught:
        await sent
    return caught.value.code


async def test_without_a_view_or_with_one_that_is_too_old_nothing_is_taken(world: World) -> None:
    """Design section 3, Processes: an age bound past which it refuses; fail closed."""
    await world.begin()
    view = world.pipeline.view
    world.pipeline.view = None
    assert await code_of(world.send()) == "NO_ACTIVE_RELEASE"
    world.pipeline.view = View(view.active, datetime.now(UTC) - timedelta(seconds=61))
    assert await code_of(world.send()) == "STORE_UNAVAILABLE"
    world.pipeline.view = View(support.in_emergency(ends_in_s=-1), datetime.now(UTC))
    assert await code_of(world.send()) == "RELEASE_CHANGED", "for an instant, until the release alone is taken up"
    del view.active.release.manifest["staleness"]  # with a schedule: at its end (test_pure_acceptor)
    view.active.lease_until(datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC))
    world.pipeline.view = View(view.active, datetime.now(UTC))
    assert (await code_of(world.send())).startswith("RELEASE_")
    assert (world.doubles.handed, world.stage.evidence()) == ([], [])


async def test_an_adapter_that_lost_its_release_is_told_it_again_once(world: World) -> None:
    """An adapter that was restarted."""
    await world.begin()
    world.doubles.answers.append(SymphonyError("RELEASE_CHANGED"))
    world.says(payment())
    assert [entry.decision for entry in (await world.send()).entries] == ["ALLOW"]
    assert world.doubles.configured == [1]
    world.doubles.answers += [SymphonyError("RELEASE_CHANGED"), SymphonyError("RELEASE_CHANGED")]
    assert await code_of(world.send()) == "RELEASE_CHANGED"
    world.doubles.answers.append(ConnectionLost("gone", sent=True))
    assert await code_of(world.send()) == "ADAPTER_UNAVAILABLE"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (ConnectionLost("gone", sent=True), "STORE_UNAVAILABLE"),
        (TimeoutError(), "STORE_UNAVAILABLE"),
        (CannotEvaluate("EVIDENCE_BACKLOG"), "EVIDENCE_BACKLOG"),
    ],
    ids=["away", "silent", "full"],
)
async def test_a_writer_that_does_not_answer_is_no_acknowledgement(world: World, trouble: Exception, code: str) -> None:
    """REC-08, NEG-27."""
    await world.begin()
    world.doubles.trouble = trouble
    world.says(payment())
    assert await code_of(world.send()) == code


async def test_a_code_of_the_writer_for_one_message_is_that_callers_error(world: World) -> None:
    """BAT-04."""
    await world.begin()
    world.doubles.instead = ["STORE_BREAKER_OPEN"]
    world.says(payment())
    assert await code_of(world.send()) == "STORE_BREAKER_OPEN"


async def test_a_policy_that_cannot_be_evaluated_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """POL-12: fail closed, and recorded."""
    await world.begin()

    def fails(*_arguments: Any, **_more: Any) -> Any:
        raise PolicyFailed("out of time")

    monkeypatch.setattr(world.pipeline.view.active.engine, "evaluate", fails)
    world.says(payment())
    assert [entry.reason_code for entry in (await world.send()).entries] == ["POLICY_ERROR"]


async def test_a_release_that_changes_between_the_stations_is_not_mixed(world: World) -> None:
    """No decision of one release is recorded under another; the caller is told to try again."""
    await world.begin()
    genuine: Callable[..., Any] = world.doubles.normalise

    async def changed(raw: bytes, **request: Any) -> NormaliseAnswer:
        answer: NormaliseAnswer = await genuine(raw, **request)
        world.pipeline.view = View(support.active(2), datetime.now(UTC))
        return answer

    world.doubles.normalise = changed  # type: ignore[method-assign]
    world.says(payment())
    assert await code_of(world.send()) == "RELEASE_CHANGED"
    assert world.stage.evidence() == []


async def test_large_batches_of_decisions_give_the_same_as_small_ones(world: World) -> None:
    """A batch above the bound is decided in a thread."""
    await world.begin()
    payments = [payment(amount=100 + n) for n in range(60)]
    world.says(*payments)
    assert [entry.decision for entry in (await world.send()).entries] == ["ALLOW"] * 60


def test_the_view_is_what_the_writer_said() -> None:
    now = rfc3339(datetime.now(UTC))
    active = support.active()
    full = view_of(active, {"usage": [[KAFUE, "ZMW", "2026-11-24", 500, 3]], "as_of": now})
    assert (full.usage, full.usage_day) == ({(KAFUE, "ZMW"): (500, 3)}, "2026-11-24")
    assert view_of(active, {"usage": [], "as_of": now}).usage == {}
