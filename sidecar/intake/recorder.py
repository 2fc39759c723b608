"""The writer's station 4: check, judge, record, one commit per micro-batch (REC-01, REC-03, REC-07).

An answer leaves only after the commit. A batch that a unique key refuses is recorded again one message at a time, so
one bad item never fails the others (BAT-04). A transfer that an officer's order halts is refused before anything is recorded,
so that its key may be used again once the order is lifted (PIL-04).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson

from contracts.errors import CannotEvaluate, Refused, SymphonyError
from contracts.orders import NO_ORDERS, Here
from contracts.times import Clock, rfc3339
from sidecar.active import ActiveRelease
from sidecar.attestation import Rejected, Verified
from sidecar.attestation.requests import valid_idempotency_key
from sidecar.failpoints import failpoint
from sidecar.intake import rows
from sidecar.intake.handover import Answer, Entry, HandedMessage
from sidecar.intake.soundness import fault_of, hold_items
from sidecar.intake.verdict import Checked, Judged, Known, judge, split
from sidecar.store import BreakerOpen, StoreConflict, StoreUnavailable, WriterStore
from sidecar.store.breaker import Spool
from sidecar.store.store import INGEST

_LOG = logging.getLogger("symphony.recorder")


class Recorder:
    """Records handed messages under the active release."""

    def __init__(
        self, store: WriterStore, *, active: Callable[[], ActiveRelease | None], service: str, clock: Clock,
        wake: Callable[[], None], spool: Spool | None = None, orders: Callable[[], Here] = lambda: NO_ORDERS,
    ) -> None:  # fmt: skip
        self._spool = spool
        self._orders = orders
        self._store = store
        self._active = active
        self._service = service
        self._clock = clock
        self._wake = wake

    async def record(self, messages: list[HandedMessage]) -> list[Answer | BaseException]:
        """One answer per message, after its commit; a ``SymphonyError`` where nothing was recorded."""
        active = self._active()
        if active is None:
            return [CannotEvaluate("NO_ACTIVE_RELEASE")] * len(messages)
        now = self._clock.now()
        found = [self._check(message, active, now) for message in messages]
        checked = {n: one for n, one in enumerate(found) if isinstance(one, Checked)}
        answers: dict[int, Answer | BaseException] = {n: one for n, one in enumerate(found) if isinstance(one, SymphonyError)}
        while waiting := [n for n in checked if n not in answers]:
            first, _ = split([checked[n] for n in waiting])
            together = [waiting[index] for index in first]
            answers.update(zip(together, await self._record([checked[n] for n in together], active), strict=True))
            down = next((answer for answer in answers.values() if isinstance(answer, StoreUnavailable)), None)
            if down is not None:  # nobody waits for a further one of our timeouts
                answers.update({n: down for n in waiting if n not in answers})
        return [answers[n] for n in range(len(messages))]

    def _check(self, message: HandedMessage, active: ActiveRelease, now: datetime) -> Checked | SymphonyError:
        """The writer's own finding about message and caller; the acceptor's word is taken for nothing but a refusal."""
        if (message.release_number, message.emergency) != active.release.in_force:
            return CannotEvaluate("RELEASE_CHANGED")
        fault = fault_of(message, now)
        if fault is not None:
            _LOG.error("an acceptor handed over what it should not: %s", fault)
            return Refused("REQUEST_INVALID", fault)
        identity = self._identity(message, active, now)
        if identity.participant_id is not None:
            hold_items(message, identity.participant_id, active.release.number)
            kinds = (item.instruction["kind"] for item in message.items if item.instruction is not None)
            halted = self._orders().stops(identity.participant_id, kinds)
            if halted is not None:
                return CannotEvaluate("ORDER_HALTED", halted)
        return Checked(message, identity)

    def _identity(self, message: HandedMessage, active: ActiveRelease, now: datetime) -> Verified | Rejected:
        if message.token is None or message.certificate_der is None:
            code = message.rejected_code or ("TOKEN_MISSING" if message.token is None else "CERTIFICATE_MISSING")
            return Rejected(code=code, detail=message.rejected_detail, body_sha256=message.body_sha256)
        key = valid_idempotency_key(message.idempotency_key)
        identity = active.attestor.recheck(
            message.token, message.certificate_der, revocations=active.revocations, now=now,
            body_sha256=message.body_sha256, idempotency_key=key or "",
        )  # fmt: skip
        if key is None and isinstance(identity, Verified):  # ATT-07: after proof of possession a refusal spends the token
            code = message.rejected_code or "IDEMPOTENCY_KEY_INVALID"
            return Rejected(**{**asdict(identity), "code": code, "detail": message.rejected_detail, "idempotency_key": None})
        return identity

    async def _record(self, batch: list[Checked], active: ActiveRelease) -> list[Answer | BaseException]:
        try:
            return list(await self._commit(batch, active))
        except StoreConflict as error:
            if len(batch) == 1:
                return [CannotEvaluate("STORE_UNAVAILABLE", str(error))]
        except BreakerOpen as error:
            self._shed(error.code, len(batch))
            return [error] * len(batch)
        except SymphonyError as error:
            return [error] * len(batch)
        singly: list[Answer | BaseException] = []
        for one in batch:
            singly += await self._record([one], active)
            if isinstance(singly[-1], StoreUnavailable):
                return singly + [singly[-1]] * (len(batch) - len(singly))
        return singly

    def _shed(self, code: str, count: int) -> None:
        if self._spool is None:
            return
        try:
            self._spool.add(code, count, self._clock.now())
        except OSError as error:  # a full disk must not change what the caller is told
            _LOG.error("the spool: %s", error)

    async def _commit(self, batch: list[Checked], active: ActiveRelease) -> list[Answer]:
        frame = rows.Frame(
            active.release.environment, self._service, self._store.stream, active.settings["rail"]["name"],
            active.release.number, active.release.policy_digest,
        )  # fmt: skip
        async with self._store.transaction(INGEST) as transaction:
            known_json = await transaction.value(
                "judge_batch", self._store.stream, self._store.epoch, active.settings["timezone"], *_questions(batch)
            )
            judged = judge(batch, Known.of(known_json), active.governed.under(self._orders(), active.standing))
            made = rows.build(
                judged, first_seq=self._store.next_seq, recorded_at=rfc3339(self._clock.now()), frame=frame
            )
            await transaction.value(
                "record_batch", self._store.stream, self._store.epoch, self._store.next_seq, known_json["day"],
                orjson.dumps(made.attestations).decode(), made.evidence, orjson.dumps(made.instructions).decode(),
                made.raw, made.inputs, made.salts,
            )  # fmt: skip
            self._store.taken(len(made.evidence))
            failpoint("record.before_commit")
        if any(row["decision"] == "ALLOW" for row in made.instructions):
            self._wake()
        mine: dict[int, list[dict[str, Any]]] = {}
        for row in made.instructions:
            mine.setdefault(row["message"], []).append(row)
        return [_answer(one, made.attestations[n], mine.get(n, []), frame) for n, one in enumerate(judged)]


def _questions(batch: list[Checked]) -> tuple[str, str]:
    messages, instructions = [], []
    for n, checked in enumerate(batch):
        identity = checked.identity
        messages.append({
            "n": n, "jti_hash": identity.jti_hash, "jti_day": identity.token_day.isoformat() if identity.token_day else None,
            "certificate": identity.certificate_sha256, "token_key": identity.jwt_kid,
            "participant": identity.participant_id, "key": identity.idempotency_key,
        })  # fmt: skip
        if identity.participant_id is None:
            continue
        for i, item in enumerate(checked.message.items):
            if item.instruction is not None:
                instructions.append({
                    "n": n, "i": i, "business_key": item.instruction["business_key"],
                    "participant": identity.participant_id, "currency": item.instruction["currency"],
                })  # fmt: skip
    return orjson.dumps(messages).decode(), orjson.dumps(instructions).decode()


def _answer(
    judged: Judged, attestation: dict[str, Any], mine: list[dict[str, Any]], frame: rows.Frame
) -> Answer:
    message = judged.checked.message
    answer = Answer(
        attestation_id=attestation["attestation_id"], received_at=message.received_at, release_number=frame.release_number,
        policy_checksum=frame.policy_checksum, rejected_code=judged.reject_code, rejected_detail=judged.reject_detail,
        message_type=message.message_type, message_id=message.message_id,
    )  # fmt: skip
    if judged.reject_code is None and judged.existing:
        first = judged.existing[0]
        answer.repeated = True
        answer.attestation_id, answer.received_at = first["attestation_id"], first["received_at"]
        answer.release_number, answer.policy_checksum = first["policy_version"], first["policy_checksum"]
        answer.message_type, answer.message_id = first["message_type"], first["message_id"]
        answer.entries = [_entry(row, orjson.loads(row["refs"])) for row in judged.existing]
    else:
        answer.entries = [_entry(row, item.item.refs) for row, item in zip(mine, judged.items, strict=True)]
    return answer


def _entry(row: dict[str, Any], refs: dict[str, str | None]) -> Entry:
    return Entry(
        instruction_id=row["instruction_id"], tx_index=row["tx_index"], decision=row["decision"],
        reason_code=row["reason_code"], detail=row["detail"] or "", refs=refs,
    )  # fmt: skip
