"""A ledger whose release grows old bounds what it posts by its manifest's schedule, as its sidecars do (design section 4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.release.aging import FILE
from contracts.release.status import status_report
from services.ledger.releases import ReleaseWindow
from tests.ledger.support import AGENTS, MovingClock, Sidecar, posting, release, sealing

CAPS = {"ZMW": {"payment_minor_max": 5000, "daily_minor_max": 10**6, "daily_count_max": 10}}
OWN = {"ZMW": {"payment_minor_max": 9000, "daily_minor_max": 10**6, "daily_count_max": 10}}
SCHEDULE = {
    "lease": [
        {"after_s": 0, "caps_percent": 50}, {"after_s": 3600, "payment_minor_max": {"ZMW": 100}}, {"after_s": 7200, "stop": True},
    ]
}  # fmt: skip


class Stopped(MovingClock):
    """A clock that stands still."""

    def now(self):
        return datetime(2026, 11, 24, tzinfo=UTC) + self.offset


def aging(sidecars, clock, **changes):
    """A release with a schedule; ``AGENTS[1]`` is spoken for by a participant with caps of its own."""
    made = release(sidecars, clock=clock, data={"caps": CAPS, "participants": [
        {"id": "a", "agents": [AGENTS[0]]}, {"id": "b", "agents": [AGENTS[1]], "caps": OWN},
    ]}, **changes)  # fmt: skip
    return replace(made, manifest={**made.manifest, "staleness": SCHEDULE})


@pytest.fixture
def old(world):
    """The running ledger, on a release whose lease has just run out."""
    world.follower.active = world.follower.published = aging([world.sidecar], world.clock, lease_expires_at=world.clock.now())
    world.ledger.ledger.window.withdraw()
    world.ledger.ledger.window.adopt(world.follower.active)
    return world


def test_over_http_a_posting_over_half_of_the_cap_is_refused_and_surely_not_taken(old, client, sidecar):
    """Retryable; one at the bound is posted, a repeat is told its posting, seals go on."""
    over, under = posting(amount_minor=2501), posting(amount_minor=2500)
    status, document = client.post(over, sidecar.permit(over))
    assert (status, document["reason_code"], document["retryable"]) == (503, "RELEASE_STALE", True)
    assert document["detail"].startswith("lease of release 1 ran out at ")
    assert client.post(under, sidecar.permit(under))[0] == 201
    assert len(old.journal()) == 2
    ready = client.request("GET", "/health/ready")
    assert ready[0] == 200
    assert "50 % of the caps" in ready[1]["stale"]
    old.clock.advance(3600)
    status, document = client.post(under, sidecar.permit(under, attempt=2))
    assert (status, document["repeated"]) == (200, True), "what was posted is told, whatever its value"
    seal = sealing(sidecar.claims(over)["instruction_id"])
    assert client.post(seal, sidecar.permit(seal, attempt=2))[0] == 200
    old.clock.advance(3600)
    assert client.post(seal, sidecar.permit(seal, attempt=3))[1]["reason_code"] == "NO_ACTIVE_RELEASE"
    assert client.request("GET", "/health/ready")[0] == 503


@pytest.mark.parametrize(
    ("after_s", "agent", "most"),
    [(-1, 0, None), (0, 0, 2500), (0, 1, 4500), (0, 2, 2500), (3600, 1, 100), (7199, 1, 100)],
)
def test_what_is_left_is_of_the_highest_cap_of_who_speaks_for_the_debit_agent(after_s, agent, most):
    """A posting names no participant; an agent for which nobody speaks has the environment's cap."""
    clock = Stopped()
    window = ReleaseWindow(clock)
    window.adopt(aging([Sidecar(clock)], clock, lease_expires_at=clock.now() - timedelta(seconds=after_s)))
    assert window.beyond(AGENTS[agent], "ZMW", most or 10**9) is None
    if most is not None:
        assert window.beyond(AGENTS[agent], "ZMW", most + 1).code == "RELEASE_STALE"
        assert window.beyond(AGENTS[agent], "EUR", 1) is not None, "no cap is a refusal"
    assert window.choose(1).number == 1


def test_a_clock_that_jumps_back_and_a_restart_leave_no_step_until_a_new_timestamp(tmp_path):
    clock = MovingClock()
    window = ReleaseWindow(clock, tmp_path / FILE)
    held = aging([Sidecar(clock)], clock, lease_expires_at=clock.now())
    window.adopt(held)
    clock.advance(3700)
    asyncio.run(window.note_age())
    clock.advance(-3800)
    again = ReleaseWindow(clock, tmp_path / FILE)
    again.adopt(held)
    assert window.standing.lease == again.standing.lease == 2
    again.adopt(replace(held, lease_expires_at=clock.now() + timedelta(hours=1)))
    assert again.standing.lease == 0


def test_the_fleet_is_told_the_step_unless_the_service_is_halted():
    identity = {"environment": "sandbox", "service": "s", "instance": "i"}
    told = [
        status_report(identity, None, None, delivered=None, ready=True, halted=halted, stale=stale)["mode"]
        for halted, stale in ((False, ""), (False, "stale-lease-1"), (True, "stale-lease-1"))
    ]
    assert told == ["enforced", "stale-lease-1", "halted"]
