"""Problem documents (RFC 9457) with a reason code of the closed list (ATT-15, design section 12).

``type`` is ``urn:symphony:reason:<CODE>``, ``title`` the reason's meaning, ``status`` its HTTP status. Beside the
members of the RFC: ``reason_code``, ``iso_reason`` (ISO 20022 ExternalStatusReason1Code), ``next_step``,
``retryable``, ``correlation_id``. ``detail`` is ours to write: never a payload, a secret or a stack trace.
"""

from __future__ import annotations

import orjson

from contracts.errors import SymphonyError
from contracts.reasons import by_code

CONTENT_TYPE = "application/problem+json"
DETAIL_CHARACTERS_MAX = 500
"""A detail may quote what a peer sent, so it is cut."""


def problem(code: str, detail: str = "", correlation_id: str = "") -> tuple[int, bytes]:
    """``(HTTP status, body)`` of a reason code; ``KeyError`` for a code outside the closed list."""
    reason = by_code(code)
    return reason.http, _body(code, detail, reason.next_step, correlation_id)


def problem_of(error: SymphonyError, correlation_id: str = "") -> tuple[int, bytes]:
    """``(HTTP status, body)`` of an error, with its own next step where it has one."""
    return error.reason.http, _body(error.code, error.detail, error.next_step, correlation_id)


def _body(code: str, detail: str, next_step: str, correlation_id: str) -> bytes:
    reason = by_code(code)
    return orjson.dumps({
        "type": f"urn:symphony:reason:{code}",
        "title": reason.meaning,
        "status": reason.http,
        "detail": _text(detail) or reason.meaning,
        "reason_code": code,
        "iso_reason": reason.iso,
        "next_step": next_step,
        "retryable": reason.retryable,
        "correlation_id": correlation_id,
    })


def _text(detail: str) -> str:
    """The detail, cut, with what UTF-8 cannot carry (lone surrogates) replaced."""
    return detail[:DETAIL_CHARACTERS_MAX].encode("utf-8", "replace").decode("utf-8")
