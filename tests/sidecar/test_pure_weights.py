"""Micro-batches of items that differ in size: bounded in weight, too (BAT-01, BAT-06; must-never 11)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import CannotEvaluate
from contracts.wire import FRAME_BYTES_MAX, pack_frame
from sidecar.batching import MicroBatcher
from sidecar.intake.handover import BATCH_BYTES_MAX, QUEUE_BYTES_MAX, HandedItem, HandedMessage, bytes_of
from tests.sidecar.support import decision_input, handed, payment


class Scale:
    """A handler that notes the weights of its batches, and answers each item with itself once it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.leave = asyncio.Event()

    async def __call__(self, items: list[int]) -> list[int | BaseException]:
        self.batches.append(items)
        await self.leave.wait()
        return list(items)


def weighed(scale: Scale, *, batch: int, queue: int, size: int = 100) -> MicroBatcher[int, int]:
    """A batcher whose items weigh what they are."""
    return MicroBatcher(
        "test",
        scale,
        batch_size_max=size,
        flush_ms_max=5,
        queue_max=1000,
        weigh=int,
        batch_weight_max=batch,
        queue_weight_max=queue,
    )


async def waiting(made: MicroBatcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Tasks that have each put their item into the queue."""
    tasks = [asyncio.create_task(made.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_a_batch_is_closed_before_it_would_be_too_heavy_and_order_is_kept() -> None:
    scale = Scale()
    made = weighed(scale, batch=10, queue=1000)
    tasks = await waiting(made, 1)
    await asyncio.sleep(0)
    tasks += await waiting(made, 4, 6, 1, 9, 25, 3)
    scale.leave.set()
    assert await asyncio.gather(*tasks) == [1, 4, 6, 1, 9, 25, 3]
    assert scale.batches == [[1], [4, 6], [1, 9], [25], [3]]


async def test_a_queue_that_is_too_heavy_refuses_at_once_but_an_empty_one_takes_any() -> None:
    scale = Scale()
    made = weighed(scale, batch=10, queue=20)
    first = await waiting(made, 500)
    await asyncio.sleep(0)
    second = await waiting(made, 500)
    with pytest.raises(CannotEvaluate) as caught:
        await made.submit(1)
    assert caught.value.code == "OVERLOADED"
    scale.leave.set()
    assert await asyncio.gather(*first, *second) == [500, 500]
    assert await made.submit(20) == 20
    assert made.statistics.refused == 1


async def test_what_is_refused_and_what_a_drain_drops_weigh_nothing_afterwards() -> None:
    scale = Scale()
    made = weighed(scale, batch=10, queue=20)
    tasks = await waiting(made, 1)
    await asyncio.sleep(0)
    tasks += await waiting(made, 15, 15)
    await made.close(timeout_s=0.01)
    scale.leave.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert ends[0] == 1
    assert [type(end) for end in ends[1:]] == [CannotEvaluate, CannotEvaluate]
    assert made._weight == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 40), st.integers(1, 6))
def test_every_item_is_handed_over_once_and_no_batch_of_several_is_too_heavy(
    items: list[int], batch: int, size: int
) -> None:
    async def story() -> None:
        scale = Scale()
        made = weighed(scale, batch=batch, queue=10_000, size=size)
        tasks = await waiting(made, *items)
        scale.leave.set()
        assert await asyncio.gather(*tasks) == items
        assert [item for one in scale.batches for item in one] == items
        assert all(len(one) <= size and (len(one) == 1 or sum(one) <= batch) for one in scale.batches)
        assert made._weight == 0

    asyncio.run(story())


def test_the_weight_of_a_message_is_no_less_than_its_bytes_on_the_wire() -> None:
    """Else a batch within its bound would not fit a frame, and all of its callers would be refused for one of them."""
    many = [payment() for _ in range(20)]
    for message in (
        handed(many[0]),
        handed(*many),
        handed(many[0], raw=b"x" * 100_000),
        handed(group_refused_code="MESSAGE_MALFORMED"),
    ):
        packed = pack_frame({"id": 1, "params": msgspec.to_builtins(message, builtin_types=(bytes,))})
        assert bytes_of(message) >= len(packed) * 0.8 - 4096


def test_the_largest_message_that_a_manifest_may_admit_fits_a_frame_and_the_queue() -> None:
    """``service.schema.json``: a body of 10 MiB, 512 payments."""
    one = payment()
    item = HandedItem(tx_index=0, instruction=one, decision_input=decision_input(one, "kafue-bank", 1) + b" " * 2000)
    largest = handed(items=[item] * 512, raw=b"x" * (10 * 1024 * 1024))
    assert isinstance(largest, HandedMessage)
    assert bytes_of(largest) <= BATCH_BYTES_MAX <= FRAME_BYTES_MAX / 4
    assert QUEUE_BYTES_MAX >= BATCH_BYTES_MAX
