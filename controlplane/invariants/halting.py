"""A halted control plane: what was published is served, evidence stays readable, nothing is changed or signed.

Every address that changes something answers 503 ``SERVICE_HALTED``; timestamp, snapshot and checkpoint are not signed
again, so the leases of the sidecars run out by their signed schedule (fail closed). Sidecars keep the evidence that is
refused here and send it again.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.errors import SymphonyError
from contracts.problem import CONTENT_TYPE, problem_of
from contracts.runtime_invariants import Watch

READING = frozenset({"GET", "HEAD", "OPTIONS"})
RETRY_AFTER_S = b"5"


class Halting:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        error = self._watch.stopped() if scope["type"] == "http" and scope["method"] not in READING else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, error)


async def _refuse(send: Send, error: SymphonyError) -> None:
    status, body = problem_of(error)
    headers = [
        (b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode()),
        (b"retry-after", RETRY_AFTER_S), (b"connection", b"close"),  # the body of the request is not read
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
