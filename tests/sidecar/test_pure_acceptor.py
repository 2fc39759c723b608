"""What an acceptor follows and reports, with a writer and an adapter of our own (D3, design section 3 "Processes")."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.insecure import InsecureWarning
from contracts.release import staleness
from contracts.runtime_invariants import Watch
from contracts.times import rfc3339
from sidecar.acceptor import Acceptor, create_app
from sidecar.attestation.rejects import RejectLimiter
from tests.sidecar import support

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class World:
    """Pipeline, writer, adapter and clock in one: what ``Acceptor`` asks of them."""

    def __init__(self) -> None:
        self.moment = NOW
        self.reported: list[dict[str, Any]] = []
        self.trouble: list[Exception] = []
        self.adapter_trouble: list[Exception] = []
        self.loads: list[int] = []
        self.state: dict[str, Any] = {"release": None}
        self.view: Any = None
        self.writer = self
        self.limiter = RejectLimiter(1)

    def now(self) -> datetime:
        """The clock."""
        return self.moment

    async def call(self, method: str, params: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """The writer."""
        if method == "state":
            return self.state
        if self.trouble:
            raise self.trouble.pop(0)
        self.reported.append(params["aggregate"])
        return {}

    async def configure_adapter(self, active: Any) -> None:
        """The adapter."""
        if self.adapter_trouble:
            raise self.adapter_trouble.pop(0)

    def bound(self, active: Any) -> None:
        """Bounds of the release."""
        self.limiter.rebound(active.settings["intake"]["rejects_per_source_per_minute_max"])


def acceptor(world: World) -> Any:
    """An acceptor in that world, without TLS and files."""
    made: Any = Acceptor.__new__(Acceptor)
    made.pipeline = made.clock = world
    made.watch = Watch(list)
    made.context = SimpleNamespace(reload=lambda _: None)
    made._revocations_version, made._loaded, made._unreported, made._drained_at = 0, None, [], 0.0

    def load(number: int, digest: str) -> Any:
        world.loads.append(number)
        return support.active(number)

    made._load = load
    return made


def refuse(world: World, *sources: str) -> None:
    """Two refusals of each source: one row, one counted."""
    for source in sources:
        for _ in range(2):
            world.limiter.admit(source, "TOKEN_MISSING", world.moment)
    world.moment += timedelta(minutes=2)


async def test_what_the_writer_does_not_take_is_reported_the_next_time() -> None:
    """D3: nothing is uncounted, also when the writer goes away in the middle; nothing is reported twice."""
    world = World()
    made = acceptor(world)
    refuse(world, "a", "b", "c")
    world.trouble = [CannotEvaluate("STORE_UNAVAILABLE")]
    with pytest.raises(CannotEvaluate):
        await made.report_rejects()
    refuse(world, "d")
    await made.report_rejects()
    await made.report_rejects()
    assert len({one["source_sha256"] for one in world.reported}) == len(world.reported) == 4
    assert sum(one["count"] for one in world.reported) == 4


async def test_at_the_end_the_open_windows_are_reported_too() -> None:
    """D3."""
    world = World()
    made = acceptor(world)
    for _ in range(5):
        world.limiter.admit("a", "TOKEN_MISSING", world.moment)
    await made.report_rejects()
    assert world.reported == []
    await made.report_rejects(final=True)
    assert [one["count"] for one in world.reported] == [4]


async def test_a_new_release_does_not_forget_what_was_counted() -> None:
    """D3: only the bound is another."""
    world = World()
    refuse(world, "a")
    world.bound(support.active())
    await acceptor(world).report_rejects()
    assert [one["count"] for one in world.reported] == [1]


def said(number: int = 1, **changes: Any) -> dict[str, Any]:
    """What a writer says of its release."""
    release = support.release(number)
    return {
        "release": {"number": number, "metadata_digest": release.metadata_digest}, "fetched_at": rfc3339(release.fetched_at),
        "lease_expires_at": rfc3339(release.lease_expires_at), "revocations_version": 1, "revocations": [], "usage": [],
        "backlog": 0, "as_of": rfc3339(release.fetched_at), **changes,
    }  # fmt: skip


async def test_a_release_is_verified_once_however_long_the_adapter_is_away() -> None:
    """Five times a second would be a loop that spins; until the adapter has it, the old view stays."""
    world = World()
    made = acceptor(world)
    world.state, world.adapter_trouble = said(), [CannotEvaluate("ADAPTER_UNAVAILABLE")] * 3
    for _ in range(3):
        with pytest.raises(CannotEvaluate):
            await made.follow_once()
        assert world.view is None
    await made.follow_once()
    assert (world.view.active.release.number, world.loads) == (1, [1])
    world.state = said(2)
    await made.follow_once()
    assert (world.view.active.release.number, world.loads) == (2, [1, 2])


async def test_an_emergency_over_the_same_release_is_taken_up_and_left_and_another_than_the_writers_is_not() -> None:
    """ADR 0013: the folder may be ahead of the writer, or behind; the acceptor decides under what the writer records under."""
    world = World()
    made = acceptor(world)
    held = [0]

    def load(number: int, digest: str) -> Any:
        world.loads.append(held[0])
        return support.in_emergency(number) if held[0] else support.active(number)

    made._load = load
    world.state = said()
    await made.follow_once()
    world.state = said(emergency=1)
    with pytest.raises(SymphonyError, match="emergency"):
        await made.follow_once()
    assert world.view.active.release.in_force == (1, 0)
    held[0] = 1
    await made.follow_once()
    assert world.view.active.release.in_force == (1, 1)
    world.state, held[0] = said(), 0
    await made.follow_once()
    assert (world.view.active.release.in_force, world.loads) == ((1, 0), [0, 0, 1, 0])


async def test_revocations_and_usage_follow_the_writer_within_a_release() -> None:
    """SEC-08: the list of the writer is the acceptor's; a writer without a release takes the view away."""
    world = World()
    made = acceptor(world)
    world.state = said()
    await made.follow_once()
    entry = {"kind": "participant", "id": support.KAFUE, "reason": "r", "revoked_at": rfc3339(NOW), "until": None}
    usage = [[support.KAFUE, "ZMW", "2026-11-24", 700, 3]]
    world.state = said(revocations_version=2, revocations=[entry], usage=usage)
    await made.follow_once()
    assert world.view.active.revocations.is_revoked("participant", support.KAFUE, NOW)
    assert world.view.usage == {(support.KAFUE, "ZMW"): (700, 3)}
    world.state = said(revocations_version=2, revocations=None, usage=usage)
    await made.follow_once()
    assert world.view.active.revocations.is_revoked("participant", support.KAFUE, NOW)
    world.state = {"release": None}
    await made.follow_once()
    assert world.view is None


async def test_a_release_with_wildcards_is_warned_of_once_at_its_activation() -> None:
    """A warning outside the block is an error."""
    world = World()
    made = acceptor(world)
    data = support.environment_data()
    data["wildcards"] = {**data["wildcards"], "agents": True}
    made._load = lambda number, _digest: support.active(number, data=data)
    world.state = said()
    with pytest.warns(InsecureWarning, match="the acceptor of .*: agents"):
        await made.follow_once()
    await made.follow_once()
    assert world.view is not None


async def test_how_old_the_release_is_stands_in_readiness_and_metrics_and_at_the_end_nothing_is_taken() -> None:
    """The writer's word for the step; the stop also by the acceptor's own reading of the manifest."""
    world = World()
    world.moment = datetime.now(UTC)
    made = acceptor(world)
    made.instructions = SimpleNamespace(counts={})
    made.pipeline.batchers = ()
    world.state = said(standing={"lease": 1, "role": 2, "caps_percent": 50})
    await made.follow_once()
    routes: dict[str, Any] = {route.path: route.endpoint for route in create_app(made).routes if hasattr(route, "endpoint")}
    ready = await routes["/health/ready"](None)
    assert (ready.status_code, ready.body) == (200, b"ready release=1 stale=lease-1,role-2 caps_percent=50\n")
    shown = (await routes["/metrics"](None)).body.decode()
    assert 'symphony_release_staleness_step{clock="role"} 2.0' in shown
    assert "symphony_release_caps_percent 50.0" in shown
    stop_s = staleness.revocations_age_s_max(support.manifest())
    world.state = said(as_of=rfc3339(world.moment), fetched_at=rfc3339(world.moment - timedelta(seconds=stop_s)))
    await made.follow_once()
    with pytest.raises(CannotEvaluate, match="RELEASE_STALE"):  # 503, and the payment may come again
        world.view.demand_fresh(world.moment)
    stopped = await routes["/health/ready"](None)
    assert (stopped.status_code, stopped.body) == (503, b"RELEASE_STALE\n")
