"""A small HTTP/1.1 client that knows whether a byte of a request has left: the fact that decides about money.

Why not a library: ``aiohttp`` and ``httpx`` do not say reliably whether a byte of a body has left, and cost 5 to 40
times the CPU (findings, "HTTP on one core"). ``httptools`` parses; this file only keeps the books:

* ``NotSent``: no byte of the request left this process;
* ``NoAnswer``: the request may have arrived, and no whole answer came (time, reset, half an answer, garbage, too much);
* a new connection is *proven* by a ``GET`` of the peer's liveness before it carries anything: in TLS 1.3 a client
  believes the handshake complete before the server has looked at its certificate, so that without the proof a refused
  certificate would look like a payment in doubt.

Everything is bounded: connections, the wait for one, idle time, header and body bytes. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools

from contracts.errors import CannotEvaluate
from rails.iso20022.limits import IDLE_S_MAX, RESPONSE_BODY_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX

PROOF_PATH: Final = "/health/live"


class NotSent(Exception):
    """Surely nothing was sent; the message is a class of error, never payload."""


class NoAnswer(Exception):
    """The request may have arrived; the message is a class of error, never payload."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    content_type: str
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.reusable = True
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Response] | None = None
        self._parser: Any = None
        self._received = 0
        self._content_type = ""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, TLS included."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes

    @property
    def usable(self) -> bool:
        """Whether a request may be written."""
        return self.reusable and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> asyncio.Future[Response]:
        """Write a request; from here on only an answer says what became of it."""
        assert self._transport is not None
        assert self._waiting is None
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._content_type = ""
        self._body = bytearray()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def abort(self) -> None:
        """Drop the connection and whoever waits on it."""
        self.reusable = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; any that nobody waits for end the connection."""
        self._received += len(data)
        if self._waiting is None:
            self.abort()
            return
        if self._received > RESPONSE_HEADER_BYTES_MAX + RESPONSE_BODY_BYTES_MAX:
            self._fail(NoAnswer("the answer is too large"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(NoAnswer("the answer is not HTTP"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"content-type":
            self._content_type = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if self._waiting is None:
            self.reusable = False
            return
        if not 200 <= status <= 599:
            self._fail(NoAnswer(f"an answer of status {status}"))
            return
        waiting, self._waiting = self._waiting, None
        self.reusable = self._parser.should_keep_alive()
        if not waiting.done():
            waiting.set_result(Response(status, self._content_type, bytes(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, or TLS, ended it."""
        self._fail(NoAnswer(f"the connection ended before the answer: {type(exc).__name__ if exc else 'closed'}"))

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self.abort()


class HttpClient:
    """A bounded pool of kept connections to one HTTPS origin."""

    def __init__(self, base_url: str, context: ssl.SSLContext, *, connections_max: int) -> None:
        """Raises ``CannotEvaluate CONFIGURATION`` unless ``base_url`` is ``https://host[:port][/path]``."""
        parts = urlsplit(base_url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise CannotEvaluate("CONFIGURATION", f"not an https base URL: {base_url}")
        self._host, self._port = parts.hostname, parts.port or 443
        self._start = parts.path.rstrip("/")
        self._authority = parts.netloc
        self._context = context
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: deque[_Connection] = deque()

    async def request(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes, deadline: float
    ) -> Response:
        """The answer. ``deadline`` is a loop time. Raises ``NotSent`` or ``NoAnswer``."""
        request = self._head(method, path, headers, len(body)) + body
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NotSent("no connection was free in time") from error
        try:
            connection = await self._connection(deadline)
            response = await self._exchange(connection, request, deadline)
            self._keep(connection)
            return response
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Drop every kept connection."""
        while self._idle:
            self._idle.pop().abort()

    async def _connection(self, deadline: float) -> _Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            kept = self._idle.pop()
            if kept.usable and now - kept.idle_since < IDLE_S_MAX:
                return kept
            kept.abort()
        try:
            async with asyncio.timeout_at(deadline):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._context, server_hostname=self._host
                )
        except TimeoutError as error:
            raise NotSent("no connection in time") from error
        except (OSError, ssl.SSLError, ssl.CertificateError) as error:
            raise NotSent(f"no connection: {type(error).__name__}") from error
        await self._prove(connection, deadline)
        return connection

    async def _prove(self, connection: _Connection, deadline: float) -> None:
        """The peer answers us over this connection, so it has taken our certificate; nothing has been asked of it."""
        try:
            answer = await self._exchange(connection, self._head("GET", PROOF_PATH, {}, 0), deadline)
        except NoAnswer as error:
            raise NotSent(f"the peer did not take the connection: {error}") from error
        if answer.status != 200 or not connection.usable:
            connection.abort()
            raise NotSent(f"the peer is not live: status {answer.status}")

    async def _exchange(self, connection: _Connection, request: bytes, deadline: float) -> Response:
        loop = asyncio.get_running_loop()
        if not connection.usable or loop.time() >= deadline:
            connection.abort()
            raise NotSent("the connection, or the time, ended before the request")
        try:
            async with asyncio.timeout_at(deadline):
                response = await connection.send(request)
        except TimeoutError as error:
            connection.abort()
            raise NoAnswer("no answer in time") from error
        except BaseException:
            connection.abort()
            raise
        return response

    def _keep(self, connection: _Connection) -> None:
        if connection.usable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            with suppress(OSError):
                connection.abort()

    def _head(self, method: str, path: str, headers: dict[str, str], length: int) -> bytes:
        lines = [f"{method} {self._start}{path} HTTP/1.1", f"host: {self._authority}", "accept: application/json"]
        if method != "GET":
            lines.append(f"content-length: {length}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        assert all("\r" not in line and "\n" not in line for line in lines)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
