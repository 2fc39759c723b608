"""Keeping what stock OPA servers report. A service speaks for itself only: its name is its certificate's.

Bounds per service: ``CHANGES_PER_HOUR_MAX`` changes of status, ``DECISIONS_PER_MINUTE_MAX`` decisions; over it the answer is
``OVERLOADED`` and the OPA sends again later (its own buffer is bounded by its configuration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import Any

import psycopg

from contracts.bundle_archive import MANIFEST, unpack
from contracts.canonical import parse_json
from contracts.errors import Refused
from controlplane.context import Context
from controlplane.identity import Principal
from controlplane.opa.reading import Decision, Status
from controlplane.releases import services as releases
from controlplane.store import queries

CHANGES_PER_HOUR_MAX = 600
DECISIONS_PER_MINUTE_MAX = 6_000
"""100 a second, each of which may be a micro-batch of many payments; the answer to more is "later"."""
DECISIONS_PAGE_MAX = 1000
_SQL = queries("controlplane.opa")


async def report(context: Context, principal: Principal, status: Status) -> None:
    """Keep a status. Raises ``Refused OVERLOADED``."""
    values = (
        principal.name, status.instance, context.environment, status.version, status.active_revision, status.activated_at,
        status.bundle_code, status.bundle_message, status.decision_log_code, CHANGES_PER_HOUR_MAX,
    )  # fmt: skip
    await _fetched(context, "report", values)


async def record(context: Context, principal: Principal, decisions: Sequence[Decision]) -> int:
    """Keep decisions; how many of them are new. Raises ``Refused OVERLOADED``."""
    columns = [list(column) for column in zip(*(astuple(one) for one in decisions), strict=True)]
    values = (principal.name, context.environment, DECISIONS_PER_MINUTE_MAX, *columns)
    return int((await _fetched(context, "record", values))[0]["new"])


async def statuses(context: Context) -> dict[str, Any]:
    """Every server's last word, beside the revision of the active release's bundle."""
    found = await releases.active_bundle(context, context.environment)
    desired = _revision(*found) if found else None
    return {"desired_revision": desired, "servers": await context.pool.fetch(_SQL["status"])}


async def decisions(context: Context, service: str, limit: int) -> list[dict[str, Any]]:
    """A service's decisions, newest upload first."""
    return await context.pool.fetch(_SQL["decisions"], service, min(limit, DECISIONS_PAGE_MAX))


@lru_cache(maxsize=4)
def _revision(_digest: str, bundle: bytes) -> str:
    return str(parse_json(unpack(bundle)[MANIFEST])["revision"])


async def _fetched(context: Context, name: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    try:
        return await context.pool.fetch(_SQL[name], *values)
    except psycopg.errors.RaiseException as error:
        raise Refused("OVERLOADED", error.diag.message_primary or "") from error
