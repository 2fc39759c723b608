"""What was active for an environment at a time, and by whose word: from append-only events alone (POL-02, POL-03, D5).

Rules:

* release N is active from its ACTIVE event to the next ACTIVE event of the environment, half-open: at that very moment it is
  the next one. The intervals leave no gap; the status column, which moves, is not asked;
* times are the database's, at which the events were written; ``at`` in its future is refused, because a promotion could
  still come before it. The repository's lock is taken first, so no promotion that is on its way can be older than the answer;
* approvals are those that stood at the activation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.canonical import sha256_hex
from contracts.errors import Refused
from contracts.release.trust import ENVIRONMENTS
from contracts.times import rfc3339
from controlplane.context import Context
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services

_SQL = queries("controlplane.releases")


async def as_of(context: Context, environment: str, at: datetime) -> dict[str, Any]:
    """The release active at ``at``, ``release`` being ``None`` before the first. Raises ``REQUEST_INVALID``, ``NOT_FOUND``."""
    if environment not in ENVIRONMENTS:
        raise Refused("NOT_FOUND", f"there is no environment {environment[:32]}")
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        now = await (await connection.execute(_SQL["database_time"])).fetchone()
        assert now is not None
        if at > now["now"]:
            raise Refused("REQUEST_INVALID", f"at: {rfc3339(at)} is in the future; here it is {rfc3339(now['now'])}")
        activations = await (await connection.execute(_SQL["activations"], (environment,))).fetchall()
        found = [position for position, row in enumerate(activations) if row["at"] <= at]
        release = await _release(connection, environment, activations, found[-1]) if found else None
    first = rfc3339(activations[0]["at"]) if activations else None
    return {"environment": environment, "at": rfc3339(at), "first_activated_at": first, "release": release}


async def _release(
    connection: Connection, environment: str, activations: list[dict[str, Any]], position: int
) -> dict[str, Any]:
    active = activations[position]
    after = activations[position + 1] if position + 1 < len(activations) else None
    subject = (environment, active["number"])
    kept = await (await connection.execute(_SQL["kept"], subject)).fetchone()
    assert kept is not None
    events = await (await connection.execute(_SQL["signed_events"], subject)).fetchall()
    before = [event for event in events if event["event_id"] < active["event_id"]]
    withdrawn = next((event for event in events if event["event"] == "WITHDRAWN"), None)
    return {
        "number": active["number"],
        **kept,
        "proposed": next(_said(event) for event in before if event["event"] == "PROPOSED"),
        "approvals": [_said(event) for event in before if event["event"] == "APPROVAL"],
        "activated": _said(active),
        "superseded": None if after is None else {**_said(after), "by": after["number"]},
        "withdrawn": None if withdrawn is None else _said(withdrawn),
    }


def _said(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": rfc3339(event["at"]),
        "actor": event["actor"],
        "key_id": event["actor_key_id"],
        "envelope_sha256": None if event["envelope"] is None else sha256_hex(bytes(event["envelope"])),
    }
