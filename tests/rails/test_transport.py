"""What the network does to a payment, and what may then be said of it (OUT-11, D7, REC-13, NEG-30)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from rails.sdk.types import Outcome
from tests.rails.fake_ledger import (
    IDS,
    FakeLedger,
    Files,
    Request,
    Script,
    answer,
    closes,
    connected,
    fake_ledger,
    hangs,
    item,
    posted,
    raw,
    refusal,
    replying,
    reset,
    resets,
)

TIMEOUT_MS = 1500
ACCEPTED, REJECTED, NOT_SENT, IN_DOUBT = (
    Outcome.ACCEPTED_FINAL, Outcome.REJECTED_FINAL, Outcome.SURELY_NOT_SENT, Outcome.IN_DOUBT,
)  # fmt: skip


async def outcome_of(files: Files, script: Script, **how: str) -> tuple[Outcome, str | None, FakeLedger]:
    """Submit one payment to a ledger that follows the script; always within the deadline."""
    server = {name: how.pop(name) for name in ("server",) if name in how}
    async with fake_ledger(files, script, **server) as fake, connected(files, fake.port, **how) as ledger:
        start = time.monotonic()
        results = await ledger.submit([item()], timeout_ms=TIMEOUT_MS)
        assert time.monotonic() - start < TIMEOUT_MS / 1000 + 5
        assert len(results) == 1
        return results[0].outcome, results[0].code, fake


# scripts --------------------------------------------------------------------------------------------------------------
async def drips(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in posted(request):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def floods(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def heads_without_end(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 X\r\nx: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


def cut(at: int) -> Script:
    return replying(lambda request: posted(request)[:at], then_close=True)


def another(**changes: object) -> Script:
    return replying(lambda request: posted(request, **changes))


IN_DOUBT_SCRIPTS: dict[str, Script] = {
    "closed after the body": closes,
    "reset after the body": resets,
    "no answer": hangs,
    "a slow drip": drips,
    "an answer without end": floods,
    "a header without end": heads_without_end,
    "half a status line": cut(7),
    "half a header": cut(30),
    "half a body": cut(120),
    "all but the last byte": replying(lambda request: posted(request)[:-1], then_close=True),
    "garbage": raw(b"\x15\x03\x01 what is this\r\n\r\n", then_close=True),
    "another protocol": raw(b"220 mail.example ESMTP\r\n"),
    "a body longer than bounded": raw(b"HTTP/1.1 200 X\r\ncontent-length: 99999999999\r\n\r\n", then_close=True),
    "100": raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "101": raw(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "301": raw(answer(301, b"", "text/plain", "location: https://127.0.0.1:1/")),
    "204 without a word": raw(b"HTTP/1.1 204 X\r\n\r\n"),
    "201 empty": raw(answer(201, b"")),
    "201 not JSON": raw(answer(201, b"posted")),
    "201 a list": raw(answer(201, b"[1]")),
    "201 deep": raw(answer(201, b"[" * 5000)),
    "201 another instruction": another(instruction_id=IDS[1]),
    "201 no posting": another(posting_id=None),
    "201 long posting": another(posting_id="x" * 65),
    "201 another status": another(status="pending"),
    "202": replying(lambda request: posted(request, 202)),
    "404 plain": raw(answer(404, b"not here", "text/plain")),
    "403 plain": raw(answer(403, b'{"reason_code":"PERMIT_EXPIRED"}')),
    "500": raw(answer(500, b"", "text/plain")),
    "502 of a proxy": raw(answer(502, b"<html>", "text/html")),
    "a code with another status": replying(lambda _: refusal("PERMIT_EXPIRED").replace(b" 403 ", b" 500 ", 1)),
    "a code outside the list": raw(answer(409, b'{"reason_code":"NO_SUCH"}', "application/problem+json")),
    "a code that is no word": raw(answer(409, b'{"reason_code":["X"]}', "application/problem+json")),
}


@pytest.mark.parametrize("name", sorted(IN_DOUBT_SCRIPTS))
def test_after_the_first_byte_only_a_whole_answer_counts(name: str, certificates: Files, run: Callable) -> None:
    outcome, code, fake = run(outcome_of(certificates, IN_DOUBT_SCRIPTS[name]))
    assert (outcome, len(fake.requests)) == (IN_DOUBT, 1)
    assert code is not None


@pytest.mark.parametrize("status", [200, 201])
def test_a_posting_of_this_instruction_is_final(status: int, certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        script = replying(lambda request: posted(request, status))
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            sent = item()
            (result,) = await ledger.submit([sent], timeout_ms=TIMEOUT_MS)
            assert result.outcome is ACCEPTED
            assert result.rail_reference == "0197a000-0000-7000-8000-00000000aaaa"
            (request,) = fake.requests
            assert request.body == sent.body
            assert b"\r\nsymphony-permit: eyJjbGFpbXMiOnt9fQ\r\n" in request.head
            assert request.head.startswith(b"POST /v1/postings HTTP/1.1\r\n")

    run(submits())


# before the first byte ------------------------------------------------------------------------------------------------
def test_nothing_listens(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with connected(certificates, port) as ledger:
            (result,) = await ledger.submit([item()], timeout_ms=TIMEOUT_MS)
            assert (result.outcome, result.code) == (NOT_SENT, "RAIL_UNREACHABLE")

    run(submits())


@pytest.mark.parametrize("behaviour", ["closes", "resets", "hangs", "garbage"])
def test_the_connection_ends_before_tls_is_there(behaviour: str, certificates: Files, run: Callable) -> None:
    async def misbehaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if behaviour == "hangs":
            await reader.read()
        elif behaviour == "garbage":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif behaviour == "resets":
            reset(writer)
        writer.close()

    async def submits() -> None:
        server = await asyncio.start_server(misbehaves, "127.0.0.1", 0)
        async with connected(certificates, server.sockets[0].getsockname()[1]) as ledger:
            start = time.monotonic()
            (result,) = await ledger.submit([item()], timeout_ms=TIMEOUT_MS)
            assert (result.outcome, result.code) == (NOT_SENT, "RAIL_UNREACHABLE")
            assert time.monotonic() - start < TIMEOUT_MS / 1000 + 5
        server.close()

    run(submits())


def test_a_ledger_that_we_do_not_trust_gets_nothing(certificates: Files, run: Callable) -> None:
    script = replying(posted)
    outcome, code, fake = run(outcome_of(certificates, script, server="strange-server"))
    assert (outcome, code, fake.requests) == (NOT_SENT, "RAIL_UNREACHABLE", [])


def test_a_ledger_that_does_not_trust_us_gets_nothing(certificates: Files, run: Callable) -> None:
    """TLS 1.3 ends the handshake at the client first, so a connection is proven before it carries a payment."""
    outcome, code, fake = run(outcome_of(certificates, replying(posted), client="strange-adapter"))
    assert (outcome, code, fake.requests) == (NOT_SENT, "RAIL_UNREACHABLE", [])


@pytest.mark.parametrize(
    "proof",
    [b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", b"?\r\n\r\n", b"", b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n"],
    ids=["not live", "garbage", "silent", "closing"],
)
def test_a_connection_that_is_not_proven_carries_nothing(proof: bytes, certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        async with fake_ledger(certificates, replying(posted)) as fake, connected(certificates, fake.port) as ledger:
            fake.proof = proof
            (result,) = await ledger.submit([item()], timeout_ms=300)
            assert (result.outcome, fake.requests, fake.proofs) == (NOT_SENT, [], 1)

    run(submits())


def test_a_kept_connection_is_proven_once(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        async with fake_ledger(certificates, replying(posted)) as fake, connected(certificates, fake.port) as ledger:
            for _ in range(5):
                assert (await ledger.submit([item()], timeout_ms=TIMEOUT_MS))[0].outcome is ACCEPTED
            assert (fake.proofs, len(fake.requests)) == (1, 5)

    run(submits())


def test_no_connection_was_free_in_time(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        async with fake_ledger(certificates, hangs) as fake:  # noqa: SIM117
            async with connected(certificates, fake.port, connections_max=1) as ledger:
                results = await ledger.submit([item(), item(IDS[1])], timeout_ms=300)
                assert [r.outcome for r in results] == [IN_DOUBT, NOT_SENT]
                assert len(fake.requests) == 1

    run(submits())


def test_no_time_is_no_request(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        async with fake_ledger(certificates, replying(posted)) as fake, connected(certificates, fake.port) as ledger:
            (result,) = await ledger.submit([item()], timeout_ms=0)
            assert (result.outcome, fake.requests) == (NOT_SENT, [])

    run(submits())
