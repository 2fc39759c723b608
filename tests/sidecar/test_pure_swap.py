"""A release that is swapped while a micro-batch is decided: every decision of the batch is under one release."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import SymphonyError
from contracts.times import SystemClock
from sidecar.intake.pipeline import DECIDED_AT_ONCE_MAX, Pipeline, View
from sidecar.policy.answers import Decision
from sidecar.policy.self_test import whole_payment


class Engine:
    """An engine that knows its release; release 1's is swapped away in the middle of its batch, and its batch then fails."""

    def __init__(self, number: int, pipeline: Pipeline) -> None:
        self.number, self.pipeline = number, pipeline
        self.decided: list[int] = []

    def evaluate(self, items: list[dict[str, Any]], *, deadline_ms: int) -> list[Decision]:
        """Item by item after the swap, which is where a second look at the view would mix releases."""
        if self.number == 1 and len(items) > 1:
            self.pipeline.view = view(2, self.pipeline)
            raise SymphonyError("POLICY_ERROR", f"within {deadline_ms} ms")
        self.decided += [item["release_number"] for item in items]
        return [Decision(allow=True, reasons=(), obligations={"by": self.number}) for _ in items]


def view(number: int, pipeline: Pipeline) -> View:
    """What the acceptor knows under release ``number``."""
    active: Any = SimpleNamespace(
        release=SimpleNamespace(number=number), engine=Engine(number, pipeline),
        settings={"intake": {"decision_timeout_ms": 60_000}},
    )  # fmt: skip
    return View(active, datetime.now(UTC))


def inputs(*numbers: int) -> list[dict[str, Any]]:
    """Decision inputs that were made under these releases."""
    return [whole_payment("sandbox") | {"release_number": number} for number in numbers]


def made() -> Pipeline:
    """A pipeline under release 1."""
    nowhere = Path("nowhere")
    pipeline = Pipeline(writer=nowhere, adapter=nowhere, environment="sandbox", service="s", clock=SystemClock())
    pipeline.view = view(1, pipeline)
    return pipeline


@pytest.mark.parametrize("size", [2, DECIDED_AT_ONCE_MAX + 1], ids=["on-the-loop", "in-a-thread"])
async def test_a_swap_during_a_batch_changes_none_of_its_decisions(size: int) -> None:
    """Activation is all or nothing, also inside a batch whose first evaluation failed."""
    pipeline = made()
    first = pipeline.view
    decisions = await pipeline._decide(inputs(*[1] * size))
    assert pipeline.view is not first
    assert [one.obligations["by"] for one in decisions if isinstance(one, Decision)] == [1] * size


async def test_what_was_made_under_another_release_is_not_decided_in_the_batch() -> None:
    """It is refused as changed, and asked again under the new one: neither release decides the other's input."""
    pipeline = made()
    pipeline.view = view(2, pipeline)
    decisions = await pipeline._decide(inputs(2, 1, 3, 2))
    said = [one.obligations["by"] if isinstance(one, Decision) else getattr(one, "code", one) for one in decisions]
    assert said == [2, "RELEASE_CHANGED", "RELEASE_CHANGED", 2]
    engine: Any = pipeline.view.active.engine
    assert engine.decided == [2, 2]
