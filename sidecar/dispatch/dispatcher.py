"""Claim, decide again where the release moved on, record DISPATCHING, send under a permit, record the outcome.

Rules:

* OUT-06, OUT-07: one transaction claims, leases and writes the DISPATCHING attempts; it is committed before a byte
  leaves, and no lock is held over the network (OUT-16);
* a payment that was decided under an older release is decided again before its permit (``again``);
* BAT-05: what is in flight, of all and of each participant, is bounded by the manifest; the claim takes only what there
  is room for, and nobody's backlog stands in another's way;
* OUT-11: what is in doubt is written by nobody but recovery; the lease stays and recovery is told at once;
* PIL-04, PIL-05: what was claimed when a halt came (of the service, or of a participant by order) is not sent either: it was
  surely not sent, and waits; of a halted participant nothing is claimed;
* BAT-02: a batch older than the manifest's ``age_ms_max`` since its claim is not sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson

from contracts.errors import SymphonyError
from contracts.permit import TREE_SIZE_MAX
from contracts.times import Clock, rfc3339
from rails.sdk import AdapterClient, Outcome, SubmitItem, SubmitResult
from sidecar.active import ActiveRelease
from sidecar.dispatch.again import decided_again
from sidecar.dispatch.outcomes import Retry, Written, of_submit
from sidecar.dispatch.work import PermitMaker, Work, attempt_rows
from sidecar.failpoints import failpoint
from sidecar.intake.rows import Frame
from sidecar.store import Fenced, LeaseLost, StoreConflict, WriterStore
from sidecar.store.store import EXECUTOR, Transaction

POLL_S = 0.25
"""How often due payments are looked for without a wake-up (OUT-14: 250 to 1000 ms)."""
UNAVAILABLE_PAUSE_S = 0.5
_LOG = logging.getLogger("symphony.dispatch")


class Dispatcher:
    """Stations 5 to 7 of one writer. ``in_doubt`` collects what recovery must ask about."""

    def __init__(
        self, store: WriterStore, adapter: AdapterClient, permits: PermitMaker, *,
        active: Callable[[], ActiveRelease | None], service: str, worker: str, clock: Clock,
        wake: asyncio.Event | None = None, held: Callable[[], Collection[str]] = frozenset,
    ) -> None:  # fmt: skip
        self._held = held
        self.in_doubt: set[str] = set()
        self.in_flight = 0
        self._of_participant: Counter[str] = Counter()
        self.wake = wake or asyncio.Event()
        self._store = store
        self._adapter = adapter
        self._permits = permits
        self._active = active
        self._service = service
        self._worker = worker
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Lock()
        self._stopping = False

    async def run(self) -> None:
        """Work until ``stop``; ``Fenced`` comes out of here and ends the process."""
        while not self._stopping:
            self.wake.clear()  # before looking: what comes meanwhile is looked for again
            active = self._active()
            room = 0 if active is None else _bound(active) - self.in_flight
            claimed = await self._claim_some(active, room) if active is not None and room > 0 else 0
            if not claimed:
                await self._sleep()

    async def stop(self, timeout_s: float) -> None:
        """Claim nothing more, and let what is in flight end within the bound; the rest is recovery's."""
        self._stopping = True
        self.wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async with self._claiming:
                    pass  # a claim that was under way is a task by now
                while self._tasks:
                    await asyncio.wait(self._tasks)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self.wake.wait()
        except TimeoutError:
            return

    async def _claim_some(self, active: ActiveRelease, room: int) -> int:
        try:
            async with self._claiming:
                claimed, to_send = await self._claim(active, room)
                if to_send:
                    failpoint("dispatch.claimed")
                    self._start(to_send, active)
                return claimed
        except Fenced:
            raise
        except (SymphonyError, StoreConflict, LeaseLost) as error:
            _LOG.warning("claim: %s", error)
        except Exception:  # noqa: BLE001 - rolled back whole; tried again after the pause
            _LOG.exception("claim")
        await self._pause()
        return 0

    def _start(self, work: list[Work], active: ActiveRelease) -> None:
        self.in_flight += len(work)
        self._of_participant.update(one.participant_id for one in work)
        task = asyncio.create_task(self._dispatch(work, active))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self) -> None:
        if not self._stopping:
            await asyncio.sleep(UNAVAILABLE_PAUSE_S)

    async def _claim(self, active: ActiveRelease, room: int) -> tuple[int, list[Work]]:
        settings = active.settings
        limit = min(room, settings["batching"]["dispatch"]["batch_size_max"], TREE_SIZE_MAX)
        participant_max = settings["in_flight"]["participant_max"]
        taken = {**self._of_participant, **dict.fromkeys(self._held(), participant_max)}  # who is halted has no room
        async with self._store.transaction(EXECUTOR) as transaction:
            rows = await transaction.rows(
                "claim_outbox_batch", self._store.stream, self._store.epoch, self._worker, limit,
                participant_max, settings["batch_money"]["value_minor_max"], settings["lease_ms"], orjson.dumps(taken).decode(),
            )  # fmt: skip
            work = [_work(row) for row in rows]
            held = await self._decide_again(transaction, work, active)
            to_send = [one for one in work if one.outbox_id not in held]
            await self._write_dispatching(transaction, to_send, active)
            if held:
                await self.write_outcomes(
                    transaction, [(one, held[one.outbox_id]) for one in work if one.outbox_id in held], active
                )
        return len(work), to_send

    async def _write_dispatching(self, transaction: Transaction, work: list[Work], active: ActiveRelease) -> None:
        if not work:
            return
        made = attempt_rows(
            [(one, Written("DISPATCHING")) for one in work], first_seq=self._store.next_seq, now=self._clock.now(),
            frame=self._frame(active), epoch=self._store.epoch, worker=self._worker,
        )  # fmt: skip
        await transaction.numbered("record_dispatching", orjson.dumps(made.rows).decode(), evidence=made.evidence)

    async def _decide_again(self, transaction: Transaction, work: list[Work], active: ActiveRelease) -> dict[str, Written]:
        """What is written, by payment, of those that may not be sent now; only what an older release decided
        is asked, and everything where an emergency release stands over this one, or has stood (ADR 0013)."""
        release = active.release
        old = [one for one in work if release.decide_again or one.policy_version != release.number]
        if not old:
            return {}
        inputs = {str(key): value for key, value in await transaction.rows("decision_input", [one.outbox_id for one in old])}
        return decided_again(old, inputs, active, rfc3339(self._clock.now()))

    async def _dispatch(self, work: list[Work], active: ActiveRelease) -> None:
        started = self._clock.now()
        try:
            results = await self._send(work, active)
            failpoint("dispatch.answered")
            retry = Retry(**active.settings["retry"])
            written = [(one, of_submit(result, one.attempt_no, retry)) for one, result in zip(work, results, strict=True)]
            self.in_doubt.update(one.outbox_id for one, outcome in written if outcome is None)
            await self.complete([(one, outcome) for one, outcome in written if outcome is not None], active, started)
        except Exception:  # noqa: BLE001 - whatever it was, the payments are in doubt and recovery asks
            _LOG.exception("a batch failed on its way; recovery will ask the rail")
            self.in_doubt.update(one.outbox_id for one in work)
        finally:
            self.in_flight -= len(work)
            self._of_participant -= Counter(one.participant_id for one in work)  # who has nothing under way drops out
            self.wake.set()

    async def _send(self, work: list[Work], active: ActiveRelease) -> list[SubmitResult]:
        held = set(self._held())  # nothing stands between this look and that of what is sent
        sent = iter(await self._send_open([one for one in work if one.participant_id not in held], active))
        halted = SubmitResult(outcome=Outcome.SURELY_NOT_SENT, code="ORDER_HALTED", detail="not sent")
        return [halted if one.participant_id in held else next(sent) for one in work]

    async def _send_open(self, work: list[Work], active: ActiveRelease) -> list[SubmitResult]:
        if not work:
            return []
        if self._active() is None:  # halted, or the lease ran out, since the claim; nothing stands between this look and the call
            return [SubmitResult(outcome=Outcome.SURELY_NOT_SENT, code="SERVICE_HALTED", detail="not sent")] * len(work)
        now = self._clock.now()
        too_old = now - timedelta(milliseconds=active.settings["batch_money"]["age_ms_max"])
        if min(one.claimed_at for one in work) < too_old:
            return [SubmitResult(outcome=Outcome.SURELY_NOT_SENT, code="RAIL_UNREACHABLE", detail="batch too old")] * len(work)
        permits = self._permits.make(work, "post", active.release, now, [one.attempt_no for one in work])
        items = [
            SubmitItem(instruction_id=one.outbox_id, body=one.body, permit=permit)
            for one, permit in zip(work, permits, strict=True)
        ]
        call = asyncio.create_task(self._adapter.submit(items, timeout_ms=active.settings["rail"]["submit_timeout_ms"]))
        await asyncio.sleep(0)
        failpoint("dispatch.sent")
        return await call

    async def complete(self, items: list[tuple[Work, Written]], active: ActiveRelease, started_at: datetime | None = None) -> None:
        """Write outcomes in one transaction; where a lease is lost or a terminal stands, one by one (BAT-04)."""
        if not items:
            return
        try:
            async with self._store.transaction(EXECUTOR) as transaction:
                await self.write_outcomes(transaction, items, active, started_at)
        except (LeaseLost, StoreConflict) as error:
            if len(items) == 1:
                _LOG.warning("the outcome of %s is not ours to write: %s", items[0][0].outbox_id, error)
                return
            for item in items:
                await self.complete([item], active, started_at)
        except SymphonyError as error:
            _LOG.warning("outcomes: %s", error)
            self.in_doubt.update(work.outbox_id for work, _ in items)

    async def write_outcomes(
        self, transaction: Transaction, items: list[tuple[Work, Written]], active: ActiveRelease, started_at: datetime | None = None
    ) -> None:
        """Outcome rows with their evidence, in an open transaction."""
        made = attempt_rows(
            items, first_seq=self._store.next_seq + self._store.pending_numbers, now=self._clock.now(),
            frame=self._frame(active), epoch=self._store.epoch, worker=self._worker,
            started_at=started_at,
        )  # fmt: skip
        await transaction.numbered("complete_outbox_attempts", orjson.dumps(made.rows).decode(), evidence=made.evidence)

    def _frame(self, active: ActiveRelease) -> Frame:
        return Frame(
            active.release.environment, self._service, self._store.stream, active.settings["rail"]["name"],
            active.release.number, active.release.policy_digest,
        )  # fmt: skip


def _bound(active: ActiveRelease) -> int:
    """One worker on one rail: the least of the manifest's in-flight caps (BAT-05)."""
    caps = active.settings["in_flight"]
    return int(min(caps["worker_max"], caps["rail_max"], caps["global_max"]))


def _work(row: tuple[Any, ...]) -> Work:
    (outbox_id, participant, sequence, _key, rail, payload, attempt_no, _attestation, leaf, version, token, at, _waited) = row
    return Work(
        outbox_id=str(outbox_id), participant_id=participant, sequence_id=sequence, rail=rail, body=payload.encode(),
        posting=payload, attempt_no=attempt_no, attestation_leaf_hash=bytes(leaf), policy_version=version,
        lease_token=str(token), claimed_at=at,
    )  # fmt: skip
