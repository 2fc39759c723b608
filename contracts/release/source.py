"""Where releases come from: the control plane over mTLS, or a folder beside the service (design section 4).

A source gives bytes by path (``metadata/<file>``, ``targets/<path>``) and nothing that it says is believed.
Bounds: at most ``length_max`` bytes, at most ``timeout_s`` in all, however slowly the peer drips.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from contracts.errors import CannotEvaluate, NotTrusted


class NotThere(CannotEvaluate):
    """The source answered, and has no such file."""

    def __init__(self, path: str) -> None:
        super().__init__("RELEASE_UNREACHABLE", f"the source has no {path}")


class ReleaseSource(Protocol):
    """Bytes by path. Raises ``NotThere``, ``CannotEvaluate RELEASE_UNREACHABLE``, ``NotTrusted RELEASE_DIGEST``."""

    def fetch(self, path: str, length_max: int) -> bytes:
        """The bytes of a file; more than ``length_max`` is an error, never a cut."""


class FolderSource:
    """A folder with ``metadata/`` and ``targets/``, as ``symphony release load`` takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def fetch(self, path: str, length_max: int) -> bytes:
        """See ``ReleaseSource``."""
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder):
            raise NotThere(path)
        try:
            with file.open("rb") as handle:
                data = handle.read(length_max + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotThere(path) from error
        except OSError as error:
            raise CannotEvaluate("RELEASE_UNREACHABLE", f"{path}: {error}") from error
        return _bounded(path, data, length_max)


class HttpsSource:
    """``<url>/metadata/…`` and ``<url>/targets/…`` over TLS with keep-alive; one thread at a time."""

    def __init__(self, url: str, context: ssl.SSLContext, *, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise CannotEvaluate("CONFIGURATION", f"a release source is https://…, not {url}")
        self._host, self._port, self._base = parts.hostname, parts.port or 443, parts.path.rstrip("/")
        self._context, self._timeout_s = context, timeout_s
        self._connection: http.client.HTTPSConnection | None = None
        self._lock = threading.Lock()

    def fetch(self, path: str, length_max: int) -> bytes:
        """See ``ReleaseSource``. A kept connection that the peer closed meanwhile is opened again, once."""
        with self._lock:
            kept = self._connection is not None
            try:
                return self._fetch(path, length_max)
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError) as error:
                self._close()
                if not kept:
                    raise CannotEvaluate("RELEASE_UNREACHABLE", f"{path}: {error}") from error
            try:
                return self._fetch(path, length_max)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                raise CannotEvaluate("RELEASE_UNREACHABLE", f"{path}: {error}") from error

    def close(self) -> None:
        """Close the kept connection."""
        with self._lock:
            self._close()

    def _fetch(self, path: str, length_max: int) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        connection = self._connected()
        sock = connection.sock
        alarm = threading.Timer(self._timeout_s, _cut, (sock,))
        alarm.daemon = True
        alarm.start()
        try:
            connection.request("GET", f"{self._base}/{quote(path)}")
            response = connection.getresponse()
            data = _read(response, length_max)
            if time.monotonic() >= deadline:
                raise TimeoutError("it took too long")
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
            if time.monotonic() >= deadline:
                raise self._unreachable(path, "it took too long") from None
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._unreachable(path, str(error)) from error
        finally:
            alarm.cancel()
        return self._answer(path, response.status, data, length_max)

    def _answer(self, path: str, status: int, data: bytes, length_max: int) -> bytes:
        if len(data) > length_max:
            self._close()
        elif status in {403, 404}:
            raise NotThere(path)
        elif status != http.client.OK:
            raise CannotEvaluate("RELEASE_UNREACHABLE", f"{path}: HTTP {status}")
        return _bounded(path, data, length_max)

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None or self._connection.sock is None:  # "connection: close": it would open one unwatched
            connection = http.client.HTTPSConnection(
                self._host, self._port, context=self._context, timeout=self._timeout_s
            )
            try:
                connection.connect()
            except OSError as error:
                raise CannotEvaluate("RELEASE_UNREACHABLE", f"{self._host}:{self._port}: {error}") from error
            self._connection = connection
        return self._connection

    def _unreachable(self, path: str, why: str) -> CannotEvaluate:
        self._close()
        return CannotEvaluate("RELEASE_UNREACHABLE", f"{path}: {why}")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _read(response: http.client.HTTPResponse, length_max: int) -> bytes:
    """The body up to one byte over the bound. A body that was cut short is ``IncompleteRead``."""
    data = response.read(length_max + 1)
    if len(data) <= length_max and response.length:
        raise http.client.IncompleteRead(data, response.length)
    return data


def _cut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which would go on in plain text
    except OSError:
        pass


def _bounded(path: str, data: bytes, length_max: int) -> bytes:
    if len(data) > length_max:
        raise NotTrusted("RELEASE_DIGEST", f"{path} is over {length_max} bytes")
    return data
