"""The sidecar's door under hostile and clumsy clients: a bounded answer with a code, never a stack trace, never a hang."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest

from contracts.tls import HEAD_S_MAX, client_context
from tests.e2e.conftest import REJECTS_PER_MINUTE
from tests.e2e.support import Stack, message, until

BODY_BYTES_MAX = 1024 * 1024
ANSWER_S_MAX = 20.0


@contextmanager
def connected(stack: Stack) -> Iterator[ssl.SSLSocket]:
    """A raw mTLS connection as kafue-bank."""
    folder = stack.layout.participant("kafue-bank")
    context = client_context(folder / "client.pem", folder / "client-key.pem", stack.layout.ca)
    plain = socket.create_connection(("127.0.0.1", stack.layout.ports["acceptor"]), timeout=ANSWER_S_MAX)
    with closing(context.wrap_socket(plain, server_hostname="127.0.0.1")) as connection:
        yield connection


def head(stack: Stack, *, length: str | None = None, extra: str = "", path: str = "/v1/instructions") -> bytes:
    """The head of a POST with a fresh token and key."""
    lines = [
        f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/xml", f"idempotency-key: {uuid.uuid4()}",
        f"authorization: Bearer {stack.participant().token()}",
    ]  # fmt: skip
    if length is not None:
        lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + f"\r\n{extra}\r\n").encode()


def answer(connection: ssl.SSLSocket) -> bytes:
    """Everything until the peer closes or one whole answer is there."""
    data = b""
    try:
        while part := connection.recv(65_536):
            data += part
            found = re.search(rb"content-length: (\d+)\r\n", data)
            if b"\r\n\r\n" in data and found and len(data.partition(b"\r\n\r\n")[2]) >= int(found[1]):
                return data
    except (ConnectionError, ssl.SSLEOFError):
        pass
    return data


def code_of(data: bytes) -> tuple[int, str]:
    """Status and reason code of a raw answer."""
    status = int(data.split(b" ", 2)[1])
    body = json.loads(data.partition(b"\r\n\r\n")[2])
    return status, body["reason_code"] if isinstance(body, dict) else str(body[0]["reason_code"])


def test_a_body_over_the_bound_that_says_so(stack: Stack) -> None:
    """Refused by its length before it is read, by its size while it is read."""
    with connected(stack) as connection:
        connection.sendall(head(stack, length=str(BODY_BYTES_MAX + 1)))
        assert code_of(answer(connection)) == (413, "BODY_TOO_LARGE")


def test_a_chunked_body_over_the_bound(stack: Stack) -> None:
    begun = time.monotonic()
    with connected(stack) as connection:
        connection.sendall(head(stack, extra="transfer-encoding: chunked\r\n"))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with _quiet():
            for _ in range(40):
                connection.sendall(chunk)
        assert code_of(answer(connection)) == (413, "BODY_TOO_LARGE")
    assert time.monotonic() - begun < ANSWER_S_MAX


@contextmanager
def _quiet() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, ssl.SSLError):
        return


def test_the_largest_body_that_is_permitted_is_judged(stack: Stack) -> None:
    reply = stack.submit(b"<a>" + b"x" * (BODY_BYTES_MAX - 7) + b"</a>")
    assert (reply.status, reply.code) == (422, "MESSAGE_TYPE_UNKNOWN")


def test_a_chunked_message_is_taken(stack: Stack) -> None:
    raw = message()
    with connected(stack) as connection:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(raw[n : n + 100]), raw[n : n + 100]) for n in range(0, len(raw), 100))
        connection.sendall(head(stack, extra="transfer-encoding: chunked\r\n") + chunks + b"0\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"content": b""}, 400, "BODY_EMPTY"),
        ({"headers": {"content-type": "application/json"}}, 415, "CONTENT_TYPE_UNSUPPORTED"),
        ({"headers": {"content-type": ""}}, 415, "CONTENT_TYPE_UNSUPPORTED"),
        ({"headers": {"idempotency-key": ""}}, 400, "IDEMPOTENCY_KEY_INVALID"),
        ({"headers": {"idempotency-key": "a b"}}, 400, "IDEMPOTENCY_KEY_INVALID"),
        ({"headers": {"idempotency-key": "x" * 65}}, 400, "IDEMPOTENCY_KEY_INVALID"),
        ({"headers": {"authorization": ""}}, 401, "TOKEN_MISSING"),
        ({"headers": {"authorization": "Basic a2E6ZnVl"}}, 401, "TOKEN_MISSING"),
        ({"headers": {"authorization": "Bearer x.y.z"}}, 401, "TOKEN_MALFORMED"),
        ({"headers": {"authorization": "Bearer " + "x" * 9000}}, 401, "TOKEN_MALFORMED"),
    ],
    ids=["empty", "json", "no type", "no key", "key with a space", "long key", "no token", "basic", "no token form", "long token"],
)
def test_a_clumsy_request_gets_its_code(stack: Stack, change: dict, status: int, code: str) -> None:
    client = stack.participant()._client
    headers = {
        "authorization": f"Bearer {stack.participant().token()}", "idempotency-key": str(uuid.uuid4()),
        "content-type": "application/xml", **change.get("headers", {}),
    }  # fmt: skip
    reply = client.post("/v1/instructions", content=change.get("content", message()), headers=headers)
    assert (reply.status_code, reply.json()["reason_code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["next_step"]


def test_two_idempotency_keys_or_two_tokens_are_none(stack: Stack) -> None:
    client, token = stack.participant()._client, stack.participant().token()
    twice = [("authorization", f"Bearer {token}"), ("content-type", "application/xml"), ("idempotency-key", "a"), ("idempotency-key", "b")]
    assert client.post("/v1/instructions", content=message(), headers=twice).json()["reason_code"] == "IDEMPOTENCY_KEY_INVALID"
    twice = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {stack.participant().token()}"), ("content-type", "application/xml"), ("idempotency-key", "a")]
    assert client.post("/v1/instructions", content=message(), headers=twice).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/instructions", 405), ("PUT", "/v1/instructions", 405), ("DELETE", "/v1/instructions/01a20d5c-ceba-7425-bc3a-5c8874d07822", 405),
        ("POST", "/v1/instructions/", 405), ("GET", "/", 404), ("GET", "/v1/../../etc/passwd", 404), ("GET", "/v1/instructions/x", 405),
        ("GET", "/v1/instructions/01a20d5c-ceba-7425-bc3a-5c8874d07822", 401), ("OPTIONS", "/v1/instructions", 405), ("TRACE", "/", 404),
    ],
)  # fmt: skip
def test_other_methods_and_addresses(stack: Stack, method: str, path: str, status: int) -> None:
    reply = stack.participant()._client.request(method, path)
    assert reply.status_code == status, reply.text
    assert reply.json()["reason_code"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 4096, b"GET\r\n\r\n", b"POST /v1/instructions HTTP/9.9\r\n\r\n", b"A" * 200_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"POST /v1/instructions HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/instructions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/instructions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nzzzz",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /%ff%00 HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=range(11),
)  # fmt: skip
def test_garbage_is_answered_or_cut_off(stack: Stack, garbage: bytes) -> None:
    begun = time.monotonic()
    with connected(stack) as connection, _quiet():
        connection.sendall(garbage)
        said = answer(connection)
        assert not said or 400 <= int(said.split(b" ", 2)[1]) < 500, said[:200]
        assert b"Traceback" not in said
    assert time.monotonic() - begun < ANSWER_S_MAX
    assert stack.submit().status == 202, "others are served"


def test_no_tls_at_all(stack: Stack) -> None:
    with closing(socket.create_connection(("127.0.0.1", stack.layout.ports["acceptor"]), timeout=10)) as plain, _quiet():
        plain.sendall(b"POST /v1/instructions HTTP/1.1\r\n\r\n")
        assert b"HTTP/1.1 2" not in plain.recv(1000)
    assert stack.submit().status == 202


def test_a_client_that_goes_away_in_the_middle(stack: Stack) -> None:
    for _ in range(5):
        with connected(stack) as connection:
            connection.sendall(head(stack, length="1000") + b"<Document>")
    assert stack.submit().status == 202


def test_slow_clients_hold_up_nobody_else(stack: Stack) -> None:
    """Fifty clients that drip a byte at a time: others are answered at once meanwhile."""
    raw = message()
    with ThreadPoolExecutor(1) as pool:
        held = []
        managers = [connected(stack) for _ in range(50)]
        for manager in managers:
            connection = manager.__enter__()
            connection.sendall(head(stack, length=str(len(raw)))[:40])
            held.append(connection)
        begun = time.monotonic()
        assert pool.submit(stack.submit).result(10).status == 202
        assert time.monotonic() - begun < 30
        for manager in managers:
            manager.__exit__(None, None, None)


def test_a_body_that_never_ends_is_refused_in_time(crash_stack: Stack) -> None:
    """After the manifest's ``request_timeout_ms``, 3 s here; nothing is recorded under it."""
    begun = time.monotonic()
    with connected(crash_stack) as connection:
        connection.sendall(head(crash_stack, length="1000") + b"<Document>")
        assert code_of(answer(connection)) == (400, "REQUEST_INVALID")
        assert connection.recv(1) == b"", "and the connection is closed"
    assert 2 < time.monotonic() - begun < 30


def test_heads_that_never_end_are_cut_off(stack: Stack) -> None:
    """Nothing at all, half a head, empty lines: all held at once, all gone after the bound."""
    beginnings = (b"", b"POST /v1/instructions HTTP/1.1\r\nhost: a\r\n", b"\r\n" * 500)
    with ExitStack() as held:
        connections = [held.enter_context(connected(stack)) for _ in beginnings]
        for connection, beginning in zip(connections, beginnings, strict=True):
            connection.sendall(beginning)
        begun = time.monotonic()
        assert [answer(connection) for connection in connections] == [b""] * len(beginnings)
    assert time.monotonic() - begun < HEAD_S_MAX + 20


def test_a_slow_message_is_taken_when_it_comes_whole(stack: Stack) -> None:
    raw = message()
    with connected(stack) as connection:
        connection.sendall(head(stack, length=str(len(raw))))
        for n in range(0, len(raw), 400):
            connection.sendall(raw[n : n + 400])
            time.sleep(0.05)
        assert answer(connection).startswith(b"HTTP/1.1 202")


def test_pipelined_requests_are_each_answered(stack: Stack) -> None:
    raws = [message() for _ in range(3)]
    with connected(stack) as connection:
        connection.sendall(b"".join(head(stack, length=str(len(raw))) + raw for raw in raws))
        data, deadline = b"", time.monotonic() + 10
        while data.count(b"HTTP/1.1 202") < 3 and time.monotonic() < deadline:
            data += connection.recv(65_536)
    assert data.count(b"HTTP/1.1 202") == 3


def test_the_correlation_id_is_echoed_and_recorded_or_replaced(stack: Stack) -> None:
    client = stack.participant()._client
    for sent, kept in (("abc-123", True), ("a b", False), ("x" * 65, False)):
        reply = client.post("/v1/instructions", content=message(), headers={
            "authorization": f"Bearer {stack.participant().token()}", "idempotency-key": str(uuid.uuid4()),
            "content-type": "application/xml", "x-correlation-id": sent,
        })  # fmt: skip
        assert reply.status_code == 202
        assert (reply.headers["x-correlation-id"] == sent) is kept
        row = stack.row(
            "sidecar", "SELECT correlation_id FROM symphony.ingress_attestations WHERE attestation_id = %s",
            reply.json()[0]["attestation_id"],
        )  # fmt: skip
        assert row["correlation_id"] == reply.headers["x-correlation-id"]


@pytest.mark.parametrize("also_aggregates", [False, pytest.param(True, marks=pytest.mark.long)])
def test_strangers_cannot_fill_the_database(crash_stack: Stack, also_aggregates: bool) -> None:
    """D3, NEG-24: refusals of strangers are rows up to a bound, then they are counted in aggregates."""
    context = ssl.create_default_context(cafile=str(crash_stack.layout.ca))
    count = "SELECT count(*) AS n FROM symphony.ingress_attestations WHERE reject_reason_code = 'CERTIFICATE_MISSING'"
    with httpx.Client(base_url=crash_stack.layout.url("acceptor"), verify=context, timeout=20) as client:
        for _ in range(3 * REJECTS_PER_MINUTE):
            assert client.post("/v1/instructions", content=b"x").status_code == 401
    assert 0 < crash_stack.row("sidecar", count)["n"] <= 2 * REJECTS_PER_MINUTE
    if also_aggregates:
        aggregate = "SELECT canonical_fields FROM symphony.evidence_events WHERE event_type = 'REJECTS'"
        until(lambda: crash_stack.rows("sidecar", aggregate), timeout_s=90, what="an aggregate")
