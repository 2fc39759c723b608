"""What is in flight of one participant is bounded over all batches, and stands in nobody's way (BAT-05, BAT-06)."""

from __future__ import annotations

import asyncio

import pytest
from psycopg.types.json import Jsonb

from tests.sidecar import support
from tests.sidecar.rows import LUANGWA as OTHER
from tests.sidecar.rows import Bench, claim_parameters
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, LUANGWA, payment


@pytest.mark.parametrize(("under_way", "taken"), [({}, 3), ({"kafue-bank": 1}, 2), ({"kafue-bank": 3}, 0), ({"x": 9}, 3)], ids=str)
def test_a_claim_counts_what_the_worker_has_under_way(bench: Bench, under_way: dict[str, int], taken: int) -> None:
    """BAT-05: the cap is of the participant, not of the batch; another's payments go on behind a backlog."""
    bench.accept(5)
    bench.accept(1, tenant=OTHER)
    rows = bench.executor.table("claim_outbox_batch", *claim_parameters(each=3), Jsonb(under_way))
    assert sorted(row["participant_id"] for row in rows) == ["kafue-bank"] * taken + [OTHER]


def test_a_backlog_of_one_that_has_no_room_does_not_fill_the_claim_of_the_others(bench: Bench) -> None:
    """BAT-06: the limit counts only what may be taken."""
    bench.accept(10)
    bench.accept(1, tenant=OTHER)
    (row,) = bench.executor.table("claim_outbox_batch", *claim_parameters(each=2, limit=3), Jsonb({"kafue-bank": 2}))
    assert row["participant_id"] == OTHER


async def test_the_loop_sends_no_more_of_one_participant_than_its_cap_however_many_claims(stage: Stage) -> None:
    """BAT-05: a second claim, while the first is at the rail, leaves the rest due."""
    await stage.begin(support.active(in_flight={"participant_max": 2}))
    mine = await stage.accept(*(payment() for _ in range(5)))
    (theirs,) = await stage.accept(payment(by=LUANGWA, to=KAFUE), by=LUANGWA)
    stage.rail.gate = asyncio.Event()
    assert stage.active is not None
    assert await stage.dispatcher._claim_some(stage.active, 100) == 3
    assert await stage.dispatcher._claim_some(stage.active, 100) == 0
    assert stage.dispatcher._of_participant == {KAFUE: 2, LUANGWA: 1}
    stage.rail.gate.set()
    assert [await stage.dispatch() for _ in range(3)] == [0, 2, 1]
    assert {stage.state(identifier) for identifier in [*mine, theirs]} == {"SUCCEEDED"}
    assert stage.dispatcher._of_participant == {}


async def test_a_payment_that_comes_while_a_claim_finds_nothing_is_claimed_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OUT-14: its wake-up is not lost between the look and the sleep."""
    await stage.begin()
    monkeypatch.setattr("sidecar.dispatch.dispatcher.POLL_S", 20)
    genuine = stage.dispatcher._claim_some
    looks = 0

    async def looked(active: object, room: int) -> int:
        nonlocal looks
        found = await genuine(active, room)  # type: ignore[arg-type]
        looks += 1
        if looks == 1:
            await stage.accept(payment())
        return found

    monkeypatch.setattr(stage.dispatcher, "_claim_some", looked)
    loop = asyncio.create_task(stage.dispatcher.run())
    try:
        async with asyncio.timeout(5):
            while not stage.rail.posted:
                await asyncio.sleep(0.01)
    finally:
        await stage.dispatcher.stop(5)
        await loop
