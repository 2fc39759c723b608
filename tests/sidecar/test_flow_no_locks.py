"""While a payment is at the rail, the database knows nothing of it but rows: no transaction, no lock (OUT-16, INV-BATCH-002)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sidecar.stage import Stage
from tests.sidecar.support import payment

OPEN = (
    "SELECT a.state FROM pg_stat_activity AS a WHERE a.application_name = 'symphony-writer' AND a.datname = current_database()"
    " AND (a.xact_start IS NOT NULL OR EXISTS (SELECT 1 FROM pg_locks AS l WHERE l.pid = a.pid))"
)


def held(stage: Stage) -> list[tuple[Any, ...]]:
    """The writer's connections that are in a transaction or hold a lock."""
    assert stage.sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'symphony-writer'"), "the writer is connected"
    return stage.sql(OPEN)


async def test_no_transaction_is_open_and_no_lock_held_while_a_rail_is_asked_to_post(stage: Stage) -> None:
    """OUT-16, must-never 11: its attempt is committed, its lease too, and the stream goes on taking payments."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    stage.rail.gate = asyncio.Event()
    assert stage.active is not None
    assert await stage.dispatcher._claim_some(stage.active, 100) == 1
    for _ in range(100):
        if stage.rail.gate._waiters:
            break
        await asyncio.sleep(0.01)
    assert stage.rail.gate._waiters, "the payment is at the rail"
    assert held(stage) == []
    assert (stage.attempts(one), stage.one("SELECT count(*) FROM symphony.outbox_leases")) == ([(1, "DISPATCHING")], 1)
    await stage.accept(payment())
    stage.rail.gate.set()
    while stage.dispatcher._tasks:
        await asyncio.wait(list(stage.dispatcher._tasks))
    assert stage.state(one) == "SUCCEEDED"


async def test_no_transaction_is_open_and_no_lock_held_while_a_rail_is_asked_what_became_of_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OUT-16, D7: recovery asks between two transactions, not within one."""
    await stage.begin()
    (one,) = await stage.accept(payment())
    genuine = stage.rail.query_status
    seen: list[Any] = []

    async def asked(*arguments: Any, **named: Any) -> Any:
        seen.append(held(stage))
        return await genuine(*arguments, **named)

    monkeypatch.setattr(stage.rail, "query_status", asked)
    assert stage.active is not None
    await stage.dispatcher._claim_some(stage.active, 100)
    for task in list(stage.dispatcher._tasks):
        task.cancel()
    await asyncio.gather(*stage.dispatcher._tasks, return_exceptions=True)
    stage.expire_leases()
    await stage.recover()
    assert seen
    assert all(found == [] for found in seen)
    assert (stage.rail.posts.total(), stage.state(one)) == (0, "QUEUED")
