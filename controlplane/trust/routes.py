"""``GET /tuf/metadata/<file>``, ``GET /tuf/wait``, ``POST /v1/trust``, ``POST /v1/revocations/<env>``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.errors import Refused
from contracts.release.limits import ROLE_BYTES_MAX, ROOT_ROTATIONS_MAX
from contracts.release.trust import ENVIRONMENTS
from controlplane.api.http import bytes_answer, json_answer, read_object
from controlplane.context import Context
from controlplane.identity import require
from controlplane.trust import services, swap
from controlplane.trust.waiting import wait_route

_BODY_BYTES_MAX = 8 * ROLE_BYTES_MAX


def routes(context: Context) -> list[BaseRoute]:
    """The routes of this folder."""

    async def metadata(request: Request) -> Response:
        content = await services.served_file(context, request.path_params["name"])
        if content is None:
            raise Refused("NOT_FOUND", "no such metadata file")
        return bytes_answer(content, "application/json", cache_control="no-store")

    async def trust(request: Request) -> Response:
        await require(context, request, "custodian", "operator")
        change = _change(await read_object(request, bytes_max=_BODY_BYTES_MAX))
        return json_answer(await swap.publish_trust(context, change), 201)

    async def revocations(request: Request) -> Response:
        await require(context, request, "security_officer")
        body = await read_object(request, bytes_max=_BODY_BYTES_MAX)
        data = from_base64(body.get("metadata"), "metadata")
        version = await services.publish_revocations(context, request.path_params["environment"], data)
        return json_answer({"version": version}, 201)

    return [
        Route("/tuf/metadata/{name}", metadata),
        wait_route(context),
        Route("/v1/trust", trust, methods=["POST"]),
        Route("/v1/revocations/{environment}", revocations, methods=["POST"]),
    ]


async def start(context: Context) -> None:
    """Before the first request: a fresh timestamp, and the log knows every version."""
    await services.keep_fresh(context)
    await services.log_all(context)


def background(context: Context) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What runs from start to stop."""
    return [
        lambda: services.freshness_loop(context),
        lambda: context.news.follow(lambda: services.newest_snapshot(context)),
    ]


def _change(body: dict[str, Any]) -> swap.Change:
    """``{"roots": […], "targets", "revocations": {env: …}, "renewals": […], "principals": […]}``, files in base64."""
    roots, lists = body.get("roots"), body.get("revocations", {})
    if not isinstance(roots, list) or len(roots) > ROOT_ROTATIONS_MAX:
        raise Refused("REQUEST_INVALID", "roots: a list of root files in base64, oldest first")
    if not isinstance(lists, dict) or len(lists) > len(ENVIRONMENTS):
        raise Refused("REQUEST_INVALID", "revocations: a list in base64 by environment")
    return swap.Change(
        roots=[from_base64(root, "roots") for root in roots],
        targets=from_base64(body.get("targets"), "targets"),
        revocations={name: from_base64(data, f"revocations/{name[:32]}") for name, data in lists.items()},
        renewals=_objects(body, "renewals", swap.RENEWALS_MAX),
        principals=_objects(body, "principals", swap.PRINCIPALS_MAX),
    )


def _objects(body: dict[str, Any], field: str, count_max: int) -> list[dict[str, Any]]:
    value = body.get(field, [])
    if not isinstance(value, list) or len(value) > count_max or not all(isinstance(one, dict) for one in value):
        raise Refused("REQUEST_INVALID", f"{field}: a list of at most {count_max} objects")
    return value


def from_base64(value: Any, field: str) -> bytes:
    """Strict base64. Raises ``Refused REQUEST_INVALID`` with the field."""
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Refused("REQUEST_INVALID", f"{field}: not base64") from error
