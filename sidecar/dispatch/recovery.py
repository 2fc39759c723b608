"""Recovery: leases that ran out, of an older epoch, or in doubt; the rail is asked first, always (D7, OUT-10, must-never 4).

On the book rail the question is a ``seal``: under a permit of this epoch and a higher attempt it makes the ledger refuse
every older permit of the payment, and answers what is posted. "Not found" under it is final at once, and only then is
the payment pending again (ZOMBIE_REQUEUE). A payment whose rail cannot say is asked again, up to the manifest's
``attempts_max``, then parked as PENDING_MANUAL. Recovery per rail stands in the manifest (``query``); ``manual`` parks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from contracts.canonical import canonical_bytes
from contracts.errors import SymphonyError
from contracts.times import Clock
from rails.sdk import AdapterClient, RailStatus, StatusResult, SubmitItem
from sidecar.active import ActiveRelease
from sidecar.dispatch.dispatcher import Dispatcher
from sidecar.dispatch.outcomes import Retry, Written, of_query
from sidecar.dispatch.work import PermitMaker, Work
from sidecar.intake.rows import posting_body
from sidecar.store import Fenced, StoreConflict, WriterStore
from sidecar.store.store import EXECUTOR

SCAN_S = 0.5
"""How often leases are looked over; recovery begins within two lease times of a crash."""
BATCH_SIZE_MAX = 100
_LOG = logging.getLogger("symphony.recovery")


class Recovery:
    """Takes leases over and settles what they were about, with the dispatcher's outcome writer."""

    def __init__(
        self, store: WriterStore, adapter: AdapterClient, permits: PermitMaker, dispatcher: Dispatcher, *,
        active: Callable[[], ActiveRelease | None], worker: str, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._adapter = adapter
        self._permits = permits
        self._dispatcher = dispatcher
        self._active = active
        self._worker = worker
        self._clock = clock

    async def run(self) -> None:
        """Scan until cancelled; ``Fenced`` comes out of here and ends the process."""
        while True:
            active = self._active()
            found = 0
            if active is not None:
                try:
                    found = await self.once(active)
                except Fenced:
                    raise
                except (SymphonyError, StoreConflict) as error:
                    _LOG.warning("recovery: %s", error)
                except Exception:  # noqa: BLE001 - one payment's trouble must not end the recovery of the others
                    _LOG.exception("recovery")
            if found < BATCH_SIZE_MAX:
                await asyncio.sleep(SCAN_S)

    async def once(self, active: ActiveRelease) -> int:
        """One round; how many payments it took over."""
        named = sorted(self._dispatcher.in_doubt)[:BATCH_SIZE_MAX]
        async with self._store.transaction(EXECUTOR) as transaction:
            rows = await transaction.rows(
                "take_over_leases", self._store.stream, self._store.epoch, self._worker, named, BATCH_SIZE_MAX,
                active.settings["lease_ms"],
            )  # fmt: skip
        self._dispatcher.in_doubt.difference_update(named)
        if not rows:
            return 0
        work = [_recovered(row) for row in rows]
        started = self._clock.now()
        written = await self._ask(work, active)
        await self._dispatcher.complete([(w, o) for w, o in zip(work, written, strict=True) if o is not None], active, started)
        self._dispatcher.wake.set()
        return len(work)

    async def _ask(self, work: list[Work], active: ActiveRelease) -> list[Written | None]:
        if active.settings["recovery"] == "manual":
            return [Written("PENDING_MANUAL", "recovery", "OUTCOME_UNKNOWN")] * len(work)
        try:
            answers = await self._query(work, active)
        except Exception:  # noqa: BLE001 - whatever it was, the rail has said nothing; at the ceiling people decide
            _LOG.exception("the rail could not be asked")
            answers = [StatusResult(status=RailStatus.CANNOT_SAY)] * len(work)
        retry = Retry(**active.settings["retry"])
        return [of_query(said, one.attempt_no, one.recoveries, retry) for one, said in zip(work, answers, strict=True)]

    async def _query(self, work: list[Work], active: ActiveRelease) -> list[StatusResult]:
        permits = self._permits.make(work, "seal", active.release, self._clock.now(), [one.attempt_no + 1 for one in work])
        items = [
            SubmitItem(instruction_id=one.outbox_id, body=one.body, permit=permit)
            for one, permit in zip(work, permits, strict=True)
        ]
        return await self._adapter.query_status(items, timeout_ms=active.settings["rail"]["query_timeout_ms"])


def _recovered(row: tuple[Any, ...]) -> Work:
    (outbox_id, participant, sequence, _key, rail, attempt_no, recoveries, _attestation, leaf, version, token, claimed_at,
     amount, currency, kind, instructing, instructed, date) = row  # fmt: skip
    identifier = str(outbox_id)
    instruction = {
        "kind": kind, "rail": rail, "amount_minor": amount, "currency": currency, "instructing_agent": instructing,
        "instructed_agent": instructed, "settlement_date": date.isoformat() if date else None,
    }  # fmt: skip
    seal = {"schema": "symphony.posting/1", "instruction_id": identifier, "purpose": "seal"}
    return Work(
        outbox_id=identifier, participant_id=participant, sequence_id=sequence, rail=rail, body=canonical_bytes(seal),
        posting=canonical_bytes(posting_body(instruction, identifier)).decode(), attempt_no=attempt_no,
        attestation_leaf_hash=bytes(leaf), policy_version=version, lease_token=str(token), claimed_at=claimed_at,
        recoveries=recoveries,
    )  # fmt: skip
