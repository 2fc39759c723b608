"""Decisions a second: the Wasm engine beside an OPA server, the same Rego, data and inputs, in the same run.

    python -m benchmarks.policy [--seconds 1.5]

Method: the sandbox's environment data; whole decision inputs (1.2 KB each), all different, all allowed; one client,
one batch after another, wall clock, the median of the batches. Wasm is ``sidecar.policy.engine.decide`` with its schema
check; OPA is ``opa run --server`` over one kept-alive loopback connection with the input encoded each time, and
without a schema check. Prints a table and writes ``var/bench/policy.json``. Nothing is enforced here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.policy.engine import WasmEngine, decide
from sidecar.policy.self_test import whole_payment
from symphony.opa import find_opa
from symphony.policy.opa_server import OpaServer
from symphony.policy.source import load
from symphony.policy_build import POLICIES, committed_wasm

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "bench" / "policy.json"
BATCHES = (1, 10, 100)
Items = list[dict[str, Any]]


def inputs(count: int) -> Items:
    """Decision inputs that the sandbox allows, each with its own reference and amount."""
    items = []
    for number in range(count):
        item = whole_payment("sandbox")
        item["participant_id"] = "kafue-bank"
        item["instruction"].update(
            currency="ZMW", instructed_agent="LWGBZMLUXXX", message_id=f"M-{number}", amount_minor=1 + number
        )
        items.append(item)
    return items


def per_second(run: Callable[[Items], list[bool]], items: Items, seconds: float) -> float:
    """Decisions a second at the median batch."""
    assert all(run(items)), "the benchmark's payments must be allowed"
    taken = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        begun = time.perf_counter()
        run(items)
        taken.append(time.perf_counter() - begun)
    return len(items) / statistics.median(taken)


def wasm(environment: dict[str, Any]) -> Callable[[Items], list[bool]]:
    """The sidecar's own way."""
    engine = WasmEngine(committed_wasm(), {"environment": environment})
    return lambda items: [one.allow for one in decide(engine, items, deadline_ms=5000)]


def main() -> None:
    """Measure both engines and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    arguments.add_argument("--seconds", type=float, default=1.5)
    chosen = arguments.parse_args()
    environment = json.loads((ROOT / "examples/environments/sandbox.template.json").read_text("utf-8"))
    figures: dict[str, dict[str, float]] = {}
    with OpaServer(load(POLICIES), environment, find_opa()) as opa:
        for name, run in (("wasm", wasm(environment)), ("opa_server", opa.allowed)):
            figures[name] = {str(size): round(per_second(run, inputs(size), chosen.seconds)) for size in BATCHES}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({"decisions_per_s": figures}, indent=2) + "\n")
    print(f"{'batch':>6} {'wasm/s':>10} {'opa/s':>10} {'ratio':>6}")
    for size in BATCHES:
        ours, theirs = figures["wasm"][str(size)], figures["opa_server"][str(size)]
        print(f"{size:>6} {ours:>10.0f} {theirs:>10.0f} {ours / theirs:>6.1f}")


if __name__ == "__main__":
    main()
