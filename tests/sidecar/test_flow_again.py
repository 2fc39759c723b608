"""Decided again under a newer release: only the officers' word voids a payment, and nothing is sent undecided (POL-12)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.policy.answers import denied
from sidecar.policy.errors import PolicyFailed
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import payment


def out_of_time(*_arguments: Any, **_more: Any) -> Any:
    """An engine that answers nothing in time."""
    raise PolicyFailed("out of time")


async def test_a_policy_that_cannot_be_evaluated_delays_a_payment_and_never_voids_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine is no deny: it is due again, nothing was sent, its usage stays taken, and later it is posted once."""
    await stage.begin()
    (identifier,) = await stage.accept(payment(amount=100))
    stage.active = support.active(2)
    with monkeypatch.context() as broken:
        broken.setattr(stage.active.engine, "evaluate", out_of_time)
        assert await stage.dispatch() == 1
    assert (stage.state(identifier), stage.rail.submits, stage.usage()) == ("QUEUED", [], (100, 1))
    assert stage.attempts(identifier) == [(1, "RETRYABLE")]
    assert stage.evidence("attempt")[0]["error_code"] == "POLICY_ERROR"
    stage.make_due()
    assert await stage.dispatch() == 1
    assert stage.state(identifier) == "SUCCEEDED"
    assert stage.attempts(identifier)[1:] == [(2, "DISPATCHING"), (2, "DISPATCHED")]


async def test_a_policy_that_never_can_be_evaluated_ends_with_people(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT-13: the ceiling is finite; usage stays taken until they say what it was."""
    await stage.begin(support.active(retry={"attempts_max": 2}))
    (identifier,) = await stage.accept(payment(amount=100))
    stage.active = support.active(2, retry={"attempts_max": 2})
    monkeypatch.setattr(stage.active.engine, "evaluate", out_of_time)
    for _ in range(2):
        stage.make_due()
        assert await stage.dispatch() == 1
    assert (stage.state(identifier), stage.usage()) == ("NEEDS_REVIEW", (100, 1))
    assert stage.attempts(identifier) == [(1, "RETRYABLE"), (2, "PENDING_MANUAL")]
    assert await stage.dispatch() == 0


@pytest.mark.parametrize("code", ["POLICY_UNDEFINED", "INPUT_INVALID", "CAP_PAYMENT_VALUE"])
async def test_any_other_answer_than_leave_voids_it(stage: Stage, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """An undefined decision is a deny (POL-12)."""
    await stage.begin()
    (identifier,) = await stage.accept(payment())
    stage.active = support.active(2)
    monkeypatch.setattr(stage.active.engine, "evaluate", lambda items, **_more: [denied(code)] * len(items))
    assert await stage.dispatch() == 1
    assert (stage.state(identifier), stage.rail.submits, stage.usage()) == ("FAILED", [], (0, 0))


async def test_one_batch_holds_what_is_sent_what_is_voided_and_what_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """BAT-04: each by itself, in one commit."""
    await stage.begin()
    sent, voided, waits = await stage.accept(payment(amount=1), payment(amount=2), payment(amount=3))
    active = stage.active = support.active(2)
    genuine = active.engine.evaluate

    def mixed(items: list[dict[str, Any]], *, deadline_ms: int) -> Any:
        answers = {1: None, 2: denied("CAP_PAYMENT_VALUE"), 3: denied("POLICY_ERROR")}
        allowed = genuine(items, deadline_ms=deadline_ms)
        return [answers[item["instruction"]["amount_minor"]] or allow for item, allow in zip(items, allowed, strict=True)]

    monkeypatch.setattr(active.engine, "evaluate", mixed)
    assert await stage.dispatch() == 3
    assert [stage.state(one) for one in (sent, voided, waits)] == ["SUCCEEDED", "FAILED", "QUEUED"]


@pytest.mark.parametrize("over", [True, False], ids=["it stands", "it has stood"])
async def test_what_was_decided_before_or_under_an_emergency_is_decided_again_though_the_number_is_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    """ADR 0013: neither policy's word is the other's."""
    await stage.begin()
    (identifier,) = await stage.accept(payment())
    stage.active = support.in_emergency()
    if not over:
        stage.active.release = replace(stage.active.release, emergency=None)
    monkeypatch.setattr(stage.active.engine, "evaluate", lambda items, **_more: [denied("CAP_PAYMENT_VALUE")] * len(items))
    assert await stage.dispatch() == 1
    assert (stage.state(identifier), stage.rail.submits, stage.usage()) == ("FAILED", [], (0, 0))
