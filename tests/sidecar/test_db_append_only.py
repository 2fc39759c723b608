"""What is written stays: privileges for the services, triggers for the owner, on every partition (D11, NEG-09 to NEG-11)."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from psycopg import sql

from tests.sidecar.rows import EXECUTOR, INGEST, READER, SHIPPER, STREAM, Bench, attempt, evidence, refusal, trigger

TRIGGERS = {
    "payment_outbox_attempts": ("trg_deny_outbox_attempts_mutation", "trg_attempts_not_truncated"),
    "ingress_attestations": ("trg_attestations_append_only", "trg_attestations_not_truncated"),
    "evidence_events": ("trg_events_append_only", "trg_events_not_truncated"),
    "revocations": ("trg_revocations_append_only", "trg_revocations_not_truncated"),
    "payment_instructions": ("trg_instructions_append_only", "trg_instructions_not_truncated"),
    "payment_terminals": ("trg_terminals_append_only", "trg_terminals_not_truncated"),
    "resolutions": ("trg_resolutions_append_only", "trg_resolutions_not_truncated"),
    "evidence_batches": ("trg_batches_append_only", "trg_batches_not_truncated"),
    "evidence_shipments": ("trg_shipments_append_only", "trg_shipments_not_truncated"),
    "accepted_releases": ("trg_releases_append_only", "trg_releases_not_truncated"),
}
PARTITIONED = ("payment_outbox_attempts", "ingress_attestations", "evidence_events")
MUTATIONS = {"UPDATE": "UPDATE {} SET {column} = {column}", "DELETE": "DELETE FROM {}", "TRUNCATE": "TRUNCATE {}"}
COLUMN = {
    "payment_outbox_attempts": "state", "ingress_attestations": "decision", "evidence_events": "event_type", "revocations": "until",
    "payment_instructions": "decision", "payment_terminals": "state", "resolutions": "decision", "evidence_batches": "batch",
    "evidence_shipments": "shipped_at", "accepted_releases": "metadata_digest",
}  # fmt: skip
DENIED = ("42501", "deny_mutation")


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """A row in every append-only table."""
    claimed = bench.claimed()
    bench.dispatching(claimed)
    bench.end(claimed)
    parked = bench.claimed()
    bench.end(parked, "PENDING_MANUAL")
    resolve(bench, str(parked["outbox_id"]))
    entry = {"kind": "certificate", "id": "0" * 64, "reason": "r", "revoked_at": "2026-01-01T00:00:00Z", "until": None}
    bench.executor.call("add_revocations", 1, [entry])
    bench.executor.call("accept_release", 1, "0" * 64)
    bench.shipper.call("seal_evidence_batch", STREAM, 1, bench.next_seq - 1, b"batch", "0" * 64, "00")
    bench.shipper.call("mark_shipped", STREAM, 1, bench.next_seq - 1)
    assert all(bench.count(table) for table in TRIGGERS)
    return bench


def resolve(bench: Bench, outbox_id: str) -> None:
    resolution = {
        "resolution_id": str(uuid4()), "outbox_id": outbox_id, "decision": "FAILED", "reason": "the rail says so",
        "maker": "a", "checker": "b", "evidence_reference": "e",
    }  # fmt: skip
    bench.executor.call("resolve_parked", STREAM, 1, bench.next_seq, resolution, evidence(1)[0])


def statement(mutation: str, table: str, column: str) -> sql.Composed:
    names = {"column": sql.Identifier(column)}
    return sql.SQL(MUTATIONS[mutation]).format(sql.Identifier("symphony", table), **names)  # type: ignore[arg-type]


def contents(bench: Bench, table: str) -> list[tuple[object, ...]]:
    return bench.admin.do(f"SELECT t::text FROM symphony.{table} AS t ORDER BY 1")


@pytest.mark.parametrize("table", TRIGGERS)
def test_no_service_changes_removes_or_truncates_what_is_recorded(filled: Bench, table: str) -> None:
    """NEG-02, NEG-03, NEG-09 to NEG-11, INV-014, INV-021, I-OUTBOX-01: 42501 for each role, and not a row less."""
    before = contents(filled, table)
    for role in (INGEST, EXECUTOR, SHIPPER, READER):
        for mutation in MUTATIONS:
            error = refusal(filled.hands(role).do, statement(mutation, table, COLUMN[table]))
            assert trigger(error) == ("42501", ""), (role, mutation)
    assert contents(filled, table) == before


@pytest.mark.parametrize("table", TRIGGERS)
def test_not_even_the_owner_changes_removes_or_truncates_what_is_recorded(filled: Bench, table: str) -> None:
    """NEG-09, NEG-10, NEG-11, D11, ATT-10, OUT-07: the trigger of that name fires, and without it nothing else would."""
    before = contents(filled, table)
    for mutation in MUTATIONS:
        error = refusal(filled.owner.do, statement(mutation, table, COLUMN[table]))
        assert trigger(error) == DENIED
        assert error.diag.message_primary == f"{error_table(table, mutation)} is append-only: {mutation} refused"
        if mutation != "TRUNCATE" or table not in PARTITIONED:
            name = TRIGGERS[table][mutation == "TRUNCATE"]
            with filled.owner.connection.transaction(force_rollback=True):
                filled.owner.connection.execute(f"ALTER TABLE symphony.{table} DISABLE TRIGGER {name}")
                filled.owner.connection.execute(statement(mutation, table, COLUMN[table]))
    assert contents(filled, table) == before


def error_table(table: str, mutation: str) -> str:
    """Row triggers of a partitioned table speak in the name of the partition."""
    month = datetime.now(UTC).strftime("%Y%m")
    return f"{table}_{month}" if table in PARTITIONED and mutation != "TRUNCATE" else table


def partitions(bench: Bench, table: str) -> list[str]:
    rows = bench.admin.do(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass ORDER BY 1",
        f"symphony.{table}",
    )
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize("table", PARTITIONED)
def test_no_partition_is_a_way_around(filled: Bench, table: str) -> None:
    """NEG-11, I-OUTBOX-01: a TRUNCATE of a partition passes the parent's trigger by; each has its own."""
    found = partitions(filled, table)
    assert len(found) >= 4
    before = contents(filled, table)
    for partition in found:
        assert trigger(refusal(filled.owner.do, statement("TRUNCATE", partition, ""))) == DENIED
        for role in (INGEST, EXECUTOR, SHIPPER, READER):
            for mutation in MUTATIONS:
                error = refusal(filled.hands(role).do, statement(mutation, partition, COLUMN[table]))
                assert trigger(error) == ("42501", "")
    current = next(name for name in found if name.endswith(datetime.now(UTC).strftime("%Y%m")))
    for mutation in ("UPDATE", "DELETE"):
        assert trigger(refusal(filled.owner.do, statement(mutation, current, COLUMN[table]))) == DENIED
    assert contents(filled, table) == before


def test_a_partition_made_later_is_as_closed(filled: Bench) -> None:
    """NUM-07, OUT-18: ``ensure_partitions`` is the owner's, is repeatable, and brings the triggers with it."""
    filled.owner.do("SELECT symphony.ensure_partitions('2031-05-20', 0)")
    assert filled.owner.do("SELECT symphony.ensure_partitions('2031-05-01', 0)") == [(0,)]
    for table in PARTITIONED:
        assert trigger(refusal(filled.owner.do, statement("TRUNCATE", f"{table}_203105", ""))) == DENIED
    for role in (INGEST, EXECUTOR, SHIPPER, READER):
        assert refusal(filled.hands(role).do, "SELECT symphony.ensure_partitions('2031-06-01', 0)").sqlstate == "42501"
    for table in (*PARTITIONED, "payloads"):
        filled.owner.do(f"DROP TABLE symphony.{table}_203105")


def test_a_pending_row_is_deleted_and_inserted_never_updated(bench: Bench) -> None:
    """NEG-13, OUT-17: for the services by privilege, for the owner by trigger; and it is not truncated."""
    (payment,) = bench.accept()
    before = contents(bench, "payment_outbox_pending")
    for column in ("amount_minor", "attempt_count", "next_attempt_at", "payload", "participant_id"):
        change = f"UPDATE symphony.payment_outbox_pending SET {column} = {column}"
        for role in (INGEST, EXECUTOR):
            assert refusal(bench.hands(role).do, change).sqlstate == "42501"
        assert trigger(refusal(bench.owner.do, change)) == DENIED
    assert trigger(refusal(bench.owner.do, "TRUNCATE symphony.payment_outbox_pending")) == DENIED
    assert (contents(bench, "payment_outbox_pending"), bench.pending(payment)) == (before, 1)


@pytest.mark.parametrize("change", [
    "next_sequence_id = next_sequence_id - 1", "next_tenant_seq_no = next_tenant_seq_no - 1", "participant_id = 'other'",
])  # fmt: skip
def test_a_sequence_is_never_lowered_nor_given_to_another(bench: Bench, change: str) -> None:
    """NEG-17, D12, REC-10."""
    bench.accept(3)
    before = contents(bench, "participant_outbox_sequences")
    update = f"UPDATE symphony.participant_outbox_sequences SET {change}"
    for role in (INGEST, EXECUTOR):
        assert refusal(bench.hands(role).do, update).sqlstate == "42501"
    assert trigger(refusal(bench.owner.do, update)) == ("42501", "deny_lowered_sequence")
    assert contents(bench, "participant_outbox_sequences") == before


@pytest.mark.parametrize("mutation", ["DELETE", "TRUNCATE"])
def test_a_sequence_is_never_forgotten(bench: Bench, mutation: str) -> None:
    """NEG-17: numbers that begin again would be given out twice."""
    bench.accept()
    assert trigger(refusal(bench.owner.do, statement(mutation, "participant_outbox_sequences", ""))) == DENIED
    assert bench.count("participant_outbox_sequences") == 1


def test_an_attempt_in_flight_is_a_row_and_its_outcome_a_later_row(bench: Bench) -> None:
    """OUT-07, OUT-03."""
    claimed = bench.claimed()
    bench.dispatching(claimed)
    bench.complete(attempt(claimed, "DISPATCHED"))
    rows = bench.admin.do("SELECT state::text FROM symphony.payment_outbox_attempts ORDER BY stream_seq")
    assert rows == [("DISPATCHING",), ("DISPATCHED",)]
