"""The two engines on every payment that a sidecar recorded in the last days, in batches, memory bounded (POL-10; design section 5).

Asked are the built Wasm and a real ``opa`` server. What is over ``RECORDED_MAX`` or ``RECORDED_SECONDS_MAX`` is left out, the
oldest first, and counted as ``left_out``, which every report says. A difference names the payment by its id only: an input is a
participant's data.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symphony.policy.opa_server import OpaServer
from symphony.policy.parity import differ
from symphony.policy.source import Source
from symphony.policy.wasm import Policy, load

RECORDED_MAX = 100_000
"""Recorded inputs compared, the newest: about a minute under the payments policy (0.1 ms of CPU here each, OPA has the rest)."""
RECORDED_SECONDS_MAX = 600.0
DIFFERENCES_KEPT_MAX = 30
Batch = list[tuple[str, dict[str, Any] | None]]
"""Instruction ids with the frozen input; ``None`` where there is none that can be asked again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Of ``decisions`` in the window the newest ``asked``, newest first."""

    decisions: int
    asked: int
    batches: Iterator[Batch]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where recorded inputs of the last days are read, once they are asked for, and who is told how far that is."""

    days: int
    opened: Callable[[], AbstractContextManager[Stream]]
    begun: Callable[[int], object] = lambda _count: None
    moved: Callable[[int], object] = lambda _count: None


def recorded_differences(
    wasm: bytes, source: Source, environment: dict[str, Any], recorded: Recorded, opa: Path
) -> tuple[list[str], dict[str, int]]:
    """Where the two differ, in words, and figures. ``CannotEvaluate`` when one of them, or the record, cannot be asked."""
    found: list[str] = []
    count: Counter[str] = Counter()
    ends = time.monotonic() + RECORDED_SECONDS_MAX
    with recorded.opened() as stream:
        recorded.begun(stream.asked)
        if stream.asked:
            policy = load(wasm, environment, seconds_max=2 * RECORDED_SECONDS_MAX)
            with OpaServer(source, environment, opa) as server:
                for batch in stream.batches:
                    count["seen"] += len(batch)
                    _compare(policy, server, batch, found, count)
                    recorded.moved(len(batch))
                    if time.monotonic() > ends:
                        break
    return found, {
        "inputs": count["inputs"], "allowed": count["allowed"], "differing": count["differing"], "recorded": stream.decisions,
        "left_out": stream.decisions - count["seen"], "days": recorded.days,
    }  # fmt: skip


def _compare(policy: Policy, server: OpaServer, batch: Batch, found: list[str], count: Counter[str]) -> None:
    asked = [(identifier, item) for identifier, item in batch if item is not None]
    if not asked:
        return
    items = [item for _, item in asked]
    for (identifier, _), one, other in zip(asked, policy.decisions(items), server.decisions(items), strict=True):
        count.update(inputs=1, allowed=int(one.allow), differing=int(one != other))
        if one != other and len(found) < DIFFERENCES_KEPT_MAX:
            found.append(f"{differ(one, other)}: recorded payment {identifier}")
