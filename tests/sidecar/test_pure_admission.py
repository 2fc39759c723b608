"""What the acceptor has in hand is bounded in requests and in bytes, and let go of whatever happens (BAT-06, must-never 11)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock
from sidecar.intake.admission import InHand
from sidecar.intake.handover import Answer
from sidecar.intake.http import Instructions
from sidecar.intake.pipeline import Pipeline
from tests.sidecar.test_pure_http import ACCEPTED, FakePipeline, Reply


def test_requests_and_bytes_are_counted_and_let_go_of() -> None:
    in_hand = InHand(bytes_max=10)
    with in_hand.request(1) as one, in_hand.request(1) as two:
        one.add(6)
        one.admit()
        with pytest.raises(CannotEvaluate) as bytes_hit:
            two.add(5)
        two.add(4)
        with pytest.raises(CannotEvaluate) as place_hit:
            two.admit()
        with pytest.raises(CannotEvaluate) as head_hit:
            in_hand.request(1)
        assert (in_hand.requests, in_hand.bytes) == (1, 10)
    assert {hit.value.code for hit in (bytes_hit, place_hit, head_hit)} == {"OVERLOADED"}
    assert (in_hand.requests, in_hand.bytes) == (0, 0)


def test_a_request_that_fails_is_let_go_of() -> None:
    in_hand = InHand(bytes_max=10)
    with pytest.raises(ValueError, match="a defect"), in_hand.request(1) as held:
        held.add(10)
        held.admit()
        raise ValueError("a defect")
    assert (in_hand.requests, in_hand.bytes) == (0, 0)


class World:
    """The ASGI application with a pipeline that answers when it may."""

    def __init__(self, *, queue_max: int = 2, bytes_max: int = 1_000_000) -> None:
        self.leave = asyncio.Event()
        self.pipeline = FakePipeline(self._act, intake={"queue_max": queue_max})
        self.application = Instructions(cast("Pipeline", self.pipeline), SystemClock())
        self.application.in_hand = InHand(bytes_max)
        self.reads = 0

    async def _act(self, _presented: Any) -> Answer:
        await self.leave.wait()
        return ACCEPTED

    async def send(self, body: bytes = b"<Document/>", *, stalls: bool = False) -> Reply:
        """One request."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            self.reads += 1
            if stalls:
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/instructions", "headers": [], "client": ("127.0.0.1", 1)}
        await self.application(scope, receive, send)
        return Reply(sent)


async def test_above_the_bound_a_request_is_refused_before_its_body_is_read_and_says_when_to_come_again() -> None:
    """BAT-07: 503 with Retry-After; the ones in hand end as they would have."""
    world = World(queue_max=2)
    first = [asyncio.create_task(world.send()) for _ in range(2)]
    await asyncio.sleep(0.05)
    reads = world.reads
    refused = await world.send()
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "OVERLOADED", "1")
    assert world.reads == reads
    world.leave.set()
    assert [reply.status for reply in await asyncio.gather(*first)] == [202, 202]
    assert (await world.send()).status == 202
    assert (world.application.in_hand.requests, world.application.in_hand.bytes) == (0, 0)


async def test_bodies_that_together_are_too_much_are_refused_however_few() -> None:
    world = World(queue_max=100, bytes_max=1000)
    first = asyncio.create_task(world.send(b"x" * 900))
    await asyncio.sleep(0.05)
    assert (await world.send(b"x" * 200)).code == "OVERLOADED"
    world.leave.set()
    assert (await first).status == 202
    assert (await world.send(b"x" * 200)).status == 202


async def test_a_slow_peer_holds_no_place() -> None:
    """Else whoever opens enough connections and sends nothing would keep everybody out."""
    world = World(queue_max=1)
    slow = asyncio.create_task(world.send(stalls=True))
    await asyncio.sleep(0.05)
    world.leave.set()
    assert (await world.send()).status == 202
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert (world.application.in_hand.requests, world.application.in_hand.bytes) == (0, 0)


async def test_a_caller_who_goes_away_while_it_waits_is_let_go_of() -> None:
    world = World(queue_max=1)
    gone = asyncio.create_task(world.send())
    await asyncio.sleep(0.05)
    assert (await world.send()).code == "OVERLOADED"
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    world.leave.set()
    assert (await world.send()).status == 202
