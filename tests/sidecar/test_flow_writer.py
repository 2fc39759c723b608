"""The writer process as a whole over its Unix socket, with releases given by hand: serve, survive, drain, be fenced."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from contracts import wire
from contracts.errors import NotTrusted, SymphonyError
from contracts.release import Custodians, VerifiedRelease
from contracts.software import itself
from contracts.times import SystemClock
from rails.sdk import StatusResult, SubmitItem
from rails.sdk.types import StatusAnswer, SubmitAnswer, SubmitRequest
from sidecar import writer as writers
from sidecar.active import ActiveRelease
from sidecar.config import ReleaseConfig, WriterConfig
from sidecar.intake.handover import Answer, HandedMessage, Handover, HandoverAnswer
from sidecar.store import Fenced
from sidecar.writer import Writer
from tests.sidecar import support
from tests.sidecar.stage import STREAM, Rail, Stage
from tests.sidecar.support import handed, payment


class Given:
    """``sidecar.following.Following`` with a release that is simply there."""

    def __init__(self, config: WriterConfig, clock: Any, *, on_active: Any, **_: Any) -> None:
        self._on_active = on_active
        self._active: ActiveRelease | None = None

    def active(self) -> ActiveRelease | None:
        """The release."""
        return self._active

    def custodians(self) -> Custodians:
        """Nobody's word is here."""
        raise NotTrusted("RELEASE_SHAPE")

    def last(self) -> VerifiedRelease | None:
        """The release, as orders ask for it."""
        return self._active.release if self._active else None

    async def start(self) -> None:
        """Take it up."""
        made = support.active()
        await self._on_active(made)
        self._active = made

    async def run(self) -> None:
        """Nothing follows."""
        await asyncio.sleep(3600)

    async def close(self) -> None:
        """Nothing is open."""


async def adapter(folder: Path, rail: Rail) -> asyncio.Server:
    """``rail`` behind a Unix socket, as an adapter process serves it."""

    async def handle(method: str, params: dict[str, Any]) -> dict[str, Any]:
        request = msgspec.convert(params, SubmitRequest, builtin_types=(bytes,))
        items: list[SubmitItem] = list(request.items)
        if method == "submit":
            results = await rail.submit(items, timeout_ms=request.timeout_ms)
            return dict(msgspec.to_builtins(SubmitAnswer(results=tuple(results)), builtin_types=(bytes,)))
        said: list[StatusResult] = await rail.query_status(items, timeout_ms=request.timeout_ms)
        return dict(msgspec.to_builtins(StatusAnswer(results=tuple(said)), builtin_types=(bytes,)))

    return await wire.serve(folder / "adapter.sock", handle)


def config(stage: Stage, folder: Path, instance: str) -> WriterConfig:
    """A writer of the stage's stream."""
    key = folder / "permit.pem"
    if not key.exists():
        key.write_bytes(
            support.permit_key().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key.chmod(0o600)
    unused = ReleaseConfig(url="", ca="", certificate="", key="", root="", folder=str(folder / "releases"))
    return WriterConfig(
        environment="sandbox", service=support.SERVICE, instance=support.SERVICE, stream=STREAM, database_url=stage.database.writer,
        socket=str(folder / f"{instance}.sock"), adapter_socket=str(folder / "adapter.sock"), permit_key=str(key), release=unused,
    )  # fmt: skip


class Running:
    """One writer and a client of its socket."""

    def __init__(self, stage: Stage, folder: Path, instance: str) -> None:
        self.stage = stage
        self._config = config(stage, folder, instance)
        self.writer = Writer(self._config, SystemClock())
        self.task = asyncio.create_task(self.writer.run())
        self.client = wire.Client(Path(self._config.socket))

    async def ready(self) -> Running:
        """Wait for the socket."""
        while not Path(self._config.socket).exists():
            assert not self.task.done(), self.task.exception()
            await asyncio.sleep(0.01)
        return self

    async def record(self, *messages: HandedMessage) -> list[Answer | str]:
        """Hand messages over, as an acceptor does."""
        self.stage.tokens += [message.token for message in messages if message.token]
        params = msgspec.to_builtins(Handover(messages=list(messages)), builtin_types=(bytes,))
        raw = await self.client.call("record", params, timeout_s=5)
        return msgspec.convert(raw, HandoverAnswer).answers

    async def stop(self) -> float:
        """SIGTERM; how long it took to end."""
        begun = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(15):
            await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()
        return time.monotonic() - begun


@asynccontextmanager
async def running(stage: Stage, folder: Path, instance: str = "a") -> AsyncIterator[Running]:
    """A writer that serves; ended in any case."""
    one = await Running(stage, folder, instance).ready()
    try:
        yield one
    finally:
        one.task.cancel()
        with suppress(BaseException):
            await one.task
        await one.client.close()


@pytest.fixture(autouse=True)
def _releases_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "Following", Given)


async def until(true: Callable[[], object]) -> None:
    """Wait for something that must come."""
    async with asyncio.timeout(8):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_handed_message_is_recorded_posted_and_shown(stage: Stage, tmp_path: Path) -> None:
    """Stations 4 to 7 in one process, over both sockets; state and usage for the acceptor."""
    async with await adapter(tmp_path, stage.rail), running(stage, tmp_path) as one:
        answers = await one.record(*(handed(payment(amount=100)) for _ in range(30)))
        ids = [answer.entries[0].instruction_id for answer in answers if isinstance(answer, Answer)]
        assert len(ids) == 30
        await until(lambda: len(stage.rail.posts) == 30)
        await until(lambda: stage.state(ids[0]) == "SUCCEEDED")
        params = {"instruction_id": ids[0], "participant_id": support.KAFUE}
        shown = await one.client.call("status", params, timeout_s=2)
        assert shown["instruction"]["state"] == "SUCCEEDED"
        other = await one.client.call("status", {**params, "participant_id": support.LUANGWA}, timeout_s=2)
        assert other["instruction"] is None
        state = await one.client.call("state", {}, timeout_s=2)
        assert state["release"]["number"] == 1
        assert await one.stop() < 3
    kinds = [record["schema"].split("/")[1] for record in stage.evidence()][:2]
    assert kinds == ["release_activated", "startup"]
    assert (stage.evidence()[1]["result"], stage.evidence()[1]["code_sha256"]) == ("STARTED", itself().code_sha256)


async def test_it_goes_on_after_the_database_was_away(stage: Stage, tmp_path: Path) -> None:
    """REC-08: every connection killed, several times; it neither ends nor loses nor posts twice."""
    async with await adapter(tmp_path, stage.rail), running(stage, tmp_path) as one:
        taken: set[str] = set()
        for _ in range(5):
            stage.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'symphony-writer'")
            with suppress(SymphonyError):
                answers = await one.record(handed(payment()), handed(payment()))
                taken |= {answer.entries[0].instruction_id for answer in answers if isinstance(answer, Answer)}
            await asyncio.sleep(0.1)
        await until(lambda: set(stage.rail.posts) >= taken and len(taken) > 1)
        assert not one.task.done()
        await until(lambda: stage.one("SELECT count(*) FROM symphony.outbox_leases") == 0)
        await one.stop()
    accepted = stage.one("SELECT count(*) FROM symphony.payment_instructions WHERE decision = 'ALLOW'")
    assert accepted == len(stage.rail.posts) >= len(taken)


async def test_a_newer_writer_ends_the_older_one_and_the_payments_go_on(stage: Stage, tmp_path: Path) -> None:
    """D5: the older one ends by itself, and says why; nothing is posted twice."""
    async with await adapter(tmp_path, stage.rail), running(stage, tmp_path) as old:
        await old.record(handed(payment()), handed(payment()))
        async with running(stage, tmp_path, "b") as new:
            with pytest.raises(BaseExceptionGroup) as ended:
                await asyncio.wait_for(old.task, 5)
            assert ended.group_contains(Fenced)
            await new.record(handed(payment()))
            await until(lambda: len(stage.rail.posts) == 3)
            await until(lambda: stage.one("SELECT count(*) FROM symphony.payment_terminals") == 3)
            await new.stop()


@pytest.mark.parametrize(
    "aggregate",
    [
        None, [], {}, {"seq": 7}, {"payload": "x"}, {"source_sha256": "z", "count": 1, "codes": {}, "first_at": "", "last_at": ""},
        {"source_sha256": "0" * 64, "count": 1, "codes": {"bad code": 1}, "first_at": "", "last_at": ""},
        {"source_sha256": "0" * 64, "count": 1, "codes": {}, "first_at": "", "last_at": "", "token": "x"},
    ],
)  # fmt: skip
async def test_what_an_acceptor_reports_is_held_to_its_fields(stage: Stage, tmp_path: Path, aggregate: object) -> None:
    """EVD-01: a report that no verifier would take must not become evidence."""
    async with running(stage, tmp_path) as one:
        before = len(stage.evidence())
        with pytest.raises(SymphonyError) as refused:
            await one.client.call("rejects", {"aggregate": aggregate}, timeout_s=2)
        assert refused.value.code == "REQUEST_INVALID"
        good = {"source_sha256": "0" * 64, "count": 2, "codes": {"TOKEN_MISSING": 2}, "first_at": "t", "last_at": "t"}
        await one.client.call("rejects", {"aggregate": good}, timeout_s=2)
        assert [record["count"] for record in stage.evidence()[before:]] == [2]


async def test_it_ends_in_time_while_the_rail_hangs(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain is bounded; what was under way is the next writer's to ask about."""
    monkeypatch.setattr(writers, "DRAIN_S", 0.3)
    stage.rail.gate = asyncio.Event()
    async with await adapter(tmp_path, stage.rail), running(stage, tmp_path) as one:
        await one.record(handed(payment()))
        await until(lambda: stage.one("SELECT count(*) FROM symphony.outbox_leases") == 1)
        assert await one.stop() < 2
        stage.rail.gate.set()
        async with running(stage, tmp_path, "b") as new:
            await until(lambda: stage.one("SELECT count(*) FROM symphony.payment_terminals") == 1)
            await new.stop()
    assert stage.rail.posts.total() == 1


async def test_a_rail_without_an_adapter_keeps_payments_until_it_is_there(stage: Stage, tmp_path: Path) -> None:
    """OUT-13: no byte left, so it is tried again after a back-off."""
    async with running(stage, tmp_path) as one:
        await one.record(handed(payment()))
        await until(lambda: "RETRYABLE" in str(stage.sql("SELECT state::text FROM symphony.payment_outbox_attempts")))
        async with await adapter(tmp_path, stage.rail):
            await until(lambda: stage.rail.posts.total() == 1)
            await until(lambda: stage.one("SELECT count(*) FROM symphony.payment_terminals") == 1)
            await one.stop()
    assert stage.rail.seals == []  # nothing was in doubt
