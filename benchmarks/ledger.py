"""Postings per second of the ledger, single and in batches, beside a bare insert of the same rows in the same run.

    python -m benchmarks.ledger [--postings 2000]

Method: one embedded PostgreSQL (fsync and synchronous_commit on), all on this machine, loopback.

* ``bare_single``: one connection, one row of about the same bytes in a plain table without triggers, a commit each;
* ``store_single``: ``ledger.post`` with one item, a commit each, one connection (marks, accounts, posting, two lines,
  all checks and triggers): what double entry costs over the bare row;
* ``store_100``: ``ledger.post`` with 100 items a call;
* ``http_1``, ``http_64``: POST /v1/postings over kept mTLS connections with 1 and 64 requests in flight, a permit
  each, signed beforehand in batches of 64; a posting counts when its 201 is read. Client and server share the
  machine's cores; the server's CPU is that of its own process.

Permits live 60 s at most, so the HTTP parts sign just before they send. Results go to ``var/bench/ledger.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import ssl
import tempfile
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import uvloop

from contracts import permit
from services.ledger.server import Ledger
from services.ledger.store import Database
from services.ledger.store.postings import post
from tests.ledger.support import Certificates, HandFollower, MovingClock, Running, Sidecar, posting, release
from tests.ledger.test_order import effect
from tests.support.database import TestPostgres

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "bench" / "ledger.json"
BARE_TABLE = "CREATE TABLE bare (id uuid PRIMARY KEY, body bytea NOT NULL)"
SIGNED_TOGETHER = 64
HEAD = b"POST /v1/postings HTTP/1.1\r\nhost: ledger\r\nsymphony-permit: %s\r\ncontent-length: %d\r\n\r\n"


def bare_single(url: str, rows: int) -> float:
    """Rows per second, one plain insert and one commit each."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(BARE_TABLE)
        begun = time.perf_counter()
        for _ in range(rows):
            connection.execute("INSERT INTO bare VALUES (%s, %s)", (uuid4(), b"x" * 400))
        return rows / (time.perf_counter() - begun)


def store(url: str, rows: int, batch: int) -> float:
    """Postings per second through ``ledger.post``, ``batch`` items a commit."""

    async def run() -> float:
        database = Database(url, connections_max=1)
        effects = [effect(str(uuid4()), "post", 1, 1) for _ in range(rows)]
        begun = time.perf_counter()
        for start in range(0, rows, batch):
            await post(database, effects[start : start + batch])
        took = time.perf_counter() - begun
        await database.close()
        return rows / took

    return asyncio.run(run())


def requests_of(sidecar: Sidecar, count: int) -> list[bytes]:
    """Whole HTTP requests, signed now."""
    out: list[bytes] = []
    while len(out) < count:
        bodies = [posting() for _ in range(SIGNED_TOGETHER)]
        permits = permit.issue(sidecar.key, [sidecar.claims(body) for body in bodies])
        for body, signed in zip(bodies, permits, strict=True):
            text = urlsafe_b64encode(signed).rstrip(b"=")
            out.append(HEAD % (text, len(body)) + body)
    return out[:count]


async def load(
    port: int, context: ssl.SSLContext, requests: list[bytes], connections: int
) -> tuple[float, list[float]]:
    """Send every request, ``connections`` at a time; seconds taken and each one's latency in seconds."""
    waiting, latencies = iter(requests), []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await ready.wait()
        for request in waiting:
            sent = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201"), head
            size = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(size.split(b":")[1]))
            latencies.append(time.perf_counter() - sent)
        writer.close()

    ready = asyncio.Event()
    tasks = [asyncio.create_task(one()) for _ in range(connections)]
    await asyncio.sleep(0.5)
    begun = time.perf_counter()
    ready.set()
    await asyncio.gather(*tasks)
    return time.perf_counter() - begun, latencies


def serve(url: str, certificates: Certificates, sidecar: Sidecar, told: multiprocessing.Queue[int]) -> None:
    """The ledger in a process of its own."""
    clock = MovingClock()
    follower = HandFollower(release([sidecar], clock=clock))
    settings = Running(url, certificates, follower, clock).settings

    async def run() -> None:
        await Ledger(settings, follower=follower, clock=clock).serve(told.put)

    uvloop.run(run())


def http(url: str, count: int) -> dict[str, float]:
    """The HTTP parts."""
    with tempfile.TemporaryDirectory() as folder:
        certificates, sidecar = Certificates(Path(folder)), Sidecar(MovingClock())
        context = certificates.client("bench")
        told: multiprocessing.Queue[int] = multiprocessing.Queue()
        process = multiprocessing.get_context("fork").Process(target=serve, args=(url, certificates, sidecar, told))
        process.start()
        try:
            port = told.get(timeout=20)
            asyncio.run(load(port, context, requests_of(sidecar, 256), 8))
            return _measured(port, context, sidecar, count, process.pid or 0)
        finally:
            process.terminate()
            process.join()


def _measured(port: int, context: ssl.SSLContext, sidecar: Sidecar, count: int, pid: int) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, connections, requests in (("http_1", 1, count // 4), ("http_64", 64, count * 2)):
        ready = requests_of(sidecar, requests)
        before = psutil.Process(pid).cpu_times()
        took, latencies = asyncio.run(load(port, context, ready, connections))
        after = psutil.Process(pid).cpu_times()
        ordered = sorted(latencies)
        out[f"{name}_per_s"] = round(requests / took, 1)
        out[f"{name}_p50_ms"] = round(ordered[len(ordered) // 2] * 1000, 2)
        out[f"{name}_p99_ms"] = round(ordered[len(ordered) * 99 // 100] * 1000, 2)
        cpu = after.user + after.system - before.user - before.system
        out[f"{name}_server_cpu_us"] = round(cpu / requests * 1e6, 1)
    return out


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Postings per second of the ledger")
    parser.add_argument("--postings", type=int, default=2000)
    count = parser.parse_args().postings
    with TestPostgres(ROOT / "migrations") as cluster:
        database = cluster.new_database("ledger")
        result = {
            "bare_single_per_s": round(bare_single(database.admin, count), 1),
            "store_single_per_s": round(store(database.writer, count, 1), 1),
            "store_100_per_s": round(store(database.writer, count * 10, 100), 1),
            **http(database.writer, count),
        }
    result["single_ratio"] = round(result["store_single_per_s"] / result["bare_single_per_s"], 3)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for name, value in result.items():
        print(f"{name:28} {value:>12,.1f}" if value > 10 else f"{name:28} {value:>12,.3f}")


if __name__ == "__main__":
    main()
