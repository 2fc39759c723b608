"""The writer's connection when the database misbehaves: no answer without a commit, no gap, no lock kept, no spin."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sidecar.intake import recorder as recording
from sidecar.intake import verdict
from sidecar.store import Fenced, StoreConflict, StoreUnavailable
from sidecar.store.store import EXECUTOR, INGEST
from tests.sidecar.stage import Stage
from tests.sidecar.support import KEY_CANARY, handed, payment, token

WRITERS = "FROM pg_stat_activity WHERE application_name = 'symphony-writer'"


def kill_writers(stage: Stage) -> None:
    """End the writer's connections on the server."""
    assert stage.sql(f"SELECT pg_terminate_backend(pid) {WRITERS}")


async def test_a_connection_that_is_killed_between_batches_costs_one_answer_at_most(stage: Stage) -> None:
    """REC-08: the next batch goes through, and the numbers follow on."""
    await stage.begin()
    await stage.accept(payment())
    kill_writers(stage)
    (first,) = await stage.try_record(handed(payment()))
    assert not isinstance(first, BaseException) or str(first).startswith("STORE_UNAVAILABLE")
    await stage.accept(payment())
    assert len(stage.evidence()) in {2, 3}


async def test_a_connection_that_is_killed_in_mid_transaction_answers_nothing_and_spends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REC-01, ATT-07, NEG-27: no success without a commit, and the token and the key can be used again."""
    await stage.begin()
    used, key, one = token(), KEY_CANARY + "1", payment()
    with monkeypatch.context() as patched:
        patched.setattr(recording, "failpoint", lambda name: kill_writers(stage))
        (error,) = await stage.try_record(handed(one, token=used, key=key))
    assert error.code == "STORE_UNAVAILABLE"
    assert stage.evidence() == []
    (answer,) = await stage.record(handed(one, token=used, key=key))
    assert (answer.rejected_code, answer.repeated) == (None, False)


async def test_a_commit_whose_answer_is_lost_is_not_written_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """REC-06: the caller hears nothing good, retries with a fresh token, and gets the first result; no gap, no second."""
    await stage.begin()
    connection = await stage.store._connected()
    real = connection.execute

    async def loses_the_answer(query: Any, *arguments: Any, **more: Any) -> Any:
        cursor = await real(query, *arguments, **more)
        if query == "COMMIT":
            raise psycopg.OperationalError("the answer was lost")
        return cursor

    one, key = payment(), KEY_CANARY + "1"
    with monkeypatch.context() as patched:
        patched.setattr(connection, "execute", loses_the_answer)
        (error,) = await stage.try_record(handed(one, key=key))
    assert error.code == "STORE_UNAVAILABLE"
    (answer,) = await stage.record(handed(one, key=key))
    assert answer.repeated
    assert len(stage.evidence("attestation")) == 2


async def test_a_transaction_that_failed_unseen_is_no_commit(stage: Stage) -> None:
    """INV-025, must-never 1: PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and without an error."""
    await stage.begin()
    with pytest.raises(StoreUnavailable):
        async with stage.store.transaction(EXECUTOR) as transaction:
            with pytest.raises(psycopg.Error):
                await transaction.rows("record_events", "no", "such", "thing", "at", "all")
    await stage.accept(payment())


@contextmanager
def stopped(stage: Stage) -> Any:
    """The server's side of the writer's connection, stopped: it answers nothing, no cancel request either."""
    (pids,) = (stage.sql(f"SELECT pid {WRITERS}"),)
    assert pids
    for (pid,) in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_server_that_hangs_holds_the_writer_no_longer_than_its_bound(stage: Stage) -> None:
    """REC-09, BAT-07: the transaction ends at its bound, whoever waits for the connection earlier, and then it goes on."""
    await stage.begin(transaction_timeout_ms=600, acquire_timeout_ms=200)
    await stage.accept(payment())
    with stopped(stage):
        begun = time.monotonic()
        results = await asyncio.gather(*(stage.try_record(handed(payment())) for _ in range(3)))
        assert time.monotonic() - begun < 12
        assert {answers[0].code for answers in results} == {"STORE_UNAVAILABLE"}
        begun = time.monotonic()
        await stage.try_record(handed(payment()))  # on a fresh connection; the stopped one may still hold the stream's row
        assert time.monotonic() - begun < 12
    for _ in range(20):
        (answer,) = await stage.try_record(handed(payment()))
        if not isinstance(answer, BaseException):
            break
        await asyncio.sleep(0.2)
    assert not isinstance(answer, BaseException)


async def test_a_writer_that_stops_in_mid_transaction_does_not_keep_its_successor_out(stage: Stage) -> None:
    """A stopped process holds the stream's row: the server ends its transaction, and the next writer begins."""
    await stage.begin(transaction_timeout_ms=400)
    old = stage.parts()
    transaction = old.store.transaction(INGEST)
    opened = await transaction.__aenter__()
    await opened.value("judge_batch", old.store.stream, old.store.epoch, "Africa/Lusaka", "[]", "[]")
    for _ in range(20):  # the old writer's own timer cannot run here: it is "stopped" for as long as we do not await
        time.sleep(0.1)
        with psycopg.connect(stage.database.admin) as connection:
            if connection.execute(f"SELECT count(*) {WRITERS} AND state LIKE 'idle in transaction%%'").fetchone() == (0,):
                break
    else:
        pytest.fail("the server keeps the transaction open")
    await stage.begin()
    with pytest.raises((Fenced, StoreUnavailable)):
        await transaction.__aexit__(None, None, None)
    await stage.accept(payment())


async def test_a_cancelled_transaction_leaves_nothing_behind_that_the_next_one_would_commit(stage: Stage) -> None:
    """A caller that goes away in mid-transaction, twice cancelled: its writes are never committed by the next."""
    await stage.begin()

    async def half() -> None:
        async with stage.store.transaction(EXECUTOR) as transaction:
            await transaction.value("add_revocations", 7, '[{"kind": "participant", "id": "x", "reason": "r", "revoked_at": "now"}]')
            await asyncio.sleep(60)

    for hits in (1, 2):
        task = asyncio.create_task(half())
        await asyncio.sleep(0.1)
        for _ in range(hits):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        await stage.accept(payment())
        assert stage.one("SELECT count(*) FROM symphony.revocations") == 0


async def test_a_conflict_costs_only_the_item_that_has_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """BAT-04: a key that hits although judging did not see it; the others of the batch are recorded."""
    await stage.begin()
    same = payment("same")
    await stage.accept(same)
    real = verdict.judge

    def blind(batch: Any, known: Any, governed: Any) -> Any:
        known.duplicates = {}
        return real(batch, known, governed)

    monkeypatch.setattr(recording, "judge", blind)
    one, two, three = await stage.try_record(handed(payment()), handed(same), handed(payment()))
    assert (one.rejected_code, three.rejected_code, two.code) == (None, None, "STORE_UNAVAILABLE")
    assert stage.usage()[1] == 3


async def test_an_older_writer_is_fenced_before_it_writes(stage: Stage) -> None:
    """D5: whatever it tries."""
    await stage.begin()
    old = stage.parts()
    await stage.begin()
    with pytest.raises(Fenced):
        await old.recorder.record([handed(payment())])
    with pytest.raises(Fenced):
        await old.dispatcher._claim_some(stage.active, 10)
    with pytest.raises(Fenced):
        await old.recovery.once(stage.active)
    await stage.accept(payment())


async def test_an_older_writer_is_fenced_when_it_reconnects(stage: Stage) -> None:
    """D5: the numbers of another epoch are never taken over."""
    await stage.begin()
    old = stage.parts()
    await stage.begin()
    kill_writers(stage)
    with pytest.raises((Fenced, StoreUnavailable)):
        async with old.store.transaction(INGEST):
            pass
    with pytest.raises(Fenced):
        async with old.store.transaction(INGEST):
            pass


async def test_data_that_can_never_be_written_is_no_outage(stage: Stage) -> None:
    """BAT-04, D2: it must not open the breaker."""
    await stage.begin()
    for _ in range(6):
        with pytest.raises(StoreConflict):
            async with stage.store.transaction(EXECUTOR) as transaction:
                await transaction.value("add_revocations", 1, '[{"kind": "weather", "id": "x", "reason": "r", "revoked_at": "now"}]')
    assert not stage.store.breaker.is_open
