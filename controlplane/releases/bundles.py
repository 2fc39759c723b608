"""``GET /bundles/<env>/policy.tar.gz``: the active release's OPA bundle, as OPA's bundle service API asks for it.

Rules, from OPA's own downloader (1.22.2) and its documents:

* the content type ``application/vnd.openpolicyagent.bundles`` is how a server says that it takes long polls; OPA then
  sends ``Prefer: modes=snapshot,delta;wait=N`` and asks again at once, so a 304 comes only after the wait;
* the ETag is the bundle's SHA-256. Of a list in ``If-None-Match`` the first counts: OPA may append superseded ones, and
  a rollback to one of those must reach it;
* bounds: a wait is at most ``WAIT_S_MAX``, waiters are at most ``WAITERS_MAX`` (the next is told ``OVERLOADED`` and backs
  off), and all waiters of an environment together ask the database once in ``POLL_S``.

Not here: delta bundles; what makes the bundle trustworthy (its own signature, checked by the OPA).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from contracts.errors import Refused
from contracts.release.trust import ENVIRONMENTS
from controlplane.api.http import bytes_answer
from controlplane.context import Context
from controlplane.releases import services

MEDIA_TYPE = "application/vnd.openpolicyagent.bundles"
WAIT_S_MAX = 60
WAITERS_MAX = 1000
POLL_S = 0.25
_WAIT = re.compile(r"(?:^|[;,\s])wait=([0-9]{1,6})(?:$|[;,\s])")


class _Watch:
    """The digest of each environment's active bundle, asked for once in ``POLL_S``, and who waits for another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, tuple[float, str | None]] = {}
        self._asking = asyncio.Lock()
        self._waiters = 0

    async def digest(self, environment: str) -> str | None:
        """Of the active bundle, at most ``POLL_S`` old; ``None`` when no release is active."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            at, digest = self._known.get(environment, (now - POLL_S, None))
            if now - at >= POLL_S:
                digest = await services.active_bundle_digest(self._context, environment)
                self._known = {**self._known, environment: (now, digest)}
            return digest

    async def changed(self, request: Request, environment: str, held: str, wait_s: int) -> None:
        """Return when the active bundle is another than ``held``, the time is over, or nobody waits any more."""
        if self._waiters >= WAITERS_MAX:
            raise Refused("OVERLOADED", f"{WAITERS_MAX} clients wait for a bundle already")
        self._waiters += 1
        try:
            end = asyncio.get_running_loop().time() + wait_s
            while await self.digest(environment) == held and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(POLL_S)
                if await request.is_disconnected():
                    return
        finally:
            self._waiters -= 1


def bundle_route(context: Context) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """The endpoint."""
    watch = _Watch(context)

    async def bundle(request: Request) -> Response:
        environment = request.path_params["environment"]
        if environment not in ENVIRONMENTS:
            raise Refused("NOT_FOUND", "no such environment")
        held, wait_s = _held(request), _wait_s(request)
        if held and wait_s:
            await watch.changed(request, environment, held, wait_s)
        digest = await services.active_bundle_digest(context, environment)
        if digest is None:
            raise Refused("NOT_FOUND", "no release is active")
        if digest == held:
            return Response(status_code=304, headers={"etag": f'"{digest}"'})
        found = await services.active_bundle(context, environment)
        if found is None:
            raise Refused("NOT_FOUND", "no release is active")
        return bytes_answer(found[1], MEDIA_TYPE, etag=f'"{found[0]}"', cache_control="no-cache")

    return bundle


def _held(request: Request) -> str:
    """The digest that the client has: the first of ``If-None-Match``."""
    return request.headers.get("if-none-match", "").split(",")[0].strip().removeprefix("W/").strip('"')


def _wait_s(request: Request) -> int:
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(match[1]), WAIT_S_MAX) if match else 0
