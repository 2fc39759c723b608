"""How long a sidecar takes to activate a bundle of 5 MB, and how long decisions take meanwhile.

    python -m benchmarks.activation [--rounds 8] [--seconds 8] [--entries 50000]

Method: a signed release of the large policy and data (``benchmarks.large``: 500 lines, 50,000 entries, 5 MB), fetched once
into a follower's folder. Activation is an acceptor's own way at a promotion, in a thread beside the event loop: the held release
verified from its bytes (``contracts.release.load_held``: digests, signatures, strict JSON, schema), then
``sidecar.active.ActiveRelease`` (keys, tables, policy compiled, data loaded, self-test). The cache of compiled modules is emptied
before each round: a promotion brings other Rego. Meanwhile the release before it, of the same size, goes on deciding in the event
loop, as an acceptor does with small batches: one payment is due every ``EVERY_S``, and its time counts from when it was due, so
that a loop that stands still is seen by every payment that waits.

``during`` is with the sidecar's switch interval of threads (``sidecar.__main__``), ``during_default`` with Python's own of 5 ms,
``quiet`` without an activation: the three take turns in one process. ``ratios`` are of waiting times. ``activation_s`` is beside
decisions, ``alone_s`` without them, and its parts. ``holds`` is in CPU time of the activation's thread, which neighbours do not
change: all of it, and the most that it took between two turns of a waiting thread, which is how long a loop stands still at a time
on a machine that is free. ``beside_verifying`` are single decisions under small data while a thread verifies over and over, in both
settings: by the clock, and how much CPU that thread had within a decision.

Prints and writes ``var/bench/activation.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import large
from benchmarks.meters import machine
from benchmarks.workload import ROOT
from contracts.release import FileRecord, VerifiedRelease, load_held
from sidecar.__main__ import SWITCH_INTERVAL_S
from sidecar.active import ActiveRelease
from sidecar.policy.engine import WasmEngine, decide
from sidecar.policy.wasm_abi import compile_module
from symphony.policy_build import build, committed_wasm
from tests.releases.support import ENVIRONMENT, SERVICE, Mirror, World, environment_data

OUTPUT = ROOT / "var" / "bench" / "activation.json"
EVERY_S = 0.05
DEADLINE_MS = 250
ROUNDS_ALONE = 3
PAUSE_S = 0.2
TURN_S = 0.0005
DECISIONS_BESIDE = 100
PHASES = ("quiet", "during", "during_default")
PYTHON_SWITCH_INTERVAL_S = 0.005
"""The interpreter's own."""


class Held:
    """A release of the large policy in a follower's folder, as the writer's acceptors find it."""

    def __init__(self, folder: Path, entries: int) -> None:
        policies = folder / "policies"
        for name, content in large.source().files.items():
            path = policies / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        build(policies)
        keys = {name: environment_data()[name] for name in ("permit_keys", "evidence_keys")}
        self.data = large.environment(entries) | keys
        self._world = World(folder / "world")
        files = self._world.files(environment_data=self.data, policies=policies)
        self.sizes = {name: len(content) for name, content in files.items() if name.startswith(("policy", "environment"))}
        mirror = Mirror(self._world, folder / "mirror")
        mirror.put_release(self._world.draft(1, files))
        mirror.follower("held").refresh()
        self._folder = self._world.folder / "held"
        self.taken: list[tuple[float, float]] = []

    def load(self) -> ActiveRelease:
        """As ``sidecar.acceptor`` does it; the seconds of verifying and of making are kept in ``taken``."""
        compile_module.cache_clear()
        begun = time.perf_counter()
        release = self.verify()
        verified = time.perf_counter()
        active = ActiveRelease(release)
        self.taken.append((verified - begun, time.perf_counter() - verified))
        return active

    def verify(self) -> VerifiedRelease:
        """From the bytes on disk."""
        release = load_held(
            environment=ENVIRONMENT, service=SERVICE, folder=self._folder, root_bytes=self._world.root,
            record=FileRecord(self._folder / "accepted.json"), clock=self._world.clock,
        )  # fmt: skip
        assert release is not None, "the follower holds no release"
        return release


async def _deciding(active: ActiveRelease, items: list[dict[str, Any]], waited: list[float], until: Awaitable[Any]) -> None:
    """One payment every ``EVERY_S`` until something is done; how long each took from when it was due."""
    done = asyncio.ensure_future(until)
    due, number = time.perf_counter(), 0
    while not done.done():
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        answer = decide(active.engine, [items[number % len(items)]], deadline_ms=DEADLINE_MS)[0]
        if "POLICY_ERROR" in answer.reasons:
            raise RuntimeError("a decision failed while a release was activated")
        waited.append(time.perf_counter() - due)
        due, number = due + EVERY_S, number + 1
    await done


async def _measured(held: Held, rounds: int, seconds: float) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Waiting times by phase; how long the activations took, by phase. The phases take turns, so that a busy machine is shared."""
    active = held.load()
    items = large.payments(100, held.data)
    waited: dict[str, list[float]] = {phase: [] for phase in PHASES}
    taken: dict[str, list[float]] = {phase: [] for phase in PHASES[1:]}
    for _ in range(rounds):
        await _deciding(active, items, waited["quiet"], asyncio.sleep(seconds / rounds))
        for phase, interval_s in (("during", SWITCH_INTERVAL_S), ("during_default", PYTHON_SWITCH_INTERVAL_S)):
            sys.setswitchinterval(interval_s)
            del held.taken[:]
            await _deciding(active, items, waited[phase], asyncio.to_thread(held.load))
            taken[phase].append(sum(held.taken[0]))
            await asyncio.sleep(PAUSE_S)
    sys.setswitchinterval(PYTHON_SWITCH_INTERVAL_S)
    return waited, taken


def _waits(waited: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(waited, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(waited)}
    return {"decisions": len(waited)} | {name: round(value * 1000, 2) for name, value in found.items()}


def _alone(held: Held) -> dict[str, float]:
    """Median seconds of an activation with nothing beside it."""
    del held.taken[:]
    for _ in range(ROUNDS_ALONE):
        held.load()
    verify, make = (statistics.median(one) for one in zip(*held.taken, strict=True))
    return {"all": round(verify + make, 3), "verify": round(verify, 3), "make": round(make, 3)}


def _beside(held: Held) -> dict[str, dict[str, float]]:
    """Single decisions under small data while a thread verifies the release over and over, in both settings."""
    engine = WasmEngine(committed_wasm(), {"environment": large.sandbox()})
    items, over = large.payments(DECISIONS_BESIDE, large.sandbox()), threading.Event()

    def run() -> None:
        while not over.is_set():
            held.verify()

    thread = threading.Thread(target=run)
    thread.start()
    clock, found = time.pthread_getcpuclockid(thread.ident or 0), {}
    for name, interval_s in (("ours", SWITCH_INTERVAL_S), ("default", PYTHON_SWITCH_INTERVAL_S)):
        sys.setswitchinterval(interval_s)
        taken, used = [], []
        for item in items:
            begun, before = time.perf_counter(), time.clock_gettime(clock)
            decide(engine, [item], deadline_ms=DEADLINE_MS)
            taken.append(time.perf_counter() - begun)
            used.append(time.clock_gettime(clock) - before)
            time.sleep(PAUSE_S / 10)
        found[name] = {"p50_ms": _at(taken, 0.5), "p90_ms": _at(taken, 0.9), "other_cpu_p90_ms": _at(used, 0.9)}
    over.set()
    thread.join()
    return found


def _at(values: list[float], share: float) -> float:
    return round(sorted(values)[int(len(values) * share)] * 1000, 2)


def _held_up(held: Held) -> dict[str, float]:
    """CPU of one activation's thread, and the most of it between two turns of a thread that waits: how long a loop stands still."""
    ready, done = threading.Event(), threading.Event()

    def run() -> None:
        ready.set()
        held.load()
        done.set()
        ended.wait()

    ended = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    clock, used = time.pthread_getcpuclockid(thread.ident or 0), [0.0]
    while not done.is_set():
        time.sleep(TURN_S)
        used.append(time.clock_gettime(clock))
    ended.set()
    thread.join()
    holds = sorted(later - earlier for earlier, later in pairwise(used))
    return {"cpu_ms": round(used[-1] * 1000, 1), "longest_ms": round(holds[-1] * 1000, 1), "second_ms": round(holds[-2] * 1000, 1)}


def measure(rounds: int, seconds: float, entries: int) -> dict[str, Any]:
    """Every figure."""
    with tempfile.TemporaryDirectory(prefix="symphony-bench-") as folder:
        held = Held(Path(folder), entries)
        waited, taken = asyncio.run(_measured(held, rounds, seconds))
        waits = {phase: _waits(waited[phase]) for phase in PHASES}
        return {
            "bundle_bytes": sum(held.sizes.values()), "bytes": held.sizes, "activations": rounds,
            "activation_s": round(statistics.median(taken["during"]), 3), "activation_s_max": round(max(taken["during"]), 3),
            "activation_default_s": round(statistics.median(taken["during_default"]), 3), "alone_s": _alone(held),
            "holds": _held_up(held), "beside_verifying": _beside(held), **waits,
            "ratios": {
                "during_over_quiet": _ratio(waits["during"], waits["quiet"]),
                "default_over_during": _ratio(waits["during_default"], waits["during"]),
            },
            "machine": machine(ROOT), "method": __doc__,
        }  # fmt: skip


def _ratio(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: round(one[f"{name}_ms"] / other[f"{name}_ms"], 2) for name in ("p50", "p99", "max")}


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=6, help="activations in each setting")
    parser.add_argument("--seconds", type=float, default=8.0, help="of quiet, in all")
    parser.add_argument("--entries", type=int, default=large.ENTRIES)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args(arguments)
    result = measure(chosen.rounds, chosen.seconds, chosen.entries)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        if name not in ("method", "machine"):
            say(f"{name:<18} {value}")


if __name__ == "__main__":
    main()
