"""Frames between our own processes over a Unix socket: 4 bytes length, then one MessagePack map.

A frame is ``{"id": n, "method": str, "params": {...}}`` or ``{"id": n, "result": {...}}`` or
``{"id": n, "error": {"code": <reason code>, "detail": str}}``. Calls are multiplexed; the order of answers is free.

Bounds: ``FRAME_BYTES_MAX`` per frame, ``CALLS_IN_FLIGHT_MAX`` per connection; a peer that breaks one is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.reasons import REASONS

FRAME_BYTES_MAX = 64 * 1024 * 1024
CALLS_IN_FLIGHT_MAX = 256
_LOG = logging.getLogger("symphony.wire")

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class ConnectionLost(CannotEvaluate):
    """The peer went away. ``sent`` says whether a byte of the call may have reached it."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__("ADAPTER_UNAVAILABLE", detail)
        self.sent = sent


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """One frame; ``asyncio.IncompleteReadError`` at the end of the stream, ``ValueError`` over the bound."""
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"frame of {size} bytes")
    frame = msgspec.msgpack.decode(await reader.readexactly(size))
    if not isinstance(frame, dict):
        raise ValueError("a frame is a map")
    return frame


def pack_frame(frame: dict[str, Any]) -> bytes:
    """The bytes of a frame."""
    body = msgspec.msgpack.encode(frame)
    if len(body) > FRAME_BYTES_MAX:
        raise ValueError(f"frame of {len(body)} bytes")
    return len(body).to_bytes(4, "big") + body


class Client:
    """One connection that reconnects by itself at the next call; calls may run at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def call(self, method: str, params: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """The result of a call. Raises the peer's ``SymphonyError``, ``ConnectionLost`` or ``TimeoutError``."""
        writer = await self._connected()
        call_id = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        try:
            writer.write(pack_frame({"id": call_id, "method": method, "params": params}))
            async with asyncio.timeout(timeout_s):
                await writer.drain()
                frame = await future
        except ConnectionError as error:
            raise ConnectionLost(f"{self._path.name}: {error}", sent=True) from error
        finally:
            self._waiting.pop(call_id, None)
        if "error" in frame:
            raise _said(frame["error"])
        result = frame["result"]
        return result if isinstance(result, dict) else {}

    async def close(self) -> None:
        """Close the connection; calls that wait end with ``ConnectionLost``."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._writer is not None:
            self._writer.close()
        self._writer = self._task = None

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._lock:
            if self._writer is not None and not self._writer.is_closing() and self._task and not self._task.done():
                return self._writer
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError as error:
                raise ConnectionLost(f"{self._path.name}: {error}", sent=False) from error
            self._writer = writer
            self._task = asyncio.create_task(self._read(reader, writer))
            return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await read_frame(reader)
                future = self._waiting.pop(int(frame["id"]), None)
                if future is not None and not future.done():
                    future.set_result(frame)
        except (asyncio.IncompleteReadError, OSError, ValueError, KeyError, msgspec.DecodeError):
            pass
        finally:
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionLost(f"{self._path.name}: the peer closed", sent=True))
            self._waiting.clear()


def _said(error: Any) -> SymphonyError:
    """The peer's error; a code outside the closed list, of another version perhaps, is ``INTERNAL``."""
    code, detail = (error.get("code"), error.get("detail")) if isinstance(error, dict) else (None, "")
    if isinstance(code, str) and code in REASONS:
        return SymphonyError(code, str(detail or ""))
    return SymphonyError("INTERNAL", f"the peer answered with the unknown code {str(code)[:40]!r}")


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Serve ``handler(method, params) -> result`` on a Unix socket (0600); a stale socket file is replaced."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slots = asyncio.Semaphore(CALLS_IN_FLIGHT_MAX)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                frame = await read_frame(reader)
                await slots.acquire()
                task = asyncio.create_task(_answer(frame, handler, writer, slots))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (asyncio.IncompleteReadError, OSError, ValueError, msgspec.DecodeError):
            pass
        except asyncio.CancelledError:
            return  # the process ends; the streams module would log this as an error
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connection, path=str(path))
    path.chmod(0o600)
    return server


async def _answer(
    frame: dict[str, Any], handler: Handler, writer: asyncio.StreamWriter, slots: asyncio.Semaphore
) -> None:
    try:
        try:
            reply: dict[str, Any] = {"result": await handler(str(frame["method"]), frame.get("params") or {})}
        except SymphonyError as error:
            reply = {"error": {"code": error.code, "detail": error.detail}}
        except Exception:  # noqa: BLE001 - the peer gets an answer, the log the trace
            _LOG.exception("a call failed: %s", frame.get("method"))
            reply = {"error": {"code": "INTERNAL", "detail": ""}}
        with suppress(OSError, RuntimeError):  # the peer, or this process, has gone meanwhile
            writer.write(pack_frame({"id": frame["id"], **reply}))
            await writer.drain()
    finally:
        slots.release()
