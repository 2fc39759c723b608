"""Withdrawals, freezes and history over HTTP: ``…/{number}/withdrawal``, ``…/freezes``, ``…/as-of?at=…``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.errors import Refused
from contracts.times import parse_moment
from controlplane.api.http import json_answer, read_object
from controlplane.context import Context
from controlplane.identity import identify, require
from controlplane.releases import freezing, history, withdrawing

NUMBER_MAX = 2**53 - 1


def routes(context: Context) -> list[BaseRoute]:
    """The routes of a release's life after its proposal."""

    async def withdraw(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request)).get("envelope")
        return json_answer(await withdrawing.withdraw(context, principal, *_numbered(request), envelope))

    async def freeze(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request)).get("envelope")
        return json_answer(await freezing.freeze(context, principal, request.path_params["environment"], envelope), 201)

    async def unfreeze(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request)).get("envelope")
        return json_answer(await freezing.unfreeze(context, principal, *_numbered(request), envelope), 201)

    async def freezes(request: Request) -> Response:
        await identify(context, request)
        return json_answer(await freezing.listed(context, request.path_params["environment"]))

    async def as_of(request: Request) -> Response:
        await identify(context, request)
        try:
            at = parse_moment(request.query_params["at"])
        except (KeyError, ValueError, OverflowError) as error:
            raise Refused("REQUEST_INVALID", "at: a time with its zone, 2026-11-27T10:00:00Z") from error
        return json_answer(await history.as_of(context, request.path_params["environment"], at))

    environment = "/v1/releases/{environment}"
    return [
        Route(f"{environment}/as-of", as_of),
        Route(f"{environment}/freezes", freeze, methods=["POST"]),
        Route(f"{environment}/freezes", freezes),
        Route(f"{environment}/freezes/{{number:int}}/signatures", unfreeze, methods=["POST"]),
        Route(f"{environment}/{{number:int}}/withdrawal", withdraw, methods=["POST"]),
    ]


def _numbered(request: Request) -> tuple[str, int]:
    number = int(request.path_params["number"])
    if not 1 <= number <= NUMBER_MAX:
        raise Refused("NOT_FOUND", "there is no such number")
    return request.path_params["environment"], number
