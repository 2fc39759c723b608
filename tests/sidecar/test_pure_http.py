"""The acceptor's HTTP over ASGI with a pipeline of our own: bounds, addresses, timeouts, faults; never a trace (ATT-02)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.times import SystemClock
from sidecar.intake.handover import Answer, Entry
from sidecar.intake.http import BODY_BYTES_DEFAULT, Instructions
from sidecar.intake.pipeline import Pipeline
from tests.sidecar import support

SECRET = "postgresql://writer:hunter2@db"
ACCEPTED = Answer(
    attestation_id="a-1", received_at="t", release_number=1, policy_checksum="c",
    entries=[Entry(instruction_id="i-1", tx_index=0, decision="ALLOW")],
)  # fmt: skip
INSTRUCTION = "/v1/instructions/01a20d83-7c02-7437-bd44-2f534f9488b2"


class FakePipeline:
    """What ``Instructions`` asks of a pipeline."""

    def __init__(self, act: Callable[[Any], Awaitable[Answer]] | None = None, *, intake: dict[str, int] | None = None) -> None:
        settings = {**support.manifest()["sidecar"]["intake"], **(intake or {})}
        active = support.active()
        active.settings = {**active.settings, "intake": settings}
        self.view: Any = SimpleNamespace(active=active, demand_fresh=lambda now: None)
        self.bodies: list[bytes] = []
        self.asked: list[dict[str, Any]] = []
        self.status: dict[str, Any] | None = {"state": "QUEUED"}
        self.writer = self
        self._act = act

    async def handle(self, presented: Any, **_: Any) -> Answer:
        """Station 1 to 3 and the handing over."""
        self.bodies.append(presented.body)
        return ACCEPTED if self._act is None else await self._act(presented)

    async def call(self, method: str, params: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """The writer."""
        self.asked.append(params)
        return {"instruction": self.status}


class Reply:
    """What came back."""

    def __init__(self, sent: list[dict[str, Any]]) -> None:
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        self.status: int = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.body: bytes = sent[1]["body"]
        assert int(self.headers["content-length"]) == len(self.body)
        for leak in (b"Traceback", b'File "', SECRET.encode()):
            assert leak not in self.body

    @property
    def code(self) -> str:
        """The reason code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        document = orjson.loads(self.body)
        assert document["status"] == self.status
        return str(document["reason_code"])


async def ask(
    pipeline: Any, method: str = "POST", path: str = "/v1/instructions", *chunks: bytes, headers: dict[str, str] | None = None,
    gone: bool = False, stalls: bool = False, der: bytes | None = None,
) -> Reply:  # fmt: skip
    """One request; ``chunks`` as the body's parts, ``gone`` and ``stalls`` as what follows them."""
    parts = list(chunks) or [b"<Document/>"]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts) or gone or stalls}
        if stalls:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http", "method": method, "path": path, "headers": raw, "client": ("127.0.0.1", 1),
        "extensions": {} if der is None else {"tls.peer_der": der},
    }  # fmt: skip
    await Instructions(cast("Pipeline", pipeline), SystemClock())(scope, receive, send)
    return Reply(sent)


async def test_a_recorded_message_is_202_with_a_list_and_its_correlation_id() -> None:
    """REC-02."""
    reply = await ask(FakePipeline(), headers={"X-Correlation-Id": "mine-1"})
    assert (reply.status, reply.headers["content-type"]) == (202, "application/json")
    assert reply.headers["x-correlation-id"] == "mine-1"
    assert [one["instruction_id"] for one in orjson.loads(reply.body)] == ["i-1"]


@pytest.mark.parametrize("mine", ["", "a b", "x" * 65, "<script>", "é"])
async def test_a_correlation_id_that_is_none_is_replaced(mine: str) -> None:
    """Never echoed."""
    reply = await ask(FakePipeline(), headers={"X-Correlation-Id": mine})
    assert reply.headers["x-correlation-id"] != mine
    assert len(reply.headers["x-correlation-id"]) == 36


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/instructions", "METHOD_NOT_ALLOWED"),
        ("PUT", "/v1/instructions", "METHOD_NOT_ALLOWED"),
        ("DELETE", INSTRUCTION, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/instructions/not-an-id", "METHOD_NOT_ALLOWED"),
        ("GET", "/", "NOT_FOUND"),
        ("POST", "/v2/instructions", "NOT_FOUND"),
        ("POST", "/v1/../v1/instructions", "NOT_FOUND"),
    ],
)
async def test_an_unknown_address_or_method_is_a_problem_document(method: str, path: str, code: str) -> None:
    """And nothing is read or attested for it."""
    pipeline = FakePipeline()
    assert (await ask(pipeline, method, path)).code == code
    assert pipeline.bodies == []


async def test_a_body_over_the_bound_is_refused_by_its_length_before_it_is_read() -> None:
    """ATT-02 step 1: also when the length has more digits than a number may have."""
    for length in ("101", "9" * 30, "9" * 5_000):
        pipeline = FakePipeline(intake={"body_bytes_max": 100})
        reply = await ask(pipeline, headers={"Content-Length": length})
        assert (reply.code, reply.status, reply.headers["connection"]) == ("BODY_TOO_LARGE", 413, "close")
        assert pipeline.bodies == []


@pytest.mark.parametrize("length", [None, "5", "-1", "x"])
async def test_a_body_over_the_bound_is_refused_while_it_is_read_whatever_length_was_said(length: str | None) -> None:
    """ATT-02 step 1: chunked, or a length that lies."""
    pipeline = FakePipeline(intake={"body_bytes_max": 100})
    headers = {} if length is None else {"Content-Length": length}
    reply = await ask(pipeline, "POST", "/v1/instructions", b"a" * 60, b"b" * 41, b"c" * 10_000, headers=headers)
    assert (reply.code, pipeline.bodies) == ("BODY_TOO_LARGE", [])


async def test_a_body_of_exactly_the_bound_passes_in_any_number_of_parts() -> None:
    """ATT-02 step 1."""
    pipeline = FakePipeline(intake={"body_bytes_max": 100})
    assert (await ask(pipeline, "POST", "/v1/instructions", b"a" * 60, b"", b"b" * 40)).status == 202
    assert pipeline.bodies == [b"a" * 60 + b"b" * 40]


async def test_without_a_release_the_default_bound_holds_and_the_answer_is_503() -> None:
    """Fail closed."""

    async def nothing(_: Any) -> Answer:
        raise CannotEvaluate("NO_ACTIVE_RELEASE")

    pipeline = FakePipeline(nothing)
    pipeline.view = None
    reply = await ask(pipeline)
    assert (reply.code, reply.status, "retry-after" in reply.headers) == ("NO_ACTIVE_RELEASE", 503, True)
    assert (await ask(pipeline, "POST", "/v1/instructions", b"a" * (BODY_BYTES_DEFAULT + 1))).code == "BODY_TOO_LARGE"
    assert (await ask(pipeline, "GET", INSTRUCTION)).code == "NO_ACTIVE_RELEASE"


async def test_a_client_that_goes_away_or_never_ends_its_body_ends_the_request() -> None:
    """Never a hang."""
    pipeline = FakePipeline(intake={"request_timeout_ms": 50})
    assert (await ask(pipeline, "POST", "/v1/instructions", b"a", gone=True)).code == "REQUEST_INVALID"
    async with asyncio.timeout(2):
        assert (await ask(pipeline, "POST", "/v1/instructions", b"a", stalls=True)).code == "REQUEST_INVALID"
    assert pipeline.bodies == []


async def test_an_answer_that_does_not_come_in_time_says_that_nothing_is_known() -> None:
    """REC-08, REC-13: 503 with Retry-After; whether it was recorded is not claimed either way."""

    async def hangs(_: Any) -> Answer:
        await asyncio.sleep(60)
        return ACCEPTED

    async with asyncio.timeout(2):
        reply = await ask(FakePipeline(hangs, intake={"request_timeout_ms": 50}))
    assert (reply.code, reply.status, reply.headers["retry-after"]) == ("STORE_UNAVAILABLE", 503, "1")
    assert "retry with a fresh token and the same key" in orjson.loads(reply.body)["detail"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (SymphonyError("STORE_UNAVAILABLE", "commit unknown"), "STORE_UNAVAILABLE"),
        (CannotEvaluate("OVERLOADED"), "OVERLOADED"),
        (SymphonyError("EVIDENCE_BACKLOG"), "EVIDENCE_BACKLOG"),
        (KeyError(SECRET), "INTERNAL"),
        (RuntimeError(SECRET), "INTERNAL"),
        (OSError(SECRET), "INTERNAL"),
        (TimeoutError(SECRET), "STORE_UNAVAILABLE"),
        (RecursionError(SECRET), "INTERNAL"),
    ],
)
async def test_any_fault_is_a_problem_document_without_a_trace_or_a_secret(trouble: Exception, code: str) -> None:
    """Design section 12; ``Reply`` looks for both."""

    async def fails(_: Any) -> Answer:
        raise trouble

    assert (await ask(FakePipeline(fails))).code == code


async def test_a_rejected_message_is_a_problem_document_and_is_counted() -> None:
    """ATT-15."""

    async def rejects(_: Any) -> Answer:
        return Answer(attestation_id="a-2", received_at="t", release_number=1, policy_checksum="c", rejected_code="TOKEN_REPLAYED")

    reply = await ask(FakePipeline(rejects))
    assert (reply.code, reply.status, orjson.loads(reply.body)["attestation_id"]) == ("TOKEN_REPLAYED", 401, "a-2")


def credentials() -> dict[str, str]:
    """An Authorization header that Kafue's certificate is bound to."""
    return {"Authorization": f"Bearer {support.token()}"}


async def test_a_state_is_read_by_the_participant_of_token_and_certificate() -> None:
    """Design section 12: the writer is asked for this participant's instruction only; the token is not spent by reading."""
    pipeline, der = FakePipeline(), support.certificate(support.KAFUE).der
    headers = credentials()
    for _ in range(2):
        reply = await ask(pipeline, "GET", INSTRUCTION, headers=headers, der=der)
        assert (reply.status, orjson.loads(reply.body)) == (200, {"state": "QUEUED"})
    assert [params["participant_id"] for params in pipeline.asked] == [support.KAFUE] * 2
    pipeline.status = None
    assert (await ask(pipeline, "GET", INSTRUCTION, headers=headers, der=der)).code == "NOT_FOUND"


async def test_a_state_is_read_by_nobody_without_certificate_token_or_with_anothers() -> None:
    """ATT-01, for a reading request, too."""
    pipeline, luangwa = FakePipeline(), support.certificate(support.LUANGWA).der
    assert (await ask(pipeline, "GET", INSTRUCTION, headers=credentials())).code == "CERTIFICATE_MISSING"
    assert (await ask(pipeline, "GET", INSTRUCTION, der=luangwa)).code == "TOKEN_MISSING"
    assert (await ask(pipeline, "GET", INSTRUCTION, headers=credentials(), der=luangwa)).code == "POP_MISMATCH"
    assert pipeline.asked == []
