"""A body that does not come whole is the peer's doing: a refusal, no error of ours and no trace in the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import SymphonyError
from controlplane.api.http import internal_error, json_answer, read_object, symphony_error


async def _endpoint(request: Request) -> Response:
    return json_answer(await read_object(request))


APPLICATION = Starlette(
    routes=[Route("/", _endpoint, methods=["POST"])],
    exception_handlers={SymphonyError: symphony_error, Exception: internal_error},
)


def _sent(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the application sends for the messages of a server."""
    out: list[dict[str, Any]] = []
    waiting = iter(parts)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1"}
    asyncio.run(APPLICATION(scope, receive, send))
    return out


PART = {"type": "http.request", "body": b'{"a":', "more_body": True}
REST = {"type": "http.request", "body": b"1}", "more_body": False}
GONE = {"type": "http.disconnect"}


def test_a_peer_that_goes_away_half_way_is_refused_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "symphony"):
        answer = _sent([PART, GONE])
    assert answer[0]["status"] == 400
    assert b"REQUEST_INVALID" in answer[1]["body"]
    assert caplog.records == []


def test_a_body_in_parts_that_comes_whole_is_taken() -> None:
    answer = _sent([PART, REST])
    assert (answer[0]["status"], answer[1]["body"]) == (200, b'{"a":1}')
