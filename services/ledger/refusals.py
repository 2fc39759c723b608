"""The durable record of what POST /v1/postings refused to a peer with a certificate.

Rules:

* up to ``REFUSALS_SINGLY_PER_S`` a second are a row each, written before the answer, within ``REFUSAL_WRITE_S``;
* above that they are counted, and so is what could not be evaluated (OVERLOADED, STORE_UNAVAILABLE, ...): one row a
  reason code and second, so that neither a flood nor an outage fills the disk or slows the answers;
* a row that could not be written is counted instead and comes with a later second: at least once, never lost but by a
  kill of the process, which loses the counts of about a second;
* whatever happens here, the call is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.errors import CannotEvaluate, SymphonyError
from services.ledger.config import REFUSAL_WRITE_S, REFUSALS_SINGLY_PER_S
from services.ledger.store import Database, text

COUNTED_EVERY_S = 1.0
NO_REFUSAL = "OUTCOME_UNKNOWN"
"""The one error after which a posting may exist: it is not a refusal."""
_LOG = logging.getLogger("symphony.ledger.refusals")
_Row = tuple[str, bytes | None, bytes | None, UUID | None, str | None, int]


@dataclass(slots=True)
class Seen:
    """What is known of a request by the time that it is refused."""

    body: bytes | None = None
    document: dict[str, Any] | None = None


class Refusals:
    """Records refusals in the running loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._second = -1
        self._singly = 0
        self._counted: Counter[str] = Counter()

    async def record(self, error: SymphonyError, peer_sha256: str, seen: Seen) -> None:
        """Record one refusal, singly or counted. Never raises for what the store does."""
        if error.code == NO_REFUSAL:
            return
        if isinstance(error, CannotEvaluate) or not self._may_stand_alone():
            self._counted[error.code] += 1
            return
        document = seen.document or {}
        instruction = document.get("instruction_id")
        row = (
            error.code, bytes.fromhex(peer_sha256), None if seen.body is None else hashlib.sha256(seen.body).digest(),
            None if instruction is None else UUID(instruction), document.get("purpose"), 1,
        )  # fmt: skip
        if not await self._written([row]):
            self._counted[error.code] += 1

    async def run(self) -> None:
        """Write what was counted, once a second, until cancelled."""
        while True:
            await asyncio.sleep(COUNTED_EVERY_S)
            await self.write_counted()

    async def write_counted(self) -> None:
        """One row for each reason code that was counted since the last time."""
        counted, self._counted = self._counted, Counter()
        written = not counted
        try:
            written = written or await self._written([(code, None, None, None, None, n) for code, n in counted.items()])
        finally:  # also when it is cancelled, as the end of the process does: the last write has them
            if not written:
                self._counted += counted

    def _may_stand_alone(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._singly = second, 0
        self._singly += 1
        return self._singly <= REFUSALS_SINGLY_PER_S

    async def _written(self, rows: Sequence[_Row]) -> bool:
        try:
            async with asyncio.timeout(REFUSAL_WRITE_S):
                columns = [list(column) for column in zip(*rows, strict=True)]
                await self._database.transaction(text("record_refusals"), columns)
        except (SymphonyError, TimeoutError) as error:
            _LOG.error("%d refusals are not recorded yet: %s", len(rows), str(error) or "no answer in time")
            return False
        except Exception:  # noqa: BLE001 - logged; the call is refused all the same
            _LOG.exception("%d refusals are not recorded yet", len(rows))
            return False
        return True
