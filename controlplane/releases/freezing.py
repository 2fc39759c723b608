"""Freezes of promotion: asked for by one officer, lifted by others; or by the active release's calendar (design section 4).

Tightening is quick, loosening is slow:

* one officer freezes, at once or from a time on, with or without an end; while it holds, ``promote`` is ``RELEASE_FROZEN``;
* a freeze ends at its own end, or when officers to the number of the role's threshold have signed to lift exactly it; who
  asked for it does not count, as a proposer does not for his release (``FREEZE_OWN``);
* a window of the active release's ``freezes`` (``contracts.freeze_windows``) holds likewise, and nobody lifts it;
* freezes and promotions happen one at a time, under the repository's lock: a promotion is before a freeze, or refused;
* a renewal that comes with a change of the custodians' word passes, when it has the active release's own bytes: one officer
  cannot keep his stolen key in force by a freeze;
* proposals, approvals, withdrawals and revocations go on. Not here: a way around a freeze.

The same envelope again is the same freeze; a signature again, or for a freeze that is over, changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.canonical import parse_json
from contracts.errors import Refused
from contracts.freeze_windows import Window, window_at
from contracts.release.limits import TARGET_BYTES_MAX
from contracts.release.model import Role
from contracts.release.rules import approvers_among
from contracts.release.trust import ENVIRONMENTS, Trust
from contracts.times import parse_rfc3339, rfc3339
from controlplane.context import Context
from controlplane.emergency.reading import demand_reviewed
from controlplane.evidence.own import log_event
from controlplane.identity import Principal
from controlplane.releases.asking import Word, word_of
from controlplane.releases.refusing import keeps_refusals
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services

FREEZES_AHEAD_MAX = 100
"""Freezes of one environment that are neither over nor lifted."""
OF_ONE_PROPOSAL = ("release.json", "gate.json")
"""What even a renewal has anew."""
_SQL = queries("controlplane.releases")


async def demand_unfrozen(context: Context, connection: Connection, environment: str) -> None:
    """Raise ``Refused RELEASE_FROZEN`` while promotions are frozen, ``EMERGENCY_UNREVIEWED`` while an emergency's review is late.
    The caller holds the repository's lock."""
    await demand_reviewed(context, connection, environment)
    now = context.clock.now()
    for row in await _rows(connection, "freezes_ahead", environment, now):
        if row["starts_at"] <= now:
            until = f"until {rfc3339(row['ends_at'])}" if row["ends_at"] else "until it is lifted"
            raise Refused("RELEASE_FROZEN", f"freeze {row['number']} by {row['actor']}, {until}: {row['reason']}")
    window = await _window(connection, environment, now)
    if window is not None:
        detail = f"the window {window.name} of the active release's calendar, until {rfc3339(window.ends_at)}"
        raise Refused("RELEASE_FROZEN", detail)


async def demand_unfrozen_or_renewal(context: Context, connection: Connection, role: Role) -> None:
    """The same, unless the release has the bytes of the active one (the proposal's and the gate's own files left out)."""
    active = await _rows(connection, "active_targets", role.environment)
    signed = {path: target.sha256 for path, target in role.targets.items() if path not in OF_ONE_PROPOSAL}
    if signed != {row["path"]: row["sha256"] for row in active if row["path"] not in OF_ONE_PROPOSAL}:
        await demand_unfrozen(context, connection, role.environment)


async def freeze(context: Context, principal: Principal, environment: str, envelope: Any) -> dict[str, Any]:
    """Freeze promotions; the freeze. Raises ``REQUEST_INVALID``, ``OFFICER_UNKNOWN``, ``ENVELOPE_INVALID``."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await trust_services.trust_for(connection, environment)
        word = word_of(trust, principal, environment, envelope, "freeze")
        known = await _rows(connection, "freeze_by_envelope", environment, word.sha256)
        number = known[0]["number"] if known else await _new(context, connection, principal, environment, word)
        return await _one(connection, environment, number, context.clock.now())


async def _new(context: Context, connection: Connection, principal: Principal, environment: str, word: Word) -> int:
    now = context.clock.now()
    starts_at, ends_at = _times(word, now)
    if len(await _rows(connection, "freezes_ahead", environment, now)) >= FREEZES_AHEAD_MAX:
        raise Refused("REQUEST_INVALID", f"{FREEZES_AHEAD_MAX} freezes are in force or ahead already")
    actor, key_id = principal.name, str(principal.key_id)
    values = (environment, starts_at, ends_at, word.demand_reason(), actor, key_id, word.envelope)
    number = int((await _rows(connection, "freeze", *values))[0]["number"])
    await log_event(
        context, connection, "FREEZE", environment=environment, number=number, action="freeze", actor_key_id=key_id,
        envelope_sha256=word.sha256,
    )  # fmt: skip
    return number


def _times(word: Word, now: datetime) -> tuple[datetime, datetime | None]:
    """From and until, as they were signed; from now on, without an end, where they were not."""
    try:
        starts_at, ends_at = (
            None if word.fields.get(name) is None else parse_rfc3339(word.fields[name]) for name in ("from", "until")
        )
    except (TypeError, ValueError) as error:
        raise Refused("REQUEST_INVALID", "from, until: RFC 3339 with six digits and Z") from error
    if ends_at is not None and ends_at <= max(now, starts_at or now):
        raise Refused("REQUEST_INVALID", "until: a freeze ends after it starts, and in the future")
    return starts_at or now, ends_at


@keeps_refusals("unfreeze")
async def unfreeze(
    context: Context, principal: Principal, environment: str, number: int, envelope: Any
) -> dict[str, Any]:
    """Sign to lift a freeze; the freeze after it. Raises ``FREEZE_OWN``, ``NOT_FOUND``, ``ENVELOPE_INVALID``, …"""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await trust_services.trust_for(connection, environment)
        word = word_of(trust, principal, environment, envelope, "unfreeze")
        frozen = await _one(connection, environment, number, context.clock.now())
        word.demand_about(number=number, freeze_sha256=frozen["envelope_sha256"])
        if trust.officers[str(principal.key_id)] == trust.officers.get(frozen["actor_key_id"]):
            raise Refused("FREEZE_OWN", f"{principal.name} asked for freeze {number}")
        signed = [signature["actor_key_id"] for signature in frozen["signatures"]]
        if frozen["state"] in ("IN_FORCE", "AHEAD") and principal.key_id not in signed:
            lifts = _reached(trust, [*signed, str(principal.key_id)], frozen["actor_key_id"])
            await _sign(context, connection, principal, environment, number, word, lifts)
        return await _one(connection, environment, number, context.clock.now())


def _reached(trust: Trust, key_ids: list[str], asked_by: str) -> bool:
    return len(approvers_among(trust, key_ids, asked_by)) >= trust.approvals_min


async def _sign(
    context: Context, connection: Connection, principal: Principal, environment: str, number: int, word: Word, lifts: bool
) -> None:
    key_id = str(principal.key_id)
    values = (environment, number, key_id, principal.name, word.demand_reason(), word.envelope, lifts)
    await _rows(connection, "unfreeze", *values)
    for event in ("UNFREEZE", "LIFTED")[: 1 + lifts]:
        await log_event(
            context, connection, event, environment=environment, number=number, action="unfreeze", actor_key_id=key_id,
            envelope_sha256=word.sha256,
        )  # fmt: skip


async def listed(context: Context, environment: str) -> dict[str, Any]:
    """Every freeze, newest first; whether promotions are frozen now, and the calendar's window."""
    if environment not in ENVIRONMENTS:
        raise Refused("NOT_FOUND", f"there is no environment {environment[:32]}")
    now = context.clock.now()
    async with context.pool.transaction() as connection:
        freezes = await _shown(connection, environment, now)
        window = await _window(connection, environment, now)
    in_force = any(one["state"] == "IN_FORCE" for one in freezes)
    named = {"name": window.name, "ends_at": rfc3339(window.ends_at)} if window else None
    return {"environment": environment, "frozen": in_force or window is not None, "window": named, "freezes": freezes}


async def _one(connection: Connection, environment: str, number: int, now: datetime) -> dict[str, Any]:
    found = await _shown(connection, environment, now, number)
    if not found:
        raise Refused("NOT_FOUND", f"there is no freeze {number} of {environment[:32]}")
    return found[0]


async def _shown(
    connection: Connection, environment: str, now: datetime, number: int | None = None
) -> list[dict[str, Any]]:
    """The newest freezes, or the one of a number."""
    freezes = await _rows(connection, "freezes", environment, number, number)
    signatures = await _rows(connection, "unfreezes", environment, [row["number"] for row in freezes])
    return [
        {
            **row, "state": _state(row, now),
            "signatures": [
                {k: v for k, v in one.items() if k != "number"} for one in signatures if one["number"] == row["number"]
            ],
        }
        for row in freezes
    ]  # fmt: skip


def _state(row: dict[str, Any], now: datetime) -> str:
    if row["lifted_at"] is not None:
        return "LIFTED"
    if row["ends_at"] is not None and row["ends_at"] <= now:
        return "OVER"
    return "IN_FORCE" if row["starts_at"] <= now else "AHEAD"


async def _window(connection: Connection, environment: str, now: datetime) -> Window | None:
    """The window of the active release that holds now."""
    rows = await _rows(connection, "active_environment_data", environment)
    if not rows:
        return None
    return window_at(parse_json(bytes(rows[0]["content"]), bytes_max=TARGET_BYTES_MAX), now)


async def _rows(connection: Connection, name: str, *values: Any) -> list[dict[str, Any]]:
    return await (await connection.execute(_SQL[name], values)).fetchall()
