"""``GET /tuf/wait?snapshot=N&seconds=S``: answered when a snapshot above N is published, after S seconds at the latest.

The answer is ``{"snapshot": M}``; M is N or below where nothing new came. Any certificate of ours may wait, as it may fetch.
503 ``OVERLOADED`` with ``Retry-After`` above ``WAITERS_MAX``. A peer that goes away, or the server's own end, frees the place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import CannotEvaluate, Refused
from contracts.problem import CONTENT_TYPE, problem_of
from controlplane.api.http import json_answer
from controlplane.context import Context
from controlplane.news import WAIT_S_MAX

RETRY_AFTER_S = 10


def wait_route(context: Context) -> Route:
    """The route."""

    async def wait(request: Request) -> Response:
        known, seconds = _asked(request)
        try:
            await _first(context.news.later_than(known, seconds), _gone(request), _ending(request))
        except CannotEvaluate as error:
            status, body = problem_of(error)
            return Response(body, status, {"retry-after": str(RETRY_AFTER_S)}, media_type=CONTENT_TYPE)
        return json_answer({"snapshot": context.news.snapshot})

    return Route("/tuf/wait", wait)


def _asked(request: Request) -> tuple[int, float]:
    query = request.query_params
    known, seconds = query.get("snapshot", ""), query.get("seconds", str(int(WAIT_S_MAX)))
    if not all(text.isascii() and text.isdigit() and len(text) <= 15 for text in (known, seconds)):
        raise Refused("REQUEST_INVALID", "snapshot and seconds are whole numbers of at most 15 digits")
    return int(known), float(seconds)


async def _first(*work: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is done; its error is raised, the others are cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _ending(request: Request) -> None:
    event = request.scope.get("extensions", {}).get("server.ending")
    await (event if isinstance(event, asyncio.Event) else asyncio.Event()).wait()
