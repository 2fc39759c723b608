"""The built ``policy.wasm`` asked directly: the sidecar's own machine and reader, without the schema in front (POL-16).

Without the engine's self-test too, which refuses some traps whole; the probe is to say which field opens them. An item
that the policy cannot answer is a deny, as in the sidecar.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from contracts.errors import CannotEvaluate, NotTrusted
from sidecar.policy.answers import Decision, denied, read_answers
from sidecar.policy.engine import MEMORY_BYTES_MAX
from sidecar.policy.errors import PolicyFailed
from sidecar.policy.wasm_abi import Machine, compile_module

BATCH = 100
BATCH_DEADLINE_MS = 5_000
"""A batch takes 10 ms; a policy that needs longer than this cannot be told from one that never ends."""

SECONDS_MAX = 120.0
"""For all questions to one policy together."""


class Policy:
    """A compiled policy with an environment's data. ``NotTrusted RELEASE_ENGINE`` when it does not load."""

    def __init__(self, wasm: bytes, environment: dict[str, Any], *, seconds_max: float = SECONDS_MAX) -> None:
        self._module = compile_module(wasm)
        self._data = json.dumps({"environment": environment}).encode()
        self._ends = time.monotonic() + seconds_max
        self._machine = self._new()

    def decisions(self, items: Sequence[dict[str, Any]]) -> list[Decision]:
        """One decision an item. ``CannotEvaluate`` when the policy is too slow to be asked."""
        out: list[Decision] = []
        for start in range(0, len(items), BATCH):
            out += self._batch(list(items[start : start + BATCH]))
        return out

    def _batch(self, items: list[dict[str, Any]]) -> list[Decision]:
        if time.monotonic() > self._ends:
            raise CannotEvaluate("RELEASE_POLICY", "the policy is too slow to be asked so often", next_step=_SLOW)
        try:
            answer = self._machine.evaluate(json.dumps({"items": items}).encode(), BATCH_DEADLINE_MS)
            return read_answers(answer, len(items))
        except PolicyFailed as error:
            self._machine = self._new()
            if "no answer in" in error.detail:
                raise CannotEvaluate(
                    "RELEASE_POLICY", f"{len(items)} payments: {error.detail}", next_step=_SLOW
                ) from error
            if len(items) == 1:
                return [denied("POLICY_ERROR")]
            half = len(items) // 2
            return self._batch(items[:half]) + self._batch(items[half:])

    def _new(self) -> Machine:
        return Machine(self._module, self._data, memory_bytes_max=MEMORY_BYTES_MAX)


_SLOW = "take loops over large or growing collections out of the policy"


def load(wasm: bytes, environment: dict[str, Any], *, seconds_max: float = SECONDS_MAX) -> Policy:
    """A policy ready to be asked. Raises ``CannotEvaluate RELEASE_POLICY`` when it does not load."""
    try:
        return Policy(wasm, environment, seconds_max=seconds_max)
    except NotTrusted as error:
        raise CannotEvaluate("RELEASE_POLICY", error.detail, next_step=error.next_step) from error
