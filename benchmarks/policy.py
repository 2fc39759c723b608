"""Decisions a second and core, p50 and p99: the Wasm engine beside an OPA server, the same Rego, data and inputs, same run.

    python -m benchmarks.policy [--seconds 1] [--seconds-max 4] [--entries 50000]

Method: that of ``symphony policy bench`` (``symphony.policy.bench``), on two policies: ``payments``, the repository's own under
the sandbox's data, and ``large``, 500 lines over 50,000 data entries (``benchmarks.large``). Whole decision inputs (1.2 KB each),
all different, one in ten refused; one client, batches of 1, 10 and 100, one after another. Before anything is measured both
engines must give the same decisions on all of them, and some must be allowed. ``decisions_per_core_s`` is over the CPU time of the
engine's process, p50 and p99 are wall clock of a whole batch: at least 100 of them, or as many as fit into ``--seconds-max``, and
then p99 is the slowest (``batches`` says how many). ``load_s``: from the bytes to an engine that has answered its self-test; of OPA
from the start of its process to the data taken. ``ratios`` are Wasm's figure over OPA's, above 1 where Wasm does better. Prints a
table and writes ``var/bench/policy.json``. Nothing is enforced here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import large
from benchmarks.meters import machine
from benchmarks.workload import ROOT
from contracts.canonical import canonical_bytes
from sidecar.policy.engine import WasmEngine, decide
from symphony.opa import OPA_VERSION, find_opa
from symphony.policy.bench import BATCHES, DEADLINE_MS, Figures, lines_of, of_opa, of_wasm
from symphony.policy.opa_server import OpaServer
from symphony.policy.source import Source, load
from symphony.policy_build import POLICIES, rebuild

OUTPUT = ROOT / "var" / "bench" / "policy.json"


def measured(source: Source, environment: dict[str, Any], seconds: float, seconds_max: float) -> dict[str, Any]:
    """One policy in both engines: its size, how long it takes to load, its figures. ``RuntimeError`` when they differ."""
    wasm, items = rebuild(source.governing), large.payments(max(BATCHES), environment)
    begun = time.perf_counter()
    engine = WasmEngine(wasm, {"environment": environment})
    loaded = time.perf_counter()
    with OpaServer(source, environment, find_opa()) as server:
        started = time.perf_counter()
        allowed = _agreed(engine, server, items)
        size = f"{large.count_lines(source)} lines"
        figures = [*of_wasm(size, engine, items, seconds, seconds_max), *of_opa(size, server, items, seconds, seconds_max)]
    return {
        "lines": large.count_lines(source), "entries": len(environment["participants"]) + len(environment["agents"]),
        "data_bytes": len(canonical_bytes(environment)), "wasm_bytes": len(wasm), "allowed": allowed, "compared": len(items),
        "load_s": {"wasm": round(loaded - begun, 3), "opa": round(started - loaded, 3)},
        "figures": [one.document() for one in figures], "ratios": _ratios(figures),
    }  # fmt: skip


def _agreed(engine: WasmEngine, server: OpaServer, items: list[dict[str, Any]]) -> int:
    """How many both allow."""
    ours, theirs = decide(engine, items, deadline_ms=DEADLINE_MS), server.decisions(items)
    if ours != theirs or not 0 < sum(one.allow for one in ours) < len(items):
        raise RuntimeError(f"the engines differ, or allow all or nothing: {ours[:2]}, {theirs[:2]}")
    return sum(one.allow for one in ours)


def _ratios(figures: list[Figures]) -> dict[str, dict[str, float]]:
    """Wasm beside OPA, by batch size."""
    by = {(one.engine, one.batch): one for one in figures}
    return {
        str(size): {
            "decisions_per_core_s": round(ours.decisions_per_core_s / (theirs.decisions_per_core_s or 1), 2),
            "p50": round(theirs.p50_us / ours.p50_us, 2), "p99": round(theirs.p99_us / ours.p99_us, 2),
        }
        for size in BATCHES for ours, theirs in [(by["wasm", size], by["opa", size])]
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Measure both engines on both policies and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="a figure, at least")
    parser.add_argument("--seconds-max", type=float, default=4.0, help="a figure, at most")
    parser.add_argument("--entries", type=int, default=large.ENTRIES, help="data entries of the large policy")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args(arguments)
    cases = {"payments": (load(POLICIES), large.sandbox()), "large": (large.source(), large.environment(chosen.entries))}
    policies = {name: measured(*case, chosen.seconds, chosen.seconds_max) for name, case in cases.items()}
    result = {"policies": policies, "machine": machine(ROOT), "opa_version": OPA_VERSION, "method": __doc__}
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, found in policies.items():
        say(f"{name}: {found['lines']} lines, {found['entries']} entries, {found['data_bytes']} bytes, load {found['load_s']}")
        for line in lines_of([Figures(**one) for one in found["figures"]]):
            say(line)
        say(f"  wasm beside opa, by batch: {json.dumps(found['ratios'])}")


if __name__ == "__main__":
    main()
