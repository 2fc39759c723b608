"""The impact report on a million recorded decisions: seconds, and where they go.

    python -m benchmarks.impact [--decisions 50000] [--processes 2]        the whole: --decisions 1000000

Method: a fresh PostgreSQL of the checkout's migrations; decisions made up in the database by SQL, evenly over six days, four
participants, decision inputs of 1.2 KB, each different; the candidate is the committed policy with the payment cap at half.
Measured is ``symphony.impact.run.replay`` from connect to the report's bytes, wall clock and CPU of all our processes (the
database's not among them). Flips are held to an SQL answer, else nothing is written. The shares are taken beside it, in one
process, each alone over the same 10,000 decisions: reading, parsing, schema, schema with policy, and all of it with the count.
Writes ``var/bench/impact.json``; a bar shows on a terminal.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import psycopg

from contracts.canonical import canonical_bytes
from contracts.named_sql import parse
from contracts.schemas import fast_validator
from sidecar.policy.engine import WasmEngine, decide
from sidecar.policy.self_test import whole_payment
from symphony.commands.progress import Bar
from symphony.impact import run, source
from symphony.impact.model import ALLOW_TO_DENY, Counts
from symphony.impact.replay import BATCH, INPUT_SCHEMA, Candidate, Replayer, Row
from symphony.policy_build import committed_wasm
from symphony.stack.gate import fresh_urls

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "bench" / "impact.json"
CHUNK = 50_000
CAP_MINOR = 1_900_000
DAYS = 7
SHARES_OF = 10_000
_SQL = parse((Path(__file__).parent / "impact.sql").read_text("utf-8"), "benchmarks")  # type: ignore[arg-type]


def candidate() -> Candidate:
    """The committed policy under the sandbox's data, every payment cap at half of what the decisions were made under."""
    data = json.loads((ROOT / "examples/environments/sandbox.template.json").read_text("utf-8"))
    for caps in data["caps"].values():
        caps |= {"payment_minor_max": CAP_MINOR // 2, "daily_minor_max": 2**53 - 1}
    for participant in data["participants"]:
        participant.pop("caps", None)
    return Candidate(committed_wasm(), canonical_bytes(data))


def template() -> str:
    """A decision input with places for what differs."""
    item = whole_payment("sandbox")
    item["participant_id"] = "PARTICIPANT"
    item["instruction"].update(
        currency="ZMW", instructing_agent="AGENT", instructed_agent="KFUBZMLUXXX", message_id="M-REFERENCE", amount_minor="AMOUNT"
    )
    return canonical_bytes(item).decode()


def fill(url: str, decisions: int) -> None:
    """Make up so many recorded decisions."""
    with psycopg.connect(url, autocommit=True) as connection, Bar("making up") as bar:
        bar.begun(decisions)
        connection.execute("SELECT symphony.ensure_partitions((now() - interval '1 month')::date, 1)")
        connection.execute("SET synchronous_commit = off")
        for first in range(0, decisions, CHUNK):
            count = min(CHUNK, decisions - first)
            connection.execute(_SQL["fill"], {
                "first": first, "count": count, "all": decisions, "cap": CAP_MINOR, "template": template(),
            })  # fmt: skip
            bar.moved(count)
        connection.execute("VACUUM ANALYZE symphony.payment_instructions, symphony.payloads")


def measured(url: str, asked: Candidate, processes: int | None) -> tuple[dict[str, Any], Counts]:
    """Seconds, CPU and memory of one report."""
    begun, cpu = time.perf_counter(), _cpu_s()
    with Bar("replaying") as bar:
        found = run.replay(url, asked, DAYS, begun=bar.begun, moved=bar.moved, processes=processes)
    report = canonical_bytes(run.report_of(found, asked, "sandbox"))
    seconds = time.perf_counter() - begun
    used = _cpu_s() - cpu
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    recorded = found.counts.recorded
    return {
        "decisions": recorded, "seconds": round(seconds, 2), "decisions_per_s": round(recorded / seconds),
        "cpu_s": round(used, 2), "cpu_us_per_decision": round(used / recorded * 1e6, 1), "rss_mb_max": round(rss),
        "report_bytes": len(report),
    }, found.counts  # fmt: skip


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def shares(url: str, asked: Candidate) -> dict[str, float]:
    """CPU microseconds a decision of each step alone."""
    rows: list[Row] = []

    def read() -> None:
        with source.connected(url) as connection:
            window = source.window(connection, DAYS)
            for part in window.slices:
                for some in source.rows(connection, part):
                    rows.extend(some)
                    if len(rows) >= SHARES_OF:
                        return

    figures = {"read": _us(read, 1)}
    del rows[SHARES_OF:]
    figures["read"] /= len(rows)
    inputs = [bytes(row[9] or b"") for row in rows]
    items = [orjson.loads(one) for one in inputs]
    engine, valid = WasmEngine(asked.wasm, {"environment": orjson.loads(asked.environment)}), fast_validator(INPUT_SCHEMA)
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    figures["parse"] = _us(lambda: [orjson.loads(one) for one in inputs], len(rows))
    figures["schema"] = _us(lambda: [valid.is_valid(one) for one in items], len(rows))
    figures["schema_and_policy"] = _us(lambda: [decide(engine, one, deadline_ms=5000) for one in batches], len(rows))
    replayer = Replayer(asked)
    figures["all_but_reading"] = _us(lambda: replayer.count(rows, Counts()), len(rows))
    return {name: round(value, 1) for name, value in figures.items()}


def _us(step: Callable[[], object], count: int) -> float:
    begun = time.process_time()
    step()
    return (time.process_time() - begun) / count * 1e6


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    arguments.add_argument("--decisions", type=int, default=50_000)
    arguments.add_argument("--processes", type=int, help="by default one a core, at most 4")
    chosen = arguments.parse_args()
    asked = candidate()
    with fresh_urls() as urls:
        url = urls["sidecar"]
        fill(url, chosen.decisions)
        figures, counts = measured(url, asked, chosen.processes)
        with psycopg.connect(url) as connection:
            wanted = connection.execute(_SQL["flips"], {"cap": CAP_MINOR // 2}).fetchone()
        flips = counts.by(ALLOW_TO_DENY, ()).get((), [0, 0])
        if wanted is None or [int(one) for one in wanted] != flips:
            raise SystemExit(f"the report counts {flips}, SQL {wanted}")
        figures |= {"flips": flips[0], "us_per_decision": shares(url, asked)}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:<20} {value}")


if __name__ == "__main__":
    main()
