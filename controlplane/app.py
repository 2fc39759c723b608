"""The ASGI application: the routes of every domain folder, one form of error, background work for its life.

A domain folder has ``routes.py`` with ``routes(context) -> list[BaseRoute]`` and, where it works by itself,
``background(context) -> list[Callable[[], Coroutine]]`` (each runs from start to stop; one that ends with an error
is logged and started again after ``RESTART_S``) and ``async start(context)`` (run before the first request).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from contracts.errors import SymphonyError
from controlplane.api.http import internal_error, symphony_error, unknown_address, unstorable, wrong_method
from controlplane.api.openapi import document
from controlplane.context import Context
from controlplane.invariants import Halting

DOMAINS = ("trust", "emergency", "releases", "orders", "fleet", "opa", "evidence", "exports")
RESTART_S = 1.0
_LOG = logging.getLogger("symphony.controlplane")


def create_app(context: Context) -> Starlette:
    """The application over a context."""
    modules = _modules()
    routes: list[BaseRoute] = [
        Route("/health/live", _live), Route("/health/ready", _ready(context)), Route("/v1/openapi.json", _described),
    ]  # fmt: skip
    for module in modules:
        routes += module.routes(context)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Halting, watch=context.watch)] if context.watch is not None else [],
        lifespan=_lifespan(context, modules),
        exception_handlers={
            SymphonyError: symphony_error,
            psycopg.DataError: unstorable,
            UnicodeEncodeError: unstorable,
            404: unknown_address,
            405: wrong_method,
            Exception: internal_error,
        },
    )


def _modules() -> list[ModuleType]:
    names = [f"controlplane.{domain}" for domain in DOMAINS]
    return [import_module(f"{name}.routes") for name in names if find_spec(name) and find_spec(f"{name}.routes")]


def _lifespan(context: Context, modules: list[ModuleType]) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for module in modules:
            if hasattr(module, "start"):
                await module.start(context)
        work = [job for module in modules for job in getattr(module, "background", lambda _c: [])(context)]
        if context.watch is not None:
            work.append(context.watch.run)
        tasks = [asyncio.create_task(_forever(job)) for job in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await context.pool.close()

    return lifespan


async def _forever(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await job()
        except SymphonyError as error:
            _LOG.warning("background work waits: %s", error)
        except Exception:  # noqa: BLE001 - logged, and started again
            _LOG.exception("background work failed; it starts again")
        await asyncio.sleep(RESTART_S)


async def _described(_request: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(document))


async def _live(_request: Request) -> Response:
    return JSONResponse({"status": "live"})


def _ready(context: Context) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def ready(_request: Request) -> Response:
        context.demand_open()
        await context.pool.fetch("SELECT 1")
        broken = context.watch.broken if context.watch is not None else ()
        warnings = {"warnings": [one.id for one in broken]} if broken else {}
        return JSONResponse({"status": "ready", "environment": context.environment} | warnings)

    return ready
