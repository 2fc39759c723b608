"""``POST /v1/opa/status`` and ``/v1/opa/logs`` (OPA's management APIs), ``GET /v1/opa/status``, ``…/decisions/<service>``."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from controlplane.api.http import json_answer, number_of, read_body, read_object
from controlplane.context import Context
from controlplane.identity import require
from controlplane.opa import services
from controlplane.opa.reading import LOG_BYTES_MAX, STATUS_BYTES_MAX, decisions_of, status_of

READERS = ("officer", "security_officer", "custodian", "operator")


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""

    async def report(request: Request) -> Response:
        principal = await require(context, request, "service")
        status = status_of(await read_object(request, bytes_max=STATUS_BYTES_MAX))
        await services.report(context, principal, status)
        return Response(status_code=204)

    async def logs(request: Request) -> Response:
        principal = await require(context, request, "service")
        body = await read_body(request, bytes_max=LOG_BYTES_MAX)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        decisions = await asyncio.to_thread(decisions_of, body, encoding)
        return json_answer({"new": await services.record(context, principal, decisions)})

    async def statuses(request: Request) -> Response:
        await require(context, request, *READERS)
        return json_answer(await services.statuses(context))

    async def decisions(request: Request) -> Response:
        await require(context, request, *READERS)
        limit = number_of(request, "limit", services.DECISIONS_PAGE_MAX)
        return json_answer({"decisions": await services.decisions(context, request.path_params["service"], limit)})

    return [
        Route("/v1/opa/status", report, methods=["POST"]),
        Route("/v1/opa/status", statuses),
        Route("/v1/opa/logs", logs, methods=["POST"]),
        Route("/v1/opa/decisions/{service}", decisions),
    ]
