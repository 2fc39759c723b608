"""What a payment leaves behind: few durable rows, a chain from request to outcome, nothing that is secret (NUM-04, EVD-02, EVD-09)."""

from __future__ import annotations

from collections import Counter

import psycopg

from rails.sdk import Outcome
from tests.sidecar.stage import Stage
from tests.sidecar.support import ACCOUNT_CANARY, NAME_CANARY, handed, payment

ROWS_MAX = 11
"""Durable rows of one payment on the happy path (NUM-04); deletes and the writer's own row of numbers are counted apart."""


def written(stage: Stage) -> Counter[str]:
    """Rows inserted and updated by table, as the server counts them."""
    with psycopg.connect(stage.database.admin) as connection:
        rows = connection.execute(
            "SELECT regexp_replace(relname, '_[0-9]{6}$', ''), n_tup_ins + n_tup_upd FROM pg_stat_user_tables"
            " WHERE schemaname = 'symphony'"
        ).fetchall()
    counted: Counter[str] = Counter()
    for name, count in rows:
        counted[name] += count
    return counted


async def settled(stage: Stage) -> Counter[str]:
    """The counts once the writer's connection has reported its own: a connection that ends does."""
    await stage.store.close()
    return written(stage)


async def test_a_payment_costs_no_more_durable_rows_than_published(stage: Stage) -> None:
    """NUM-04: alone, and in a batch, where what is counted per batch is shared."""
    await stage.begin()
    await stage.accept(payment())
    await stage.dispatch()
    for count in (1, 20):
        before = await settled(stage)
        await stage.record(*(handed(payment()) for _ in range(count)))
        assert await stage.dispatch() == count
        spent = await settled(stage) - before
        numbers = spent.pop("writer_epochs")
        assert spent.total() / count <= ROWS_MAX, spent
        assert numbers == 3  # one a commit: recorded, claimed, completed
        for table in ("ingress_attestations", "seen_jti", "payment_instructions", "payloads", "payment_outbox_pending", "outbox_leases"):
            assert spent[table] == count, table
        assert (spent["payment_outbox_attempts"], spent["payment_terminals"]) == (2 * count, count)
        assert (spent["usage_daily"], spent["participant_outbox_sequences"]) == (1, 1)


async def test_nothing_is_left_in_the_hot_tables_after_the_outcome(stage: Stage) -> None:
    """OUT-17."""
    await stage.begin()
    await stage.accept(payment(), payment())
    await stage.dispatch()
    for table in ("payment_outbox_pending", "outbox_leases"):
        assert stage.one(f"SELECT count(*) FROM symphony.{table}") == 0


async def test_from_request_to_outcome_one_chain_of_records(stage: Stage) -> None:
    """EVD-02: the attempt names the attestation's leaf; both are in one stream, in order."""
    await stage.begin()
    (one,) = await stage.accept(payment(amount=77))
    stage.rail.script = [Outcome.IN_DOUBT]
    await stage.dispatch()
    await stage.recover()
    stage.make_due()
    await stage.dispatch()
    attestation, *attempts = stage.evidence()
    (instruction,) = attestation["instructions"]
    assert (instruction["instruction_id"], instruction["amount_minor"]) == (one, 77)
    leaf = stage.one("SELECT encode(leaf_hash, 'hex') FROM symphony.ingress_attestations")
    assert {record["attestation_leaf_hash"] for record in attempts} == {leaf}
    assert [(record["attempt_no"], record["state"]) for record in attempts] == [
        (1, "DISPATCHING"), (2, "ZOMBIE_REQUEUE"), (3, "DISPATCHING"), (3, "DISPATCHED"),
    ]  # fmt: skip


async def test_what_must_be_hidden_stands_where_it_may_and_nowhere_else(stage: Stage) -> None:
    """INV-027, EVD-09, NEG-36: raw bytes in ``payloads`` only; the outbox carries settlement accounts, no party, no key of the caller."""
    await stage.begin()
    await stage.accept(payment())
    await stage.record(handed(payment(), rejected_code="BODY_EMPTY"), handed(payment(by="luangwa-bank", to="kafue-bank")))
    stage.evidence()
    (payload,) = stage.sql("SELECT raw FROM symphony.payloads ORDER BY created_at LIMIT 1")[0]
    assert NAME_CANARY.encode() in bytes(payload)
    for (posting,) in stage.sql("SELECT payload FROM symphony.payment_outbox_pending"):
        stage.check_no_canary(posting.encode())
    columns = stage.sql("SELECT row_to_json(a)::text FROM symphony.ingress_attestations AS a")
    for (row,) in columns:
        assert NAME_CANARY not in row
        assert ACCOUNT_CANARY not in row
        assert not any(token in row for token in stage.tokens)
