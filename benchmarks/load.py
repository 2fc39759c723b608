"""The load generator: a process of its own, closed loop, one request a connection at a time.

    python -m benchmarks.load JOB RESULT

``JOB`` (msgpack): port, ca, concurrency, seconds_max, connections [{certificate, key, requests}]. It opens every
connection, prints ``ready``, waits for a line, then keeps ``concurrency`` requests in flight until all are answered or
the time is over, writes ``RESULT`` (msgpack: cpu_s, begun_at, answers [[sent_at, latency_s, status, body]]) and ends.
A connection that fails ends the run with its reason: nothing is retried, so that nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import httptools
import msgspec
import uvloop

from contracts.tls import client_context

CONNECT_TOGETHER = 8


class Connection(asyncio.Protocol):
    """One kept connection and the requests that it has still to send."""

    def __init__(self, run: Run, requests: list[bytes]) -> None:
        self._run = run
        self.waiting = deque(requests)
        self.answer: list[Any] = []
        self._body = b""
        self._parser: Any = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport: Any = transport

    def send(self) -> None:
        """Send the next request."""
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self.answer = [time.time(), 0.0, 0, b""]
        self._sent = time.perf_counter()
        self._transport.write(self.waiting.popleft())

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser: note the answer, let the next request go."""
        self.answer[1:] = [time.perf_counter() - self._sent, self._parser.get_status_code(), self._body]
        self._run.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Never expected before the end."""
        self._run.broken(f"a connection ended: {exc}")

    def close(self) -> None:
        """Close it."""
        self._transport.close()


class Run:
    """One run of a job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self.answers: list[list[Any]] = []
        self._free: deque[Connection] = deque()
        self._in_flight = 0
        self._ends_at = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        """Open every connection, a few at a time."""
        gate = asyncio.Semaphore(CONNECT_TOGETHER)

        async def one(entry: dict[str, Any]) -> None:
            context = client_context(Path(entry["certificate"]), Path(entry["key"]), Path(self._job["ca"]))
            async with gate:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self, entry["requests"]), "127.0.0.1", self._job["port"], ssl=context,
                    server_hostname="127.0.0.1",
                )  # fmt: skip
            if connection.waiting:
                self._free.append(connection)

        await asyncio.gather(*map(one, self._job["connections"]))

    async def go(self) -> dict[str, Any]:
        """Send, and answer with what came back."""
        cpu = time.process_time()
        begun_at = time.time()
        self._ends_at = time.perf_counter() + self._job["seconds_max"]
        for _ in range(self._job["concurrency"]):
            self._next()
        async with asyncio.timeout(self._job["seconds_max"] + 30):
            await self._done
        return {"cpu_s": time.process_time() - cpu, "begun_at": begun_at, "answers": self.answers}

    def answered(self, connection: Connection) -> None:
        """A connection is free again."""
        self.answers.append(connection.answer)
        self._in_flight -= 1
        if connection.waiting:
            self._free.append(connection)
        self._next()

    def broken(self, reason: str) -> None:
        """End the run."""
        if not self._done.done():
            self._done.set_exception(RuntimeError(reason))

    def _next(self) -> None:
        if self._free and time.perf_counter() < self._ends_at:
            self._in_flight += 1
            self._free.popleft().send()
        elif self._in_flight == 0 and not self._done.done():
            self._done.set_result(None)


async def main(job_file: str, result_file: str) -> None:
    """One job."""
    run = Run(msgspec.msgpack.decode(Path(job_file).read_bytes()))
    await run.connect()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    Path(result_file).write_bytes(msgspec.msgpack.encode(await run.go()))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
