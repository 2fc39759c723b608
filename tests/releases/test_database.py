"""The database's own rules: one active release, a checksum, history that nobody edits (D5, POL-02 to 04, NEG-14)."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.releases.running import Running
from tests.support.database import Database

TABLES: tuple[LiteralString, ...] = (
    "principals", "tuf_metadata", "tuf_targets", "policy_versions", "release_targets", "release_approvals",
    "release_events", "fleet_events",
)  # fmt: skip
INSERT: LiteralString = (
    "INSERT INTO symphony.policy_versions (environment, number, status, is_active, checksum, metadata_digest, metadata,"
    " proposer_key_id, actor, reason)"
    " VALUES ('sandbox', %s, %s, %s, %s, repeat('a', 64), '', repeat('a', 64), 'x', '')"
)
CHECKSUM = "ab" * 32


def test_neg_14_a_second_active_release_is_refused_by_the_index(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute(INSERT, (1, "ACTIVE", True, CHECKSUM))
        with pytest.raises(errors.UniqueViolation) as error:
            connection.execute(INSERT, (2, "ACTIVE", True, CHECKSUM))
    assert error.value.sqlstate == "23505"
    assert error.value.diag.constraint_name == "ux_policy_versions_one_active"


def test_neg_14_a_release_without_checksum_is_refused(database: Database) -> None:
    """INV-017, NEG-14."""
    with psycopg.connect(database.owner) as connection, pytest.raises(errors.NotNullViolation) as error:
        connection.execute(INSERT, (1, "PROPOSED", False, None))
    assert error.value.sqlstate == "23502"


def test_active_is_what_the_status_says(database: Database) -> None:
    with psycopg.connect(database.owner) as connection, pytest.raises(errors.CheckViolation):
        connection.execute(INSERT, (1, "PROPOSED", True, CHECKSUM))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["INSERT INTO symphony.{} DEFAULT VALUES", "DELETE FROM symphony.{}",
                                       "TRUNCATE symphony.{} CASCADE"])  # fmt: skip
def test_direct_dml_is_refused_to_the_services_role(database: Database, table: str, statement: str) -> None:
    with psycopg.connect(database.writer) as connection, pytest.raises(errors.InsufficientPrivilege) as error:
        connection.execute("SET LOCAL ROLE symphony_control")
        connection.execute(statement.format(table).encode())
    assert error.value.sqlstate == "42501"


def test_activation_is_by_the_function_only(database: Database) -> None:
    """POL-04."""
    with psycopg.connect(database.owner) as connection:
        connection.execute(INSERT, (1, "APPROVED", False, CHECKSUM))
    with psycopg.connect(database.writer) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SET LOCAL ROLE symphony_control")
        connection.execute("UPDATE symphony.policy_versions SET status = 'ACTIVE', is_active = true")


@pytest.mark.needs_schema("controlplane", 3)  # a promotion asks for freezes
@pytest.mark.parametrize("table", TABLES)
def test_even_the_owner_edits_no_history(running: Running, database: Database, table: str) -> None:
    running.release()
    with psycopg.connect(database.owner) as connection:
        count = connection.execute(f"SELECT count(*) FROM symphony.{table}".encode()).fetchone()
        for statement in (f"DELETE FROM symphony.{table}", f"TRUNCATE symphony.{table} CASCADE"):
            if count == (0,) and statement.startswith("DELETE"):
                continue
            with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement.encode())


@pytest.mark.needs_schema("controlplane", 3)  # a promotion asks for freezes
@pytest.mark.parametrize("change", ["checksum = repeat('0', 64)", "status = 'PROPOSED', is_active = false",
                                    "reason = 'another'", "number = 9"])  # fmt: skip
def test_even_the_owner_changes_no_policy_version(running: Running, database: Database, change: str) -> None:
    running.release()
    with psycopg.connect(database.owner) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(f"UPDATE symphony.policy_versions SET {change}".encode())


def test_every_function_is_a_definer_with_a_pinned_search_path(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT p.proname, p.proconfig FROM pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace"
        ).fetchall()
        public = connection.execute(
            "SELECT count(*) FROM pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace"
            " AND has_function_privilege('public', p.oid, 'EXECUTE')"
        ).fetchone()
    assert len(rows) >= 9
    assert all(config == ["search_path=pg_catalog, symphony, pg_temp"] for _, config in rows), rows
    assert public == (0,)


def test_the_reader_reads_and_calls_nothing(database: Database) -> None:
    with psycopg.connect(database.reader) as connection:
        connection.execute("SET ROLE symphony_control_reader")
        connection.execute("SELECT * FROM symphony.policy_versions WHERE is_active")  # INV-016: the boot query
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT symphony.lock_repository()")
