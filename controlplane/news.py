"""Who waits to be told that something new is published, and the newest snapshot version that this process has seen.

Rules:

* the database is the truth: while somebody waits it is looked at every ``LOOK_EVERY_S``, so what another process of the
  control plane published is heard, too; a publication of this process is looked for at once (``publish``);
* at most ``WAITERS_MAX`` wait, each at most ``WAIT_S_MAX``; one more is ``OVERLOADED`` and goes on polling;
* what a waiter is told is a hint and nothing more: it refreshes by TUF, whatever it was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from contracts.errors import CannotEvaluate

WAITERS_MAX = 1000
WAIT_S_MAX = 30.0
LOOK_EVERY_S = 0.2


class News:
    """One control plane process's waiters. ``snapshot``: the newest version that was seen published, 0 for none."""

    def __init__(self) -> None:
        self.snapshot = 0
        self.waiting = 0
        self._awaited = asyncio.Event()
        self._published = asyncio.Event()
        self._changed = asyncio.Event()

    def publish(self) -> None:
        """This process has published something: look at once."""
        self._published.set()

    async def later_than(self, known: int, wait_s: float) -> int:
        """The snapshot's version once it is above ``known``, or after ``wait_s``. Raises ``CannotEvaluate OVERLOADED``."""
        if self.waiting >= WAITERS_MAX:
            raise CannotEvaluate("OVERLOADED", f"{WAITERS_MAX} followers wait already")
        self.waiting += 1
        self._awaited.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, WAIT_S_MAX)):
                    while self.snapshot <= known:
                        await self._changed.wait()
        finally:
            self.waiting -= 1
        return self.snapshot

    async def follow(self, newest: Callable[[], Awaitable[int]]) -> None:
        """Look while somebody waits, for ever. ``newest`` gives the snapshot's version in the database."""
        while True:
            await self._awaited.wait()
            self._published.clear()
            self._take(await newest())
            if self.waiting == 0:
                self._awaited.clear()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._published.wait()

    def _take(self, snapshot: int) -> None:
        if snapshot > self.snapshot:
            self.snapshot = snapshot
            self._changed.set()
            self._changed = asyncio.Event()
