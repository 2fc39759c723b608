"""The bell: a server says when to look, never what to take; whatever it does, the follower goes on by polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.release import bell as module
from contracts.release.bell import ASK_AGAIN_S, WAIT_S_MAX, Bell, meanwhile, patience

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Server:
    """What the bell's server answers, and how often it was asked and the bell paused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[int], Any]) -> None:
        self.asked, self.pauses = 0, 0
        self.bell = Bell("https://there/tuf", None, pause_s=3600)
        self._answer = answer
        monkeypatch.setattr(self.bell, "_ask", self._ask)
        monkeypatch.setattr(self.bell, "_pause", self._pause)
        monkeypatch.setattr(module, "SPREAD_S", 0.0)

    async def _ask(self, known: int, _seconds: int) -> int:
        self.asked += 1
        told = self._answer(known)
        return int(await told) if asyncio.iscoroutine(told) else int(told)

    async def _pause(self) -> None:
        self.pauses += 1

    async def heard(self, *known: int) -> tuple[int, int]:
        """(asked, paused) after as many rounds."""
        for one in known:
            await self.bell.heard(one, 20)
        return self.asked, self.pauses


def broken(_known: int) -> int:
    """A server that is away."""
    raise OSError("away")


async def test_a_ring_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Server(monkeypatch, lambda known: known + 1).heard(3, 4, 5) == (3, 0)


async def test_a_server_that_rings_without_anything_new_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ring counts twice: each one that brings nothing is followed by a pause, however the server goes on."""
    assert await Server(monkeypatch, lambda known: known + 1).heard(3, 3, 3, 3) == (2, 2)


@pytest.mark.parametrize("answer", [lambda known: known, lambda known: known - 1, lambda _: -(2**70), broken],
                         ids=["unchanged", "older", "absurd", "away"])  # fmt: skip
async def test_a_server_that_answers_nothing_new_at_once_is_polled(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    assert await Server(monkeypatch, answer).heard(3, 3, 3) == (3, 3)


async def test_a_server_that_never_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease goes on being renewed by looking, and a hang of the long poll holds up nothing."""
    monkeypatch.setattr(module, "ANSWER_MARGIN_S", 0.01 - 20)
    server = Server(monkeypatch, lambda _: asyncio.sleep(3600, 0))
    assert await asyncio.wait_for(server.heard(3), 10) == (1, 1)


async def test_a_wait_can_be_ended_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda _: asyncio.sleep(3600, 0))
    task = asyncio.create_task(server.heard(3))
    while not server.asked:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_without_anybody_to_ask_it_only_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    made, paused = Bell(None, None, pause_s=3600), []

    async def pause() -> None:
        paused.append(1)

    monkeypatch.setattr(made, "_pause", pause)
    await made.heard(3, 20)
    await made.heard(3, 20)
    assert len(paused) == 2


@pytest.mark.parametrize(("header", "seconds"), [("10", 10), ("0", 0), ("86400", ASK_AGAIN_S), ("", ASK_AGAIN_S),
                                                 ("soon", ASK_AGAIN_S), ("-5", ASK_AGAIN_S)])  # fmt: skip
def test_how_long_a_server_that_has_no_place_is_left_alone(header: str, seconds: float) -> None:
    assert module._retry_after_s(header) == seconds


def release(lease_s: float, age_s: float | None = None) -> Any:
    """As much of a release as patience reads."""
    manifest: dict[str, Any] = {} if age_s is None else {"sidecar": {"ages_max_s": {"revocations": age_s}}}
    return SimpleNamespace(lease_expires_at=NOW + timedelta(seconds=lease_s), manifest=manifest)


def test_a_wait_ends_long_before_lease_or_revocation_list_are_too_old() -> None:
    assert patience(None, NOW) == WAIT_S_MAX
    assert patience(release(3600), NOW) == WAIT_S_MAX
    assert patience(release(3600, 300), NOW) == WAIT_S_MAX
    assert patience(release(20), NOW) == 5
    assert patience(release(3600, 8), NOW) == 2
    assert patience(release(-1), NOW) == 0


async def test_what_is_done_in_the_meantime_ends_with_the_work() -> None:
    done: list[int] = []
    rung = asyncio.Event()

    async def act() -> None:
        done.append(1)
        if len(done) == 3:
            rung.set()

    async def work() -> None:
        await rung.wait()

    await meanwhile(work(), 0.001, act)
    assert len(done) >= 3
