"""Emergency releases as they are kept: their state, what sidecars read, whether promotions wait for a review."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from tuf.api.metadata import Metadata, Signature

from contracts.errors import NotTrusted, Refused
from contracts.release import emergency
from contracts.release.emergency import Sealed
from contracts.release.trust import Trust
from contracts.times import rfc3339
from controlplane.context import Context
from controlplane.store import queries
from controlplane.store.database import Connection

_SQL = queries("controlplane.emergency")


@dataclass(slots=True)
class Kept:
    """One emergency release with its acts, oldest first; ``row`` also says the environment and its active release."""

    row: dict[str, Any]
    acts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def number(self) -> int:
        """K."""
        return int(self.row["number"])

    def act(self, name: str) -> dict[str, Any] | None:
        """The one act of this name, SEALED, OPENED, CLOSED or REVIEWED."""
        return next((one for one in self.acts if one["act"] == name), None)

    def role_file(self, also: tuple[str, str] | None = None) -> bytes:
        """The role file with the approvals that are kept, and one more (key id, signature)."""
        role: Metadata[Any] = Metadata.from_bytes(bytes(self.row["metadata"]))
        kept = {one["actor_key_id"]: one["signature"] for one in self.acts if one["act"] == "APPROVED"}
        kept |= dict([also] if also else [])
        role.signatures = {key_id: Signature(key_id, signature) for key_id, signature in kept.items()}
        return role.to_bytes()

    def sealed(self, trust: Trust) -> Sealed:
        """By every rule of a sealed release. Raises ``NotTrusted`` where the custodians' word on it has changed."""
        return emergency.verify_sealed(trust, self.role_file(), self.row["environment"])

    def state(self, now: datetime) -> str:
        """PROPOSED, SEALED, EXPIRED, OPEN, CLOSED or OVER."""
        opened = self.act("OPENED")
        if opened is not None:
            stands = now < opened["ends_at"] and self.row["active"] == opened["stands_over"]
            return "CLOSED" if self.act("CLOSED") else "OPEN" if stands else "OVER"
        signed: Any = Metadata.from_bytes(bytes(self.row["metadata"])).signed
        if now >= signed.expires:
            return "EXPIRED"
        return "SEALED" if self.act("SEALED") else "PROPOSED"

    def envelope(self, name: str) -> dict[str, Any] | None:
        """The envelope of an act."""
        act = self.act(name)
        return None if act is None else dict(orjson.loads(bytes(act["envelope"])))

    def shown(self, now: datetime) -> dict[str, Any]:
        """For officers."""
        signed: Any = Metadata.from_bytes(bytes(self.row["metadata"])).signed
        ours = signed.unrecognized_fields["x-symphony"]
        opened, reviewed = self.act("OPENED"), self.act("REVIEWED")
        return {
            "number": self.number, "state": self.state(now), "metadata_digest": self.row["metadata_digest"],
            "proposer": self.row["actor"], "reason": self.row["reason"], "caps": ours["caps"],
            "valid_for_s": ours["valid_for_s"], "review_within_s": ours["review_within_s"],
            "sealed_at": ours["sealed_at"], "expires_at": rfc3339(signed.expires),
            "opened_at": opened and rfc3339(opened["opened_at"]), "ends_at": opened and rfc3339(opened["ends_at"]),
            "stands_over": opened and opened["stands_over"],
            "review_by": opened and rfc3339(opened["review_by"]), "reviewed": reviewed is not None,
            "acts": [
                {name: one[name] for name in ("act", "actor", "actor_key_id", "payload_sha256", "at")} for one in self.acts
            ],
        }  # fmt: skip


async def kept_of(connection: Connection, environment: str, number: int | None = None) -> list[Kept]:
    """Emergencies, newest first."""
    rows = await (await connection.execute(_SQL["all"], (environment, number, number))).fetchall()
    active = await (await connection.execute(_SQL["active"], (environment,))).fetchone()
    both = {"environment": environment, "active": active["number"] if active else None}
    found = {row["number"]: Kept({**row, **both}) for row in rows}
    for act in await (await connection.execute(_SQL["acts"], (environment, list(found)))).fetchall():
        found[act["number"]].acts.append(act)
    return list(found.values())


async def one_of(connection: Connection, environment: str, number: int) -> Kept:
    """One emergency. Raises ``Refused NOT_FOUND``."""
    found = await kept_of(connection, environment, number)
    if not found:
        raise Refused("NOT_FOUND", f"there is no emergency {number} of {environment[:32]}")
    return found[0]


async def listed(context: Context, environment: str) -> dict[str, Any]:
    """Every emergency, newest first, and whether promotions wait for a review."""
    now = context.clock.now()
    async with context.pool.transaction() as connection:
        found = await kept_of(connection, environment)
        waits = await unreviewed(connection, environment, now)
    return {"promotions_wait_for": waits, "emergencies": [one.shown(now) for one in found]}


async def shown(context: Context, environment: str, number: int) -> dict[str, Any]:
    """One with its role file and envelopes, to be checked by whoever signs next; ``pending`` are openings on their way."""
    async with context.pool.transaction() as connection:
        found = await one_of(connection, environment, number)
    pending = [orjson.loads(bytes(one["envelope"])) for one in found.acts if one["act"] == "OPENING"]
    return {
        **found.shown(context.clock.now()), "metadata": found.role_file(), "pending": pending,
        "opening": found.envelope("OPENED"), "closing": found.envelope("CLOSED"), "review": found.envelope("REVIEWED"),
    }  # fmt: skip


async def document(context: Context, environment: str, number: int) -> dict[str, Any]:
    """What sidecars read. Raises ``Refused NOT_FOUND`` while it is sealed."""
    async with context.pool.transaction() as connection:
        found = await one_of(connection, environment, number)
    opening = found.envelope("OPENED")
    if opening is None:
        raise Refused("NOT_FOUND", f"emergency {number} is not open")
    return {"opening": opening, "closing": found.envelope("CLOSED")}


async def unreviewed(connection: Connection, environment: str, now: datetime) -> list[int]:
    """The emergencies whose review is late."""
    rows = await (await connection.execute(_SQL["opened"], (environment,))).fetchall()
    return [row["number"] for row in rows if not row["reviewed"] and now >= row["review_by"]]


async def open_now(connection: Connection, environment: str, now: datetime) -> int | None:
    """The emergency that is open."""
    return next((one.number for one in await kept_of(connection, environment) if one.state(now) == "OPEN"), None)


async def demand_reviewed(context: Context, connection: Connection, environment: str) -> None:
    """Raise ``Refused EMERGENCY_UNREVIEWED`` while an emergency's review is late: promotions freeze."""
    late = await unreviewed(connection, environment, context.clock.now())
    if late:
        raise Refused("EMERGENCY_UNREVIEWED", f"emergency {', '.join(map(str, late))} of {environment}")


async def target(context: Context, environment: str, number: int, path: str) -> bytes:
    """A target for officers, sealed or not. Raises ``Refused NOT_FOUND``."""
    return await _content(context, "target", environment, number, path)


async def published_target(context: Context, environment: str, number: int, path: str) -> bytes:
    """A target of an opened one by its consistent-snapshot name (``<sha256>.<name>``)."""
    digest, _, plain = path.partition(".")
    return await _content(context, "published_target", environment, number, plain, digest)


async def _content(context: Context, name: str, *values: Any) -> bytes:
    rows = await context.pool.fetch(_SQL[name], *values)
    if not rows:
        raise Refused("NOT_FOUND", "no such target")
    return bytes(rows[0]["content"])


def state_error(kept: Kept, now: datetime, needed: str) -> NotTrusted | Refused:
    """What an act is refused with in this state."""
    return Refused("EMERGENCY_STATE", f"emergency {kept.number} is {kept.state(now)}, not {needed}")
