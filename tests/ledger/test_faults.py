"""What a failure means: surely not posted, refused, or unknown; never a guess (services.ledger.store)."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from contracts.errors import CannotEvaluate
from services.ledger.store import Database, RefusedByStore, text
from services.ledger.store.postings import post
from tests.ledger.support import posting
from tests.ledger.test_order import effect


@contextmanager
def held_row(database, instruction):
    """Another transaction holds the instruction's mark."""
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "INSERT INTO ledger.permit_marks VALUES (%s, 0, 0, 'post', decode(repeat('00', 32), 'hex'))", (instruction,)
        )
        yield connection


def run(database, action, **bounds):
    async def inside():
        store = Database(database.writer, **bounds)
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(inside())


def postings(database, instruction):
    with psycopg.connect(database.admin) as connection:
        counted = "SELECT count(*) FROM ledger.postings WHERE instruction_id = %s"
        return connection.execute(counted, (instruction,)).fetchone()[0]


def backends(database, query):
    with psycopg.connect(database.admin, autocommit=True) as connection:
        return connection.execute(query, (database.name,)).fetchall()


def test_postgres_itself_ends_a_transaction_that_takes_too_long(database):
    instruction = str(uuid4())
    with held_row(database, instruction):
        begun = time.monotonic()
        with pytest.raises(CannotEvaluate) as caught:
            run(database, lambda s: post(s, [effect(instruction, "post", 1, 1)]), transaction_timeout_ms=300)
        assert time.monotonic() - begun < 20
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert postings(database, instruction) == 0
    assert run(database, lambda s: post(s, [effect(instruction, "post", 1, 1)]))[0].outcome == "POSTED"


def test_a_pool_without_a_free_connection_says_so_in_time(database):
    instruction = str(uuid4())

    async def both(store):
        first = asyncio.create_task(post(store, [effect(instruction, "post", 1, 1)]))
        await asyncio.sleep(0.1)
        with pytest.raises(CannotEvaluate) as caught:
            await post(store, [effect(str(uuid4()), "post", 1, 1)])
        first.cancel()
        return caught.value.code

    with held_row(database, instruction):
        assert run(database, both, connections_max=1, acquire_timeout_s=0.2) == "OVERLOADED"


KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = %s AND application_name = 'symphony-ledger'"
)


def test_kept_connections_that_the_server_closed_are_replaced_unnoticed(database):
    async def action(store):
        for _ in range(2):
            answers = await asyncio.gather(*[post(store, [effect(str(uuid4()), "post", 1, 1)]) for _ in range(4)])
            assert [answer.outcome for (answer,) in answers] == ["POSTED"] * 4
            backends(database, KILL)
        return (await post(store, [effect(str(uuid4()), "post", 1, 1)]))[0].outcome

    assert run(database, action) == "POSTED"


def test_a_database_that_is_not_there_is_unavailable():
    with pytest.raises(CannotEvaluate, match="STORE_UNAVAILABLE"):
        asyncio.run(Database("postgresql://nobody@127.0.0.1:1/none").transaction(text("highest_release"), ()))


def test_a_connection_lost_at_commit_is_an_unknown_outcome(database, monkeypatch):
    """The server's word is missing: it may be posted, and nothing else is claimed."""

    async def action(store):
        instruction, commit = str(uuid4()), store._commit

        async def lost(connection):
            connection.pgconn.finish()  # after the statement, before the answer to COMMIT
            await commit(connection)

        store._commit = lost
        with pytest.raises(CannotEvaluate) as caught:
            await post(store, [effect(instruction, "post", 1, 1)])
        return caught.value.code

    assert run(database, action) == "OUTCOME_UNKNOWN"


def test_data_that_the_database_refuses_is_a_refusal_and_rolled_back(database):
    good, bad = effect(str(uuid4()), "post", 1, 1), effect(str(uuid4()), "post", 1, 1)
    bad.body["debit_agent"] = "OTHR:\x00"
    with pytest.raises(RefusedByStore):
        run(database, lambda s: post(s, [good, bad]))
    assert postings(database, good.claims.instruction_id) == 0


def test_over_http_a_held_row_delays_only_its_own_instruction(world, ledger, connect, sidecar):
    stuck, free = str(uuid4()), str(uuid4())
    answers = {}

    def send(instruction):
        body = posting(instruction)
        answers[instruction] = connect(ledger.port).post(body, sidecar.permit(body))

    with held_row(world.database, stuck) as connection:
        thread = threading.Thread(target=send, args=(stuck,))
        thread.start()
        time.sleep(0.2)
        send(free)
        assert answers[free][0] == 201
        assert stuck not in answers
        connection.rollback()
        thread.join(10)
    assert answers[stuck][0] == 201


def test_over_http_a_backend_killed_at_work_is_a_retryable_503_and_the_retry_posts(world, ledger, client, sidecar):
    instruction = str(uuid4())
    body = posting(instruction)
    with held_row(world.database, instruction) as connection:
        timer = threading.Timer(0.3, backends, (world.database, KILL))
        timer.start()
        status, document = client.post(body, sidecar.permit(body))
        timer.join()
        connection.rollback()
    assert (status, document["reason_code"], document["retryable"]) == (503, "STORE_UNAVAILABLE", True)
    assert client.headers["retry-after"] == "1"
    assert world.journal() == []
    assert client.post(body, sidecar.permit(body))[0] == 201
