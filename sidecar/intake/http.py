"""The acceptor's HTTP: ``POST /v1/instructions`` and ``GET /v1/instructions/{id}`` as raw ASGI functions (the hot path).

Order of ATT-02 step 1: address and method, what is in hand already, size bound while reading, correlation id; nothing touches
a database before.
Every answer, whatever happened, is a JSON list, a pacs.002 or a problem document; never a stack trace, never a hang.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uuid_utils import uuid7

from contracts.errors import SymphonyError
from contracts.problem import problem, problem_of
from contracts.times import Clock, rfc3339
from sidecar.attestation import Rejected, presented_of, source_of
from sidecar.intake import answers
from sidecar.intake.admission import Held, InHand
from sidecar.intake.handover import Answer
from sidecar.intake.pipeline import Pipeline, dumps

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_BYTES_DEFAULT = 1024 * 1024
REQUESTS_DEFAULT = 1000
LENGTH_DIGITS_MAX = 18
RETRY_AFTER_S = b"1"
_CORRELATION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INSTRUCTION = re.compile(r"/v1/instructions/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
_LOG = logging.getLogger("symphony.acceptor")


class TooLarge(Exception):
    """The body is over its bound."""


class Instructions:
    """The ASGI application of the two addresses; ``counts`` of answers by code, for the metrics."""

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self.counts: dict[str, int] = {}
        self.in_hand = InHand()
        self._pipeline = pipeline
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        correlation_id = _correlation_id(scope)
        try:
            if scope["path"] == "/v1/instructions" and scope["method"] == "POST":
                status, body, kind = await self._post(scope, receive, correlation_id)
            elif scope["method"] == "GET" and (found := _INSTRUCTION.fullmatch(scope["path"])):
                status, body, kind = await self._get(scope, found[1], correlation_id)
            else:
                code = "METHOD_NOT_ALLOWED" if scope["path"].startswith("/v1/instructions") else "NOT_FOUND"
                status, body, kind = *problem(code, "", correlation_id), answers.CONTENT_TYPE
        except TooLarge:
            status, body, kind = *problem("BODY_TOO_LARGE", "", correlation_id), answers.CONTENT_TYPE
        except SymphonyError as error:
            self._count(error.code)
            status, body, kind = *problem_of(error, correlation_id), answers.CONTENT_TYPE
        except TimeoutError:
            detail = "not known in time whether it was recorded: retry with a fresh token and the same key"
            status, body, kind = *problem("STORE_UNAVAILABLE", detail, correlation_id), answers.CONTENT_TYPE
        except Exception:  # noqa: BLE001 - a caller gets an answer whatever happens; the log gets the trace
            _LOG.exception("request %s failed", correlation_id)
            status, body, kind = *problem("INTERNAL", "", correlation_id), answers.CONTENT_TYPE
        await _respond(send, status, body, kind, correlation_id)

    async def _post(self, scope: Scope, receive: Receive, correlation_id: str) -> tuple[int, bytes, str]:
        view = self._pipeline.view
        intake = view.active.settings["intake"] if view else {}
        timeout_s = intake.get("request_timeout_ms", 15_000) / 1000
        with self.in_hand.request(intake.get("queue_max", REQUESTS_DEFAULT)) as held:
            bytes_max = intake.get("body_bytes_max", BODY_BYTES_DEFAULT)
            raw = await _read(scope, receive, held, bytes_max, timeout_s)
            held.admit()
            return await self._handle(scope, raw, correlation_id, timeout_s)

    async def _handle(self, scope: Scope, raw: bytes, correlation_id: str, timeout_s: float) -> tuple[int, bytes, str]:
        presented = presented_of(scope, raw, correlation_id=correlation_id)
        async with asyncio.timeout(timeout_s):
            answer = await self._pipeline.handle(
                presented, source=source_of(scope.get("client")), received_at=self._clock.now()
            )
            if answer.rejected_code is not None:
                self._count(answer.rejected_code)
                return *answers.rejection(answer, correlation_id), answers.CONTENT_TYPE
            for entry in answer.entries:
                self._count(entry.reason_code or "ACCEPTED")
            status = answers.status_of(answer)
            if _wants_xml(scope):
                request = answers.render_request(answer, uuid7().hex[:32], rfc3339(self._clock.now()))
                rendered = await self._pipeline.adapter.render_status(request)
                return status, rendered.xml, rendered.content_type
            states = await self._states(answer, scope) if answer.repeated else {}
            return status, answers.json_body(answer, states), answers.JSON

    async def _get(self, scope: Scope, instruction_id: str, correlation_id: str) -> tuple[int, bytes, str]:
        """The state of an instruction, to the participant that sent it only. The token is checked, and not spent."""
        participant = self._participant(scope, correlation_id)
        found = await self._status(instruction_id, participant)
        if found is None:
            return *problem("NOT_FOUND", "", correlation_id), answers.CONTENT_TYPE
        return 200, dumps(found), answers.JSON

    def _participant(self, scope: Scope, correlation_id: str) -> str:
        view, now = self._pipeline.view, self._clock.now()
        if view is None:
            raise SymphonyError("NO_ACTIVE_RELEASE")
        view.demand_fresh(now)
        presented = presented_of(scope, b"", correlation_id=correlation_id)
        identity = view.active.attestor.attest(presented, revocations=view.active.revocations, now=now)
        # A reading request has no body and no idempotency key; every rule before those has held when a participant is known.
        if isinstance(identity, Rejected) and identity.participant_id is None:
            raise SymphonyError(identity.code, identity.detail)
        assert identity.participant_id is not None
        return identity.participant_id

    async def _status(self, instruction_id: str, participant_id: str) -> dict[str, Any] | None:
        params = {"instruction_id": instruction_id, "participant_id": participant_id}
        found = (await self._pipeline.writer.call("status", params, timeout_s=5)).get("instruction")
        return found if isinstance(found, dict) else None

    async def _states(self, answer: Answer, scope: Scope) -> dict[str, dict[str, Any]]:
        participant = self._participant(scope, "")
        wanted = [entry.instruction_id for entry in answer.entries if entry.decision == "ALLOW"]
        found = await asyncio.gather(*(self._status(identifier, participant) for identifier in wanted))
        return {identifier: state or {} for identifier, state in zip(wanted, found, strict=True)}

    def _count(self, code: str) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1


async def _read(scope: Scope, receive: Receive, held: Held, bytes_max: int, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await _read_all(scope, receive, held, bytes_max)
    except TimeoutError as error:
        raise SymphonyError("REQUEST_INVALID", f"the body did not come whole within {timeout_s:.0f} s") from error


async def _read_all(scope: Scope, receive: Receive, held: Held, bytes_max: int) -> bytes:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if length.isdigit() and (len(length) > LENGTH_DIGITS_MAX or int(length) > bytes_max):
        raise TooLarge
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SymphonyError("REQUEST_INVALID", "the client went away")
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise TooLarge
        held.add(len(part))
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _correlation_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-correlation-id" and _CORRELATION.fullmatch(value.decode("latin-1")):
            return str(value.decode())
    return str(uuid7())


def _wants_xml(scope: Scope) -> bool:
    return any(name == b"accept" and b"application/xml" in value.lower() for name, value in scope["headers"])


async def _respond(send: Send, status: int, body: bytes, kind: str, correlation_id: str) -> None:
    headers = [
        (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()),
        (b"x-correlation-id", correlation_id.encode()),
    ]  # fmt: skip
    if status in {429, 503}:
        headers.append((b"retry-after", RETRY_AFTER_S))
    if status in {400, 401, 413}:  # the rest of a body may still be on its way
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
