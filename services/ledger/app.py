"""The ledger as one ASGI application: ``POST /v1/postings`` goes straight to ``Intake``, the rest through Starlette."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import CannotEvaluate, Refused, SymphonyError
from services.ledger.config import HEADER_BYTES_MAX
from services.ledger.intake import Callers, Intake, Receive, Scope, Send
from services.ledger.reading import Books, Query
from services.ledger.replies import CORRELATION_HEADER, Reply, correlation_of, refusal

POSTINGS = "/v1/postings"
_LOG = logging.getLogger("symphony.ledger.app")


class Application:
    """Every address of the ledger."""

    def __init__(self, intake: Intake, books: Books, callers: Callers) -> None:
        self._intake = intake
        self._callers = callers
        self._rest = Starlette(
            routes=[
                Route(POSTINGS, self._read(books.postings), methods=["GET"]),
                Route("/v1/accounts", self._read(books.accounts), methods=["GET"]),
                Route("/v1/refusals", self._read(books.refusals), methods=["GET"]),
                Route("/health/live", self._read(books.live), methods=["GET"]),
                Route("/health/ready", self._read(books.ready), methods=["GET"]),
            ],
            exception_handlers={404: _refused("NOT_FOUND"), 405: _refused("METHOD_NOT_ALLOWED")},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == POSTINGS:
            await self._intake(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    def _read(self, answer: Callable[[Query], Awaitable[Reply]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            correlation = correlation_of(request.scope["headers"])
            try:
                self._callers.check(request.scope)
                reply = await answer(_query(request))
            except SymphonyError as error:
                reply = refusal(error, correlation)
            except Exception as error:  # noqa: BLE001 - logged, and answered INTERNAL
                _LOG.exception("a read failed: %s", correlation)
                reply = refusal(CannotEvaluate("INTERNAL", type(error).__name__), correlation)
            return _response(reply, correlation)

        return endpoint


def _query(request: Request) -> Query:
    if len(request.scope["query_string"]) > HEADER_BYTES_MAX:
        raise Refused("REQUEST_INVALID", "the query is too long")
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("REQUEST_INVALID", "a parameter stands twice")
    return dict(pairs)


def _refused(code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(request: Request, _: Exception) -> Response:
        correlation = correlation_of(request.scope["headers"])
        return _response(refusal(Refused(code), correlation), correlation)

    return handler


def _response(reply: Reply, correlation: str) -> Response:
    headers = {"cache-control": "no-store", CORRELATION_HEADER.decode(): correlation}
    return Response(reply.body, reply.status, headers, media_type=reply.content_type)
