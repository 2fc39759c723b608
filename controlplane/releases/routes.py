"""``/v1/releases/…`` for officers, ``GET /tuf/targets/…`` and ``GET /bundles/<env>/policy.tar.gz`` for machines."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.canonical import sha256_hex
from contracts.errors import Refused
from contracts.release.limits import RELEASE_BYTES_MAX, TARGETS_MAX
from controlplane.api.http import bytes_answer, json_answer, read_object
from controlplane.context import Context
from controlplane.identity import identify, require
from controlplane.releases import life_routes, services
from controlplane.releases.bundles import bundle_route
from controlplane.trust.routes import from_base64

_PROPOSAL_BYTES_MAX = RELEASE_BYTES_MAX * 3 // 2


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""
    return [*_officers(context), *life_routes.routes(context), *_machines(context)]


def _officers(context: Context) -> list[BaseRoute]:
    async def propose(request: Request) -> Response:
        principal = await require(context, request, "officer")
        body, files = _proposal(await read_object(request, bytes_max=_PROPOSAL_BYTES_MAX))
        role = await services.propose(context, principal, body, files)
        return json_answer({"number": role.number, "status": "PROPOSED", "metadata_digest": role.digest}, 201)

    async def approve(request: Request) -> Response:
        principal = await require(context, request, "officer")
        environment, number = _release(request)
        envelope = (await read_object(request)).get("envelope")
        status = await services.approve(context, principal, environment, number, envelope)
        return json_answer({"number": number, "status": status}, 201)

    async def promote(request: Request) -> Response:
        principal = await require(context, request, "officer")
        environment, number = _release(request)
        envelope = (await read_object(request)).get("envelope")
        role = await services.promote(context, principal, environment, number, envelope)
        return json_answer({"number": number, "status": "ACTIVE", "metadata_digest": role.digest})

    async def listed(request: Request) -> Response:
        await identify(context, request)
        return json_answer({"releases": await services.listed(context, request.path_params["environment"])})

    async def shown(request: Request) -> Response:
        await identify(context, request)
        release = await services.shown(context, *_release(request))
        metadata = base64.b64encode(bytes(release.pop("metadata"))).decode()
        return json_answer({**release, "metadata": metadata})

    async def target(request: Request) -> Response:
        await identify(context, request)
        return bytes_answer(await services.target(context, *_release(request), request.path_params["path"]))

    one = "/v1/releases/{environment}/{number:int}"
    return [
        Route("/v1/releases", propose, methods=["POST"]),
        Route("/v1/releases/{environment}", listed),
        Route(one, shown),
        Route(f"{one}/approvals", approve, methods=["POST"]),
        Route(f"{one}/promotion", promote, methods=["POST"]),
        Route(f"{one}/targets/{{path:path}}", target),
    ]


def _machines(context: Context) -> list[BaseRoute]:
    async def tuf_target(request: Request) -> Response:
        content = await services.published_target(context, *_release(request), request.path_params["path"])
        return bytes_answer(content)

    bundle = bundle_route(context)
    return [
        Route("/tuf/targets/{environment}/{number:int}/{path:path}", tuf_target),
        Route("/bundles/{environment}/policy.tar.gz", bundle),
        Route("/bundles/{environment}/bundle.tar.gz", bundle),  # the only name that OPAL asks for
    ]


def _release(request: Request) -> tuple[str, int]:
    number = int(request.path_params["number"])
    if number >= 2**53:
        raise Refused("NOT_FOUND", "no such release")
    return request.path_params["environment"], number


def _proposal(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    targets = body.get("targets")
    if not isinstance(body.get("envelope"), dict) or not isinstance(targets, dict) or len(targets) > TARGETS_MAX:
        raise Refused("REQUEST_INVALID", "a proposal has envelope, environment, metadata and targets")
    files = {digest: from_base64(data, f"targets/{digest[:16]}") for digest, data in targets.items()}
    if any(sha256_hex(data) != digest for digest, data in files.items()):
        raise Refused("RELEASE_DIGEST", "a target is not what its digest says")
    metadata = from_base64(body.get("metadata"), "metadata")
    return {"envelope": body["envelope"], "environment": body.get("environment"), "metadata": metadata}, files
