"""One level of load against one side: warm up, size, send, wait until all is done, count.

A payment counts when it is posted and its evidence is committed; one that was not accepted fails the benchmark. The
rate is payments over the time from the first request to the moment when the last one was seen to be done, so what
is accepted and not yet done is never counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import orjson

from benchmarks.meters import STATISTICS_S, Meters, used
from benchmarks.workload import ROOT, Workload

ACCEPTED = 202
GENERATOR_S_MAX = 120.0
WARM_UP_PAYMENTS = 256


class Side(Protocol):
    """What is measured."""

    port: int
    meters: Meters

    def done_at(self, instruction_ids: Sequence[str]) -> Mapping[str, float]:
        """Wait until every payment is done; when each was (Unix time)."""

    def settle(self) -> None:
        """Wait until nothing that belongs to the payments is still under way."""


@dataclass(frozen=True)
class Size:
    """How long a level is: ``payments``, or as many as fit into ``seconds`` by the warm-up's rate."""

    seconds: float
    payments: int | None = None
    warm_up: int = WARM_UP_PAYMENTS


def level(side: Side, workload: Workload, concurrency: int, size: Size) -> dict[str, Any]:
    """Measure ``concurrency`` requests in flight."""
    rate = _warm_up(side, workload, concurrency, size.warm_up)
    count = size.payments or max(concurrency * 4, int(rate * size.seconds))
    with _Generator(side, workload, concurrency, count, size.seconds * 4 + 10) as generator:
        before = side.meters.read()
        result = generator.go()
    ids = [_instruction_id(answer) for answer in result["answers"]]
    if len(ids) != count:
        raise RuntimeError(f"{len(ids)} of {count} payments were sent in time")
    done = side.done_at(ids)
    seen_at = time.time()
    side.settle()
    time.sleep(STATISTICS_S)
    after = side.meters.read()
    posted = sorted(done[identifier] - answer[0] for identifier, answer in zip(ids, result["answers"], strict=True))
    answered = sorted(answer[1] for answer in result["answers"])
    return {
        "concurrency": concurrency, "payments": count, "payments_per_s": round(count / (seen_at - result["begun_at"]), 1),
        "p50_ms": _quantile_ms(posted, 0.5), "p99_ms": _quantile_ms(posted, 0.99),
        "answer_p50_ms": _quantile_ms(answered, 0.5), "answer_p99_ms": _quantile_ms(answered, 0.99),
        "load_generator_cpu_us_per_payment": round(result["cpu_s"] / count * 1e6, 1), **used(before, after, count, result["cpu_s"]),
    }  # fmt: skip


def _warm_up(side: Side, workload: Workload, concurrency: int, payments: int) -> float:
    """Payments a second of a short run; everything that is made at first use is made in it."""
    with _Generator(side, workload, concurrency, payments, GENERATOR_S_MAX) as generator:
        begun = time.perf_counter()
        result = generator.go()
    side.done_at([_instruction_id(answer) for answer in result["answers"]])
    return payments / (time.perf_counter() - begun)


class _Generator:
    """The load generator's process, for the time of a ``with``; connected when it is entered."""

    def __init__(self, side: Side, workload: Workload, concurrency: int, count: int, seconds_max: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="symphony-bench-")
        self._result = Path(self._folder.name) / "result"
        self._seconds_max = seconds_max
        dealt = workload.requests(count, side.port)
        job = Path(self._folder.name) / "job"
        job.write_bytes(msgspec.msgpack.encode({
            "port": side.port, "ca": str(workload.ca), "concurrency": concurrency, "seconds_max": seconds_max,
            "connections": list(workload.jobs(dealt, concurrency)),
        }))  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", str(job), str(self._result)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.__exit__()
            raise RuntimeError("the load generator did not connect")
        return self

    def go(self) -> dict[str, Any]:
        """Let it send; what it brought back."""
        self._process.communicate("go\n", timeout=self._seconds_max + 60)
        if self._process.returncode != 0:
            raise RuntimeError("the load generator failed")
        result: dict[str, Any] = msgspec.msgpack.decode(self._result.read_bytes())
        return result

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _instruction_id(answer: Sequence[Any]) -> str:
    if answer[2] != ACCEPTED:
        raise RuntimeError(f"a payment was not accepted: {answer[2]} {answer[3][:500]!r}")
    return str(orjson.loads(answer[3])[0]["instruction_id"])


def _quantile_ms(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)
