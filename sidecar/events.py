"""Evidence records that ride on no payment row: starts, releases, halts, orders (EVD-01)."""

from __future__ import annotations

from typing import Any

import orjson
from uuid_utils import uuid7

from contracts import evidence
from contracts.times import Clock, rfc3339
from sidecar.store import WriterStore
from sidecar.store.store import EXECUTOR, Transaction


class Events:
    """What one writer's stream says besides payments."""

    def __init__(self, store: WriterStore, *, environment: str, service: str, clock: Clock) -> None:
        self._store = store
        self._environment = environment
        self._service = service
        self._clock = clock

    async def write(self, kind: str, fields: dict[str, Any]) -> None:
        """One record in a transaction of its own."""
        async with self._store.transaction(EXECUTOR) as transaction:
            await self.add(transaction, kind, fields)

    async def add(self, transaction: Transaction, kind: str, fields: dict[str, Any]) -> None:
        """One record in an open transaction of the executor's."""
        body = evidence.record(
            kind, environment=self._environment, service=self._service, stream=self._store.stream,
            seq=self._store.next_seq + self._store.pending_numbers, recorded_at=rfc3339(self._clock.now()), **fields,
        )  # fmt: skip
        row = {
            "n": 0, "event_id": str(uuid7()), "event_type": kind.upper(), "source": "sidecar",
            "canonical_fields": orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode(),
        }  # fmt: skip
        await transaction.numbered("record_events", orjson.dumps([row]).decode(), evidence=[body])
