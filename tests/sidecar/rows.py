"""Rows as the DB API of a sidecar takes them, and hands on the database by login: the least that is valid, to be bent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.database import Database

INGEST, EXECUTOR, SHIPPER, READER = "symphony_ingest", "symphony_executor", "symphony_shipper", "symphony_reader"
STREAM, WORKER, ZONE = "rows-a", "w1", "Africa/Lusaka"
KAFUE, LUANGWA = "kafue-bank", "luangwa-bank"
FIRST_JTI_DAY = datetime.now(UTC) + timedelta(minutes=5)
BODY = hashlib.sha256(b"body").hexdigest()

NONE = Jsonb([])

Row = dict[str, Any]


def attestation(n: int = 0, **changes: Any) -> Row:
    """One accepted message of Kafue's, its token spent."""
    return {
        "n": n, "attestation_id": str(uuid4()), "received_at": datetime.now(UTC).isoformat(), "tenant": KAFUE,
        "client_id": "kafue-payments", "correlation_id": "c", "jti_hash": uuid4().hex, "body_sha256": BODY, "key": uuid4().hex,
        "policy_version": 1, "policy_checksum": "0" * 64, "decision": "ACCEPT", "reason_code": None, "tenant_seq_no": 1,
        "spends": True, "jti_day": FIRST_JTI_DAY.date().isoformat(), "jti_tenant": KAFUE,
        "jti_expires_at": FIRST_JTI_DAY.isoformat(), **changes,
    }  # fmt: skip


def instruction(of: Row, n: int = 0, **changes: Any) -> Row:
    """One allowed payment of the message ``of``."""
    return {
        "n": n, "message": of["n"], "instruction_id": str(uuid4()), "attestation_id": of["attestation_id"],
        "participant": of["tenant"], "client_id": of["client_id"], "key": of["key"], "tx_index": 0, "decision": "ALLOW",
        "reason_code": None, "detail": "", "body_sha256": BODY, "business_key": uuid4().hex, "sequence_id": 1, "kind": "transfer",
        "rail": "iso20022", "message_type": "pacs.008.001.08", "message_id": "M1", "refs": "{}", "amount_minor": 100,
        "currency": "ZMW", "instructing_agent": "KFUBZMLUXXX", "instructed_agent": "LWGBZMLUXXX", "settlement_date": None,
        "policy_version": 1, "policy_checksum": "0" * 64, "payload": "{}", **changes,
    }  # fmt: skip


def refused(**changes: Any) -> Row:
    """One rejected message of a caller whom nobody knows (D3)."""
    nobody = {"tenant": None, "tenant_seq_no": None, "decision": "REJECT", "reason_code": "TOKEN_INVALID", "spends": False}
    return attestation(**{**nobody, **changes})


def attempt(claimed: Row, state: str = "DISPATCHING", n: int = 0, **changes: Any) -> Row:
    """An attempt row of a claimed payment; its outcome when ``state`` says one."""
    return {
        "n": n, "attempt_id": str(uuid4()), "outbox_id": str(claimed["outbox_id"]), "participant_id": claimed["participant_id"],
        "sequence_id": claimed["sequence_id"], "attempt_no": claimed["attempt_no"], "state": state, "epoch": 1,
        "claimed_by": WORKER, "lease_token": str(claimed["lease_token"]), "claimed_at": claimed["claimed_at"].isoformat(),
        "rail": "iso20022", "rail_reference": "R1" if state == "DISPATCHED" else None,
        "error_code": None if state in {"DISPATCHING", "DISPATCHED"} else "SOME_CODE", "policy_version": 1, "payload": "{}",
        "retry_in_ms": 0, **changes,
    }  # fmt: skip


def event(n: int = 0) -> Row:
    """Evidence that rides on no payment row."""
    return {"n": n, "event_id": str(uuid4()), "event_type": "STARTUP", "source": "sidecar", "canonical_fields": "{}"}


def evidence(count: int) -> list[bytes]:
    """So many records, each different."""
    return [uuid4().bytes for _ in range(count)]


@dataclass
class Hands:
    """One connection under one role. Every call is a transaction of its own unless ``open`` is used."""

    connection: psycopg.Connection[Any]
    role: str | None

    @contextmanager
    def open(self) -> Iterator[psycopg.Connection[Any]]:
        """One transaction under the role."""
        with self.connection.transaction():
            if self.role is not None:
                self.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.role)))
            yield self.connection

    def call(self, name: str, *parameters: Any) -> Any:
        """The one value of a function of the DB API, or its row when it has several columns."""
        rows = self.table(name, *parameters)
        return None if not rows else next(iter(rows[0].values())) if len(rows[0]) == 1 else rows[0]

    def table(self, name: str, *parameters: Any) -> list[Row]:
        """All rows of a function of the DB API."""
        with self.open():
            return self.within(name, *parameters)

    def within(self, name: str, *parameters: Any) -> list[Row]:
        """The same inside a transaction that is open."""
        places = sql.SQL(", ").join([sql.SQL("%s")] * len(parameters))
        query = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier("symphony", name), places)
        cursor = self.connection.execute(query, [Jsonb(p) if is_json(p) else p for p in parameters])
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def do(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Any statement, as a transaction of its own."""
        with self.open():
            cursor = self.connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def is_json(value: Any) -> bool:
    """Rows travel as JSON, no rows as ``NONE``; lists of bytes and of ids as arrays."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


class Bench:
    """An empty database of a sidecar with epoch 1 begun, and hands on it by role."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._connections: list[psycopg.Connection[Any]] = []
        self._by_login: dict[str, psycopg.Connection[Any]] = {}
        self.executor.call("begin_epoch", STREAM)

    def hands(self, role: str) -> Hands:
        """By role, or ``owner`` or ``admin``; one connection for each login."""
        login = _LOGINS.get(role, "writer")
        if login not in self._by_login:
            self._by_login[login] = self._connect(login)
        return Hands(self._by_login[login], None if login == role else role)

    def another(self, role: str) -> Hands:
        """The same on a connection of its own."""
        login = _LOGINS.get(role, "writer")
        return Hands(self._connect(login), None if login == role else role)

    def _connect(self, login: str) -> psycopg.Connection[Any]:
        made: psycopg.Connection[Any] = psycopg.connect(getattr(self.database, login), autocommit=True)
        self._connections.append(made)
        return made

    ingest = property(lambda self: self.hands(INGEST))
    executor = property(lambda self: self.hands(EXECUTOR))
    shipper = property(lambda self: self.hands(SHIPPER))
    reader = property(lambda self: self.hands(READER))
    owner = property(lambda self: self.hands("owner"))
    admin = property(lambda self: self.hands("admin"))

    def one(self, statement: str, *parameters: Any) -> Any:
        """The one value of a statement, as superuser."""
        return self.admin.do(statement, *parameters)[0][0]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.one(f"SELECT count(*) FROM symphony.{table}"))

    def counts(self) -> dict[str, int]:
        """How many rows every table has that a batch, an outcome or a shipment writes."""
        return {name: self.count(name) for name in WRITTEN}

    @property
    def next_seq(self) -> int:
        """The stream's next number."""
        return int(self.one("SELECT next_seq FROM symphony.writer_epochs WHERE stream = %s", STREAM))

    def record(
        self, attestations: Sequence[Row], instructions: Sequence[Row] = (), *, by: Hands | None = None, **changes: Any
    ) -> int:
        """``record_batch``; ``changes`` replaces a parameter."""
        return int((by or self.ingest).call("record_batch", *self.batch(attestations, instructions, **changes)))

    def batch(self, attestations: Sequence[Row], instructions: Sequence[Row] = (), **changes: Any) -> list[Any]:
        """The parameters of ``record_batch``."""
        nothing = [b""] * len(instructions)
        values = {
            "stream": STREAM, "epoch": 1, "first_seq": changes.get("first_seq") or self.next_seq,
            "day": datetime.now(UTC).date(), "attestations": list(attestations) or NONE, "evidence": evidence(len(attestations)),
            "instructions": list(instructions) or NONE, "raw": nothing, "inputs": nothing, "salts": nothing, **changes,
        }  # fmt: skip
        return list(values.values())

    def accept(self, count: int = 1, *, tenant: str = KAFUE, **changes: Any) -> list[str]:
        """Record one message of so many allowed payments, with the numbers that come next; their ids."""
        taken = self.admin.do(
            "SELECT next_sequence_id, next_tenant_seq_no FROM symphony.participant_outbox_sequences WHERE participant_id = %s", tenant
        )
        sequence, seq_no = taken[0] if taken else (1, 1)
        message = attestation(tenant=tenant, jti_tenant=tenant, tenant_seq_no=seq_no)
        payments = [instruction(message, n, tx_index=n, sequence_id=sequence + n, **changes) for n in range(count)]
        assert self.record([message], payments) == count
        return [payment["instruction_id"] for payment in payments]

    def claim(self, *, by: Hands | None = None, **changes: Any) -> list[Row]:
        """``claim_outbox_batch`` as a transaction of its own."""
        return (by or self.executor).table("claim_outbox_batch", *claim_parameters(**changes))

    def claimed(self, **changes: Any) -> Row:
        """One payment, accepted and claimed."""
        self.accept(**changes)
        (row,) = self.claim()
        return row

    def dispatching(self, claimed: Row) -> None:
        """The attempt of a claim."""
        self.executor.call("record_dispatching", STREAM, 1, self.next_seq, [attempt(claimed)], evidence(1))

    def complete(self, *outcomes: Row, by: Hands | None = None, epoch: int = 1, first_seq: int | None = None) -> int:
        """``complete_outbox_attempts``."""
        number = self.next_seq if first_seq is None else first_seq
        parameters = (STREAM, epoch, number, list(outcomes), evidence(len(outcomes)))
        return int((by or self.executor).call("complete_outbox_attempts", *parameters))

    def end(self, claimed: Row, state: str = "DISPATCHED") -> None:
        """Bring a claimed payment to ``state``."""
        assert self.complete(attempt(claimed, state)) == 1

    def pending(self, instruction_id: UUID | str) -> int:
        """How many outbox rows a payment has."""
        return int(self.one("SELECT count(*) FROM symphony.payment_outbox_pending WHERE outbox_id = %s", instruction_id))

    def usage(self, participant: str = KAFUE) -> tuple[int, int]:
        """Value and count, all days and currencies together."""
        query = "SELECT coalesce(sum(value_minor), 0)::bigint, coalesce(sum(payment_count), 0)::bigint FROM symphony.usage_daily"
        value, payments = self.admin.do(query + " WHERE participant_id = %s", participant)[0]
        return value, payments

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            connection.close()


WRITTEN = (
    "ingress_attestations", "seen_jti", "payment_instructions", "payloads", "participant_outbox_sequences", "usage_daily",
    "payment_outbox_pending", "outbox_leases", "payment_outbox_attempts", "payment_terminals", "parked", "resolutions",
    "evidence_events", "evidence_batches", "evidence_shipments", "revocations", "accepted_releases",
)  # fmt: skip

_LOGINS = {SHIPPER: "shipper", READER: "reader", "owner": "owner", "admin": "admin"}


def claim_parameters(
    *, epoch: int = 1, worker: str = WORKER, limit: int = 100, each: int = 100, value: int = 10**15, lease_ms: int = 60_000
) -> list[Any]:
    """The parameters of ``claim_outbox_batch``."""
    return [STREAM, epoch, worker, limit, each, value, lease_ms]


def refusal(call: Any, *parameters: Any, **named: Any) -> psycopg.Error:
    """The database's error that a call ends in."""
    with pytest.raises(psycopg.Error) as caught:
        call(*parameters, **named)
    return caught.value


def says(error: psycopg.Error) -> tuple[str | None, str | None]:
    """SQLSTATE, and the constraint where one fired."""
    return error.sqlstate, error.diag.constraint_name


def trigger(error: psycopg.Error) -> tuple[str | None, str]:
    """SQLSTATE, and the trigger function where one fired, by what it says of itself."""
    function = (error.diag.context or "").split("(")[0]
    return error.sqlstate, function.removeprefix("PL/pgSQL function ").removeprefix("symphony.")
