"""Stations 1 to 3 and the handing over, for one request: attest, normalise, decide, hand to the writer.

Nothing here writes. What the acceptor decides with is a ``View``: a release verified here, with revocations and usage from
the writer, each with an age bound past which it refuses (design section 3, Processes).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import orjson

from contracts.calendar import business_context
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import CannotEvaluate, SymphonyError
from contracts.release import staleness
from contracts.times import Clock, parse_rfc3339, rfc3339
from contracts.wire import Client, ConnectionLost
from rails.sdk import AdapterClient, Currency, NormaliseAnswer, RailContext, References, Refusal
from sidecar.active import ActiveRelease
from sidecar.attestation import Presented, Rejected, RejectLimiter, Verified
from sidecar.batching import MicroBatcher
from sidecar.intake.handover import (
    BATCH_BYTES_MAX,
    QUEUE_BYTES_MAX,
    Answer,
    HandedItem,
    HandedMessage,
    Handover,
    HandoverAnswer,
    bytes_of,
)
from sidecar.policy.answers import Decision
from sidecar.policy.engine import decide
from sidecar.policy.obligations import refusal

DECIDED_AT_ONCE_MAX = 32
"""A batch so small takes less than a millisecond and is decided on the loop: a thread would cost more than that."""
HANDOVER_BATCH_MAX = 200
HANDOVER_TIMEOUT_S = 12.0
_NO_USAGE = (0, 0)


@dataclass(slots=True)
class View:
    """What the acceptor knows: the active release here, usage by (participant, currency), and when the writer said so."""

    active: ActiveRelease
    as_of: datetime
    usage: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    usage_day: str = ""
    stopped: tuple[str, str] | None = None
    broken: tuple[str, ...] = ()
    orders: tuple[int, ...] = ()
    standing: dict[str, int] = field(default_factory=dict)
    """Steps reached of ``lease`` and ``role``, and ``caps_percent``, as the writer says."""

    def demand_open(self) -> None:
        """Raise while the service takes nothing new: its own invariants say so (``SERVICE_HALTED``), or cannot be asked."""
        if self.stopped is not None:
            raise CannotEvaluate(*self.stopped)

    def demand_fresh(self, now: datetime) -> None:
        """Raise unless release, lease and the writer's word are young enough; what is too old now may be renewed soon."""
        emergency, standing = self.active.release.emergency, staleness.standing(self.active.release, now)
        if emergency is not None and now >= emergency.ends_at:
            raise CannotEvaluate("RELEASE_CHANGED", f"emergency {emergency.number} has ended")
        if standing.stopped:
            raise CannotEvaluate("RELEASE_STALE", standing.why)
        if now - self.as_of > timedelta(seconds=self.active.settings["ages_max_s"]["usage"]):
            raise CannotEvaluate("STORE_UNAVAILABLE", "the writer has not been heard for too long")


class Pipeline:
    """One acceptor's way of a request. ``view`` is set by whoever follows the writer (``sidecar.acceptor``)."""

    def __init__(self, *, writer: Path, adapter: Path, environment: str, service: str, clock: Clock) -> None:
        self.view: View | None = None
        self.writer = Client(writer)
        self.adapter = AdapterClient(adapter)
        self.limiter = RejectLimiter(600)
        self._environment = environment
        self._service = service
        self._clock = clock
        self._decider: MicroBatcher[dict[str, Any], Decision] = MicroBatcher(
            "decide", self._decide, batch_size_max=100, flush_ms_max=2, queue_max=5000
        )
        self._handing: MicroBatcher[HandedMessage, Answer] = MicroBatcher(
            "handover", self._hand_over, batch_size_max=HANDOVER_BATCH_MAX, flush_ms_max=2, queue_max=5000,
            weigh=bytes_of, batch_weight_max=BATCH_BYTES_MAX, queue_weight_max=QUEUE_BYTES_MAX,
        )  # fmt: skip

    @property
    def batchers(self) -> tuple[MicroBatcher[Any, Any], ...]:
        """For the metrics."""
        return self._decider, self._handing

    def bound(self, active: ActiveRelease) -> None:
        """Take the bounds of a release's manifest."""
        settings = active.settings
        batching = settings["batching"]
        self._decider.batch_size_max = batching["decide"]["batch_size_max"]
        self._decider.flush_ms_max = batching["decide"]["flush_ms_max"]
        self._handing.batch_size_max = batching["ingest"]["batch_size_max"]
        self._handing.flush_ms_max = batching["ingest"]["flush_ms_max"]
        self._decider.queue_max = self._handing.queue_max = settings["intake"]["queue_max"]
        self.limiter.rebound(settings["intake"]["rejects_per_source_per_minute_max"])

    async def handle(self, presented: Presented, *, source: str, received_at: datetime) -> Answer:
        """The recorded answer for a request. Raises ``SymphonyError`` where nothing was recorded."""
        view = self.view
        if view is None:
            raise CannotEvaluate("NO_ACTIVE_RELEASE")
        view.demand_fresh(received_at)
        view.demand_open()
        identity = view.active.attestor.attest(presented, revocations=view.active.revocations, now=received_at)
        message = _message(presented, view, received_at)
        if isinstance(identity, Rejected):
            return await self._reject(message, identity, source, received_at)
        await self._fill(message, presented, identity, view, received_at)
        return await self._handing.submit(message)

    async def _reject(self, message: HandedMessage, identity: Rejected, source: str, now: datetime) -> Answer:
        message.rejected_code, message.rejected_detail = identity.code, identity.detail
        if identity.participant_id is None and not self.limiter.admit(source, identity.code, now):
            return Answer(
                attestation_id=None, received_at=message.received_at, release_number=message.release_number,
                policy_checksum="", rejected_code=identity.code, rejected_detail=identity.detail,
            )  # fmt: skip
        return await self._handing.submit(message)

    async def _fill(
        self, message: HandedMessage, presented: Presented, identity: Verified, view: View, now: datetime
    ) -> None:
        """Stations 2 and 3."""
        answer = await self._normalise(presented, view, now)
        message.message_type, message.message_id = answer.message.message_type, answer.message.message_id
        if answer.group_refused is not None:
            message.group_refused_code = answer.group_refused.code
            message.group_refused_detail = answer.group_refused.detail
            return
        message.items = [_item(index, r.instruction, r.refused) for index, r in enumerate(answer.results)]
        asked = []
        for item in message.items:
            if item.instruction is None:
                continue
            if not view.active.governed.speaks_for(identity.participant_id, item.instruction["instructing_agent"]):
                item.refused_code = "AGENT_MISMATCH"
                continue
            asked.append((item, self._decision_input(item.instruction, identity, view, now)))
        decisions = await asyncio.gather(*(self._decider.submit(document) for _, document in asked))
        for (item, document), decision in zip(asked, decisions, strict=True):
            item.decision_input = fast_canonical_bytes(document)
            item.reasons = refusal(decision)
            item.allow = not item.reasons

    async def _normalise(self, presented: Presented, view: View, now: datetime) -> NormaliseAnswer:
        release = view.active.release
        request: dict[str, Any] = {
            "content_type": presented.content_type or "", "received_at": rfc3339(now), "release_number": release.number,
        }  # fmt: skip
        try:
            return await self.adapter.normalise(presented.body, **request)
        except ConnectionLost:
            raise
        except SymphonyError as error:
            if error.code != "RELEASE_CHANGED":
                raise
        await self.configure_adapter(view.active)
        return await self.adapter.normalise(presented.body, **request)

    async def configure_adapter(self, active: ActiveRelease) -> None:
        """Make the release's schemas, currencies and bounds known to the adapter."""
        release, settings = active.release, active.settings
        context = RailContext(
            exponents={
                code: Currency(exponent=entry["exponent"], money=entry["money"])
                for code, entry in release.environment_data["currencies"].items()
            },
            transactions_max=settings["intake"]["transactions_max"],
            duplicate_window_days=settings["duplicate_window_days"],
            message_types=tuple(settings["rail"]["message_types"]),
            wildcards=release.environment_data["wildcards"],
        )
        await self.adapter.configure(release.number, dict(release.schemas), context)

    def _decision_input(
        self, instruction: dict[str, Any], identity: Verified, view: View, now: datetime
    ) -> dict[str, Any]:
        release, settings = view.active.release, view.active.settings
        rail = business_context(settings, release.environment_data["calendars"], now)
        value, count = view.usage.get((identity.participant_id, instruction["currency"]), _NO_USAGE)
        return {
            "schema": "symphony.decision_input/1", "environment": self._environment, "service": self._service,
            "release_number": release.number, "decision_time": rfc3339(now), "rail": rail,
            "participant_id": identity.participant_id,
            "identity": {"client_id": identity.client_id, "pop_mode": identity.pop_mode, "db_role": identity.db_role},
            "usage": {
                "day": view.usage_day or rail["business_date"], "value_minor": value, "count": count,
                "as_of": rfc3339(view.as_of),
            },
            "instruction": instruction,
        }  # fmt: skip

    async def _decide(self, items: list[dict[str, Any]]) -> list[Decision | BaseException]:
        view = self.view
        if view is None:
            return [CannotEvaluate("NO_ACTIVE_RELEASE")] * len(items)
        number = view.active.release.number
        deadline_ms = view.active.settings["intake"]["decision_timeout_ms"]
        fresh = [item for item in items if item["release_number"] == number]
        if len(fresh) <= DECIDED_AT_ONCE_MAX:
            decided = iter(decide(view.active.engine, fresh, deadline_ms=deadline_ms))
        else:
            decided = iter(await asyncio.to_thread(decide, view.active.engine, fresh, deadline_ms=deadline_ms))
        changed = CannotEvaluate("RELEASE_CHANGED")
        return [next(decided) if item["release_number"] == number else changed for item in items]

    async def _hand_over(self, messages: list[HandedMessage]) -> list[Answer | BaseException]:
        params: dict[str, Any] = msgspec.to_builtins(Handover(messages=messages), builtin_types=(bytes,))
        try:
            raw = await self.writer.call("record", params, timeout_s=HANDOVER_TIMEOUT_S)
        except (ConnectionLost, TimeoutError) as error:
            return [CannotEvaluate("STORE_UNAVAILABLE", f"writer: {type(error).__name__}")] * len(messages)
        except SymphonyError as error:
            return [error] * len(messages)
        answers = msgspec.convert(raw, HandoverAnswer).answers
        return [answer if isinstance(answer, Answer) else CannotEvaluate(answer) for answer in answers]


def _message(presented: Presented, view: View, received_at: datetime) -> HandedMessage:
    scheme, _, token = (presented.authorization or "").partition(" ")
    return HandedMessage(
        correlation_id=presented.correlation_id, received_at=rfc3339(received_at),
        token=token.strip() if scheme.lower() == "bearer" and token else None,
        certificate_der=presented.certificate_der, idempotency_key=presented.idempotency_key, raw=presented.body,
        body_sha256=presented.body_sha256, release_number=view.active.release.number,
        emergency=view.active.release.in_force[1],
    )  # fmt: skip


def _item(index: int, instruction: dict[str, Any] | None, refused: Refusal | None) -> HandedItem:
    if refused is not None or instruction is None:
        refused = refused or Refusal(code="INPUT_INVALID", tx_index=index)
        refs = msgspec.to_builtins(refused.refs)
        return HandedItem(tx_index=index, refused_code=refused.code, refused_detail=refused.detail, refs=refs)
    refs = {name: instruction[name] for name in References.__struct_fields__}
    return HandedItem(tx_index=index, instruction=instruction, refs=refs)


def view_of(active: ActiveRelease, state: dict[str, Any]) -> View:
    """The view that the writer's state makes of a release held here."""
    usage = {(row[0], row[1]): (row[3], row[4]) for row in state["usage"]}
    day = state["usage"][0][2] if state["usage"] else ""
    stopped = state.get("stopped")
    return View(
        active, parse_rfc3339(state["as_of"]), usage, day, (stopped["code"], stopped["detail"]) if stopped else None,
        tuple(state.get("broken", ())), tuple(state.get("orders", ())), state.get("standing", {}),
    )  # fmt: skip


def dumps(value: object) -> bytes:
    """JSON for answers."""
    return orjson.dumps(value)
