"""``python -m sidecar writer --config FILE``: stations 4 to 7 of one shard, and the only one that gives out its numbers.

It begins an epoch, which fences every older writer, takes up the held release, then serves the acceptor on its Unix
socket: ``record`` (a micro-batch), ``state`` (release, revocations, usage, backlog), ``status`` (one instruction).
Officers' tools come there, too, and nowhere else: ``parked`` (what the rail says of a parked payment), ``resolve``, and ``load``
(a release or orders from a folder, held to the same rules as what the control plane serves).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson
from uuid_utils import uuid7

from contracts import wire
from contracts.errors import CannotEvaluate, Refused, SymphonyError
from contracts.keys import load_private_key
from contracts.release import VerifiedRelease
from contracts.release.model import Emergency
from contracts.release.staleness import Standing
from contracts.runtime_invariants import Finding, Watch
from contracts.software import itself
from contracts.times import Clock, SystemClock, rfc3339
from rails.sdk import AdapterClient
from sidecar import failpoints, invariants
from sidecar.active import ActiveRelease
from sidecar.batching import MicroBatcher
from sidecar.config import WriterConfig
from sidecar.dispatch.dispatcher import Dispatcher
from sidecar.dispatch.recovery import Recovery
from sidecar.dispatch.resolution import Resolver
from sidecar.dispatch.work import PermitMaker
from sidecar.events import Events, of_emergency, refused_emergency
from sidecar.following import Following
from sidecar.intake.handover import (
    BATCH_BYTES_MAX,
    QUEUE_BYTES_MAX,
    Answer,
    HandedMessage,
    Handover,
    HandoverAnswer,
    RejectsReport,
    bytes_of,
)
from sidecar.intake.recorder import Recorder
from sidecar.loading import load
from sidecar.orders import Asked, Orders
from sidecar.starting import fields_of, schema_version
from sidecar.store import Fenced, WriterStore
from sidecar.store.breaker import Spool
from sidecar.store.store import EXECUTOR, INGEST

INGEST_BATCH_MAX = 200
INGEST_FLUSH_MS_MAX = 5
QUEUE_MAX = 5000
DRAIN_S = 5.0
STATE_FRESH_S = 0.5
UPKEEP_EVERY_S = 10
PURGE_LIMIT = 10_000
_LOG = logging.getLogger("symphony.writer")

Message = TypeVar("Message", Handover, RejectsReport)


@dataclass(slots=True)
class _Gauge:
    """What the acceptor asks for often and the database need not be asked for each time."""

    usage: list[list[Any]]
    backlog: int
    at: float


class Writer:
    """One writer process."""

    def __init__(self, config: WriterConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._worker = f"{config.instance}:{uuid7()}"
        self._store = WriterStore(config.database_url, stream=config.stream)
        self._adapter = AdapterClient(Path(config.adapter_socket))
        self._following = Following(
            config, clock, on_active=self._activated, on_refused=self._refused, on_revocations=self._revoked,
            halted=lambda: bool(self._watch.halted) or self._orders.here().halted is not None, on_aged=self._aged,
            on_emergency_refused=self._emergency_refused,
        )  # fmt: skip
        self._emergency: Emergency | None = None
        self._watch = Watch(
            lambda: invariants.of_writer(config, clock, self._following.active()),
            interval_s=config.runtime_check_interval_s, told=self._halting,
        )  # fmt: skip
        self._gauge = _Gauge([], 0, 0.0)
        self._stopped = asyncio.Event()
        self._wake = asyncio.Event()
        self._events = Events(self._store, environment=config.environment, service=config.service, clock=clock)
        self._event = self._events.write
        self._orders = Orders(
            self._store, self._events, Asked(self._following.custodians, self._following.last),
            environment=config.environment, service=config.service, clock=clock, changed=self._wake.set,
        )  # fmt: skip
        self._spool = Spool(Path(config.release.folder).with_name("shed.spool"))
        recorder = Recorder(
            self._store, active=self._following.active, service=config.service, clock=clock, wake=self._wake.set,
            spool=self._spool, orders=self._orders.here,
        )
        self._batcher: MicroBatcher[HandedMessage, Answer] = MicroBatcher(
            "ingest", recorder.record, batch_size_max=INGEST_BATCH_MAX, flush_ms_max=INGEST_FLUSH_MS_MAX, queue_max=QUEUE_MAX,
            weigh=bytes_of, batch_weight_max=BATCH_BYTES_MAX, queue_weight_max=QUEUE_BYTES_MAX,
        )  # fmt: skip

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ``Fenced`` when a newer writer has begun."""
        await self._watch.at_start()  # before it fences anybody
        numbers = await self._store.begin_epoch()
        await self._orders.start(Path(self._config.release.root))
        refused = await self._following.start()
        await self._watch.once()  # what the held release adds (I-KEY-02, INV-015), before anything is served
        software, schema = await asyncio.to_thread(itself), await schema_version(self._store)
        await self._event("startup", fields_of(numbers.epoch, software, schema, self._following.last(), refused))
        permits = PermitMaker(load_private_key(Path(self._config.permit_key)), self._config.instance, numbers.epoch)
        self._dispatcher = Dispatcher(
            self._store, self._adapter, permits, active=self._open, service=self._config.service,
            worker=self._worker, clock=self._clock, wake=self._wake, held=lambda: self._orders.here().halted_participants,
        )  # fmt: skip
        recovery = Recovery(
            self._store, self._adapter, permits, self._dispatcher, active=self._following.active, worker=self._worker,
            clock=self._clock,
        )  # fmt: skip
        self._resolver = Resolver(
            self._store, self._adapter, permits, active=self._following.active, service=self._config.service, clock=self._clock
        )
        server = await wire.serve(Path(self._config.socket), self._handle)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        _LOG.info("epoch %d, next number %d", numbers.epoch, numbers.next_seq)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work)
                    for work in (
                        self._following.run(), self._dispatcher.run(), recovery.run(), self._upkeep(), self._watch.run(),
                        self._orders.run(self._config.release),
                    )
                ]  # fmt: skip
                await self._stopped.wait()
                server.close()
                await self._batcher.close(DRAIN_S)
                await self._dispatcher.stop(DRAIN_S)
                for task in tasks:
                    task.cancel()
        finally:
            server.close()
            await self._adapter.close()
            await self._store.close()

    async def _handle(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "record":
                return await self._record(_read(params, Handover))
            case "state":
                return await self._state(int(params.get("revocations_version", 0)))
            case "status":
                return {"instruction": await self._status(str(params["instruction_id"]), str(params["participant_id"]))}
            case "rejects":
                report = _read(params.get("aggregate"), RejectsReport)
                await self._event("rejects", msgspec.structs.asdict(report))
                return {}
            case "parked":
                return await self._resolver.look(str(params.get("instruction_id")))
            case "resolve":
                return await self._resolver.resolve(str(params.get("instruction_id")), _bytes(params.get("envelope")))
            case "load":
                return await load(Path(str(params.get("folder"))), self._following, self._orders, self._events)
        raise Refused("REQUEST_INVALID", f"the writer has no method {method[:32]!r}")

    async def _record(self, handover: Handover) -> dict[str, Any]:
        self._watch.demand_open()
        await self._refuse_over_backlog()
        answers = await asyncio.gather(*map(self._batcher.submit, handover.messages), return_exceptions=True)
        out: list[Answer | str] = [answer if isinstance(answer, Answer) else _code(answer) for answer in answers]
        built: dict[str, Any] = msgspec.to_builtins(HandoverAnswer(answers=out))
        return built

    def _open(self) -> ActiveRelease | None:
        """The release under which something new may be sent: none while halted, by an invariant or by order. What is sent
        already is completed, and recovery goes on asking the rail: an outcome is never given up (OUT-11)."""
        halted = self._watch.stopped() is not None or self._orders.here().halted is not None
        return None if halted else self._following.active()

    async def _halting(self, halted: tuple[Finding, ...]) -> None:
        """Halting and going on again are evidence (PIL-05)."""
        if halted:
            await self._event("service_halted", {"reason_code": "SERVICE_HALTED", "invariants": [one.id for one in halted]})
        else:
            await self._event("service_resumed", {})

    async def _refuse_over_backlog(self) -> None:
        active = self._following.active()
        if active is not None and (await self._measured(active)).backlog > active.settings["evidence"]["backlog_max"]:
            raise CannotEvaluate("EVIDENCE_BACKLOG")

    async def _state(self, revocations_version: int) -> dict[str, Any]:
        """What the acceptor decides with, and how old it is."""
        active = self._following.active()
        if active is None:
            return {"release": None}
        release, gauge, stopped = active.release, await self._measured(active), self._watch.stopped()
        return {
            "release": {"number": release.number, "metadata_digest": release.metadata_digest},
            "emergency": release.in_force[1],
            "fetched_at": rfc3339(release.fetched_at),
            "lease_expires_at": rfc3339(release.lease_expires_at),
            "release_expires_at": rfc3339(release.expires_at),
            "revocations_version": release.revocations_version,
            "revocations": release.revocations if revocations_version != release.revocations_version else None,
            "usage": gauge.usage,
            "backlog": gauge.backlog,
            "as_of": rfc3339(self._clock.now()),
            "stopped": {"code": stopped.code, "detail": stopped.detail} if stopped is not None else None,
            "broken": [one.id for one in self._watch.broken],
            "orders": list(self._orders.here().numbers),
            "standing": {name: getattr(active.standing, name) for name in ("lease", "role", "caps_percent")},
        }

    async def _measured(self, active: ActiveRelease) -> _Gauge:
        if time.monotonic() - self._gauge.at > STATE_FRESH_S:
            async with self._store.transaction(EXECUTOR) as transaction:
                backlog = await transaction.value("evidence_backlog", self._store.stream)
            async with self._store.transaction(INGEST) as transaction:
                usage = await transaction.rows("usage_today", active.settings["timezone"])
            self._gauge = _Gauge([list(row) for row in usage], int(backlog or 0), time.monotonic())
        return self._gauge

    async def _status(self, instruction_id: str, participant_id: str) -> dict[str, Any] | None:
        async with self._store.transaction(INGEST) as transaction:
            found = await transaction.value("instruction_status", instruction_id, participant_id)
        return found if isinstance(found, dict) else None

    async def _activated(self, active: ActiveRelease) -> None:
        """Before a release is in force here: its bounds are taken, its activation is evidence; its revocations are durable."""
        release, settings = active.release, active.settings
        self._store.acquire_timeout_ms = settings["database"]["acquire_timeout_ms"]
        self._store.transaction_timeout_ms = settings["database"]["transaction_timeout_ms"]
        self._batcher.batch_size_max = settings["batching"]["ingest"]["batch_size_max"]
        self._batcher.flush_ms_max = settings["batching"]["ingest"]["flush_ms_max"]
        self._batcher.queue_max = settings["intake"]["queue_max"]
        before, now = self._emergency, release.emergency
        if before is not None and before != now:
            await self._event("emergency", of_emergency(release.environment, "ENDED", before))
            self._emergency = None
        if now is not None:
            await self._event("emergency", of_emergency(release.environment, "IN_FORCE", now))
            self._emergency = now
        else:
            fields = {"number": release.number, "metadata_digest": release.metadata_digest, "policy_digest": release.policy_digest}
            await self._event("release_activated", fields)

    async def _revoked(self, release: VerifiedRelease) -> None:
        async with self._store.transaction(EXECUTOR) as transaction:
            await transaction.value(
                "add_revocations", release.revocations_version, orjson.dumps(release.revocations).decode()
            )

    async def _aged(self, release: VerifiedRelease, found: Standing) -> None:
        """Each step of a release that grows old, and that it is fresh again, is evidence."""
        await self._event("release_aged", {
            "number": release.number, "metadata_digest": release.metadata_digest, "lease_step": found.lease,
            "role_step": found.role, "caps_percent": found.caps_percent, "stopped": found.stopped,
            "lease_expires_at": rfc3339(release.lease_expires_at), "release_expires_at": rfc3339(release.expires_at),
            "reason_code": "RELEASE_EXPIRED" if found.stopped else None,
        })  # fmt: skip

    async def _refused(self, number: int, code: str) -> None:
        await self._event("release_refused", {"number": number, "reason_code": code})

    async def _emergency_refused(self, number: int, code: str) -> None:
        await self._event("emergency", refused_emergency(self._config.environment, number, code))

    async def _ship_spool(self) -> None:
        """What was refused while the breaker was open becomes evidence once the store is back (D2)."""
        self._spool.flush(self._clock.now())
        aggregate = None if self._store.breaker.is_open else self._spool.read()
        if aggregate is not None:
            await self._event("shed", aggregate)
            self._spool.clear()

    async def _upkeep(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_EVERY_S)
            try:
                await self._ship_spool()
                async with self._store.transaction(EXECUTOR) as transaction:
                    await transaction.value("purge_seen_jti", PURGE_LIMIT)
            except Fenced:
                raise
            except (SymphonyError, OSError) as error:
                _LOG.warning("upkeep: %s", error)
            except Exception:  # noqa: BLE001 - tried again at the next round
                _LOG.exception("upkeep")


def _read(params: Any, kind: type[Message]) -> Message:
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise Refused("REQUEST_INVALID", str(error)) from error


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Refused("REQUEST_INVALID", "envelope is no bytes")
    return value


def _code(error: BaseException) -> str:
    if isinstance(error, SymphonyError):
        return error.code
    if isinstance(error, Fenced):
        return "STORE_UNAVAILABLE"  # the dispatcher ends this process; the newer writer takes the retry
    _LOG.error("a message failed", exc_info=error)
    return "INTERNAL"


async def run(config: WriterConfig) -> None:
    """Arm the failpoints, if any, and run a writer."""
    failpoints.arm(Path(config.failpoints) if config.failpoints else None, environment=config.environment)
    await Writer(config, SystemClock()).run()
