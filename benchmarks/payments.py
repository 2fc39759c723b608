"""Payments a second, end to end, beside a baseline that does the same work in the same run.

    python -m benchmarks.payments [--seconds 6] [--levels 16,64] [--payments N]

Method. Each payment is a request of its own: a generated pacs.008.001.08 with one transaction, its own UETR, idempotency
key and fresh pre-signed token; 64 participants, each over kept mTLS connections with its own certificate; fsync on,
data on disk. The load generator (``benchmarks.load``) is a process of its own, closed loop, at each level of requests
in flight; it shares the machine's cores and its CPU is reported apart. A level has a warm-up that is not counted.

* Ours is a whole local stack as ``symphony up`` starts it: acceptor, writer, adapter, ledger, shipper, control plane, one
  process each. A payment counts when its terminal outcome is committed with its evidence in the sidecar's database and
  it is posted in the ledger; every one is looked up afterwards, evidence bytes against their leaf hash.
* The baseline (``benchmarks.baseline``) is one FastAPI worker, an OPA server and a PostgreSQL of the same settings; an
  answer is given after the commit. It is measured with the ledger's tables in its own database (one commit a request)
  and in one of their own as ours are (a commit more); the better one counts.
* Each level is measured on all of them in turn, so that all see the same machine. While the baseline is measured the
  stack's processes are stopped (SIGSTOP); the baseline idles without work while the stack is measured.

``payments_per_s``: payments over the time from the first request to the last one seen done; the best level counts, all
are listed. ``p50_ms``, ``p99_ms``: from sending to the terminal row (for the baseline to its row), at that level; ``answer_*``:
to the answer. ``rows_per_payment``: rows inserted, updated and deleted in the service's database (``pg_stat_user_tables``)
while the level ran, over its payments. ``sidecar_rss_mb``: acceptor, writer and shipper after the load. CPU and WAL are
counted until all evidence is shipped. ``other_cores``: cores that anything else on the machine kept busy meanwhile.

Results go to ``var/bench/payments.json``. Nothing is enforced here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.baseline.service import Baseline
from benchmarks.measure import Side, Size, level
from benchmarks.meters import commit_ms, machine, settings
from benchmarks.ours import SIDECAR_PROCESSES, Stack
from benchmarks.workload import PARTICIPANTS, ROOT, Workload, manifests_folder
from symphony.opa import OPA_VERSION

OUTPUT = ROOT / "var" / "bench" / "payments.json"
LEVELS = (16, 64)
QUIET_CORES = 0.25
"""Above this, something else on the machine was busy enough to be seen in the figures."""
SECONDS = 6.0
Say = Callable[[str], None]
Level = dict[str, Any]


def measure(levels: Sequence[int], size: Size, say: Say) -> dict[str, Any]:
    """Both sides, level by level in turn, on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="symphony-bench-"))
    folder.chmod(0o711)
    try:
        return _measured(folder, levels, size, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(folder: Path, levels: Sequence[int], size: Size, say: Say) -> dict[str, Any]:
    ours: list[Level] = []
    theirs: list[Level] = []
    with ExitStack() as running:
        stack = running.enter_context(Stack(folder / "stack", manifests_folder(folder / "manifests")))
        baselines = {
            name: running.enter_context(Baseline(folder / name.replace(" ", "-"), stack.layout, two_databases=two))
            for name, two in (("one database", False), ("two databases", True))
        }
        say("a stack is up, with every process of it, and the baseline twice")
        workload = Workload(stack.layout)
        for concurrency in levels:
            ours.append(_level("symphony", stack, workload, concurrency, size, say))
            with stack.paused():
                for name, baseline in baselines.items():
                    one = _level(f"baseline, {name}", baseline, workload, concurrency, size, say)
                    theirs.append({"ledger": name, **one})
        rss = {name: stack.meters.rss_mb(name) for name in stack.meters.processes}
        place: dict[str, Any] = {"machine": machine(stack.data), "postgres": settings(stack.admin_url)}
        place["commit_ms"] = commit_ms(stack.admin_url)
    return {**_figures(ours, theirs, rss), **place, "opa_version": OPA_VERSION, "participants": PARTICIPANTS}


def _level(name: str, side: Side, workload: Workload, concurrency: int, size: Size, say: Say) -> Level:
    one = level(side, workload, concurrency, size)
    say(
        f"{name}, {concurrency} in flight: {one['payments_per_s']:.0f} payments/s, p50 {one['p50_ms']:.0f} ms, "
        f"p99 {one['p99_ms']:.0f} ms, {one['cpu_us_per_payment_sum']:.0f} µs CPU a payment"
    )
    return one


def _figures(ours: list[Level], theirs: list[Level], rss: dict[str, float]) -> dict[str, Any]:
    best, baseline = (max(levels, key=lambda one: float(one["payments_per_s"])) for levels in (ours, theirs))
    for one in theirs:  # a pooled connection reports its counts late, and nobody asked for the baseline's
        for key in [key for key in one if key.startswith("rows_")]:
            del one[key]
    return {
        "payments_per_s": best["payments_per_s"], "baseline_payments_per_s": baseline["payments_per_s"],
        "ratio": round(best["payments_per_s"] / baseline["payments_per_s"], 2),
        "rows_per_payment": best["rows_per_payment"], "p50_ms": best["p50_ms"], "p99_ms": best["p99_ms"],
        "baseline_p50_ms": baseline["p50_ms"], "baseline_p99_ms": baseline["p99_ms"],
        "sidecar_rss_mb": round(sum(rss[name] for name in SIDECAR_PROCESSES), 1),
        "load_generator_cpu_us_per_payment": best["load_generator_cpu_us_per_payment"],
        "cpu_us_per_payment": best["cpu_us_per_payment"], "cpu_us_per_payment_sum": best["cpu_us_per_payment_sum"],
        "baseline_cpu_us_per_payment": baseline["cpu_us_per_payment"],
        "baseline_cpu_us_per_payment_sum": baseline["cpu_us_per_payment_sum"],
        "other_cores_max": max(one["other_cores"] for one in [*ours, *theirs]),
        "wal_bytes_per_payment": best["wal_bytes_per_payment"], "rss_mb": rss,
        "method": (__doc__ or "").strip(), "levels": ours, "baseline_levels": theirs,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None, say: Say = lambda line: print(line, flush=True)) -> dict[str, Any]:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.payments", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long a level lasts")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="requests in flight, with commas")
    parser.add_argument("--payments", type=int, help="payments a level, instead of --seconds")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args(arguments)
    levels = [int(level) for level in chosen.levels.split(",")]
    size = Size(chosen.seconds) if chosen.payments is None else Size(chosen.seconds, chosen.payments, chosen.payments)
    result = measure(levels, size, say)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    say(
        f"payments_per_s {result['payments_per_s']}, baseline_payments_per_s {result['baseline_payments_per_s']}, "
        f"ratio {result['ratio']}, rows_per_payment {result['rows_per_payment']}, p50_ms {result['p50_ms']}, "
        f"p99_ms {result['p99_ms']}, sidecar_rss_mb {result['sidecar_rss_mb']}"
    )
    if result["other_cores_max"] > QUIET_CORES:
        say(f"the machine was not quiet: up to {result['other_cores_max']} cores were busy with something else")
    return result


if __name__ == "__main__":
    main()
