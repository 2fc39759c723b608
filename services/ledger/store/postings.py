"""Posting and sealing: a batch of checked requests in, one answer each, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from contracts.permit import Claims
from services.ledger.store import Database, Row, arrays, text


@dataclass(frozen=True, slots=True)
class Effect:
    """A request whose permit holds; ``body`` is the posting document, ``admitted``: the release admits its accounts."""

    claims: Claims
    body: dict[str, Any]
    admitted: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """``POSTED | REPEATED | SEALED`` or the reason code of a refusal; the posting there is, if any."""

    outcome: str
    posting_id: UUID | None
    posted_at: datetime | None


async def post(database: Database, effects: Sequence[Effect]) -> list[Answer]:
    """Post; each instruction at most once in ``effects``."""
    bodies = [effect.body for effect in effects]
    parameters = (
        *_marks(effects),
        arrays.TextArray([body["kind"] for body in bodies]),
        arrays.TextArray([body["rail"] for body in bodies]),
        arrays.BigintArray([body["amount_minor"] for body in bodies]),
        arrays.TextArray([body["currency"] for body in bodies]),
        arrays.TextArray([body["debit_agent"] for body in bodies]),
        arrays.TextArray([body["credit_agent"] for body in bodies]),
        arrays.DateArray([_date(body["settlement_date"]) for body in bodies]),
        *_provenance(effects),
        arrays.ByteaArray([bytes.fromhex(effect.claims.attestation_leaf_hash) for effect in effects]),
        arrays.BooleanArray([effect.admitted for effect in effects]),
    )
    return _answers(await database.transaction(text("post"), parameters))


async def seal(database: Database, effects: Sequence[Effect]) -> list[Answer]:
    """Seal: after it nothing of an older (epoch, attempt) can post."""
    return _answers(await database.transaction(text("seal"), (*_marks(effects), *_provenance(effects))))


def _marks(effects: Sequence[Effect]) -> tuple[arrays.Array, ...]:
    claims = [effect.claims for effect in effects]
    return (
        arrays.UuidArray([UUID(item.instruction_id) for item in claims]),
        arrays.BigintArray([item.epoch for item in claims]),
        arrays.BigintArray([item.attempt for item in claims]),
        arrays.ByteaArray([bytes.fromhex(item.request_sha256) for item in claims]),
    )


def _provenance(effects: Sequence[Effect]) -> tuple[arrays.Array, ...]:
    claims = [effect.claims for effect in effects]
    return (
        arrays.BigintArray([item.release_number for item in claims]),
        arrays.TextArray([item.sidecar for item in claims]),
        arrays.ByteaArray([bytes.fromhex(item.key_id) for item in claims]),
    )


def _answers(rows: list[Row]) -> list[Answer]:
    return [Answer(*row) for row in rows]


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)
