"""TLS servers that misbehave: they drip, never end, cut short, fall silent."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.tls import client_context, server_context
from symphony.stack import credentials
from tests.releases.support import ENVIRONMENT, World


class Peer:
    """A TLS server that misbehaves: ``answer(connection)`` writes what it likes; one with the attribute ``wants_request`` is
    given the request, too.
    """

    def __init__(self, tmp_path: Path, answer: Any) -> None:
        now = World(tmp_path / "w").clock.now()
        ca = credentials.make_ca("peer", now=now)
        (tmp_path / "ca.pem").write_text(ca.pem)
        names = (("server", credentials.server_credential(ca, "server", now=now)),
                 ("client", credentials.process_credential(ca, ENVIRONMENT, "client", now=now)))  # fmt: skip
        for name, made in names:
            made.write(tmp_path / f"{name}.pem", tmp_path / f"{name}-key.pem")
        self._context = server_context(tmp_path / "server.pem", tmp_path / "server-key.pem", tmp_path / "ca.pem")
        self.client = client_context(tmp_path / "client.pem", tmp_path / "client-key.pem", tmp_path / "ca.pem")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}/tuf"
        self._answer, self._wants_request = answer, getattr(answer, "wants_request", False)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    try:
                        request = tls.recv(4096)
                        if self._wants_request:
                            self._answer(tls, request)
                        else:
                            self._answer(tls)
                    except OSError:
                        pass
        except OSError:
            pass

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def peer(tmp_path: Path, answer: Any) -> Iterator[Peer]:
    """A peer for the length of a test."""
    made = Peer(tmp_path, answer)
    yield made
    made.close()


def drip(tls: ssl.SSLSocket) -> None:
    """One byte at a time, for ever."""
    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        tls.sendall(b"x")
        time.sleep(0.05)


def drip_headers(tls: ssl.SSLSocket) -> None:
    """A header that never ends."""
    tls.sendall(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        tls.sendall(b"x")
        time.sleep(0.05)


def endless(tls: ssl.SSLSocket) -> None:
    """More and more bytes, no length said."""
    tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        tls.sendall(b"x" * 65536)


def cut(tls: ssl.SSLSocket) -> None:
    """Fewer bytes than were promised."""
    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


def silence(_tls: ssl.SSLSocket) -> None:
    """Closed without an answer."""


def error_500(tls: ssl.SSLSocket) -> None:
    """An error of the server."""
    tls.sendall(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n")
