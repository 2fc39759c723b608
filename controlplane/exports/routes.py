"""``GET /v1/exports/evidence?from=&to=&settle_s=``: the parts of a packet as JSON lines (``application/x-ndjson``)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from contracts.errors import Refused
from contracts.times import parse_rfc3339
from controlplane.context import Context
from controlplane.exports import services
from controlplane.identity import require

READERS = ("officer", "security_officer", "custodian", "operator")


def routes(context: Context) -> list[BaseRoute]:
    """The address of exports."""

    async def evidence(request: Request) -> Response:
        await require(context, request, *READERS)
        period = services.Period(_moment(request, "from"), _moment(request, "to"))
        found = services.parts(context, period, settle_s=_settle_s(request))
        first = await anext(found)
        return StreamingResponse(_lines(first, found), media_type="application/x-ndjson")

    return [Route("/v1/exports/evidence", evidence)]


async def _lines(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    yield orjson.dumps(first, option=orjson.OPT_APPEND_NEWLINE)
    async for part in rest:
        yield orjson.dumps(part, option=orjson.OPT_APPEND_NEWLINE)


def _settle_s(request: Request) -> float:
    text = request.query_params.get("settle_s", str(services.SETTLE_S))
    try:
        return min(max(float(text), 0.0), services.SETTLE_S)
    except ValueError as error:
        raise Refused("REQUEST_INVALID", "settle_s: a number of seconds is needed") from error


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    try:
        return parse_rfc3339(text) if text else None
    except ValueError as error:
        raise Refused("REQUEST_INVALID", f"{name}: RFC 3339 in UTC with six digits is needed") from error
