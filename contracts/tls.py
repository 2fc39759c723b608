"""TLS of every server and client of ours, and the peer certificate in the ASGI scope (SEC-06).

Rules:

* TLS 1.3 only; a server demands a client certificate (``CERT_REQUIRED``) of its own authority;
* no session tickets: a resumed session would bypass a revocation list (``num_tickets = 0``);
* forwarded headers are never trusted, no WebSocket upgrade (it would build another protocol class);
* a request's head is at most ``HEAD_BYTES_MAX`` and comes within ``HEAD_S_MAX``: neither uvicorn nor its parser bounds
  it, and a connection that never says anything would be held for ever;
* a refused handshake leaves a log line, without the peer's bytes;
* a held connection outlives its certificate, so every request can ask ``peer_of(scope).is_current(now)``.

uvicorn has no ASGI ``tls`` extension: ``PeerProtocol`` reads the certificate once per connection and puts it
into ``scope["extensions"]``: ``"tls.peer_der"`` (bytes), ``"tls.peer"`` (``Peer``) and ``"server.ending"``, an
``asyncio.Event`` that is set when the server begins to end, so that a request that waits for something can be answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contracts.errors import CannotEvaluate

BACKLOG_MAX = 1024
HEAD_BYTES_MAX = 64 * 1024
HEAD_S_MAX = 10.0
KEEP_ALIVE_S = 75
_LOG = logging.getLogger("symphony.tls")


@dataclass(frozen=True, slots=True)
class Peer:
    """The client certificate of a connection, read once."""

    der: bytes
    sha256: str
    serial: int
    not_before: datetime
    not_after: datetime

    def is_current(self, now: datetime) -> bool:
        """Whether the certificate is inside its own validity at ``now``."""
        return self.not_before <= now <= self.not_after


def peer_from_der(der: bytes) -> Peer:
    """Read a DER certificate. ``ValueError`` when it is none."""
    certificate = x509.load_der_x509_certificate(der)
    return Peer(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def peer_of(scope: Mapping[str, Any]) -> Peer | None:
    """The peer of a request's connection; ``None`` on a plain connection."""
    peer = scope.get("extensions", {}).get("tls.peer")
    return peer if isinstance(peer, Peer) else None


class _WatchedHandshake(ssl.SSLObject):
    """A TLS object that logs a handshake that was refused."""

    def do_handshake(self) -> None:
        """As ``ssl.SSLObject.do_handshake``."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            _LOG.warning("a TLS handshake was refused: %s", error.reason or "unknown")
            raise


def server_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """A server's context: mTLS, TLS 1.3 only, no tickets. Raises ``CannotEvaluate CONFIGURATION``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _WatchedHandshake
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return _loaded(context, certificate, key, ca)


def client_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """A client's context with its own certificate; the server's name is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _loaded(context, certificate, key, ca)


def _loaded(context: ssl.SSLContext, certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise CannotEvaluate("CONFIGURATION", f"TLS files {certificate}, {key}, {ca}: {error}") from error
    return context


class PeerProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that puts the peer certificate into the scope of every request."""

    _in_head = False
    _head_bytes = 0
    _head_late: asyncio.TimerHandle | None = None
    _ending: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's, plus the certificate."""
        super().connection_made(transport)
        self._await_head()
        ssl_object = transport.get_extra_info("ssl_object")
        der = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
        if der is None:
            return
        self._ending = asyncio.Event()
        extensions = {"tls.peer_der": der, "tls.peer": peer_from_der(der), "server.ending": self._ending}
        app = self.app

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), **extensions}
            await app(scope, receive, send)

        self.app = with_peer

    def shutdown(self) -> None:
        """As uvicorn's; whoever waits is told first."""
        if self._ending is not None:
            self._ending.set()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, up to the bound of a head."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > HEAD_BYTES_MAX:
            _LOG.warning("a request head over %d bytes was cut off", HEAD_BYTES_MAX)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._head_is_here()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """As uvicorn's."""
        self._in_head = True
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """As uvicorn's."""
        self._in_head = False
        self._head_is_here()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._head_late is None:
            self._head_late = self.loop.call_later(HEAD_S_MAX, self._cut_off)

    def _head_is_here(self) -> None:
        if self._head_late is not None:
            self._head_late.cancel()
            self._head_late = None

    def _cut_off(self) -> None:
        _LOG.warning("a request head that took over %d s was cut off", HEAD_S_MAX)
        self.transport.close()


def uvicorn_config(app: Any, *, host: str, port: int, context: ssl.SSLContext, **more: Any) -> uvicorn.Config:
    """The one way that our HTTP servers are run; ``more`` goes to ``uvicorn.Config``."""
    settings: dict[str, Any] = {
        "http": PeerProtocol,
        "ws": "none",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "backlog": BACKLOG_MAX,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": 5,
        "ssl_context_factory": lambda _config, _default: context,
        **more,
    }
    return uvicorn.Config(app, host=host, port=port, **settings)
