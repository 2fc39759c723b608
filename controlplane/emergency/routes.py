"""``/v1/emergencies/<env>…`` for officers; ``/tuf/emergency/…`` and the targets of an opened one for machines."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.canonical import sha256_hex
from contracts.errors import Refused
from contracts.release.emergency import EMERGENCY_TARGETS
from contracts.release.limits import RELEASE_BYTES_MAX
from controlplane.api.http import bytes_answer, json_answer, read_object
from controlplane.context import Context
from controlplane.emergency import reading, services
from controlplane.identity import Principal, identify, require
from controlplane.trust.routes import from_base64

_PROPOSAL_BYTES_MAX = RELEASE_BYTES_MAX * 3 // 2
_NUMBER_MAX = 2**53
_Act = Callable[[Context, Principal, str, int, Any], Awaitable[Any]]


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""
    one = "/v1/emergencies/{environment}/{number:int}"
    return [
        *_reading(context, one),
        Route(f"{one}/approvals", _act(context, services.approve), methods=["POST"]),
        Route(f"{one}/opening", _act(context, services.open_), methods=["POST"]),
        Route(f"{one}/closing", _act(context, services.close), methods=["POST"]),
        Route(f"{one}/review", _act(context, services.review), methods=["POST"]),
        *_machines(context),
    ]


def _act(context: Context, service: _Act) -> Callable[[Request], Awaitable[Response]]:
    async def act(request: Request) -> Response:
        principal = await require(context, request, "officer")
        envelope = (await read_object(request)).get("envelope")
        environment, number = _numbered(request)
        answer = await service(context, principal, environment, number, envelope)
        return json_answer(answer if isinstance(answer, dict) else {"number": number, "state": answer}, 201)

    return act


def _reading(context: Context, one: str) -> list[BaseRoute]:
    async def propose(request: Request) -> Response:
        principal = await require(context, request, "officer")
        body = await read_object(request, bytes_max=_PROPOSAL_BYTES_MAX)
        metadata, files = from_base64(body.get("metadata"), "metadata"), _files(body.get("targets"))
        sealed = await services.propose(context, principal, request.path_params["environment"], metadata, files)
        answer = {"number": sealed.number, "state": "PROPOSED", "metadata_digest": sealed.role.digest}
        return json_answer(answer, 201)

    async def listed(request: Request) -> Response:
        await identify(context, request)
        return json_answer(await reading.listed(context, request.path_params["environment"]))

    async def shown(request: Request) -> Response:
        await identify(context, request)
        found = await reading.shown(context, *_numbered(request))
        return json_answer({**found, "metadata": base64.b64encode(found["metadata"]).decode()})

    async def target(request: Request) -> Response:
        await require(context, request, "officer")
        return bytes_answer(await reading.target(context, *_numbered(request), request.path_params["path"]))

    return [
        Route("/v1/emergencies/{environment}", propose, methods=["POST"]),
        Route("/v1/emergencies/{environment}", listed),
        Route(one, shown),
        Route(f"{one}/targets/{{path:path}}", target),
    ]


def _machines(context: Context) -> list[BaseRoute]:
    async def document(request: Request) -> Response:
        return json_answer(await reading.document(context, *_numbered(request)))

    async def published(request: Request) -> Response:
        environment, number = _numbered(request)
        return bytes_answer(await reading.published_target(context, environment, number, request.path_params["path"]))

    return [
        Route("/tuf/emergency/{environment}/{number:int}.json", document),
        Route("/tuf/targets/{environment}-emergency/{number:int}/{path:path}", published),
    ]


def _numbered(request: Request) -> tuple[str, int]:
    number = int(request.path_params["number"])
    if not 1 <= number < _NUMBER_MAX:
        raise Refused("NOT_FOUND", "there is no such number")
    return request.path_params["environment"], number


def _files(targets: Any) -> dict[str, bytes]:
    if not isinstance(targets, dict) or len(targets) > len(EMERGENCY_TARGETS):
        raise Refused("REQUEST_INVALID", "a sealed release has metadata and targets, by digest, in base64")
    files = {digest: from_base64(data, f"targets/{digest[:16]}") for digest, data in targets.items()}
    if any(sha256_hex(data) != digest for digest, data in files.items()):
        raise Refused("RELEASE_DIGEST", "a target is not what its digest says")
    return files
