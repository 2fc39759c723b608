"""ATT-19: a writer's start says which migration its database is at; on a database older than the question it says nothing."""

from __future__ import annotations

import pytest

from sidecar.starting import schema_version
from sidecar.store import WriterStore
from tests.sidecar.rows import EXECUTOR, INGEST, STREAM, Bench, refusal
from tests.sidecar.support import ROOT

pytestmark = pytest.mark.needs_schema("sidecar", 11)


def test_the_executor_alone_is_told_the_last_migration(bench: Bench) -> None:
    newest = len(list((ROOT / "migrations" / "sidecar").glob("*.sql")))
    assert bench.hands(EXECUTOR).call("schema_version") == newest
    assert refusal(bench.hands(INGEST).call, "schema_version").sqlstate == "42501"
    for hands in (bench.owner, bench.admin):
        assert refusal(hands.call, "schema_version").sqlstate == "SY004"


async def test_a_writer_on_the_schema_before_goes_on_without_an_answer(bench: Bench) -> None:
    """N-1: migrations and processes are not changed in one moment."""
    store = WriterStore(bench.database.writer, stream=STREAM)
    try:
        assert (await schema_version(store) or 0) >= 11
        bench.owner.do("ALTER FUNCTION symphony.schema_version() RENAME TO of_tomorrow")
        assert await schema_version(store) is None
    finally:
        bench.owner.do("ALTER FUNCTION symphony.of_tomorrow() RENAME TO schema_version")
        await store.close()
