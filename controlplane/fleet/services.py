"""Status reports of service instances: the last word of each, and every change of it."""

from __future__ import annotations

from typing import Any

from contracts.errors import Refused
from contracts.reasons import REASONS
from contracts.release.trust import ENVIRONMENTS
from controlplane.context import Context
from controlplane.identity import Principal
from controlplane.store import queries

_SQL = queries("controlplane.fleet")
_TEXT_MAX = 64


async def report(context: Context, principal: Principal, body: dict[str, Any]) -> None:
    """Keep a report. A service speaks for itself only. Raises ``Refused REQUEST_INVALID``."""
    active, refused = body.get("active"), body.get("refused")
    values = (
        _text(body, "environment"),
        _text(body, "service"),
        _text(body, "instance"),
        *_pair(active, "number", "metadata_digest"),
        *_pair(refused, "number", "code"),
        body.get("ready"),
        _text(body, "mode"),
    )
    if values[0] not in ENVIRONMENTS or type(body.get("ready")) is not bool:
        raise Refused("REQUEST_INVALID", "environment or ready")
    if refused is not None and values[6] not in REASONS:
        raise Refused("REQUEST_INVALID", "refused.code is no reason code")
    if values[1] != principal.name:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} speaks for {values[1]}")
    await context.pool.fetch(_SQL["report"], *values)


async def fleet(context: Context) -> list[dict[str, Any]]:
    """Every instance with desired and active release."""
    return await context.pool.fetch(_SQL["fleet"])


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
