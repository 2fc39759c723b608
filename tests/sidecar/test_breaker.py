"""The breaker before the store: D2, RTE-16, NEG-28."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.store import BreakerOpen, StoreUnavailable, WriterStore
from sidecar.store.breaker import Breaker, Spool
from sidecar.store.store import EXECUTOR
from tests.support.database import TestPostgres

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Moving:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at


def test_it_opens_after_the_bound_and_lets_one_probe_through_after_the_cool_down() -> None:
    breaker = Breaker(failures_max=3, cool_down=timedelta(seconds=2))
    for _ in range(2):
        breaker.failed(START)
        assert breaker.permits(START)
    breaker.failed(START)
    assert not breaker.permits(START + timedelta(seconds=1.9))
    later = START + timedelta(seconds=2)
    assert breaker.permits(later)
    assert not breaker.permits(later), "one probe at a time"
    breaker.failed(later)
    assert not breaker.permits(later + timedelta(seconds=1))
    assert breaker.permits(later + timedelta(seconds=2))
    breaker.succeeded()
    assert breaker.permits(later + timedelta(seconds=2))
    assert not breaker.is_open


@given(st.lists(st.sampled_from(["ok", "fail", "tick"]), max_size=60))
def test_it_never_permits_within_the_cool_down_and_never_stays_open_for_ever(steps: list[str]) -> None:
    breaker, now, opened = Breaker(failures_max=2, cool_down=timedelta(seconds=3)), START, None
    for step in steps:
        if step == "tick":
            now += timedelta(seconds=1)
        elif breaker.permits(now):
            assert opened is None or now >= opened + timedelta(seconds=3)
            if step == "ok":
                breaker.succeeded()
                opened = None
            else:
                breaker.failed(now)
                opened = now if breaker.is_open else None
    assert breaker.permits(now + timedelta(seconds=3)) or not breaker.is_open


def test_while_it_is_open_not_one_connection_is_made(postgres: TestPostgres) -> None:
    """NEG-28: 1,000 requests against an open breaker: zero connects; after the cool-down it heals by itself."""

    async def story() -> None:
        clock = Moving()
        store = WriterStore("postgresql://nobody@127.0.0.1:1/none", stream="s", clock=clock)
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                async with store.transaction(EXECUTOR):
                    pass
        store._url = database.writer
        connects = 0
        genuine = psycopg.AsyncConnection.connect

        async def counted(*arguments: object, **more: object) -> object:
            nonlocal connects
            connects += 1
            return await genuine(*arguments, **more)  # type: ignore[arg-type]

        psycopg.AsyncConnection.connect = counted  # type: ignore[method-assign, assignment]
        try:
            for _ in range(1000):
                with pytest.raises(BreakerOpen):
                    async with store.transaction(EXECUTOR):
                        pass
            assert connects == 0
            clock.at += timedelta(seconds=3)
            assert (await store.begin_epoch()).epoch == 1
            assert connects == 1
        finally:
            psycopg.AsyncConnection.connect = genuine  # type: ignore[method-assign]
            await store.close()

    database = postgres.new_database("sidecar")
    asyncio.run(story())


def test_the_spool_survives_a_kill_and_a_torn_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "shed.spool")
    spool.add("STORE_BREAKER_OPEN", 3, START)
    spool.add("STORE_BREAKER_OPEN", 4, START + timedelta(seconds=0.5))
    spool.add("STORE_BREAKER_OPEN", 5, START + timedelta(seconds=2))
    with (tmp_path / "shed.spool").open("a") as file:
        file.write('{"at": "2026-')
    again = Spool(tmp_path / "shed.spool").read()
    assert again is not None
    assert again["count"] == 12
    assert again["codes"] == {"STORE_BREAKER_OPEN": 12}
    spool.clear()
    assert spool.read() is None
