"""``POST /v1/fleet/status``, ``GET /v1/fleet``, ``GET /v1/fleet/<env>/<service>``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from controlplane.api.http import json_answer, read_object
from controlplane.context import Context
from controlplane.fleet import services
from controlplane.identity import identify, require

_STATUS_BYTES_MAX = 16 * 1024


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""

    async def report(request: Request) -> Response:
        principal = await require(context, request, "service")
        await services.report(context, principal, await read_object(request, bytes_max=_STATUS_BYTES_MAX))
        return Response(status_code=204)

    async def fleet(request: Request) -> Response:
        await identify(context, request)
        return json_answer({"services": await services.fleet(context)})

    async def history(request: Request) -> Response:
        await identify(context, request)
        environment, service = request.path_params["environment"], request.path_params["service"]
        return json_answer({"events": await services.history(context, environment, service)})

    return [
        Route("/v1/fleet/status", report, methods=["POST"]),
        Route("/v1/fleet", fleet),
        Route("/v1/fleet/{environment}/{service}", history),
    ]
