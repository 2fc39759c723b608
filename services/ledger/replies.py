"""Answers: status, bytes, content type, correlation id."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from uuid_utils import uuid7

from contracts.errors import SymphonyError
from contracts.problem import CONTENT_TYPE, problem_of

CORRELATION_HEADER = b"symphony-correlation-id"
RETRY_AFTER_S = b"1"
_CORRELATION = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


def correlation_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's correlation id where it is usable, else a fresh one."""
    for name, value in headers:
        if name == CORRELATION_HEADER and _CORRELATION.fullmatch(value):
            return value.decode("ascii")
    return str(uuid7())


def refusal(error: SymphonyError, correlation: str) -> Reply:
    """The problem document of an error."""
    status, body = problem_of(error, correlation)
    return Reply(status, body, CONTENT_TYPE)


async def send_reply(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]], reply: Reply, correlation: str
) -> None:
    """Send it; a 401 and a 413 end the connection, a 503 says when to come again."""
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", b"no-store"),
        (CORRELATION_HEADER, correlation.encode()),
    ]
    if reply.status == 503:
        headers.append((b"retry-after", RETRY_AFTER_S))
    if reply.status in {401, 413}:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
