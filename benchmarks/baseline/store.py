"""A payment's rows: one transaction a request, its statements in one round trip."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import HTTPException
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool
from uuid_utils import uuid7

from benchmarks.baseline.checks import Caller
from contracts.named_sql import queries

POOL = 16


@dataclass(frozen=True)
class Request:
    """Everything that is known when a payment is to be recorded."""

    caller: Caller
    instruction: dict[str, Any]
    decision_input: bytes
    raw: bytes
    body_sha256: str
    idempotency_key: str
    correlation_id: str
    received_at: str
    day: str
    policy_digest: str
    cap: dict[str, int]


class Store:
    """Pooled connections. With ``ledger_url`` the posting goes into another database, in a commit of its own."""

    def __init__(self, url: str, ledger_url: str | None) -> None:
        self._sql = queries("benchmarks.baseline")
        self._pool = self._pooled(url)
        self._ledger = self._pooled(ledger_url) if ledger_url else None

    @staticmethod
    def _pooled(url: str) -> AsyncConnectionPool[AsyncConnection[Any]]:
        return AsyncConnectionPool(url, min_size=POOL, max_size=POOL, open=False, kwargs={"prepare_threshold": 0})

    async def open(self) -> None:
        """Open the pools."""
        await asyncio.gather(*(pool.open(wait=True) for pool in (self._pool, self._ledger) if pool))

    async def close(self) -> None:
        """Close the pools."""
        await asyncio.gather(*(pool.close() for pool in (self._pool, self._ledger) if pool))

    async def record(self, request: Request) -> dict[str, Any]:
        """Record and post. Raises 409 for what is known already, 422 over a cap."""
        try:
            async with self._pool.connection() as connection:
                return await self._write(connection, request)
        except errors.UniqueViolation as error:
            raise HTTPException(409, error.diag.constraint_name) from error

    async def _write(self, connection: AsyncConnection[Any], request: Request) -> dict[str, Any]:
        ids = {name: str(uuid7()) for name in ("attestation_id", "instruction_id", "posting_id")}
        if self._ledger is None:
            async with connection.pipeline():
                usage = await self._accept(connection, request, ids)
                await self._post(connection, request, ids)
                await self._outcome(connection, ids)
                _check_cap(await usage.fetchone(), request.cap)
            return ids
        async with connection.pipeline():
            usage = await self._accept(connection, request, ids)
            _check_cap(await usage.fetchone(), request.cap)
            async with self._ledger.connection() as ledger, ledger.pipeline():
                await self._post(ledger, request, ids)
            await self._outcome(connection, ids)
        return ids

    async def _accept(self, connection: AsyncConnection[Any], request: Request, ids: dict[str, str]) -> Any:
        caller, one, sql = request.caller, request.instruction, self._sql
        participant = caller.participant["id"]
        record, leaf = _evidence("attestation", request, ids)
        await connection.execute(sql["spend_token"], (caller.jti_hash, caller.expires_at))
        usage = await connection.execute(
            sql["take_usage"], (participant, one["currency"], request.day, one["amount_minor"])
        )
        await connection.execute(sql["attestation"], (
            ids["attestation_id"], request.received_at, participant, caller.client_id, request.correlation_id,
            caller.jti_hash, caller.token_hash, caller.certificate_sha256, request.body_sha256, request.idempotency_key,
            request.policy_digest, record, leaf,
        ))  # fmt: skip
        await connection.execute(sql["instruction"], (
            ids["instruction_id"], ids["attestation_id"], participant, request.idempotency_key, one["business_key"],
            one["message_type"], one["message_id"], one["amount_minor"], one["currency"], one["instructing_agent"],
            one["instructed_agent"], one["settlement_date"], request.raw, request.decision_input,
        ))  # fmt: skip
        body = {"amount_minor": one["amount_minor"], "currency": one["currency"], "debit": one["instructing_agent"]}
        await connection.execute(sql["enqueue"], (ids["instruction_id"], participant, orjson.dumps(body).decode()))
        await self._attempt(connection, ids, "DISPATCHING")
        return usage

    async def _post(self, connection: AsyncConnection[Any], request: Request, ids: dict[str, str]) -> None:
        one, posting = request.instruction, ids["posting_id"]
        values = (posting, ids["instruction_id"], one["amount_minor"], one["currency"], one["settlement_date"])
        await connection.execute(self._sql["posting"], values)
        await connection.execute(self._sql["lines"], (
            posting, one["instructing_agent"], one["currency"], -one["amount_minor"], posting, one["instructed_agent"],
            one["currency"], one["amount_minor"],
        ))  # fmt: skip

    async def _outcome(self, connection: AsyncConnection[Any], ids: dict[str, str]) -> None:
        await self._attempt(connection, ids, "DISPATCHED")
        await connection.execute(self._sql["dequeue"], (ids["instruction_id"],))
        await connection.execute(self._sql["terminal"], (ids["instruction_id"], ids["posting_id"]))

    async def _attempt(self, connection: AsyncConnection[Any], ids: dict[str, str], state: str) -> None:
        record, leaf = _hashed({"schema": "attempt", "state": state, **ids})
        await connection.execute(self._sql["attempt"], (str(uuid7()), ids["instruction_id"], state, record, leaf))


def _check_cap(usage: tuple[int, int] | None, cap: dict[str, int]) -> None:
    assert usage is not None
    if usage[0] > cap["daily_minor_max"] or usage[1] > cap["daily_count_max"]:
        raise HTTPException(422, "cap")


def _evidence(kind: str, request: Request, ids: dict[str, str]) -> tuple[bytes, bytes]:
    caller, one = request.caller, request.instruction
    return _hashed({
        "schema": kind, **ids, "participant_id": caller.participant["id"], "received_at": request.received_at,
        "token_jti_hash": caller.jti_hash, "certificate_sha256": caller.certificate_sha256,
        "request_body_sha256": request.body_sha256, "policy_digest": request.policy_digest, "decision": "ACCEPT",
        "correlation_id": request.correlation_id, "amount_minor": one["amount_minor"], "currency": one["currency"],
        "instructing_agent": one["instructing_agent"], "instructed_agent": one["instructed_agent"],
    })  # fmt: skip


def _hashed(fields: dict[str, Any]) -> tuple[bytes, bytes]:
    record = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return record, hashlib.sha256(b"\0" + record).digest()
