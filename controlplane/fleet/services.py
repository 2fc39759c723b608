"""Status reports of service instances: the last word of each, and every change of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.errors import Refused
from contracts.reasons import REASONS
from contracts.release.refusals import is_permanent
from contracts.release.trust import ENVIRONMENTS
from contracts.times import parse_rfc3339
from controlplane.context import Context
from controlplane.identity import Principal
from controlplane.store import queries

_SQL = queries("controlplane.fleet")
_TEXT_MAX = 64
SILENT_AFTER_S = 30.0
"""An instance that has not reported for so long is silent; it reports every few seconds."""


async def report(context: Context, principal: Principal, body: dict[str, Any]) -> None:
    """Keep a report (``contracts.release.status``). A service speaks for itself only. Raises ``Refused REQUEST_INVALID``."""
    active, refused = body.get("active"), body.get("refused")
    values = (
        _text(body, "environment"),
        _text(body, "service"),
        _text(body, "instance"),
        *_pair(active, "number", "metadata_digest"),
        *_pair(refused, "number", "code"),
        body.get("ready"),
        _text(body, "mode"),
        _number(body, "delivered"),
        _permanent(refused),
        _moment(body, "lease_expires_at"),
    )
    if values[0] not in ENVIRONMENTS or type(body.get("ready")) is not bool:
        raise Refused("REQUEST_INVALID", "environment or ready")
    if refused is not None and values[6] not in REASONS:
        raise Refused("REQUEST_INVALID", "refused.code is no reason code")
    if values[1] != principal.name:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} speaks for {values[1]}")
    await context.pool.fetch(_SQL["report"], *values)


async def fleet(context: Context) -> list[dict[str, Any]]:
    """Every instance with desired, delivered, active and refused release, and whether it is silent."""
    return await context.pool.fetch(_SQL["fleet"], SILENT_AFTER_S)


async def history(context: Context, environment: str, service: str) -> list[dict[str, Any]]:
    """The changes of a service, newest first."""
    return await context.pool.fetch(_SQL["events"], environment, service)


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= _TEXT_MAX:
        raise Refused("REQUEST_INVALID", field)
    return value


def _pair(value: Any, first: str, second: str) -> tuple[int | None, str | None]:
    if value is None:
        return None, None
    if not isinstance(value, dict) or type(value.get(first)) is not int or not 0 <= value[first] < 2**53:
        raise Refused("REQUEST_INVALID", first)
    return value[first], _text(value, second)


def _number(body: dict[str, Any], field: str) -> int | None:
    value = body.get(field)
    if value is not None and (type(value) is not int or not 0 <= value < 2**53):
        raise Refused("REQUEST_INVALID", field)
    return value


def _permanent(refused: Any) -> bool | None:
    """As the service says, which may know a code better; by our table where it is of the release before."""
    if refused is None:
        return None
    said = refused.get("permanent")
    if said is not None and type(said) is not bool:
        raise Refused("REQUEST_INVALID", "refused.permanent")
    return is_permanent(str(refused["code"])) if said is None else said


def _moment(body: dict[str, Any], field: str) -> datetime | None:
    if body.get(field) is None:
        return None
    try:
        return parse_rfc3339(_text(body, field))
    except ValueError as error:
        raise Refused("REQUEST_INVALID", field) from error
