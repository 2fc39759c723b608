"""Bytes that never change under their name, kept for a moment: a fleet that is rung asks for the same files at once.

Rules:

* only what is found is kept, for ``KEPT_S``, ``BYTES_MAX`` in all; what is asked for while it is being read is read once;
* never a timestamp, and never that something is not there: those are the database's to say each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

KEPT_S = 0.5
BYTES_MAX = 64 * 1024 * 1024
Load = Callable[[], Awaitable[bytes | None]]


class Served:
    """One process's. A name must mean the same bytes for ever."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, bytes]] = {}
        self._bytes = 0
        self._reading: dict[Hashable, asyncio.Future[bytes | None]] = {}

    async def get(self, name: Hashable, load: Load) -> bytes | None:
        """The bytes under a name, read by ``load`` where they are not at hand; ``None`` where there are none."""
        self._forget()
        if name in self._kept:
            return self._kept[name][1]
        if name not in self._reading:
            reading = self._reading[name] = asyncio.ensure_future(load())
            reading.add_done_callback(lambda _: self._reading.pop(name, None))
        content = await asyncio.shield(self._reading[name])
        if content is not None and name not in self._kept and len(content) <= BYTES_MAX:
            self._kept[name] = (time.monotonic() + KEPT_S, content)
            self._bytes += len(content)
        return content

    def clear(self) -> None:
        """What was served may be taken back: forget all of it at once."""
        self._kept.clear()
        self._bytes = 0

    def _forget(self) -> None:
        now = time.monotonic()
        while self._kept:
            name, (until, content) = next(iter(self._kept.items()))
            if until > now and self._bytes <= BYTES_MAX:
                return
            del self._kept[name]
            self._bytes -= len(content)
