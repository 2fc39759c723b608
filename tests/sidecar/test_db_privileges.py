"""Deny by default: a role has its functions and nothing else, in its own transaction and no longer (SEC-01, SEC-02, SEC-04)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sidecar.rows import EXECUTOR, INGEST, READER, SHIPPER, STREAM, Bench, refusal, refused

ROLES = (INGEST, EXECUTOR, SHIPPER, READER)
TABLES = (
    "writer_epochs", "accepted_releases", "revocations", "ingress_attestations", "seen_jti", "payment_instructions", "payloads",
    "participant_outbox_sequences", "usage_daily", "payment_outbox_pending", "outbox_leases", "payment_outbox_attempts",
    "payment_terminals", "parked", "resolutions", "evidence_events", "evidence_batches", "evidence_shipments",
)  # fmt: skip
ONLY = {
    INGEST: {"judge_batch", "record_batch", "enqueue_payment_outbox", "bump_participant_outbox_seq", "instruction_status",
             "usage_today", "require_role"},
    EXECUTOR: {"begin_epoch", "current_numbers", "claim_outbox_batch", "record_dispatching", "complete_outbox_attempts",
               "complete_outbox_attempt", "take_over_leases", "decision_input", "parked_payment", "resolve_parked",
               "record_events", "accept_release", "highest_release", "add_revocations", "purge_seen_jti",
               "evidence_backlog", "require_role", "keep_order", "kept_orders", "schema_version"},
    SHIPPER: {"read_evidence", "shipping_state", "seal_evidence_batch", "mark_shipped", "require_role"},
    READER: {"evidence_backlog", "shipping_state"},
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_no_role_has_direct_dml_or_ddl_on_a_table(bench: Bench, table: str) -> None:
    """NEG-01, NEG-02, NEG-03, NEG-05, INV-010, SEC-04: 42501 for all, and the table is as it was."""
    column = bench.one("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", f"symphony.{table}")
    before = bench.one(f"SELECT count(*) FROM symphony.{table}")
    for role in ROLES:
        for statement in (
            "INSERT INTO symphony.{} DEFAULT VALUES", "UPDATE symphony.{} SET {column} = {column}", "DELETE FROM symphony.{}",
            "TRUNCATE symphony.{}", "DROP TABLE symphony.{}", "ALTER TABLE symphony.{} DISABLE TRIGGER ALL",
            "ALTER TABLE symphony.{} ADD COLUMN more int", "CREATE INDEX ON symphony.{} ({column})", "COPY symphony.{} FROM STDIN",
            "CREATE TRIGGER mine BEFORE INSERT ON symphony.{} FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation()",
            "LOCK TABLE symphony.{} IN SHARE MODE", "SELECT 1 FROM symphony.{} FOR UPDATE",
        ):  # fmt: skip
            query = sql.SQL(statement).format(sql.Identifier(table), column=sql.Identifier(column))
            assert refusal(bench.hands(role).do, query).sqlstate == "42501", (role, statement)
    assert bench.one(f"SELECT count(*) FROM symphony.{table}") == before


@pytest.mark.parametrize("table", TABLES)
def test_only_the_reader_reads_and_no_raw_bytes_nor_tokens(bench: Bench, table: str) -> None:
    """SEC-01, EVD-13, REC-16: writers read by functions only; payloads and replay memory nobody reads."""
    query = f"SELECT * FROM symphony.{table} LIMIT 0"
    for role in (INGEST, EXECUTOR, SHIPPER):
        assert refusal(bench.hands(role).do, query).sqlstate == "42501"
    if table in {"payloads", "seen_jti"}:
        assert refusal(bench.reader.do, query).sqlstate == "42501"
    else:
        bench.reader.do(query)


@pytest.mark.parametrize("statement", [
    "CREATE TABLE symphony.mine (a int)", "CREATE TABLE public.mine (a int)", "CREATE TEMPORARY TABLE mine (a int)",
    "CREATE SCHEMA mine", "CREATE ROLE mine", "SET session_replication_role = replica",
    "CREATE FUNCTION symphony.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SET ROLE sc_owner", "SET SESSION AUTHORIZATION sc_owner",
    "CREATE OR REPLACE FUNCTION symphony.deny_mutation() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER FUNCTION symphony.deny_mutation() OWNER TO CURRENT_USER", "DROP FUNCTION symphony.deny_mutation()", "DROP SCHEMA symphony",
    "DO $$ BEGIN EXECUTE 'DROP TABLE symphony.payment_terminals'; END $$", "GRANT symphony_reader TO symphony_ingest",
    "ALTER TYPE symphony.outbox_attempt_state ADD VALUE 'MORE'",
])  # fmt: skip
def test_no_role_creates_replaces_or_takes_anything(bench: Bench, statement: str) -> None:
    """NEG-05, INV-005, INV-006, SEC-01: no runtime DDL."""
    for role in ROLES:
        assert refusal(bench.hands(role).do, statement).sqlstate == "42501", role


def functions(bench: Bench) -> list[tuple[str, str, int]]:
    return bench.admin.do(
        "SELECT p.proname, p.oid::regprocedure::text, p.pronargs FROM pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace"
    )


def test_each_role_may_execute_exactly_its_list(bench: Bench) -> None:
    """INV-010, SEC-02, OUT-19: the helpers inside the API belong to nobody; the list here is the one of the grants."""
    found = {role: set() for role in ROLES}
    for name, signature, _ in functions(bench):
        for role in (*ROLES, "public"):
            if bench.one("SELECT has_function_privilege(%s, %s, 'EXECUTE')", role, signature):
                found[role].add(name)
    assert found == ONLY


def test_a_function_of_another_role_is_refused_not_run(bench: Bench) -> None:
    """NEG-05, SEC-17: called for real, with arguments of the right number."""
    for name, _, count in functions(bench):
        for role in ROLES:
            if name not in ONLY[role] and not name.startswith("deny_"):
                query = sql.SQL("SELECT symphony.{}({})").format(sql.Identifier(name), sql.SQL(", ").join([sql.NULL] * count))
                assert refusal(bench.hands(role).do, query).sqlstate == "42501", (role, name)


def test_every_function_pins_its_search_path_and_executes_no_string(bench: Bench) -> None:
    """INV-008, INV-009, SEC-04."""
    rows = bench.admin.do(
        "SELECT proname, prosecdef, proconfig, prosrc FROM pg_proc WHERE pronamespace = 'symphony'::regnamespace"
    )
    assert len(rows) > 20
    for name, definer, config, source in rows:
        assert "search_path=pg_catalog, symphony, pg_temp" in config, name
        assert not (definer and "EXECUTE " in source), name


def test_another_login_of_the_cluster_sees_nothing(bench: Bench) -> None:
    """NEG-04, SEC-03, INV-005: it cannot even connect; let in, it may not use the schema."""
    bench.admin.do("CREATE ROLE test_user LOGIN")
    try:
        name = bench.database.name
        assert bench.one("SELECT has_database_privilege('test_user', %s, 'CONNECT')", name) is False
        with bench.admin.connection.transaction(force_rollback=True):
            bench.admin.connection.execute("SET LOCAL ROLE test_user")
            error = refusal(bench.admin.connection.execute, "SELECT * FROM symphony.participant_outbox_sequences")
        assert error.sqlstate == "42501"
        for kind in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            query = "SELECT has_table_privilege('test_user', 'symphony.participant_outbox_sequences', %s)"
            assert bench.one(query, kind) is False
    finally:
        bench.admin.do("DROP ROLE test_user")


def test_a_login_that_names_no_role_can_do_nothing(bench: Bench) -> None:
    """ATT-14, INV-007: the logins inherit nothing."""
    for login in ("writer", "shipper", "reader"):
        with psycopg.connect(getattr(bench.database, login), autocommit=True) as connection:
            for query in ("SELECT symphony.begin_epoch('x')", "SELECT * FROM symphony.revocations", "SELECT symphony.shipping_state('x')"):
                assert refusal(connection.execute, query).sqlstate == "42501"


def test_a_login_takes_no_role_but_its_own(bench: Bench) -> None:
    """SEC-02, SEC-17: the shipper is no writer, the writer no shipper, the reader nothing else."""
    allowed = {"writer": {INGEST, EXECUTOR}, "shipper": {SHIPPER}, "reader": {READER}}
    for login, own in allowed.items():
        with psycopg.connect(getattr(bench.database, login), autocommit=True) as connection:
            for role in (*ROLES, "sc_owner", "pg_read_all_data"):
                query = sql.SQL("SET ROLE {}").format(sql.Identifier(role))
                if role in own:
                    connection.execute(query)
                    connection.execute("RESET ROLE")
                else:
                    assert refusal(connection.execute, query).sqlstate == "42501", (login, role)


CALLS: dict[str, list[Any]] = {
    "begin_epoch": [STREAM], "judge_batch": [STREAM, 1, "UTC", Jsonb([]), Jsonb([])],
    "claim_outbox_batch": [STREAM, 1, "w", 1, 1, 1, 1], "take_over_leases": [STREAM, 1, "w", [], 1, 1], "decision_input": [[]],
    "record_dispatching": [STREAM, 1, 1, Jsonb([]), []], "complete_outbox_attempts": [STREAM, 1, 1, Jsonb([]), []],
    "record_events": [STREAM, 1, 1, Jsonb([]), []], "resolve_parked": [STREAM, 1, 1, Jsonb({}), b""], "accept_release": [1, "0" * 64],
    "add_revocations": [1, Jsonb([])], "purge_seen_jti": [1], "bump_participant_outbox_seq": ["x"],
    "seal_evidence_batch": [STREAM, 1, 1, b"", "", ""], "mark_shipped": [STREAM, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_names_no_role_is_refused_even_with_every_right(bench: Bench, name: str) -> None:
    """ATT-14: no default role; SY004 for the owner and for a superuser."""
    before = bench.counts()
    for hands in (bench.owner, bench.admin):
        assert refusal(hands.call, name, *CALLS[name]).sqlstate == "SY004"
    assert (bench.counts(), bench.next_seq) == (before, 1)


@pytest.mark.needs_schema("sidecar", 8)
def test_looking_at_a_parked_payment_names_its_role(bench: Bench) -> None:
    """ATT-14: what it tells is the executor's only."""
    for hands in (bench.owner, bench.admin):
        assert refusal(hands.call, "parked_payment", "00000000-0000-4000-8000-000000000000").sqlstate == "SY004"


def test_recording_without_a_role_is_refused_before_a_row_is_read(bench: Bench) -> None:
    """ATT-14, SY004: ``record_batch`` and the single enqueue."""
    assert refusal(bench.record, [refused()], by=bench.owner).sqlstate == "SY004"
    enqueue = "SELECT symphony.enqueue_payment_outbox(gen_random_uuid(), 'a', 'k', 'r', '{}', NULL)"
    assert refusal(bench.owner.do, enqueue).sqlstate == "SY004"
    assert bench.count("ingress_attestations") == 0


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_role_ends_with_its_transaction(bench: Bench, end: str) -> None:
    """SEC-02: the next transaction of the pooled connection begins as nobody."""
    connection = bench.another(INGEST).connection
    for role in (INGEST, EXECUTOR, INGEST):
        connection.execute(sql.SQL("BEGIN; SET LOCAL ROLE {}").format(sql.Identifier(role)))
        assert connection.execute("SELECT current_user").fetchone() == (role,)
        connection.execute(end)
        assert connection.execute("SELECT current_user, current_setting('role')").fetchone() == ("sc_writer", "none")
        assert refusal(connection.execute, "SELECT symphony.begin_epoch('x')").sqlstate == "42501"
    assert bench.one("SELECT count(*) FROM symphony.writer_epochs") == 1


def test_a_role_ends_with_a_transaction_that_failed(bench: Bench) -> None:
    """SEC-02: after an error inside a function, too."""
    hands = bench.another(INGEST)
    assert refusal(bench.record, [refused()], by=hands, first_seq=99).sqlstate == "SY002"
    assert hands.connection.execute("SELECT current_user").fetchone() == ("sc_writer",)


def test_the_executor_may_not_record_and_the_ingest_may_not_claim(bench: Bench) -> None:
    """SEC-02, SEC-15: two capabilities on one connection, one at a time."""
    assert refusal(bench.record, [refused()], by=bench.hands(EXECUTOR)).sqlstate == "42501"
    assert refusal(bench.claim, by=bench.hands(INGEST)).sqlstate == "42501"
    assert bench.count("ingress_attestations") == 0
