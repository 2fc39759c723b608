"""How fast a policy decides, by both engines in the same run (issue 5): ``symphony policy bench``.

Method: payments drawn around the environment's data, allowed and refused ones; one client, one batch after another. Wasm is the
sidecar's own ``decide`` with its schema check; OPA is ``opa run --server`` over one loopback connection, without a schema check.
``decisions_per_core_s`` are decisions per second of the engine's CPU time; p50 and p99 are wall-clock times of a whole batch.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from sidecar.policy.engine import WasmEngine, decide
from symphony.opa import find_opa
from symphony.policy.inputs import Drawn
from symphony.policy.opa_server import OpaServer
from symphony.policy.source import load
from symphony.policy_build import committed_wasm, rebuild

BATCHES = (1, 10, 100)
BATCHES_MIN = 100
"""Fewer batches have no p99."""
BATCHES_MAX = 100_000
BATCHES_SOME = 10
"""Measured in any case, however long they take."""
DEADLINE_MS = 5_000
BUDGETED = ("wasm", 1)
"""The engine and batch that ``--budget-us`` speaks of: one payment's decision in the sidecar."""
Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One engine at one batch size. Times in microseconds of a batch; ``decisions_per_core_s`` is 0 where no CPU time is told."""

    policy: str
    engine: str
    batch: int
    batches: int
    decisions_per_core_s: int
    p50_us: float
    p99_us: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def bench(folders: dict[str, Path], environment: dict[str, Any], *, seconds: float) -> tuple[list[Figures], str]:
    """Figures of each policy by name, and what was left out, if anything: without ``opa`` only the committed Wasm is asked.

    Raises what ``source.load`` raises, ``NotTrusted RELEASE_ENGINE`` for a policy that no engine takes.
    """
    out: list[Figures] = []
    try:
        opa: Path | None = find_opa()
    except CannotEvaluate:
        opa = None
    items = Drawn(environment).inputs(max(BATCHES))
    for name, folder in folders.items():
        source = load(folder)
        wasm = rebuild(source.governing, opa) if opa else _committed(folder)
        engine = WasmEngine(wasm, {"environment": environment})
        out += of_wasm(name, engine, items, seconds)
        if opa is not None:
            with OpaServer(source, environment, opa) as server:
                out += of_opa(name, server, items, seconds)
    return out, "" if opa else "no opa here: its server was not measured, and the Wasm is the committed one"


def _committed(folder: Path) -> bytes:
    if not (folder / "BUILD.json").is_file():
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"no opa, and {folder} records no build")
    return committed_wasm(folder)


def of_wasm(name: str, engine: WasmEngine, items: Items, seconds: float, seconds_max: float = math.inf) -> list[Figures]:
    """The sidecar's own engine, a figure a batch size. ``seconds_max``: as ``_measured``."""

    def run(batch: Items) -> None:
        decide(engine, batch, deadline_ms=DEADLINE_MS)

    return [_measured(name, "wasm", items[:size], run, time.process_time, seconds, seconds_max) for size in BATCHES]


def of_opa(name: str, server: OpaServer, items: Items, seconds: float, seconds_max: float = math.inf) -> list[Figures]:
    """A running OPA server, likewise."""
    return [_measured(name, "opa", items[:size], server.allowed, server.cpu_s, seconds, seconds_max) for size in BATCHES]


def _measured(
    name: str, engine: str, batch: Items, run: Callable[[Items], object], cpu: Callable[[], float | None], seconds: float,
    seconds_max: float,
) -> Figures:  # fmt: skip
    """At least so many seconds and ``BATCHES_MIN`` batches, after a first one that does not count.

    Not over ``seconds_max``, once ``BATCHES_SOME`` are done: with fewer than ``BATCHES_MIN`` the slowest stands for p99.
    """
    run(batch)
    taken: list[float] = []
    used, begun = cpu(), time.perf_counter()
    while _goes_on(len(taken), time.perf_counter() - begun, seconds, seconds_max):
        start = time.perf_counter()
        run(batch)
        taken.append(time.perf_counter() - start)
    until = cpu()
    spent = until - used if until is not None and used is not None else 0.0
    p99 = statistics.quantiles(taken, n=100)[98] if len(taken) >= BATCHES_MIN else max(taken)
    return Figures(
        name, engine, len(batch), len(taken), round(len(taken) * len(batch) / spent) if spent > 0 else 0,
        round(statistics.median(taken) * 1e6, 1), round(p99 * 1e6, 1),
    )  # fmt: skip


def _goes_on(done: int, elapsed: float, seconds: float, seconds_max: float) -> bool:
    if elapsed >= seconds_max:
        return done < min(BATCHES_SOME, BATCHES_MIN)
    return done < BATCHES_MIN or (elapsed < seconds and done < BATCHES_MAX)


def over_budget(found: list[Figures], policy: str, budget_us: float) -> bool:
    """Whether p99 of one payment's decision in the sidecar's engine is over the budget."""
    return any(one.p99_us > budget_us for one in found if (one.policy, one.engine, one.batch) == (policy, *BUDGETED))


def lines_of(found: list[Figures]) -> list[str]:
    """A table for the screen."""
    head = f"{'policy':<10} {'engine':<6} {'batch':>5} {'decisions/s/core':>17} {'p50 µs':>10} {'p99 µs':>10} {'batches':>8}"
    return [head, *(
        f"{one.policy:<10} {one.engine:<6} {one.batch:>5} {one.decisions_per_core_s or 'not told':>17} {one.p50_us:>10.1f} "
        f"{one.p99_us:>10.1f} {one.batches:>8}" for one in found
    )]  # fmt: skip
