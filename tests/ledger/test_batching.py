"""Micro-batches (BAT): bounds, one bad item alone, giving up, stopping."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import CannotEvaluate
from services.ledger.batching import Batcher
from services.ledger.store import RefusedByStore


def run(scenario):
    async def bounded():
        async with asyncio.timeout(10):
            return await scenario()

    return asyncio.run(bounded())


def batcher(commit, **bounds):
    return Batcher("test", commit, lambda item: item[0], **({"batch_size_max": 4, "queue_max": 10} | bounds))


class Store:
    """Commits in memory; holds its first batch until let go."""

    def __init__(self):
        self.batches = []
        self.go = asyncio.Event()

    async def commit(self, items):
        self.batches.append(list(items))
        await self.go.wait()
        if any(item[1] == "bad" for item in items):
            raise RefusedByStore("INTERNAL", "bad data")
        if any(item[1] == "down" for item in items):
            raise CannotEvaluate("STORE_UNAVAILABLE")
        if any(item[1] == "defect" for item in items):
            raise RuntimeError("a defect")
        return [item[0] * 10 for item in items]


async def answers(*calls):
    return [
        getattr(result, "code", result) for result in await asyncio.gather(*calls, return_exceptions=True)
    ]


def test_an_idle_worker_starts_at_once_and_the_next_batch_is_what_came_meanwhile():
    async def scenario():
        store = Store()
        subject = batcher(store.commit)
        subject.start(1)
        tasks = [asyncio.create_task(subject.submit((0, ""), timeout_s=5))]
        await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(subject.submit((n, ""), timeout_s=5)) for n in range(1, 7)]
        await asyncio.sleep(0.01)
        store.go.set()
        assert await answers(*tasks) == [0, 10, 20, 30, 40, 50, 60]
        assert [len(batch) for batch in store.batches] == [1, 4, 2]
        await subject.stop()

    run(scenario)


def test_an_instruction_stands_once_in_a_batch_and_keeps_its_order():
    async def scenario():
        store = Store()
        store.go.set()
        subject = batcher(store.commit)
        items = ((1, "a"), (1, "b"), (2, "a"), (1, "c"))
        tasks = [asyncio.create_task(subject.submit(item, timeout_s=5)) for item in items]
        await asyncio.sleep(0)
        subject.start(1)
        assert await answers(*tasks) == [10, 10, 20, 10]
        assert store.batches == [[(1, "a"), (2, "a")], [(1, "b")], [(1, "c")]]
        await subject.stop()

    run(scenario)


def test_one_bad_item_fails_alone():
    async def scenario():
        store = Store()
        store.go.set()
        subject = batcher(store.commit)
        tasks = [asyncio.create_task(subject.submit((n, "bad" if n == 2 else ""), timeout_s=5)) for n in range(1, 5)]
        await asyncio.sleep(0)
        subject.start(1)
        assert await answers(*tasks) == [10, "INTERNAL", 30, 40]
        await subject.stop()

    run(scenario)


@pytest.mark.parametrize(("state", "wanted"), [("down", "STORE_UNAVAILABLE"), ("defect", "OUTCOME_UNKNOWN")])
def test_a_failed_commit_answers_every_item_of_its_batch_and_the_worker_goes_on(state, wanted):
    async def scenario():
        store = Store()
        store.go.set()
        subject = batcher(store.commit)
        subject.start(1)
        assert await answers(*[subject.submit((n, state), timeout_s=5) for n in range(3)]) == [wanted] * 3
        assert await subject.submit((7, ""), timeout_s=5) == 70
        await subject.stop()

    run(scenario)


def test_the_queue_is_bounded():
    async def scenario():
        subject = batcher(Store().commit, queue_max=2)
        tasks = [asyncio.create_task(subject.submit((n, ""), timeout_s=1)) for n in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(CannotEvaluate, match="OVERLOADED"):
            await tasks[2]
        await subject.stop()
        assert await answers(*tasks[:2]) == ["OVERLOADED"] * 2

    run(scenario)


def test_giving_up_says_whether_it_was_taken():
    async def scenario():
        store = Store()
        subject = batcher(store.commit, batch_size_max=1)
        subject.start(1)
        taken = asyncio.create_task(subject.submit((1, ""), timeout_s=0.1))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(subject.submit((2, ""), timeout_s=0.05))
        assert await answers(taken, waiting) == ["OUTCOME_UNKNOWN", "OVERLOADED"]
        store.go.set()
        assert await subject.submit((3, ""), timeout_s=5) == 30
        assert store.batches == [[(1, "")], [(3, "")]]  # what gave up while it waited was never sent
        await subject.stop()

    run(scenario)


def test_stopping_in_the_middle_leaves_the_outcome_unknown():
    async def scenario():
        store = Store()
        subject = batcher(store.commit)
        subject.start(1)
        task = asyncio.create_task(subject.submit((1, ""), timeout_s=5))
        await asyncio.sleep(0.01)
        await subject.stop()
        assert await answers(task) == ["OUTCOME_UNKNOWN"]

    run(scenario)
