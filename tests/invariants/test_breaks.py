"""Each check is shown to fail: one thing is wrong in a database, and exactly the expected ids turn red (NEG-12, NEG-31).

Each break is a transaction that is rolled back. Grouped by what goes wrong. Where two invariants say the same from two sides (a table's own, and INV-029 of every table),
both are expected; an id too few is a check that sees nothing, an id too many one that nobody would believe.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from symphony.invariants import Manifest
from tests.invariants.support import Break, a_break, red_after

ATTEMPTS = "symphony.payment_outbox_attempts"
PARTITION = "(SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'symphony.payment_outbox_attempts'::regclass LIMIT 1)"


def on_a_partition(statement: str) -> str:
    """The statement on some partition of the attempts."""
    return f"DO $$ BEGIN EXECUTE format('{statement}', {PARTITION}); END $$"


GRANTS = [
    a_break("sidecar", "GRANT SELECT ON symphony.seen_jti TO PUBLIC", "INV-005"),
    a_break("sidecar", "GRANT SELECT (jti_hash) ON symphony.seen_jti TO PUBLIC", "INV-005"),
    a_break("sidecar", "GRANT EXECUTE ON FUNCTION symphony.accept_release(bigint, text) TO PUBLIC", "INV-005"),
    a_break("ledger", "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()); END $$", "INV-005"),
    a_break("sidecar", "ALTER DEFAULT PRIVILEGES FOR ROLE sc_owner GRANT SELECT ON TABLES TO PUBLIC", "INV-005"),
    a_break("controlplane", "GRANT CREATE ON SCHEMA public TO PUBLIC", "INV-005", "INV-006"),
    a_break("ledger", "GRANT CREATE ON SCHEMA ledger TO symphony_ledger", "INV-006"),
    a_break("sidecar", "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO sc_writer', current_database()); END $$", "INV-006"),
    a_break("controlplane", "GRANT UPDATE ON symphony.policy_versions TO symphony_control", "INV-010"),
    a_break("controlplane", "GRANT UPDATE (status) ON symphony.policy_versions TO symphony_control", "INV-010"),
    a_break("sidecar", "GRANT INSERT ON symphony.revoked_client_certs TO symphony_executor", "INV-010"),
    a_break("sidecar", f"GRANT TRUNCATE ON {ATTEMPTS} TO symphony_executor", "INV-010", "INV-DB-IMM-001"),
    a_break("sidecar", f"GRANT TRIGGER ON {ATTEMPTS} TO symphony_executor", "INV-DB-IMM-001"),
    a_break("sidecar", on_a_partition("GRANT DELETE ON %s TO symphony_executor"), "INV-010", "INV-DB-IMM-001"),
    a_break("sidecar", "GRANT SELECT ON symphony.seen_jti TO sc_writer", "INV-007"),
]  # fmt: skip

ROLES = [
    a_break("sidecar", "ALTER TABLE symphony.seen_jti OWNER TO symphony_executor", "INV-007", "INV-010"),
    a_break("sidecar", f"ALTER TABLE {ATTEMPTS} OWNER TO symphony_executor", "INV-007", "INV-010", "INV-DB-IMM-001", "I-OUTBOX-01"),
    a_break("ledger", "ALTER ROLE symphony_ledger LOGIN", "INV-007"),
    a_break("sidecar", "ALTER ROLE sc_writer CREATEROLE", "INV-007"),
    a_break("sidecar", "ALTER ROLE symphony_executor SUPERUSER", "INV-007", "I-OUTBOX-01"),
    a_break("sidecar", "GRANT symphony_executor TO sc_writer WITH INHERIT TRUE", "INV-007"),
    a_break("sidecar", "GRANT sc_owner TO sc_reader", "INV-007", "I-OUTBOX-01"),
    a_break("sidecar", "GRANT sc_owner TO ld_reader", "INV-007", "I-OUTBOX-01"),
    a_break("sidecar", "GRANT pg_write_all_data TO sc_shipper", "INV-007"),
    a_break("sidecar", "GRANT SET ON PARAMETER session_replication_role TO symphony_executor", "I-OUTBOX-01"),
]  # fmt: skip

DEFINER = "CREATE FUNCTION symphony.x() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS"
OWNED = "; REVOKE ALL ON FUNCTION symphony.x() FROM PUBLIC; ALTER FUNCTION symphony.x() OWNER TO sc_owner"
FUNCTIONS = [
    a_break("sidecar", "ALTER FUNCTION symphony.accept_release(bigint, text) RESET search_path", "INV-008"),
    a_break("sidecar", "ALTER FUNCTION symphony.accept_release(bigint, text) SET search_path = pg_temp, pg_catalog, symphony", "INV-008"),
    a_break("sidecar", f"{DEFINER} $$ BEGIN EXECUTE 'SELECT 1'; END $$ {OWNED}", "INV-009"),
    a_break("sidecar", f"{DEFINER} $$ BEGIN PERFORM symphony.ensure_partitions(current_date, 1); END $$ {OWNED}", "INV-009"),
    a_break("sidecar", f"{DEFINER} $$ BEGIN PERFORM query_to_xml('SELECT 1', true, true, ''); END $$ {OWNED}", "INV-009"),
    a_break("sidecar", f"{DEFINER} $$ BEGIN NULL; END $$; REVOKE ALL ON FUNCTION symphony.x() FROM PUBLIC", "INV-007"),
]  # fmt: skip

REFUSAL = "CREATE OR REPLACE FUNCTION symphony.deny_mutation() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS"
EVERY_KEPT = ("INV-014", "INV-021", "INV-023", "INV-029")
TRIGGERS = [
    a_break("sidecar", f"DROP TRIGGER trg_deny_outbox_attempts_mutation ON {ATTEMPTS}", "INV-014", "INV-029"),
    a_break("sidecar", f"ALTER TABLE {ATTEMPTS} DISABLE TRIGGER trg_attempts_not_truncated", "INV-014", "INV-029"),
    a_break("sidecar", f"ALTER TABLE {ATTEMPTS} ENABLE REPLICA TRIGGER trg_deny_outbox_attempts_mutation", "INV-014", "INV-029"),
    a_break("sidecar", on_a_partition("DROP TRIGGER trg_partition_not_truncated ON %s"), "INV-014", "INV-029"),
    a_break("sidecar", on_a_partition("ALTER TABLE %s DISABLE TRIGGER ALL"), "INV-014", "INV-029"),
    a_break("sidecar", f"DROP TRIGGER trg_deny_outbox_attempts_mutation ON {ATTEMPTS}; CREATE TRIGGER trg_deny_outbox_attempts_mutation "
            f"BEFORE UPDATE OF epoch OR DELETE ON {ATTEMPTS} FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation()", "INV-014", "INV-029"),
    a_break("sidecar", f"DROP TRIGGER trg_deny_outbox_attempts_mutation ON {ATTEMPTS}; CREATE TRIGGER trg_deny_outbox_attempts_mutation "
            f"BEFORE UPDATE OR DELETE ON {ATTEMPTS} FOR EACH ROW WHEN (false) EXECUTE FUNCTION symphony.deny_mutation()", "INV-014", "INV-029"),
    a_break("sidecar", f"{REFUSAL} $$ BEGIN RETURN NEW; END $$", *EVERY_KEPT),
    a_break("sidecar", f"{REFUSAL} $$ BEGIN IF false THEN RAISE EXCEPTION 'x' USING ERRCODE = '42501'; END IF; RETURN NEW; END $$", *EVERY_KEPT),
    a_break("sidecar", "DROP TRIGGER trg_attestations_append_only ON symphony.ingress_attestations", "INV-021", "INV-029"),
    a_break("sidecar", "DROP TRIGGER trg_revocations_append_only ON symphony.revocations", "INV-023", "INV-029"),
    a_break("sidecar", "DROP TABLE symphony.evidence_events CASCADE", "INV-021"),
    a_break("ledger", "DROP TRIGGER trg_postings_append_only ON ledger.postings", "INV-029"),
    a_break("controlplane", "DROP TRIGGER trg_leaves_not_truncated ON symphony.log_leaves", "INV-029"),
    a_break("ledger", "CREATE TABLE ledger.extra (n int); ALTER TABLE ledger.extra OWNER TO ld_owner", "INV-029"),
]  # fmt: skip

TWO_ACTIVE = (  # NEG-14, D5
    "DROP INDEX symphony.ux_policy_versions_one_active; INSERT INTO symphony.policy_versions (environment, number, status, is_active, "
    "checksum, metadata_digest, metadata, proposer_key_id, actor, reason) SELECT 'sandbox', n, 'ACTIVE', true, repeat('0', 64), "
    "repeat('0', 64), '', repeat('0', 64), 'a', 'r' FROM generate_series(1, 2) AS n"
)
KEYS = [
    a_break("sidecar", "DROP INDEX symphony.ux_pending_instruction_key", "INV-011"),
    a_break("sidecar", "DROP INDEX symphony.ux_instructions_key; CREATE INDEX ux_instructions_key ON symphony.payment_instructions "
            "(participant_id, idempotency_key, tx_index)", "INV-011"),
    a_break("controlplane", "ALTER TABLE symphony.policy_versions RENAME COLUMN is_active TO active", "INV-016", "INV-018"),
    a_break("controlplane", "ALTER TABLE symphony.policy_versions ALTER COLUMN checksum DROP NOT NULL", "INV-017"),
    a_break("controlplane", "DROP INDEX symphony.ux_policy_versions_one_active", "INV-018"),
    a_break("controlplane", "DROP INDEX symphony.ux_policy_versions_one_active; CREATE UNIQUE INDEX ux_policy_versions_one_active "
            "ON symphony.policy_versions (environment) WHERE is_active AND number > 100", "INV-018"),
    a_break("controlplane", TWO_ACTIVE, "INV-018"),
    a_break("sidecar", "ALTER TABLE symphony.payment_terminals DROP CONSTRAINT payment_terminals_pkey", "I-OUTBOX-02"),
    a_break("sidecar", "ALTER TABLE symphony.payment_outbox_pending ALTER COLUMN parent_attestation_id DROP NOT NULL", "INV-022"),
    a_break("sidecar", "ALTER TABLE symphony.seen_jti DROP CONSTRAINT seen_jti_pkey", "INV-024"),
    a_break("sidecar", "ALTER TABLE symphony.seen_jti DROP CONSTRAINT seen_jti_pkey; ALTER TABLE symphony.seen_jti ADD PRIMARY KEY "
            "(expires_day, jti_hash, expires_at_utc)", "INV-024"),
    a_break("sidecar", "ALTER TABLE symphony.revocations SET UNLOGGED", "INV-023"),
]  # fmt: skip


def weakened(name: str, old: str, new: str) -> str:
    """Replace words in the body of a function, and fail when they do not stand there."""
    return (
        f"DO $do$ DECLARE was text := pg_get_functiondef(to_regproc('symphony.{name}')); BEGIN "
        f"ASSERT position({old!r} IN was) > 0, 'the words are not there'; EXECUTE replace(was, {old!r}, {new!r}); END $do$"
    )


BODIES = [
    a_break("sidecar", weakened("claim_outbox_batch", "SKIP LOCKED", "/* SKIP LOCKED */"), "INV-012"),
    a_break("sidecar", weakened("claim_outbox_batch", "next_attempt_at <= clock_timestamp()", "true"), "INV-012"),
    a_break("sidecar", weakened("complete_outbox_attempts", "l.lease_token = c.lease_token", "true"), "INV-013"),
    a_break("sidecar", weakened("complete_outbox_attempts", "l.expires_at > clock_timestamp()", "true"), "INV-013"),
    a_break("sidecar", "DROP FUNCTION symphony.judge_batch", "INV-023"),
    a_break("sidecar", "DROP FUNCTION symphony.enqueue_payment_outbox", "INV-022"),
    a_break("sidecar", "INSERT INTO symphony.payment_outbox_pending SELECT u, u, 'p', 1, 'k', 'r', '{}', 1, 0, now(), now(), u, '', 1 "
            "FROM (SELECT gen_random_uuid() AS u) AS x", "INV-022"),
]  # fmt: skip


@pytest.mark.parametrize("one", [*GRANTS, *ROLES, *FUNCTIONS, *TRIGGERS, *KEYS, *BODIES], ids=str)
def test_each_break_turns_exactly_its_own_red(one: Break, whole: Mapping[str, str], manifest: Manifest) -> None:
    """NEG-12, NEG-31."""
    assert red_after(one, whole[one.kind], manifest) == one.red


def test_every_check_that_looks_at_a_database_is_shown_to_fail(manifest: Manifest) -> None:
    """A check that cannot fail is a defect: each id with a check on a database is red in some break above."""
    shown = {name for one in (*GRANTS, *ROLES, *FUNCTIONS, *TRIGGERS, *KEYS, *BODIES) for name in one.red}
    looking = {one.id for one in manifest.implemented if any(text.startswith("sql:") for text in one.verified_by)}
    assert looking <= shown
