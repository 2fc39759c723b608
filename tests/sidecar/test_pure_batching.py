"""Micro-batches: by size, by time, a lone item at once, a bounded queue, errors to each caller, a drain (BAT-01, BAT-03, BAT-10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import CannotEvaluate
from sidecar.batching import MicroBatcher


class Hand:
    """A handler that records its batches and waits for leave to answer each."""

    def __init__(self, *, waits: bool = False) -> None:
        self.batches: list[list[Any]] = []
        self.leave = asyncio.Event()
        if not waits:
            self.leave.set()

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(list(items))
        await self.leave.wait()
        return [-item for item in items]

    @property
    def sizes(self) -> list[int]:
        """Batch sizes in order."""
        return [len(batch) for batch in self.batches]


def batcher(hand: Any, *, size: int = 4, flush_ms: int = 50, queue: int = 100, **more: Any) -> MicroBatcher[Any, Any]:
    """A batcher of these bounds."""
    return MicroBatcher("test", hand, batch_size_max=size, flush_ms_max=flush_ms, queue_max=queue, **more)


async def submitted(made: MicroBatcher[Any, Any], *items: Any) -> list[asyncio.Task[Any]]:
    """Tasks that have each put their item into the queue."""
    tasks = [asyncio.create_task(made.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lone_item_on_an_idle_system_never_waits() -> None:
    """BAT-03: without any time passing."""
    hand = Hand()
    made = batcher(hand, flush_ms=10_000)
    for item in (1, 2, 3):
        async with asyncio.timeout(1):
            assert await made.submit(item) == -item
    assert hand.sizes == [1, 1, 1]


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch_up_to_its_size() -> None:
    """BAT-01: never larger, in order, one at a time, each caller its own result."""
    hand = Hand(waits=True)
    made = batcher(hand, size=4)
    tasks = await submitted(made, *range(1, 11))
    await settled()
    assert hand.sizes == [4]
    hand.leave.set()
    assert await asyncio.gather(*tasks) == [-item for item in range(1, 11)]
    assert hand.sizes == [4, 4, 2]
    assert [item for batch in hand.batches for item in batch] == list(range(1, 11))


async def test_under_load_a_batch_that_is_not_full_waits_for_its_first_item_no_longer_than_the_bound() -> None:
    """BAT-01: with a clock that is given; the wait counts from the item's arrival, not from the batch's turn."""
    now = [100.0]
    hand = Hand()
    made = batcher(hand, size=3, flush_ms=60_000, monotonic=lambda: now[0])
    await asyncio.gather(*await submitted(made, 1, 2, 3))  # now it is under load
    first = (await submitted(made, 4))[0]
    await settled()
    assert hand.sizes == [3]
    now[0] += 59.9
    second = (await submitted(made, 5))[0]
    await settled()
    assert hand.sizes == [3]
    now[0] += 0.2  # the first item has waited 60.1 s
    made._wake.set()
    assert list(await asyncio.gather(first, second)) == [-4, -5]
    assert (hand.sizes, made.statistics.time_hits) == ([3, 2], 1)


async def test_under_load_a_batch_that_fills_goes_at_once() -> None:
    """BAT-01: size OR time."""
    hand = Hand()
    made = batcher(hand, size=2, flush_ms=60_000)
    await asyncio.gather(*await submitted(made, 1, 2))
    async with asyncio.timeout(1):
        await asyncio.gather(*await submitted(made, 3, 4))
    assert (hand.sizes, made.statistics.size_hits) == ([2, 2], 1)


async def test_a_lone_item_after_a_batch_is_flushed_by_time() -> None:
    """BAT-01, in real time."""
    hand = Hand()
    made = batcher(hand, size=10, flush_ms=20)
    await asyncio.gather(*await submitted(made, 1, 2))
    async with asyncio.timeout(1):
        assert await made.submit(3) == -3
    assert hand.sizes == [2, 1]


async def test_a_full_queue_refuses_at_once_and_loses_nobody() -> None:
    """BAT-07: OVERLOADED, nobody waits for a place."""
    hand = Hand(waits=True)
    made = batcher(hand, size=1, queue=3)
    running = await submitted(made, 0)
    await settled()
    waiting = await submitted(made, 1, 2, 3)
    with pytest.raises(CannotEvaluate) as refused:
        await made.submit(4)
    assert refused.value.code == "OVERLOADED"
    hand.leave.set()
    assert await asyncio.gather(*running, *waiting) == [0, -1, -2, -3]
    assert (made.statistics.refused, made.depth) == (1, 0)


async def test_a_handlers_error_reaches_each_caller_of_its_batch_and_no_other() -> None:
    """BAT-04, REC-01: nobody is left waiting, and the next batch is handled."""
    broken = CannotEvaluate("STORE_UNAVAILABLE")

    async def handle(items: list[int]) -> list[Any]:
        if 1 in items:
            raise broken
        return items

    made = batcher(handle, size=2)
    results = await asyncio.gather(*await submitted(made, 1, 2, 3), return_exceptions=True)
    assert results == [broken, broken, 3]


async def test_an_items_own_error_is_its_callers_alone() -> None:
    """BAT-04."""

    async def handle(items: list[int]) -> list[Any]:
        return [KeyError(item) if item % 2 else item for item in items]

    results = await asyncio.gather(*await submitted(batcher(handle), 1, 2, 3, 4), return_exceptions=True)
    assert [type(result) for result in results] == [KeyError, int, KeyError, int]


async def test_a_handler_that_answers_another_number_is_an_error_to_all() -> None:
    """No result is ever another item's."""

    async def handle(items: list[int]) -> list[Any]:
        return items[:-1]

    results = await asyncio.gather(*await submitted(batcher(handle), 1, 2), return_exceptions=True)
    assert all(isinstance(result, AssertionError) for result in results)


async def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    """Its item is still handled: it may be recorded, and the retry finds it."""
    hand = Hand(waits=True)
    made = batcher(hand)
    tasks = await submitted(made, 1, 2)
    tasks[0].cancel()
    await settled()
    hand.leave.set()
    assert await tasks[1] == -2
    assert hand.batches == [[1, 2]]


async def test_closing_drains_what_waits_at_once_and_takes_nothing_more() -> None:
    """REC-07: an accepted item has its answer before the process ends."""
    hand = Hand()
    made = batcher(hand, size=10, flush_ms=60_000)
    await asyncio.gather(*await submitted(made, 1, 2))
    tasks = await submitted(made, 3, 4, 5)
    async with asyncio.timeout(1):
        await made.close()
    assert [task.result() for task in tasks] == [-3, -4, -5]
    with pytest.raises(CannotEvaluate):
        await made.submit(6)


async def test_closing_is_bounded_and_answers_whoever_still_waits() -> None:
    """A store that hangs does not hang the shutdown; what was not begun is refused, what is under way is left alone."""
    hand = Hand(waits=True)
    made = batcher(hand, size=1)
    tasks = await submitted(made, 1, 2, 3)
    await settled()
    async with asyncio.timeout(1):
        await made.close(0.05)
    results = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert [result.code for result in results if isinstance(result, CannotEvaluate)] == ["OVERLOADED", "OVERLOADED"]
    assert not tasks[0].done()
    hand.leave.set()
    assert await tasks[0] == -1
    assert hand.batches == [[1]]


async def test_closing_what_was_never_used_ends_at_once() -> None:
    """Nothing to drain."""
    await batcher(Hand()).close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 5))
def test_every_item_has_exactly_one_result_in_order_and_no_batch_is_too_large(bursts: list[int], size: int) -> None:
    """BAT-01, BAT-10: any pattern of arrivals."""

    async def scenario() -> None:
        hand = Hand()
        made = batcher(hand, size=size, flush_ms=1, queue=1_000)
        tasks, item = [], 0
        for burst in bursts:
            tasks += await submitted(made, *range(item + 1, item + burst + 1))
            item += burst
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [-n for n in range(1, item + 1)]
        assert max(hand.sizes) <= size
        assert [one for batch in hand.batches for one in batch] == list(range(1, item + 1))
        assert (made.statistics.items, made.statistics.batches) == (item, len(hand.batches))

    asyncio.run(scenario())
