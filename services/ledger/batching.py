"""Micro-batches: many requests wait, a free worker takes what is there, one commit answers them all (BAT-04).

Rules:

* two limits: ``batch_size_max`` a batch, ``queue_max`` waiting; over the second the answer is ``OVERLOADED`` at once;
* no flush time: an idle worker starts with the first item, so a batch is what came during the last commit;
* a batch holds an instruction at most once; its next request goes into a later batch;
* one bad item fails alone: a batch that the database refuses as data is tried again item by item;
* a request that is given up while it waits is never sent; once taken, its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from contracts.errors import CannotEvaluate
from services.ledger.store import RefusedByStore

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_LOG = logging.getLogger("symphony.ledger.batching")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    key: Hashable
    future: asyncio.Future[Answer]
    taken: bool = field(default=False)


class Batcher(Generic[Item, Answer]):
    """``commit(items) -> answers`` in order; ``key`` tells which items may not share a batch."""

    def __init__(
        self,
        name: str,
        commit: Callable[[list[Item]], Awaitable[list[Answer]]],
        key: Callable[[Item], Hashable],
        *,
        batch_size_max: int,
        queue_max: int,
    ) -> None:
        self.name = name
        self._commit = commit
        self._key = key
        self._batch_size_max = batch_size_max
        self._queue_max = queue_max
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, workers: int) -> None:
        """Start the workers in the running loop."""
        self._tasks = [asyncio.create_task(self._run(), name=f"{self.name}-{n}") for n in range(workers)]

    async def stop(self) -> None:
        """Stop; what still waits is answered that it was surely not taken."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        while self._waiting:
            entry = self._waiting.popleft()
            if not entry.future.done():
                entry.future.set_exception(CannotEvaluate("OVERLOADED", "the service is stopping"))

    async def submit(self, item: Item, *, timeout_s: float) -> Answer:
        """The item's answer. ``OVERLOADED``: surely not taken. ``OUTCOME_UNKNOWN``: taken, and no answer in time."""
        if len(self._waiting) >= self._queue_max:
            raise CannotEvaluate("OVERLOADED", f"{self._queue_max} requests wait")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = _Waiting(item, self._key(item), future)
        self._waiting.append(entry)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            if entry.taken:
                raise CannotEvaluate("OUTCOME_UNKNOWN", "the store did not answer in time") from error
            raise CannotEvaluate("OVERLOADED", "no worker was free in time") from error

    async def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._answer(batch)

    def _take(self) -> list[_Waiting[Item, Answer]]:
        """Up to ``batch_size_max`` that still wait, each key once; the others keep their order."""
        batch: list[_Waiting[Item, Answer]] = []
        keys: set[Hashable] = set()
        later: list[_Waiting[Item, Answer]] = []
        while self._waiting and len(batch) < self._batch_size_max:
            entry = self._waiting.popleft()
            if entry.future.done():
                continue
            if entry.key in keys:
                later.append(entry)
                continue
            entry.taken = True
            keys.add(entry.key)
            batch.append(entry)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _answer(self, batch: list[_Waiting[Item, Answer]]) -> None:
        try:
            answers = await self._commit([entry.item for entry in batch])
        except RefusedByStore as error:
            if len(batch) > 1:
                await self._answer_singly(batch)
                return
            _LOG.error("%s: the store refused an item: %s", self.name, error.detail)
            _fail(batch, error)
        except CannotEvaluate as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, CannotEvaluate("OUTCOME_UNKNOWN", "the service is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 - logged, and every request is answered
            _LOG.exception("%s: a batch failed", self.name)
            _fail(batch, CannotEvaluate("OUTCOME_UNKNOWN", type(error).__name__))
        else:
            for entry, answer in zip(batch, answers, strict=True):
                if not entry.future.done():
                    entry.future.set_result(answer)

    async def _answer_singly(self, batch: list[_Waiting[Item, Answer]]) -> None:
        try:
            for entry in batch:
                await self._answer([entry])
        finally:
            _fail(batch, CannotEvaluate("STORE_UNAVAILABLE", "the service is stopping"))


def _fail(batch: list[_Waiting[Item, Answer]], error: Exception) -> None:
    for entry in batch:
        if not entry.future.done():
            entry.future.set_exception(error)
