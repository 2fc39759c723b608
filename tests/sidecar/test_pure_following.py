"""Following releases with a follower of our own: nothing ends the loop but a newer writer; revocations are kept durably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.release import FolderSource, ReleaseSource, VerifiedRelease
from contracts.release.model import Emergency
from contracts.times import SystemClock
from sidecar import following as module
from sidecar.config import ReleaseConfig, WriterConfig
from sidecar.following import Following
from sidecar.store import Fenced, StoreConflict, StoreUnavailable
from tests.sidecar import support


class Follower:
    """``contracts.release.ReleaseFollower`` whose repository is a list of rounds."""

    def __init__(self, **_: Any) -> None:
        self.active: VerifiedRelease | None = None
        self.refused: tuple[int, str] | None = None
        self.emergency_refused: tuple[int, str] | None = None
        self.under: VerifiedRelease | None = None
        self.delivered: int | None = None
        self.seen = 0
        self.rounds: list[VerifiedRelease | Exception | None] = []
        self.held: VerifiedRelease | Exception | None = None
        self.sources: list[ReleaseSource | None] = []

    def start(self) -> VerifiedRelease | None:
        """The held release."""
        if isinstance(self.held, Exception):
            raise self.held
        self.active = self.held
        return self.held

    def refresh(self, source: ReleaseSource | None = None) -> None:
        """One round; ``sources`` are those that stood in for the control plane."""
        self.sources.append(source)
        told = self.rounds.pop(0) if self.rounds else None
        if isinstance(told, Exception):
            raise told
        if told is not None:
            self.active = told


class Heard:
    """What the writer was told, and what it answers with."""

    def __init__(self) -> None:
        self.active: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self.revocations: list[int] = []
        self.trouble: list[Exception] = []

    def _stumble(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)

    async def on_active(self, active: Any) -> None:
        """A release is about to be in force."""
        self._stumble()
        self.active.append(active.release.number)

    async def on_refused(self, number: int, code: str) -> None:
        """A release was refused."""
        self._stumble()
        self.refused.append((number, code))

    async def on_revocations(self, release: VerifiedRelease) -> None:
        """A list is to be kept."""
        self._stumble()
        self.revocations.append(release.revocations_version)


Made = Callable[[], tuple[Following, Follower, Heard]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """A ``Following`` without TLS, repository and database."""
    monkeypatch.setattr(module, "client_context", lambda *_: None)
    monkeypatch.setattr(module, "HttpsSource", lambda *_: None)
    monkeypatch.setattr(module, "ReleaseFollower", Follower)
    monkeypatch.setattr(module, "_read", lambda _: b"")
    release = ReleaseConfig(url="", ca="", certificate="", key="", root="", folder="", poll_ms=1)
    config = WriterConfig(
        environment="sandbox", service=support.SERVICE, instance="i", stream="s", database_url="", socket="", adapter_socket="",
        permit_key="", release=release,
    )  # fmt: skip

    def build() -> tuple[Following, Follower, Heard]:
        heard = Heard()
        following = Following(
            config, SystemClock(), on_active=heard.on_active, on_refused=heard.on_refused, on_revocations=heard.on_revocations
        )
        follower: Any = following._follower
        return following, follower, heard

    return build


def number_of(following: Following) -> int | None:
    """The release in force."""
    active = following.active()
    return None if active is None else active.release.number


async def test_a_newer_release_replaces_the_older_one_as_one(made: Made) -> None:
    """Rule 15: after the writer has taken it."""
    following, follower, heard = made()
    follower.held = support.release(1)
    await following.start()
    assert number_of(following) == 1
    follower.rounds = [support.release(2)]
    await following.refresh()
    assert (number_of(following), heard.active) == (2, [1, 2])


async def test_a_renewed_revocation_list_is_in_force_at_once_and_kept_once(made: Made) -> None:
    """SEC-08, INV-023: a list that comes between two releases is durable, too; a failed write is tried again."""
    following, follower, heard = made()
    follower.held = support.release(1)
    await following.start()
    entry = {"kind": "participant", "id": support.KAFUE, "reason": "r", "revoked_at": "2026-01-01T00:00:00.000000Z", "until": None}
    renewed = replace(support.release(1), revocations=[entry], revocations_version=2)
    follower.rounds, heard.trouble = [renewed], [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await following.refresh()
    active = following.active()
    assert active is not None
    assert active.revocations.is_revoked("participant", support.KAFUE, SystemClock().now())
    assert heard.revocations == [1]
    for _ in range(3):
        await following.refresh()
    assert heard.revocations == [1, 2]


async def test_a_release_that_the_writer_cannot_take_now_is_taken_later_and_the_old_one_runs_on(made: Made) -> None:
    """The store was away while it was to be activated."""
    following, follower, heard = made()
    follower.held = support.release(1)
    await following.start()
    heard.trouble = [StoreUnavailable("away")]
    follower.rounds = [replace(support.release(2), revocations_version=1)]
    with pytest.raises(StoreUnavailable):
        await following.refresh()
    assert number_of(following) == 1
    await following.refresh()
    assert number_of(following) == 2


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), NotTrusted("RELEASE_EXPIRED"), OSError("disk")])
async def test_a_held_release_that_cannot_be_taken_up_is_no_reason_not_to_start(made: Made, trouble: Exception) -> None:
    """It is looked at again by the loop; without it nothing is taken in."""
    following, follower, heard = made()
    follower.held = trouble if not isinstance(trouble, StoreUnavailable) else support.release(1)
    heard.trouble = [trouble] if isinstance(trouble, StoreUnavailable) else []
    assert await following.start() == getattr(trouble, "code", "CONFIGURATION"), "for the evidence of the start"
    assert number_of(following) is None
    follower.rounds = [support.release(1)]
    await following.refresh()
    assert number_of(following) == 1


async def test_no_trouble_of_a_round_ends_the_loop_but_a_newer_writer_does(made: Made) -> None:
    """Whatever the repository, the disk or the store does."""
    following, follower, heard = made()
    follower.rounds = [
        NotTrusted("RELEASE_EXPIRED"), OSError("disk"), KeyError("defect"),
        support.release(1),
    ]  # fmt: skip
    heard.trouble = [StoreUnavailable("away"), StoreConflict("no"), OSError("disk"), KeyError("defect")]
    loop = asyncio.create_task(following.run())
    async with asyncio.timeout(5):
        while number_of(following) != 1:
            assert not loop.done()
            await asyncio.sleep(0.005)
    heard.trouble = [Fenced("over")]
    follower.rounds = [support.release(2)]
    with pytest.raises(Fenced):
        await asyncio.wait_for(loop, 2)


async def test_a_refusal_is_told_until_it_was_heard_and_then_no_more(made: Made) -> None:
    """It becomes evidence exactly once."""
    following, follower, heard = made()
    follower.refused = (7, "RELEASE_ROLLBACK")
    heard.trouble = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await following.refresh()
    await following.refresh()
    await following.refresh()
    assert heard.refused == [(7, "RELEASE_ROLLBACK")]


async def test_a_release_whose_lease_has_run_out_is_none(made: Made) -> None:
    """Fail closed, without a schedule; with a schedule in its manifest, at that schedule's end (``test_pure_staleness``)."""
    following, follower, _ = made()
    gone = support.release(1)
    del gone.manifest["staleness"]
    follower.held = replace(gone, lease_expires_at=gone.fetched_at)
    await following.start()
    assert following.active() is None


async def test_what_a_folder_brings_is_activated_as_any_other_and_its_refusal_is_told(made: Made, tmp_path: Path) -> None:
    """The source stands in once; the old release runs on under a refusal, and the officer hears why."""
    following, follower, heard = made()
    follower.held = support.release(1)
    await following.start()
    follower.rounds = [support.release(2), NotTrusted("RELEASE_DIGEST", "a target was changed")]
    folder = FolderSource(tmp_path)
    assert await following.refresh(folder) is None
    trouble = await following.refresh(folder)
    assert trouble is not None
    assert (trouble.code, number_of(following), heard.active) == ("RELEASE_DIGEST", 2, [1, 2])
    await following.refresh()
    assert follower.sources == [folder, folder, None]


async def test_trouble_while_waiting_does_not_end_the_loop(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the bell costs a pause, and the next release is still taken."""
    following, follower, _ = made()

    async def broken(*_: Any) -> None:
        raise KeyError("defect")

    monkeypatch.setattr(following._bell, "heard", broken)
    follower.rounds = [support.release(1), support.release(2), support.release(3)]
    loop = asyncio.create_task(following.run())
    async with asyncio.timeout(10):
        while number_of(following) != 3:
            assert not loop.done()
            await asyncio.sleep(0.005)
    loop.cancel()


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = SystemClock().now()

    def now(self) -> datetime:
        """The moment."""
        return self.moment


def in_emergency(clock: HandClock, number: int = 1) -> VerifiedRelease:
    """A release with emergency 1 over it for a minute."""
    now, alone = clock.now(), support.release(number)
    over = Emergency(1, "e" * 64, "0" * 64, now, now + timedelta(seconds=60), alone.policy_digest)
    return replace(alone, emergency=over, decide_again=True)


def in_force(following: Following) -> tuple[int, int] | None:
    """The release in force and the emergency over it."""
    active = following.active()
    return None if active is None else active.release.in_force


async def test_an_emergency_is_in_force_until_its_end_and_then_the_release_alone_at_once(made: Made) -> None:
    """ADR 0013: at its end nobody need be reached; the next round says it to the writer."""
    following, follower, heard = made()
    clock: Any = HandClock()
    following._clock = clock
    follower.held = support.release(1)
    await following.start()
    follower.under, follower.rounds = replace(support.release(1), decide_again=True), [in_emergency(clock)]
    await following.refresh()
    assert (in_force(following), heard.active) == ((1, 1), [1, 1])
    clock.moment += timedelta(seconds=61)
    assert in_force(following) == (1, 0)
    alone = following.active()
    assert alone is not None
    assert alone.release.decide_again
    follower.rounds = [follower.under]
    await following.refresh()
    assert (in_force(following), following.active() is alone, heard.active) == ((1, 0), True, [1, 1, 1])


async def test_an_emergency_that_is_refused_is_told_once_and_its_release_is_not(made: Made) -> None:
    following, follower, heard = made()
    follower.held = support.release(1)
    await following.start()
    follower.emergency_refused = (3, "EMERGENCY_SIGNATURE")
    for _ in range(3):
        await following.refresh()
    assert (in_force(following), heard.refused) == ((1, 0), [(3, "EMERGENCY_SIGNATURE")])
