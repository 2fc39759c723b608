"""A sidecar whose release grows old: caps tighten by its manifest's schedule, at once, told once, and over restarts (design 4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.release import VerifiedRelease
from contracts.times import SystemClock
from sidecar import following
from sidecar import writer as writers
from sidecar.following import Following
from sidecar.store import StoreConflict, StoreUnavailable
from tests.sidecar import support
from tests.sidecar import test_flow_writer as whole
from tests.sidecar.stage import Stage
from tests.sidecar.support import capped, handed, payment
from tests.sidecar.test_pure_following import Follower

AGE_S = support.manifest()["sidecar"]["ages_max_s"]["revocations"]
HOUR = 3600


def made(*, lease_s: float | None = None, role_s: float | None = None, number: int = 1) -> VerifiedRelease:
    """A release with a cap of 1,000 a payment and 10,000 a day, so long past the end of its lease or role."""
    now = SystemClock().now()
    release = replace(support.release(number, data=capped(1000, 10_000, 100)), expires_at=now + timedelta(days=30))
    if lease_s is not None:
        release = replace(release, fetched_at=now - timedelta(seconds=AGE_S + lease_s))
    if role_s is not None:
        release = replace(release, expires_at=now - timedelta(seconds=role_s))
    return release


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> Follower:
    """What every writer of the test follows; its rounds are the test's."""
    found = Follower()

    def of(**_: Any) -> Follower:
        return found

    monkeypatch.setattr(following, "client_context", lambda *_: None)
    monkeypatch.setattr(following, "HttpsSource", lambda *_: None)
    monkeypatch.setattr(following, "ReleaseFollower", of)
    monkeypatch.setattr(following, "_read", lambda _: b"")
    monkeypatch.setattr(writers, "Following", Following)
    monkeypatch.setattr("sidecar.orders.Orders.run", lambda *_: asyncio.sleep(HOUR))
    return found


def codes(answers: list[Any]) -> list[str | None]:
    """Reason codes of single payments; ``None`` for what was accepted."""
    return [answer if isinstance(answer, str) else answer.entries[0].reason_code for answer in answers]


def aged(stage: Stage) -> list[tuple[int, int, int, bool]]:
    """The steps that are evidence."""
    found = [one for one in stage.evidence() if one["schema"] == "symphony.evidence/release_aged/1"]
    return [(one["lease_step"], one["role_step"], one["caps_percent"], one["stopped"]) for one in found]


async def hear(one: whole.Running, follower: Follower, release: VerifiedRelease) -> None:
    """The writer's next round brings this."""
    follower.rounds.append(release)
    await one.writer._following.refresh()


async def test_a_payment_over_half_of_the_cap_is_refused_when_the_lease_ran_out_and_taken_after_a_refresh(
    stage: Stage, tmp_path: Path, follower: Follower
) -> None:
    """Through the writer's socket and database; the daily cap is half, too; each step is one record, a restart adds none."""
    follower.held = made(lease_s=10)
    async with await whole.adapter(tmp_path, stage.rail):
        async with whole.running(stage, tmp_path) as one:
            (over, under) = await one.record(handed(payment(amount=501)), handed(payment(amount=500)))
            assert codes([over, under]) == ["CAP_PAYMENT_VALUE", None]
            assert not isinstance(over, str)
            assert over.entries[0].detail.startswith("lease of release 1 ran out at ")
            tenth = [payment(amount=450) for _ in range(10)]
            assert codes(await one.record(*map(handed, tenth))) == [None] * 10
            assert codes(await one.record(handed(payment(amount=1)))) == ["CAP_DAILY_VALUE"], "5,000 are half of the day's cap"
            state = await one.client.call("state", {}, timeout_s=5)
            assert state["standing"] == {"lease": 1, "role": 0, "caps_percent": 50}
            await whole.until(lambda: aged(stage) == [(1, 0, 50, False)])
            await whole.until(lambda: stage.one("SELECT count(*) FROM symphony.payment_terminals") == 11)
        async with whole.running(stage, tmp_path, "b") as two:
            assert codes(await two.record(handed(payment(amount=501)))) == ["CAP_PAYMENT_VALUE"]
            await whole.until(lambda: two.writer._following._aging.told == (1, 0))
            await hear(two, follower, made())
            assert codes(await two.record(handed(payment(amount=501)))) == [None]
            assert aged(stage) == [(1, 0, 50, False), (0, 0, 100, False)]


async def test_a_role_that_ran_out_tightens_and_a_renewal_ends_it_and_nothing_runs_past_the_schedule(
    stage: Stage, tmp_path: Path, follower: Follower
) -> None:
    """At the stop nothing is taken, and the payment is free to come again; a new release is at full caps."""
    follower.held = made(role_s=10)
    async with await whole.adapter(tmp_path, stage.rail), whole.running(stage, tmp_path) as one:
        assert codes(await one.record(handed(payment(amount=501)), handed(payment(amount=500)))) == ["CAP_PAYMENT_VALUE", None]
        await hear(one, follower, made(role_s=24 * HOUR))
        assert codes(await one.record(handed(payment("later", amount=900)))) == ["NO_ACTIVE_RELEASE"]
        assert (await one.client.call("state", {}, timeout_s=5))["release"] is None
        await hear(one, follower, made(number=2))
        assert codes(await one.record(handed(payment("later", amount=900), number=2))) == [None]
        assert aged(stage) == [(0, 2, 50, False), (0, 3, 50, True), (0, 0, 100, False)]


async def test_low_value_is_what_is_left_before_the_stop_and_what_was_accepted_before_is_still_sent(
    stage: Stage, tmp_path: Path, follower: Follower
) -> None:
    """As under a lower cap by order: what was taken at full caps is sent, until the stop."""
    schedule = support.manifest()["staleness"]
    schedule["lease"][1]["payment_minor_max"] = {"ZMW": 7}
    follower.held = made()
    stage.rail.gate = asyncio.Event()
    async with await whole.adapter(tmp_path, stage.rail), whole.running(stage, tmp_path) as one:
        (full,) = await one.record(handed(payment(amount=1000)))
        old = made(lease_s=HOUR)
        await hear(one, follower, replace(old, manifest={**old.manifest, "staleness": schedule}))
        assert codes(await one.record(handed(payment(amount=8)), handed(payment(amount=7)))) == ["CAP_PAYMENT_VALUE", None]
        stage.rail.gate.set()
        assert not isinstance(full, str)
        await whole.until(lambda: stage.state(full.entries[0].instruction_id) == "SUCCEEDED")


class Moving:
    """The host's time, moved."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def now(self) -> datetime:
        """The time now, moved."""
        return SystemClock().now() + self.moved


async def test_a_writer_whose_clock_jumps_back_and_that_starts_again_keeps_its_step_until_a_new_timestamp(
    tmp_path: Path, follower: Follower
) -> None:
    """Neither the jump nor the restart loosens; the same timestamp again does not, either; a later one does."""
    clock, told = Moving(), []
    config = whole.config(type("S", (), {"database": type("D", (), {"writer": ""})})(), tmp_path, "a")  # type: ignore[arg-type]

    async def on_aged(release: VerifiedRelease, found: Any) -> None:
        told.append((release.number, found.steps))

    async def nothing(*_: Any) -> None:
        return

    def begun() -> Following:
        return Following(config, clock, on_active=nothing, on_refused=nothing, on_revocations=nothing, on_aged=on_aged)

    follower.held = made()
    one = begun()
    await one.start()
    clock.moved = timedelta(seconds=AGE_S + 2 * HOUR)
    await one.refresh()
    clock.moved = timedelta()
    assert _percent(one) == 50
    two = begun()
    await two.start()
    await two.refresh()
    active = two.active()
    assert active is not None
    assert active.standing.lease == 2
    assert told == [(1, (2, 0))]
    fresh = made()
    follower.rounds = [replace(fresh, lease_expires_at=fresh.lease_expires_at + timedelta(minutes=5))]
    await two.refresh()
    assert (_percent(two), told[-1]) == (100, (1, (0, 0)))


async def test_a_step_that_could_not_be_recorded_holds_all_the_same_and_is_told_once_the_store_is_back(
    tmp_path: Path, follower: Follower
) -> None:
    """The store's trouble neither loosens nor stops the following of releases."""
    config = whole.config(type("S", (), {"database": type("D", (), {"writer": ""})})(), tmp_path, "a")  # type: ignore[arg-type]
    trouble, told = [StoreUnavailable("away"), StoreConflict("no")], []

    async def on_aged(_: VerifiedRelease, found: Any) -> None:
        if trouble:
            raise trouble.pop()
        told.append(found.steps)

    async def nothing(*_: Any) -> None:
        return

    follower.held = made(lease_s=1)
    one = Following(config, SystemClock(), on_active=nothing, on_refused=nothing, on_revocations=nothing, on_aged=on_aged)
    await one.start()
    for _ in range(4):
        assert await one.refresh() is None
        assert _percent(one) == 50
    assert told == [(1, 0)]


def _percent(one: Following) -> int | None:
    active = one.active()
    return None if active is None else active.standing.caps_percent
