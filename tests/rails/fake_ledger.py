"""A ledger that misbehaves on request, over real sockets and real mTLS: for what the transport does to answers."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from contracts.problem import problem
from contracts.tls import client_context, server_context
from rails.iso20022.http import HttpClient
from rails.iso20022.ledger import Ledger
from rails.sdk.types import SubmitItem
from symphony.stack.certificates import Credential, make_ca, process_credential, server_credential

NOW = datetime.now(UTC)
IDS = ("0197a000-0000-7000-8000-000000000001", "0197a000-0000-7000-8000-000000000002")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Files:
    """The certificates of one test: ours, the ledger's, and those of a stranger."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Files:
        ours, strange = make_ca("ours", now=NOW), make_ca("strange", now=NOW)
        for name, credential in {
            "ca": ours, "strange-ca": strange, "server": server_credential(ours, "ledger", now=NOW),
            "strange-server": server_credential(strange, "ledger", now=NOW),
            "adapter": process_credential(ours, "sandbox", "adapter", now=NOW),
            "strange-adapter": process_credential(strange, "sandbox", "adapter", now=NOW),
        }.items():  # fmt: skip
            _write(folder, name, credential)
        return cls(folder)

    def path(self, name: str) -> Path:
        return self.folder / name


def _write(folder: Path, name: str, credential: Credential) -> None:
    credential.write(folder / f"{name}.pem", folder / f"{name}-key.pem")


@dataclass
class Request:
    """One request as the ledger reads it."""

    head: bytes
    body: bytes

    @property
    def document(self) -> dict[str, str]:
        return json.loads(self.body)


@dataclass
class FakeLedger:
    """Counts what reaches it; each connection is handed to the script, request by request."""

    script: Script
    port: int = 0
    proof: bytes = b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n"
    proofs: int = 0
    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    requests: list[Request] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            while not writer.is_closing():
                request = await read_request(reader)
                if request.head.startswith(b"GET /health/live "):
                    self.proofs += 1
                    writer.write(self.proof)
                    continue
                self.requests.append(request)
                await self.script(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = lengths[0] if lengths else 0
    return Request(head, await reader.readexactly(length))


@asynccontextmanager
async def fake_ledger(files: Files, script: Script, *, server: str = "server") -> AsyncIterator[FakeLedger]:
    fake = FakeLedger(script)
    context = server_context(files.path(f"{server}.pem"), files.path(f"{server}-key.pem"), files.path("ca.pem"))
    listening = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=context)
    fake.port = listening.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        listening.close()


@asynccontextmanager
async def connected(
    files: Files, port: int, *, client: str = "adapter", ca: str = "ca", connections_max: int = 8
) -> AsyncIterator[Ledger]:
    context = client_context(files.path(f"{client}.pem"), files.path(f"{client}-key.pem"), files.path(f"{ca}.pem"))
    ledger = Ledger(HttpClient(f"https://127.0.0.1:{port}", context, connections_max=connections_max))
    try:
        yield ledger
    finally:
        await ledger.close()


def item(instruction_id: str = IDS[0], purpose: str = "post") -> SubmitItem:
    body = json.dumps({"instruction_id": instruction_id, "purpose": purpose}).encode()
    return SubmitItem(instruction_id=instruction_id, body=body, permit=b'{"claims":{}}')


def answer(status: int, body: bytes, content_type: str = "application/json", *extra: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}", *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def posted(request: Request, status: int = 201, **changes: object) -> bytes:
    document = {
        "posting_id": "0197a000-0000-7000-8000-00000000aaaa", "instruction_id": request.document["instruction_id"],
        "status": "posted", "posted_at": "2026-11-24T10:00:00.000000Z", **changes,
    }  # fmt: skip
    return answer(status, json.dumps(document).encode())


def refusal(code: str) -> bytes:
    status, body = problem(code)
    return answer(status, body, "application/problem+json")


def replying(make: Callable[[Request], bytes], *, then_close: bool = False) -> Script:
    """A script that answers every request with what ``make`` gives."""

    async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(make(request))
        await writer.drain()
        if then_close:
            writer.close()

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a TCP reset instead of a goodbye."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def raw(data: bytes, *, then_close: bool = False) -> Script:
    return replying(lambda _: data, then_close=then_close)


async def closes(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def hangs(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
