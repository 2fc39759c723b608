"""``/v1/orders/<env>…`` for officers, ``GET /tuf/orders/<env>/<after>`` for sidecars, beside the releases that they fetch."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.errors import Refused
from contracts.orders import ENVELOPE_BYTES_MAX
from controlplane.api.http import json_answer, read_object
from controlplane.context import Context
from controlplane.identity import identify, require
from controlplane.orders import services

_BODY_BYTES_MAX = 2 * ENVELOPE_BYTES_MAX
_NUMBER_MAX = 2**53


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""

    async def issue(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request, bytes_max=_BODY_BYTES_MAX)).get("envelope")
        answer = await services.issue(context, principal, _environment(request), envelope)
        return json_answer(answer, 201 if answer["new"] else 200)

    async def lift(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request, bytes_max=_BODY_BYTES_MAX)).get("envelope")
        return json_answer(await services.lift(context, principal, _environment(request), _number(request), envelope), 201)

    async def listed(request: Request) -> Response:
        await identify(context, request)
        after = request.query_params.get("after")
        if after is None:
            return json_answer({"orders": await services.listed(context, _environment(request))})
        if not (after.isascii() and after.isdigit() and len(after) <= len(str(_NUMBER_MAX))):
            raise Refused("REQUEST_INVALID", "after: a position")
        return json_answer(await services.after(context, _environment(request), int(after)))

    async def shown(request: Request) -> Response:
        await identify(context, request)
        return json_answer(await services.shown(context, _environment(request), _number(request)))

    async def machines(request: Request) -> Response:
        return json_answer(await services.after(context, _environment(request), _number(request)))

    one = "/v1/orders/{environment}/{number:int}"
    return [
        Route("/v1/orders/{environment}", issue, methods=["POST"]),
        Route("/v1/orders/{environment}", listed),
        Route(one, shown),
        Route(f"{one}/lift", lift, methods=["POST"]),
        Route("/tuf/orders/{environment}/{number:int}", machines),
    ]


def _environment(request: Request) -> str:
    return str(request.path_params["environment"])


def _number(request: Request) -> int:
    number: Any = request.path_params["number"]
    if number >= _NUMBER_MAX:
        raise Refused("NOT_FOUND", "no such order")
    return int(number)
