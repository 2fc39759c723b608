"""A temporary table with the name of a real one is never taken for it (NEG-05, SEC-04, INV-008).

The writer is given what it does not have, the right to make temporary tables, and makes one that is named like the
attempts and open to all. The function that writes attempts is tried as it is, and with each of its two guards removed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from tests.sidecar.rows import Bench
from tests.support.database import TestPostgres

NAME = "payment_outbox_attempts"
PINNED = "'pg_catalog', 'symphony', 'pg_temp'"
TEMP_FIRST = "'pg_temp', 'pg_catalog', 'symphony'"


@pytest.fixture
def bench(postgres: TestPostgres) -> Iterator[Bench]:
    """A database of its own: its functions and grants are changed."""
    made = Bench(postgres.new_database("sidecar"))
    yield made
    made.close()


def shadow(bench: Bench) -> None:
    """The same columns in the writer's own session; open to all, so that a definer's insert would go through."""
    bench.admin.do(f"GRANT TEMPORARY ON DATABASE {bench.database.name} TO sc_writer")
    columns = bench.admin.do(
        "SELECT attname, CASE WHEN atttypid::regtype::text LIKE 'symphony.%%' THEN 'text' ELSE format_type(atttypid, atttypmod) END"
        " FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        f"symphony.{NAME}",
    )
    parts = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns]
    writer = bench.executor.connection
    writer.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(sql.Identifier(NAME), sql.SQL(", ").join(parts)))
    writer.execute(f"GRANT ALL ON pg_temp.{NAME} TO PUBLIC")


def rewrite(bench: Bench, *changes: tuple[str, str]) -> None:
    """Replace words in ``insert_attempts``; each must stand there."""
    definition = bench.one("SELECT pg_get_functiondef('symphony.insert_attempts'::regproc)")
    for old, new in changes:
        assert old in definition, old
        definition = definition.replace(old, new)
    bench.admin.do(definition)


UNQUALIFIED = (f"INTO symphony.{NAME}", f"INTO {NAME}")


@pytest.mark.parametrize(
    ("changes", "real", "temporary"),
    [
        pytest.param((), 1, 0, id="as-it-is"),
        pytest.param((UNQUALIFIED,), 1, 0, id="by-the-pinned-path-alone"),
        pytest.param(((PINNED, TEMP_FIRST),), 1, 0, id="by-the-qualified-name-alone"),
        pytest.param((UNQUALIFIED, (PINNED, TEMP_FIRST)), 0, 1, id="without-both-it-is-fooled"),
    ],
)
def test_a_temporary_table_does_not_stand_in_for_the_attempts(
    changes: tuple[tuple[str, str], ...], real: int, temporary: int, bench: Bench
) -> None:
    """NEG-05: each guard holds by itself; the last case shows that the attack is a real one."""
    rewrite(bench, *changes)
    claimed = bench.claimed()
    shadow(bench)
    bench.dispatching(claimed)
    row = bench.executor.connection.execute(f"SELECT count(*) FROM pg_temp.{NAME}").fetchone()
    assert (bench.count(NAME), row) == (real, (temporary,))
