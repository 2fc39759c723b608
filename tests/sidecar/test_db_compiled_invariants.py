"""The invariants compiled into the sidecar: each is asked, and a release does not activate where one is broken (rule 15)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from contracts import runtime_invariants
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.named_sql import queries
from contracts.runtime_invariants import ask
from sidecar import invariants
from tests.support.database import Database, TestPostgres

BREAKS = {
    "INV-005": ("GRANT SELECT ON symphony.parked TO PUBLIC", "REVOKE SELECT ON symphony.parked FROM PUBLIC"),
    "INV-007": ("ALTER ROLE sc_writer CREATEDB", "ALTER ROLE sc_writer NOCREATEDB"),
    "INV-008": (
        "ALTER FUNCTION symphony.highest_release() RESET search_path",
        "ALTER FUNCTION symphony.highest_release() SET search_path = pg_catalog, symphony, pg_temp",
    ),
    "INV-011": (
        "DROP INDEX symphony.ux_pending_instruction_key",
        "CREATE UNIQUE INDEX ux_pending_instruction_key ON symphony.payment_outbox_pending (instruction_id, idempotency_key)",
    ),
    "INV-021": (
        "ALTER TABLE symphony.evidence_events DISABLE TRIGGER trg_events_append_only",
        "ALTER TABLE symphony.evidence_events ENABLE TRIGGER trg_events_append_only",
    ),
    "INV-023": ("ALTER TABLE symphony.revocations SET UNLOGGED", "ALTER TABLE symphony.revocations SET LOGGED"),
    "INV-024": (
        "ALTER TABLE symphony.seen_jti DROP CONSTRAINT seen_jti_pkey",
        "ALTER TABLE symphony.seen_jti ADD PRIMARY KEY (expires_day, jti_hash)",
    ),
    "I-OUTBOX-01": (
        "GRANT SET ON PARAMETER session_replication_role TO symphony_executor",
        "REVOKE SET ON PARAMETER session_replication_role FROM symphony_executor",
    ),
    "INV-006": ("GRANT CREATE ON SCHEMA public TO symphony_reader", "REVOKE CREATE ON SCHEMA public FROM symphony_reader"),
    "INV-010": (
        "GRANT DELETE ON symphony.parked TO symphony_executor",
        "REVOKE DELETE ON symphony.parked FROM symphony_executor",
    ),
    "INV-014": (
        "ALTER TABLE symphony.payment_outbox_attempts DISABLE TRIGGER trg_deny_outbox_attempts_mutation",
        "ALTER TABLE symphony.payment_outbox_attempts ENABLE TRIGGER trg_deny_outbox_attempts_mutation",
    ),
    "INV-022": (
        "ALTER TABLE symphony.payment_outbox_pending ALTER parent_attestation_id DROP NOT NULL",
        "ALTER TABLE symphony.payment_outbox_pending ALTER parent_attestation_id SET NOT NULL",
    ),
    "I-OUTBOX-02": (
        "ALTER TABLE symphony.payment_terminals DROP CONSTRAINT payment_terminals_pkey",
        "ALTER TABLE symphony.payment_terminals ADD PRIMARY KEY (outbox_id)",
    ),
}


@pytest.fixture(scope="module")
def database(postgres: TestPostgres) -> Iterator[Database]:
    """One to break."""
    made = postgres.new_database("sidecar")
    yield made
    postgres.drop(made)


def run(database: Database, statement: str) -> None:
    """As superuser."""
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute(statement)


def test_all_hold_in_a_migrated_database(database: Database) -> None:
    assert invariants.check(database.writer) == sorted(invariants.SEVERITIES)
    assert set(invariants.SEVERITIES) == set(queries("contracts")) | set(queries("sidecar"))
    assert set(BREAKS) == set(invariants.SEVERITIES) - {"INV-009", "INV-013"}  # those two are a body's words, broken below


@pytest.mark.parametrize(("invariant", "function", "old", "new"), [
    ("INV-009", "highest_release", "SELECT", "/* EXECUTE */ SELECT"),
    ("INV-013", "complete_outbox_attempts", "lease_token = ", "lease_token >= "),
    ("INV-013", "complete_outbox_attempts", "lease_token = ", "lease_token >= /* lease_token = */ "),
    ("INV-013", "complete_outbox_attempts", "lease_token = ", "lease_token >= -- lease_token = \n "),
    ("INV-023", "judge_batch", "symphony.revocations", "symphony /* symphony.revocations */ . revocations"),
])
def test_a_function_with_another_body_is_seen(database: Database, invariant: str, function: str, old: str, new: str) -> None:
    with psycopg.connect(database.admin, autocommit=True) as connection:
        (body,) = connection.execute("SELECT pg_get_functiondef(to_regproc(%s))", (f"symphony.{function}",)).fetchone() or ("",)
        connection.execute(body.replace(old, new))
        try:
            found = ask(database.writer, queries("sidecar"), invariants.SEVERITIES, role="symphony_executor", schema="symphony")
        finally:
            connection.execute(body)
    assert [one.id for one in found if not one.holds] == [invariant]


def test_a_guard_that_swallows_its_own_refusal_is_none(database: Database) -> None:
    """INV-014, INV-021: the trigger is there and enabled, and lets everything through."""
    with psycopg.connect(database.admin, autocommit=True) as connection:
        (body,) = connection.execute("SELECT pg_get_functiondef('symphony.deny_mutation'::regproc)").fetchone() or ("",)
        connection.execute(body.replace("\nEND", "\nEXCEPTION WHEN OTHERS THEN RETURN NEW;\nEND"))
        try:
            found = ask(database.writer, queries("sidecar"), invariants.SEVERITIES, role="symphony_executor", schema="symphony")
        finally:
            connection.execute(body)
    assert {"INV-014", "INV-021"} <= {one.id for one in found if not one.holds}


def test_a_statement_that_sees_nothing_is_no_pass(database: Database) -> None:
    """EVD-07."""
    nothing = {"INV-022": queries("sidecar")["INV-022"].replace("payment_outbox_pending", "not_there")}
    (found,) = ask(database.writer, nothing, {"INV-022": "P0"}, role="symphony_executor", schema="symphony")  # type: ignore[arg-type]
    assert not found.holds
    assert "cannot see" in str(found)


def test_an_id_that_nothing_asks_is_a_defect_and_never_left_out(database: Database) -> None:
    with pytest.raises(KeyError):
        ask(database.writer, {}, {"INV-005": "P0", "INV-999": "P0"}, role="symphony_executor", schema="symphony")


def test_another_sides_schema_is_not_taken_for_ours(database: Database) -> None:
    """Of a schema that is not there nothing is seen, which is no pass."""
    asked = {"INV-008": "P0", "INV-010": "P0"}
    assert not any(one.holds for one in ask(database.writer, {}, asked, role="symphony_executor", schema="ledger"))


def test_a_lock_that_somebody_holds_is_an_answer_that_could_not_be_had(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """NEG-32: bounded by the statement's time, and no violation."""
    monkeypatch.setattr(runtime_invariants, "STATEMENT_TIMEOUT_MS", 200)
    waits = {"INV-022": "SELECT count(*), '{}'::text[] FROM symphony.participants_locked"}
    run(database, "CREATE VIEW symphony.participants_locked AS SELECT 1 AS n FROM symphony.parked")
    run(database, "GRANT SELECT ON symphony.participants_locked TO symphony_executor")
    try:
        with psycopg.connect(database.admin) as holder:
            holder.execute("LOCK TABLE symphony.participants_locked, symphony.parked IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(CannotEvaluate, match="QueryCanceled"):
                ask(database.writer, waits, {"INV-022": "P0"}, role="symphony_executor", schema="symphony")  # type: ignore[arg-type]
    finally:
        run(database, "DROP VIEW symphony.participants_locked")


def test_a_login_that_is_superuser_is_named(database: Database) -> None:
    """INV-007, and nothing else: the message says what to mend."""
    run(database, "ALTER ROLE sc_writer SUPERUSER")
    try:
        found = ask(database.writer, queries("sidecar"), invariants.SEVERITIES, role="symphony_executor", schema="symphony")
    finally:
        run(database, "ALTER ROLE sc_writer NOSUPERUSER")
    assert [one.id for one in found if not one.holds] == ["INV-007"]


@pytest.mark.parametrize("invariant", sorted(BREAKS))
def test_a_broken_one_is_named_and_holds_again_once_mended(database: Database, invariant: str) -> None:
    """NEG-31 at the sidecar: as the writer's own login sees it."""
    broken, mended = BREAKS[invariant]
    run(database, broken)
    try:
        with pytest.raises(NotTrusted) as caught:
            invariants.check(database.writer)
    finally:
        run(database, mended)
    assert caught.value.code == "RELEASE_INVARIANT"
    assert invariant in caught.value.detail
    assert invariant in invariants.check(database.writer)


def test_the_writers_own_login_is_looked_at_too(database: Database) -> None:
    """INV-006, INV-010: a right of the login itself is a way around its roles."""
    login = psycopg.conninfo.conninfo_to_dict(database.writer)["user"]
    for right, invariant in (("CREATE ON SCHEMA symphony", "INV-006"), ("INSERT ON symphony.payment_terminals", "INV-010")):
        run(database, f"GRANT {right} TO {login}")
        try:
            with pytest.raises(NotTrusted) as caught:
                invariants.check(database.writer)
        finally:
            run(database, f"REVOKE {right} FROM {login}")
        assert invariant in caught.value.detail


def test_a_trigger_that_is_gone_from_a_partition_is_seen(database: Database) -> None:
    """D11: a TRUNCATE on a partition passes its parent's trigger by."""
    (partition,) = partitions(database)[:1]
    run(database, f"DROP TRIGGER trg_partition_not_truncated ON symphony.{partition}")
    try:
        with pytest.raises(NotTrusted) as caught:
            invariants.check(database.writer)
    finally:
        run(
            database,
            f"CREATE TRIGGER trg_partition_not_truncated BEFORE TRUNCATE ON symphony.{partition} "
            "FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation()",
        )
    assert "INV-014" in caught.value.detail
    assert invariants.check(database.writer)


def partitions(database: Database) -> list[str]:
    """Of the attempts."""
    with psycopg.connect(database.admin) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'symphony.payment_outbox_attempts'::regclass ORDER BY 1"
        ).fetchall()
    return [name for (name,) in rows]


def test_a_database_that_cannot_be_asked_is_no_pass() -> None:
    """EVD-07, NEG-32."""
    with pytest.raises(CannotEvaluate) as caught:
        invariants.check("postgresql://nobody@127.0.0.1:1/none")
    assert caught.value.code == "RELEASE_INVARIANT"
