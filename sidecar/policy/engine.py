"""Decide (station 3): schema first, then Rego for the whole batch, then item by item if the batch fails.

Rules, each with a test in ``tests/policy``:

* exactly one decision for each item, in the order asked; a missing answer is a deny (POLICY_UNDEFINED);
* an item that does not fit its schema never reaches the policy (INPUT_INVALID);
* a batch that traps, runs out of time or memory, or answers malformed is evaluated again item by item, each in a
  fresh evaluation, so that one bad item costs only itself (POLICY_ERROR);
* all of it within ``TIME_FACTOR_MAX`` times the deadline: what is not decided by then is denied (POLICY_ERROR);
* after a trap the instance is thrown away and made anew from the compiled module.

Threads: an engine may be shared; a lock lets one evaluation run at a time (Wasm runs without the interpreter's lock,
so call ``decide`` through ``asyncio.to_thread`` only when batches are large). Another process makes its own.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import orjson

from contracts.errors import NotTrusted, SymphonyError
from contracts.schemas import fast_validator
from sidecar.policy.answers import Decision, denied, read_answers
from sidecar.policy.errors import PolicyFailed
from sidecar.policy.self_test import whole_payment
from sidecar.policy.wasm_abi import Machine, compile_module

__all__ = ["Decision", "Engine", "WasmEngine", "decide"]

MEMORY_BYTES_MAX = 128 * 1024 * 1024
"""The largest environment (100,000 agents, 10,000 participants) and a batch of 512 need about 60 MiB."""

ITEMS_MAX = 2000
"""The largest batch that a manifest may ask for (``batching.decide``)."""

SELF_TEST_DEADLINE_MS = 5_000
TIME_FACTOR_MAX = 3
ITEM_SHARE = 4
"""An item alone gets this part of the deadline: it takes microseconds, so more would only feed a slow one."""


class Engine(Protocol):
    """What ``decide`` needs of an engine: Wasm here, an OPA server beside the sidecar elsewhere."""

    def evaluate(self, items: list[dict[str, Any]], *, deadline_ms: int) -> list[Decision]:
        """Exactly one decision an item. Raises ``PolicyFailed``."""


class WasmEngine:
    """A release's ``policy.wasm`` with its data, compiled and self-tested (``NotTrusted RELEASE_ENGINE``)."""

    def __init__(self, wasm: bytes, data: dict[str, Any], *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._lock = threading.Lock()
        self._module = compile_module(wasm)
        self._data = orjson.dumps(data)
        self._memory_bytes_max = memory_bytes_max
        self._machine: Machine | None = self._new_machine()
        self._self_test(str(data.get("environment", {}).get("environment", "sandbox")))

    def evaluate(self, items: list[dict[str, Any]], *, deadline_ms: int) -> list[Decision]:
        """Exactly one decision an item, in order. Raises ``PolicyFailed``; the engine stays usable."""
        if len(items) > ITEMS_MAX:
            raise PolicyFailed(f"a batch of {len(items)}, over {ITEMS_MAX}")
        try:
            document = orjson.dumps({"items": items})
        except TypeError as error:
            raise PolicyFailed(f"the input is not JSON: {error}") from error
        with self._lock:
            return read_answers(self._run(document, deadline_ms), len(items))

    def _run(self, document: bytes, deadline_ms: int) -> bytes:
        if self._machine is None:
            try:
                self._machine = self._new_machine()
            except NotTrusted as error:
                raise PolicyFailed(error.detail) from error
        machine, self._machine = self._machine, None
        raw = machine.evaluate(document, deadline_ms)
        self._machine = machine
        return raw

    def _new_machine(self) -> Machine:
        return Machine(self._module, self._data, memory_bytes_max=self._memory_bytes_max)

    def _self_test(self, environment: str) -> None:
        try:
            none = self.evaluate([], deadline_ms=SELF_TEST_DEADLINE_MS)
            empty = self.evaluate([{}], deadline_ms=SELF_TEST_DEADLINE_MS)
            self.evaluate([whole_payment(environment)], deadline_ms=SELF_TEST_DEADLINE_MS)
        except PolicyFailed as error:
            raise NotTrusted("RELEASE_ENGINE", f"the self-test failed: {error.detail}") from error
        if none or empty[0].allow:
            raise NotTrusted("RELEASE_ENGINE", "the self-test failed: an empty item is allowed")


def decide(engine: Engine, items: list[dict[str, Any]], *, deadline_ms: int) -> list[Decision]:
    """Exactly one decision for each decision input (``symphony.decision_input/1``). Raises nothing of the policy's."""
    ends = time.monotonic() + deadline_ms * TIME_FACTOR_MAX / 1000
    decisions: list[Decision] = [denied("INPUT_INVALID")] * len(items)
    fitting = [index for index, item in enumerate(items) if _fits(item)]
    if not fitting:
        return decisions
    try:
        answers = engine.evaluate([items[index] for index in fitting], deadline_ms=deadline_ms)
    except SymphonyError:
        share = max(1, deadline_ms // ITEM_SHARE)
        answers = [_alone(engine, items[index], share, ends) for index in fitting]
    for index, answer in zip(fitting, answers, strict=True):
        decisions[index] = answer
    return decisions


def _alone(engine: Engine, item: dict[str, Any], deadline_ms: int, ends: float) -> Decision:
    if time.monotonic() >= ends:
        return denied("POLICY_ERROR")
    try:
        return engine.evaluate([item], deadline_ms=deadline_ms)[0]
    except SymphonyError:
        return denied("POLICY_ERROR")


def _fits(item: Any) -> bool:
    """Whether the item fits its schema; what the validator cannot even read does not."""
    try:
        return fast_validator("symphony.decision_input/1").is_valid(item)
    except (ValueError, TypeError):
        return False
