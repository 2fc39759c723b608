"""Bodies in, answers and problem documents out (RFC 9457), each bounded."""

from __future__ import annotations

import logging
import re
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from contracts.canonical import parse_json
from contracts.errors import Refused, SymphonyError
from contracts.problem import CONTENT_TYPE, problem, problem_of

BODY_BYTES_MAX = 1024 * 1024
_LOG = logging.getLogger("symphony.controlplane")


async def read_body(request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body, read no further than its bound. Raises ``Refused REQUEST_INVALID``."""
    out = bytearray()
    try:
        async for chunk in request.stream():
            out += chunk
            if len(out) > bytes_max:
                raise Refused("REQUEST_INVALID", f"the body is over {bytes_max} bytes")
    except ClientDisconnect as error:  # a peer that goes away, or our own end, while a body comes: no error of ours
        raise Refused("REQUEST_INVALID", "the body did not come whole") from error
    return bytes(out)


async def read_object(request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> dict[str, Any]:
    """The body as a JSON object; refused are duplicate keys, and what nobody could keep (numbers over 64 bits, lone surrogates)."""
    value = parse_json(await read_body(request, bytes_max=bytes_max), bytes_max=bytes_max)
    if not isinstance(value, dict):
        raise Refused("REQUEST_INVALID", "the body is not a JSON object")
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise Refused("REQUEST_INVALID", f"the body cannot be kept: {error}") from error
    return value


def number_of(request: Request, name: str, default: int | None = None) -> int:
    """A number of the query, at most 15 digits. Raises ``Refused REQUEST_INVALID``."""
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[0-9]{1,15}", text):
        raise Refused("REQUEST_INVALID", f"{name}: a number is needed")
    return int(text)


def json_answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def bytes_answer(content: bytes, media_type: str = "application/octet-stream", **headers: str) -> Response:
    """An answer of bytes; header names with ``_`` for ``-``."""
    return Response(content, headers={k.replace("_", "-"): v for k, v in headers.items()}, media_type=media_type)


async def symphony_error(_request: Request, error: Exception) -> Response:
    """A user's mistake, or ours that is known, as a problem document."""
    assert isinstance(error, SymphonyError)
    status, body = problem_of(error)
    return Response(body, status, media_type=CONTENT_TYPE)


async def internal_error(_request: Request, error: Exception) -> Response:
    """An error of ours: logged with its trace, answered without."""
    _LOG.error("a request failed", exc_info=error)
    status, body = problem("INTERNAL")
    return Response(body, status, media_type=CONTENT_TYPE)


async def unstorable(_request: Request, error: Exception) -> Response:
    """A text that the database cannot hold (NUL, a lone surrogate): the peer's mistake, logged in case it is ours."""
    _LOG.warning("a value could not be stored", exc_info=error)
    status, body = problem("REQUEST_INVALID", "a value holds a character or a number that cannot be stored")
    return Response(body, status, media_type=CONTENT_TYPE)


async def unknown_address(request: Request, _error: Exception) -> Response:
    """No such address."""
    status, body = problem("NOT_FOUND", f"no such address: {request.url.path[:200]}")
    return Response(body, status, media_type=CONTENT_TYPE)


async def wrong_method(request: Request, _error: Exception) -> Response:
    """The address takes other methods."""
    status, body = problem("METHOD_NOT_ALLOWED", f"{request.method} is not taken here")
    return Response(body, status, media_type=CONTENT_TYPE)
