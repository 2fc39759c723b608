"""Each refusal leaves a durable record; a flood is counted; a record that cannot be written changes no answer."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections import Counter
from uuid import uuid4

import psycopg
import pytest

from contracts.errors import CannotEvaluate, NotTrusted, Refused
from services.ledger import config
from services.ledger.refusals import Refusals, Seen
from services.ledger.store import Database
from tests.ledger.support import posting

PEER = "ab" * 32


@pytest.fixture
def newest(world):
    """``newest()``: the rows since the test began."""
    with psycopg.connect(world.database.admin) as connection:
        (last,) = connection.execute("SELECT coalesce(max(refusal_id), 0) FROM ledger.refusals").fetchone()

    def rows():
        with psycopg.connect(world.database.admin) as connection:
            return connection.execute(
                "SELECT reason_code, peer_sha256, body_sha256, instruction_id::text, purpose, count"
                " FROM ledger.refusals WHERE refusal_id > %s ORDER BY refusal_id", (last,),
            ).fetchall()  # fmt: skip

    return rows


@pytest.fixture
def peer(certificates, client_tls):
    pem = (certificates.folder / "adapter.pem").read_text("ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def digest(body):
    return hashlib.sha256(body).digest()


def test_a_call_without_a_permit_leaves_one_row(client, newest, peer):
    body = posting()
    assert client.post(body, None)[1]["reason_code"] == "PERMIT_MISSING"
    assert newest() == [("PERMIT_MISSING", peer, digest(body), None, None, 1)]


def test_a_permit_for_another_amount_leaves_one_row_with_its_instruction(client, sidecar, newest, peer):
    instruction = str(uuid4())
    sent = posting(instruction, amount_minor=125_000)
    answer = client.post(sent, sidecar.permit(posting(instruction)))[1]
    assert answer["reason_code"] == "PERMIT_BODY_MISMATCH"
    assert newest() == [("PERMIT_BODY_MISMATCH", peer, digest(sent), instruction, "post", 1)]


def test_a_refusal_of_the_database_is_recorded_and_what_is_posted_is_not(client, sidecar, newest):
    instruction = str(uuid4())
    body, other = posting(instruction), posting(instruction, amount_minor=7)
    assert client.post(body, sidecar.permit(body))[0] == 201
    assert newest() == []
    assert client.post(other, sidecar.permit(other, attempt=2))[1]["reason_code"] == "POSTING_CONFLICT"
    assert [(row[0], row[3]) for row in newest()] == [("POSTING_CONFLICT", instruction)]


def test_a_body_over_its_bound_is_recorded_without_its_digest(client, newest, peer):
    assert client.post(b"x" * (config.BODY_BYTES_MAX + 1), None)[0] == 413
    assert newest() == [("BODY_TOO_LARGE", peer, None, None, None, 1)]


def test_a_record_that_cannot_be_written_is_still_a_refusal_and_comes_later(client, world, newest):
    with psycopg.connect(world.database.admin, autocommit=True) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION ledger.record_refusals FROM symphony_ledger")
        try:
            assert client.post(posting(), None)[1]["reason_code"] == "PERMIT_MISSING"
        finally:
            connection.execute("GRANT EXECUTE ON FUNCTION ledger.record_refusals TO symphony_ledger")
    deadline = time.monotonic() + 10
    while not newest() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert newest() == [("PERMIT_MISSING", None, None, None, None, 1)]


def test_a_flood_is_counted_one_row_a_code(world, newest, monkeypatch):
    monkeypatch.setattr("services.ledger.refusals.time.monotonic", lambda: 1.5)

    async def flood():
        database = Database(world.database.writer, connections_max=1)
        refusals = Refusals(database)
        for _ in range(config.REFUSALS_SINGLY_PER_S + 200):
            await refusals.record(Refused("PERMIT_MISSING"), PEER, Seen(b"x"))
        await refusals.record(NotTrusted("PERMIT_SIGNATURE"), PEER, Seen())
        await refusals.record(CannotEvaluate("OVERLOADED"), PEER, Seen())
        await refusals.record(CannotEvaluate("OUTCOME_UNKNOWN"), PEER, Seen())
        await refusals.write_counted()
        await refusals.write_counted()
        await database.close()

    asyncio.run(flood())
    rows = newest()
    assert Counter(row[0] for row in rows if row[1]) == {"PERMIT_MISSING": config.REFUSALS_SINGLY_PER_S}
    assert sorted((row[0], row[5]) for row in rows if row[1] is None) == [
        ("OVERLOADED", 1), ("PERMIT_MISSING", 200), ("PERMIT_SIGNATURE", 1),
    ]  # fmt: skip


def test_a_store_that_is_away_raises_nothing_and_loses_nothing():
    async def away():
        refusals = Refusals(Database("postgresql://nobody@127.0.0.1:1/none"))
        await refusals.record(Refused("PERMIT_MISSING"), PEER, Seen())
        await refusals.write_counted()
        return refusals._counted

    assert asyncio.run(away()) == {"PERMIT_MISSING": 1}


def test_counts_whose_write_is_cancelled_are_kept_for_the_last_write(monkeypatch):
    async def cancelled():
        refusals = Refusals(Database("postgresql://nobody@127.0.0.1:1/none"))
        refusals._counted["PERMIT_MISSING"] = 3

        async def hangs(_rows):
            await asyncio.sleep(60)

        monkeypatch.setattr(refusals, "_written", hangs)
        task = asyncio.create_task(refusals.write_counted())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return refusals._counted

    assert asyncio.run(cancelled()) == {"PERMIT_MISSING": 3}


def test_refusals_are_read_page_by_page(client, newest):
    bodies = [posting() for _ in range(3)]
    _, before = client.request("GET", "/v1/refusals")
    after = before["refusals"][-1]["refusal_id"] if before["refusals"] else 0
    for body in bodies:
        client.post(body, None)
    _, first = client.request("GET", f"/v1/refusals?after={after}&limit=2")
    _, second = client.request("GET", f"/v1/refusals?after={first['next']}&limit=2")
    assert second["next"] is None
    listed = first["refusals"] + second["refusals"]
    assert [row["body_sha256"] for row in listed] == [digest(body).hex() for body in bodies]
    assert {row["reason_code"] for row in listed} == {"PERMIT_MISSING"}
    for query in ("limit=0", "limit=x", "after=-1", "cursor=1"):
        assert client.request("GET", f"/v1/refusals?{query}")[1]["reason_code"] == "REQUEST_INVALID"
