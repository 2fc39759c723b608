"""Evidence records that ride on no payment row: starts, releases, halts, orders (EVD-01)."""

from __future__ import annotations

from typing import Any

import orjson
from uuid_utils import uuid7

from contracts import evidence
from contracts.release.model import Emergency
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


def of_emergency(environment: str, event: str, found: Emergency) -> dict[str, Any]:
    """The fields of an emergency that is in force here, or has ended (``symphony.evidence/emergency/1``)."""
    return {
        "event": event, "role": f"{environment}-emergency", "number": found.number, "metadata_digest": found.metadata_digest,
        "key_ids": [], "envelope_sha256": found.opening_sha256, "ends_at": rfc3339(found.ends_at), "reason_code": None,
    }  # fmt: skip


def refused_emergency(environment: str, number: int, code: str) -> dict[str, Any]:
    """The same of one that was refused here."""
    return {
        "event": "REFUSED", "role": f"{environment}-emergency", "number": number, "metadata_digest": None, "key_ids": [],
        "envelope_sha256": None, "reason_code": code,
    }  # fmt: skip
