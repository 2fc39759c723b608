"""What is shed while the breaker is open becomes evidence, and what a backlog refuses is no outage (D2, REC-08, NEG-28)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.times import SystemClock
from sidecar import writer as writers
from sidecar.following import DatabaseRecord
from sidecar.store import StoreConflict, StoreUnavailable
from sidecar.store.breaker import Breaker, Spool
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import handed, payment
from tests.sidecar.test_flow_writer import Given, config

HOUR = timedelta(hours=1)


async def test_a_breaker_that_opens_under_a_batch_sheds_what_comes_next_into_the_spool(stage: Stage, tmp_path: Path) -> None:
    """D2, NEG-28: refused with its own code, counted on disk; the store is not touched, and no token is spent."""
    await stage.begin()
    stage.recorder._spool = spool = Spool(tmp_path / "shed.spool")
    stage.store.breaker = Breaker(failures_max=1, cool_down=HOUR)
    messages = [handed(payment()) for _ in range(3)]
    stage.store._url, genuine = "postgresql://nobody@127.0.0.1:1/none", stage.store._url
    await stage.store.close()
    (first,) = await stage.try_record(messages[0])
    assert first.code == "STORE_UNAVAILABLE"
    stage.store._url = genuine
    shed = await stage.try_record(*messages)
    assert [error.code for error in shed] == ["STORE_BREAKER_OPEN"] * 3
    read = spool.read()
    assert read is not None
    assert read["codes"] == {"STORE_BREAKER_OPEN": 3}
    assert stage.evidence() == []
    stage.store.breaker = Breaker()
    assert [answer.rejected_code for answer in await stage.record(*messages)] == [None] * 3


async def test_a_spool_that_cannot_be_written_changes_nothing_of_the_answer(stage: Stage, tmp_path: Path) -> None:
    """A full disk is told to the log, not to the caller."""
    await stage.begin()
    stage.recorder._spool = Spool(tmp_path / "no such folder" / "shed.spool")
    stage.store.breaker = Breaker(failures_max=1, cool_down=HOUR)
    stage.store.breaker.failed(SystemClock().now())
    (error,) = await stage.try_record(handed(payment()))
    assert error.code == "STORE_BREAKER_OPEN"


async def test_a_store_that_goes_away_between_the_items_of_a_batch_keeps_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REC-08: when items are recorded singly and the store goes, the rest is answered without a further timeout each."""
    await stage.begin()
    genuine, calls = stage.recorder._commit, 0

    async def fails(batch: list[Any], active: Any) -> Any:
        nonlocal calls
        calls += 1
        if len(batch) > 1:
            raise StoreConflict("23505: a key")
        if calls > 2:
            raise StoreUnavailable("gone")
        return await genuine(batch, active)

    monkeypatch.setattr(stage.recorder, "_commit", fails)
    answers = await stage.try_record(*(handed(payment()) for _ in range(5)))
    assert [getattr(answer, "code", None) for answer in answers] == [None] + ["STORE_UNAVAILABLE"] * 4
    assert calls == 3
    assert stage.usage()[1] == 1


@pytest.fixture
def writer(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A writer on the stage's database that does not serve; its store is the stage's once the stage began."""
    monkeypatch.setattr(writers, "Following", Given)
    made: Any = writers.Writer(config(stage, tmp_path, "a"), SystemClock())
    return made


async def test_what_was_shed_is_one_record_of_evidence_once_the_store_is_back(stage: Stage, writer: Any) -> None:
    """D2: and is removed only then; while the breaker is open nothing is tried."""
    await stage.begin()
    writer._store = writer._events._store = stage.store
    writer._spool.add("STORE_BREAKER_OPEN", 7, SystemClock().now())
    stage.store.breaker = Breaker(failures_max=1, cool_down=HOUR)
    stage.store.breaker.failed(SystemClock().now())
    await writer._ship_spool()
    assert stage.evidence("shed") == []
    stage.store.breaker = Breaker()
    for _ in range(2):
        await writer._ship_spool()
    (record,) = stage.evidence("shed")
    assert (record["count"], record["codes"]) == (7, {"STORE_BREAKER_OPEN": 7})


async def test_what_could_not_be_recorded_is_kept_and_recorded_later(
    stage: Stage, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: nothing is lost between the file and the evidence."""
    await stage.begin()
    writer._store = writer._events._store = stage.store
    writer._spool.add("STORE_BREAKER_OPEN", 7, SystemClock().now())
    genuine = stage.store.transaction

    def away(role: str) -> Any:
        writer._spool.add("STORE_BREAKER_OPEN", 2, SystemClock().now() + HOUR)
        raise StoreUnavailable("gone")

    monkeypatch.setattr(stage.store, "transaction", away)
    with pytest.raises(StoreUnavailable):
        await writer._ship_spool()
    monkeypatch.setattr(stage.store, "transaction", genuine)
    for _ in range(3):
        await writer._ship_spool()
    assert [record["count"] for record in stage.evidence("shed")] == [7, 2]


async def test_over_the_evidence_backlog_intake_stops_and_says_so(stage: Stage, writer: Any) -> None:
    """Design section 3, ship: a control plane that is away stops intake at the bound of the manifest, and nothing before it."""
    await stage.begin(support.active(evidence={"backlog_max": 2}))
    writer._store, writer._following._active = stage.store, stage.active
    for expected in (0, 1, 2):
        assert (await writer._measured(stage.active)).backlog == expected
        await writer._refuse_over_backlog()
        await stage.record(handed(payment()))
        writer._gauge.at = 0.0
    with pytest.raises(Exception, match="EVIDENCE_BACKLOG"):
        await writer._refuse_over_backlog()


def test_the_accepted_release_is_in_the_database_and_only_rises(stage: Stage) -> None:
    """Anti-rollback (design section 4): over processes, and told apart from a database that cannot say."""
    record = DatabaseRecord(stage.database.writer)
    assert record.highest() is None
    record.accept(3, "a" * 64)
    record.accept(3, "a" * 64)
    for number, digest in ((2, "a" * 64), (3, "b" * 64)):
        with pytest.raises(NotTrusted) as caught:
            record.accept(number, digest)
        assert caught.value.code == "RELEASE_ROLLBACK"
    assert DatabaseRecord(stage.database.writer).highest() == (3, "a" * 64)
    with pytest.raises(Exception, match="STORE_UNAVAILABLE"):
        DatabaseRecord("postgresql://nobody@127.0.0.1:1/none").highest()
