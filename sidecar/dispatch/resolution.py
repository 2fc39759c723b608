"""Resolutions: two officers close a parked payment, after the rail was asked under a seal (D8, OUT-11, OUT-12, must-never 4).

    the rail said       DISPATCHED    FAILED
    accepted_final      yes           no
    rejected_final      no            yes
    not_found_final     no            yes         nothing older can post any more: the seal stands
    anything else       no            no          where recovery is ``manual`` the evidence reference decides: both

Rules:

* the signatures, the place and the time of the resolution hold before anything else is done (``contracts.resolution``);
* the rail is asked outside of any transaction (OUT-16); then one transaction looks at the parked row again, writes record,
  terminal and evidence, and gives the usage of what failed back;
* the same file again is answered with what is recorded; a payment that has ended is changed by nobody (D6);
* evidence carries the digest of what was signed, never the officers' free text (EVD-09).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from contracts import evidence, resolution
from contracts.canonical import canonical_bytes
from contracts.errors import CannotEvaluate, Refused
from contracts.resolution import Resolution, Signers
from contracts.times import Clock, rfc3339
from rails.sdk import AdapterClient, RailStatus, StatusResult, SubmitItem
from sidecar.active import ActiveRelease
from sidecar.dispatch.outcomes import reference_of
from sidecar.dispatch.work import PermitMaker, Work
from sidecar.failpoints import failpoint
from sidecar.store import Fenced, StoreConflict, WriterStore
from sidecar.store.store import EXECUTOR, Transaction

AT_ONCE_MAX = 4
"""Questions and resolutions under way together; people make them."""
_FINAL = {
    RailStatus.ACCEPTED_FINAL: "DISPATCHED", RailStatus.REJECTED_FINAL: "FAILED", RailStatus.NOT_FOUND_FINAL: "FAILED",
}  # fmt: skip
_LOG = logging.getLogger("symphony.resolution")


def check_agrees(decision: str, said: StatusResult, recovery: str) -> None:
    """Raise unless the rail's answer bears the decision out: the table of the module."""
    final = _FINAL.get(said.status)
    if final is None and recovery != "manual":
        code = "ADAPTER_UNAVAILABLE" if said.code == "ADAPTER_UNAVAILABLE" else "OUTCOME_UNKNOWN"
        raise CannotEvaluate(code, f"the rail says {said.status.value}: no final answer, and its rule is {recovery}")
    if final is not None and final != decision:
        raise Refused("RESOLUTION_CONTRADICTED", f"the rail says {said.status.value}, which is {final}, not {decision}")


@dataclass(frozen=True, slots=True)
class _Approved:
    """A resolution whose signatures, place and time hold, and what the rail said to it."""

    resolution: Resolution
    signers: Signers
    said: StatusResult
    active: ActiveRelease


class Resolver:
    """The writer's hand on parked payments."""

    def __init__(
        self, store: WriterStore, adapter: AdapterClient, permits: PermitMaker, *,
        active: Callable[[], ActiveRelease | None], service: str, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._adapter = adapter
        self._permits = permits
        self._active = active
        self._service = service
        self._clock = clock
        self._under_way = 0

    async def look(self, instruction_id: str) -> dict[str, Any]:
        """What stands of a payment, and what the rail says of it now when it is parked."""
        async with self._bounded():
            active, row = self._demand_active(), await self._row(_uuid(instruction_id))
            said = await self._ask(row, active) if row["parked"] else None
            return {
                **_standing(row), "recovery": active.settings["recovery"],
                "rail": None if said is None else {"status": said.status.value, "reference": reference_of(said.rail_reference)},
            }  # fmt: skip

    async def resolve(self, instruction_id: str, envelope: bytes) -> dict[str, Any]:
        """Close a parked payment; what is recorded. Raises ``SymphonyError`` when it is refused, and nothing is changed."""
        async with self._bounded():
            active = self._demand_active()
            read = resolution.read(envelope)
            signers = resolution.verified(read, active.release.officers)
            resolution.check_scope(
                read, environment=active.release.environment, service=self._service, stream=self._store.stream,
                instruction_id=_uuid(instruction_id),
            )  # fmt: skip
            row = await self._row(read.claims["instruction_id"])
            if (recorded := _recorded(row, read)) is not None:
                return recorded
            resolution.check_time(read, self._clock.now())
            _check_parked(row, read)
            said = await self._ask(row, active)
            check_agrees(read.claims["decision"], said, active.settings["recovery"])
            failpoint("resolve.answered")
            return await self._write(_Approved(read, signers, said, active))

    async def _write(self, approved: _Approved) -> dict[str, Any]:
        """One transaction. Whoever comes second finds what the first has written."""
        read = approved.resolution
        try:
            async with self._store.transaction(EXECUTOR) as transaction:
                row = await _of(transaction, read.claims["instruction_id"])
                if (recorded := _recorded(row, read)) is not None:
                    return recorded
                _check_parked(row, read)
                await transaction.numbered("resolve_parked", _json(approved), evidence=[self._evidence(approved)])
                row = await _of(transaction, read.claims["instruction_id"])
        except StoreConflict as error:
            raise Refused("RESOLUTION_STALE", "another end of the payment was written meanwhile") from error
        _LOG.info("%s is resolved: %s", read.claims["instruction_id"], read.claims["decision"])
        return {**_standing(row), "repeated": False}

    def _evidence(self, approved: _Approved) -> bytes:
        claims, release = approved.resolution.claims, approved.active.release
        return evidence.record(
            "resolution", environment=release.environment, service=self._service, stream=self._store.stream,
            seq=self._store.next_seq, recorded_at=rfc3339(self._clock.now()), outbox_id=claims["instruction_id"],
            instruction_id=claims["instruction_id"], decision=claims["decision"], reason_code=claims["reason_code"],
            parked_at=claims["parked_at"], evidence_reference=claims["evidence_reference"],
            request_sha256=approved.resolution.sha256, maker_key_id=approved.signers.maker,
            checker_key_id=approved.signers.checker, rail_status=approved.said.status.value,
            rail_reference=reference_of(approved.said.rail_reference), recovery=approved.active.settings["recovery"],
            epoch=self._store.epoch, release_number=release.number, policy_digest=release.policy_digest,
        )  # fmt: skip

    async def _row(self, instruction_id: str) -> dict[str, Any]:
        async with self._store.transaction(EXECUTOR) as transaction:
            return await _of(transaction, instruction_id)

    async def _ask(self, row: dict[str, Any], active: ActiveRelease) -> StatusResult:
        """The rail's word under a seal of this epoch: from then on nothing older can post (ADR 0008)."""
        work = _sealing(row)
        (permit,) = self._permits.make([work], "seal", active.release, self._clock.now(), [work.attempt_no + 1])
        item = SubmitItem(instruction_id=work.outbox_id, body=work.body, permit=permit)
        try:
            (said,) = await self._adapter.query_status([item], timeout_ms=active.settings["rail"]["query_timeout_ms"])
        except Exception:  # noqa: BLE001 - whatever it was, the rail has said nothing
            _LOG.exception("the rail could not be asked")
            return StatusResult(status=RailStatus.CANNOT_SAY)
        return said

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        if self._under_way >= AT_ONCE_MAX:
            raise CannotEvaluate("OVERLOADED", f"{AT_ONCE_MAX} resolutions are under way")
        self._under_way += 1
        try:
            yield
        except Fenced as error:  # the dispatcher ends this process; the newer writer takes the same file
            raise CannotEvaluate("STORE_UNAVAILABLE", "a newer writer has begun") from error
        finally:
            self._under_way -= 1

    def _demand_active(self) -> ActiveRelease:
        active = self._active()
        if active is None:
            raise CannotEvaluate("NO_ACTIVE_RELEASE", "nobody is an officer without a release in force")
        return active


async def _of(transaction: Transaction, instruction_id: str) -> dict[str, Any]:
    row = await transaction.value("parked_payment", instruction_id)
    if not isinstance(row, dict):
        raise Refused("NOT_FOUND", f"no accepted payment {instruction_id} here")
    return row


def _recorded(row: dict[str, Any], read: Resolution) -> dict[str, Any] | None:
    """The answer when this very resolution is recorded already."""
    found = row["resolution"]
    return {**_standing(row), "repeated": True} if found and found["resolution_id"] == read.resolution_id else None


def _check_parked(row: dict[str, Any], read: Resolution) -> None:
    parked, terminal = row["parked"], row["terminal"]
    if terminal is not None:
        raise Refused("RESOLUTION_STALE", f"the payment has ended: {terminal['state']}, by {terminal['source']}")
    if parked is None:
        raise Refused("RESOLUTION_STALE", "the payment is not parked")
    if any(parked[name] != read.claims[name] for name in ("parked_at", "reason_code")):
        raise Refused("RESOLUTION_STALE", f"it is parked since {parked['parked_at']} for {parked['reason_code']}")


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("instruction_id", "participant_id", "parked", "terminal", "resolution")}


def _json(approved: _Approved) -> str:
    claims = approved.resolution.claims
    return orjson.dumps({
        "resolution_id": approved.resolution.resolution_id, "outbox_id": claims["instruction_id"],
        "decision": claims["decision"], "reason": claims["reason"], "maker": approved.signers.maker,
        "checker": approved.signers.checker, "evidence_reference": claims["evidence_reference"],
    }).decode()  # fmt: skip


def _sealing(row: dict[str, Any]) -> Work:
    """What a seal of the payment needs; it has no lease, for nobody works on it."""
    identifier = str(row["instruction_id"])
    body = canonical_bytes({"schema": "symphony.posting/1", "instruction_id": identifier, "purpose": "seal"})
    return Work(
        outbox_id=identifier, participant_id=row["participant_id"], sequence_id=row["sequence_id"], rail=row["rail"], body=body,
        posting="", attempt_no=row["attempt_no"] or 0, attestation_leaf_hash=bytes.fromhex(row["attestation_leaf_hash"]),
        policy_version=row["policy_version"], lease_token="", claimed_at=datetime.min.replace(tzinfo=UTC),
    )  # fmt: skip


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise Refused("REQUEST_INVALID", "instruction_id is no UUID") from error
