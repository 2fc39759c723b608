"""Reading the ledger's own books, for reconciliation: postings by time, settlement accounts with derived balances,
refusals.

A page of postings is ordered by posting id (uuid v7, so by time); ``cursor`` is the last id of the page before.
A posting may commit up to the transaction timeout after its time, so a range is complete only before
``complete_before``. Amounts are minor units; a balance is credits less debits.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from contracts.errors import CannotEvaluate, Refused
from contracts.runtime_invariants import Watch
from contracts.times import Clock, parse_rfc3339, rfc3339
from services.ledger import config
from services.ledger.releases import ReleaseWindow
from services.ledger.replies import Reply
from services.ledger.store import Database, Row, text

_FIRST = UUID(int=0)
_LAST = UUID(int=2**128 - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Query = dict[str, str]


class Books:
    """The reading side of the ledger."""

    def __init__(self, database: Database, window: ReleaseWindow, clock: Clock, watch: Watch) -> None:
        self._database = database
        self._window = window
        self._clock = clock
        self._watch = watch

    async def postings(self, query: Query) -> Reply:
        """``GET /v1/postings?from&to&cursor``; ``from`` inclusive, ``to`` exclusive, RFC 3339 with six digits."""
        _only(query, "from", "to", "cursor")
        since, until = _bound(query.get("from"), _FIRST), _bound(query.get("to"), _LAST)
        after = _cursor(query.get("cursor"))
        rows = await self._database.transaction(text("read_postings"), (since, after, until, config.PAGE_SIZE))
        unsettled = timedelta(milliseconds=config.TRANSACTION_TIMEOUT_MS, seconds=config.CLIENT_MARGIN_S)
        return _reply({
            "postings": [_posting(row) for row in rows],
            "next": str(rows[-1][0]) if len(rows) == config.PAGE_SIZE else None,
            "complete_before": rfc3339(self._clock.now() - unsettled),
        })

    async def accounts(self, query: Query) -> Reply:
        """``GET /v1/accounts?cursor``."""
        _only(query, "cursor")
        cursor = _number(query, "cursor", 0)
        rows = await self._database.transaction(text("read_accounts"), (cursor, config.PAGE_SIZE))
        return _reply({
            "accounts": [_account(row) for row in rows],
            "next": str(rows[-1][0]) if len(rows) == config.PAGE_SIZE else None,
        })

    async def refusals(self, query: Query) -> Reply:
        """``GET /v1/refusals?after&limit``: what POST /v1/postings refused, oldest first; ``after`` exclusive."""
        _only(query, "after", "limit")
        limit = min(_number(query, "limit", config.PAGE_SIZE), config.PAGE_SIZE)
        if limit < 1:
            raise Refused("REQUEST_INVALID", "limit: at least 1")
        rows = await self._database.transaction(text("read_refusals"), (_number(query, "after", 0), limit))
        return _reply({
            "refusals": [_refusal(row) for row in rows],
            "next": rows[-1][0] if len(rows) == limit else None,
        })

    async def live(self, query: Query) -> Reply:
        """``GET /health/live``: the process answers."""
        _only(query)
        return _reply({"status": "live"})

    async def ready(self, query: Query) -> Reply:
        """``GET /health/ready``: a valid release is active and the database answers, and no invariant halts the ledger."""
        _only(query)
        self._watch.demand_open()
        terms = self._window.active
        if terms is None:
            raise CannotEvaluate("NO_ACTIVE_RELEASE", "no valid release is active")
        await self._database.transaction(text("highest_release"), ())
        broken = self._watch.broken
        warnings: dict[str, Any] = {"warnings": [one.id for one in broken]} if broken else {}
        standing = self._window.standing
        if standing.why:
            warnings["stale"] = standing.why
        return _reply({"status": "ready", "release_number": terms.number, "policy_digest": terms.policy_digest,
                       "release_live_until": rfc3339(terms.live_until)} | warnings)  # fmt: skip


def _posting(row: Row) -> dict[str, Any]:
    (posting_id, instruction_id, amount, currency, debit, credit, settlement, rail, release, sidecar, leaf, at) = row
    return {
        "posting_id": str(posting_id), "instruction_id": str(instruction_id), "amount_minor": amount,
        "currency": currency, "debit_agent": debit, "credit_agent": credit,
        "settlement_date": settlement.isoformat() if settlement is not None else None, "rail": rail,
        "release_number": release, "sidecar": sidecar, "attestation_leaf_hash": leaf.hex(), "posted_at": rfc3339(at),
    }  # fmt: skip


def _account(row: Row) -> dict[str, Any]:
    account_id, agent, currency, balance, debits, credits_minor, lines, opened_at = row
    return {
        "account_id": account_id, "agent": agent, "currency": currency, "balance_minor": int(balance),
        "debits_minor": int(debits), "credits_minor": int(credits_minor), "lines": lines,
        "opened_at": rfc3339(opened_at),
    }  # fmt: skip


def _refusal(row: Row) -> dict[str, Any]:
    refusal_id, at, code, peer, body, instruction_id, purpose, count = row
    return {
        "refusal_id": refusal_id, "refused_at": rfc3339(at), "reason_code": code,
        "peer_sha256": None if peer is None else peer.hex(), "body_sha256": None if body is None else body.hex(),
        "instruction_id": None if instruction_id is None else str(instruction_id), "purpose": purpose, "count": count,
    }  # fmt: skip


def _number(query: Query, name: str, absent: int) -> int:
    value = query.get(name, str(absent))
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise Refused("REQUEST_INVALID", f"{name}: not one of ours")
    return int(value)


def _reply(document: dict[str, Any]) -> Reply:
    return Reply(200, orjson.dumps(document))


def _only(query: Query, *names: str) -> None:
    unknown = sorted(set(query) - set(names))
    if unknown:
        raise Refused("REQUEST_INVALID", f"unknown parameter {unknown[0][:40]!r}")


def _bound(value: str | None, absent: UUID) -> UUID:
    """The least posting id at or after a moment: posted_at has milliseconds, the first 48 bits of the id."""
    if value is None:
        return absent
    try:
        since = parse_rfc3339(value) - _EPOCH
    except ValueError as error:
        raise Refused("REQUEST_INVALID", f"from and to: {error}") from error
    milliseconds = -(-since // timedelta(milliseconds=1))
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def _cursor(value: str | None) -> UUID:
    try:
        return _FIRST if value is None else UUID(value)
    except ValueError as error:
        raise Refused("REQUEST_INVALID", "cursor: not one of ours") from error
