"""Micro-batches: bounded by size and by time, adaptive below both (BAT-01, BAT-03, BAT-10).

Rules:

* a batch is handed over when ``batch_size_max`` items wait, or when the first has waited ``flush_ms_max``, whichever
  comes first; when nothing is under way and the last batch was a single item, it is handed over at once, so an idle
  system never waits;
* one batch is handled at a time; what comes meanwhile is the next batch;
* where items differ in size (``weigh``), batch and queue are bounded in weight, too: a batch takes one item at least, and
  an empty queue any;
* the queue is bounded: a further item is refused with ``OVERLOADED`` at once, nobody waits for a place; so is every
  item once it is closed, and what still waits when the drain's bound is reached;
* an item's caller gets its own result, after its batch is done: never an acknowledgement before the commit (REC-07).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from contracts.errors import CannotEvaluate

DRAIN_S = 10.0
"""How long ``close`` waits; a process is given no longer to end."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class BatchStatistics:
    """What the metrics show: sizes, waits and bound hits."""

    batches: int = 0
    items: int = 0
    size_hits: int = 0
    time_hits: int = 0
    refused: int = 0
    wait_s_sum: float = 0.0
    depth_max: int = 0


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    since: float
    weight: int
    future: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class MicroBatcher(Generic[Item, Result]):
    """Collects items, hands batches to ``handle`` (one result or exception per item, in order)."""

    def __init__(
        self,
        name: str,
        handle: Callable[[list[Item]], Awaitable[list[Result | BaseException]]],
        *,
        batch_size_max: int,
        flush_ms_max: int,
        queue_max: int,
        weigh: Callable[[Item], int] | None = None,
        batch_weight_max: int = 0,
        queue_weight_max: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.batch_size_max = batch_size_max
        self.flush_ms_max = flush_ms_max
        self.queue_max = queue_max
        self.statistics = BatchStatistics()
        self._handle = handle
        self._weigh = weigh
        self._batch_weight_max = batch_weight_max
        self._queue_weight_max = queue_weight_max
        self._weight = 0
        self._monotonic = monotonic
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_size = 0
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """The item's result, once its batch is done. Raises ``OVERLOADED``, or what the handler gave for it."""
        weight = self._weigh(item) if self._weigh else 0
        if self._closed or len(self._waiting) >= self.queue_max or (self._waiting and self._too_heavy(weight)):
            self.statistics.refused += 1
            raise CannotEvaluate(
                "OVERLOADED", f"{self.name}: " + ("closed" if self._closed else f"{self.depth} items wait")
            )
        waiting: _Waiting[Item, Result] = _Waiting(item, self._monotonic(), weight)
        self._waiting.append(waiting)
        self._weight += weight
        self.statistics.depth_max = max(self.statistics.depth_max, len(self._waiting))
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await waiting.future

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    async def close(self, timeout_s: float = DRAIN_S) -> None:
        """Take nothing more, and let what waits finish within the bound. The batch under way is never cut short."""
        self._closed = True
        self._wake.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=timeout_s)
        while self._waiting:
            future = self._take().future
            if not future.done():
                future.set_exception(CannotEvaluate("OVERLOADED", f"{self.name}: closed"))

    async def _run(self) -> None:
        while self._waiting:
            await self._linger()
            if not self._waiting:
                return
            batch = self._next_batch()
            self._last_size = len(batch)
            self._count(batch)
            await self._hand_over(batch)

    async def _linger(self) -> None:
        """Wait for more only under load, never past the bound of the first item."""
        if self._last_size <= 1 or self._closed:
            return
        while not self._fills_a_batch() and not self._closed:
            left = self._waiting[0].since + self.flush_ms_max / 1000 - self._monotonic()
            if left <= 0:
                self.statistics.time_hits += 1
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue
        if self._fills_a_batch():
            self.statistics.size_hits += 1

    def _fills_a_batch(self) -> bool:
        heavy = self._weigh is not None and self._weight >= self._batch_weight_max
        return heavy or len(self._waiting) >= self.batch_size_max

    def _too_heavy(self, weight: int) -> bool:
        return self._weigh is not None and self._weight + weight > self._queue_weight_max

    def _take(self) -> _Waiting[Item, Result]:
        waiting = self._waiting.popleft()
        self._weight -= waiting.weight
        return waiting

    def _next_batch(self) -> list[_Waiting[Item, Result]]:
        batch = [self._take()]
        weight = batch[0].weight
        while self._waiting and len(batch) < self.batch_size_max:
            weight += self._waiting[0].weight
            if weight > self._batch_weight_max:
                break
            batch.append(self._take())
        return batch

    def _count(self, batch: list[_Waiting[Item, Result]]) -> None:
        self.statistics.batches += 1
        self.statistics.items += len(batch)
        now = self._monotonic()
        self.statistics.wait_s_sum += sum(now - waiting.since for waiting in batch)

    async def _hand_over(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._handle([waiting.item for waiting in batch])
            assert len(results) == len(batch), f"{self.name}: another number of results"
        except Exception as error:  # noqa: BLE001 - it goes to every caller of the batch
            results = [error] * len(batch)
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)
