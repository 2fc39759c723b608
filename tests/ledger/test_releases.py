"""Which release a permit may name, by a clock that the test moves; following; the durable record (design section 3)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.errors import NotTrusted, SymphonyError
from contracts.release.model import Emergency
from contracts.times import rfc3339
from services.ledger.releases import Following, ReleaseWindow
from services.ledger.store.releases import AcceptedReleases
from tests.ledger.support import POLICY, HandFollower, MovingClock, Sidecar, posting, release

GLASS = "9" * 64


@pytest.fixture
def clock():
    return MovingClock()


@pytest.fixture
def window(clock):
    return ReleaseWindow(clock)


def made(clock, number, **changes):
    return release([Sidecar(clock)], number, clock, **changes)


def refusal(window, number):
    with pytest.raises(SymphonyError) as caught:
        window.choose(number)
    return caught.value.code


def test_without_a_release_everything_is_refused(window):
    assert refusal(window, 1) == "NO_ACTIVE_RELEASE"
    assert window.active is None


def test_the_active_release_and_for_sixty_seconds_the_one_before(window, clock):
    for number in (1, 2, 3):
        window.adopt(made(clock, number))
    assert window.choose(3).number == 3
    assert window.choose(2).number == 2
    assert refusal(window, 1) == "RELEASE_SUPERSEDED"
    clock.advance(59.5)
    assert window.choose(2).number == 2
    clock.advance(0.6)
    assert refusal(window, 2) == "RELEASE_SUPERSEDED"
    assert window.choose(3).number == 3


def test_renewing_the_same_release_does_not_begin_the_grace_again(window, clock):
    window.adopt(made(clock, 1))
    window.adopt(made(clock, 2))
    clock.advance(40)
    window.adopt(made(clock, 2))
    clock.advance(30)
    assert refusal(window, 1) == "RELEASE_SUPERSEDED"


def test_a_higher_number_asks_for_a_fetch(window, clock):
    window.adopt(made(clock, 1))
    assert not window.newer_named.is_set()
    assert refusal(window, 2) == "RELEASE_NOT_YET"
    assert window.newer_named.is_set()


@pytest.mark.parametrize("limit", ["expires_at", "lease_expires_at"])
def test_a_release_or_lease_that_has_run_out_is_no_release(window, clock, limit):
    window.adopt(made(clock, 1, **{limit: clock.now() + timedelta(seconds=10)}))
    assert window.choose(1).number == 1
    clock.advance(11)
    assert refusal(window, 1) == refusal(window, 2) == "NO_ACTIVE_RELEASE"
    window.adopt(made(clock, 1))
    assert window.choose(1).number == 1


def test_the_one_before_is_not_taken_when_it_ran_out_or_is_revoked(window, clock):
    window.adopt(made(clock, 1, expires_at=clock.now() + timedelta(seconds=10)))
    window.adopt(made(clock, 2))
    assert window.choose(1).number == 1
    clock.advance(11)
    assert refusal(window, 1) == "RELEASE_SUPERSEDED"
    entry = {"kind": "release", "id": f"{2:064x}", "reason": "withdrawn", "revoked_at": "", "until": None}
    window.adopt(made(clock, 3, revocations=[entry]))
    assert refusal(window, 2) == "RELEASE_SUPERSEDED"


def test_a_withdrawn_release_leaves_none(window, clock):
    window.adopt(made(clock, 1))
    window.adopt(made(clock, 2))
    window.withdraw()
    assert refusal(window, 1) == refusal(window, 2) == "NO_ACTIVE_RELEASE"


def test_a_revocation_ends_when_it_says(window, clock):
    entry = {"kind": "permit_key", "id": "a", "reason": "", "revoked_at": "",
             "until": rfc3339(clock.now() + timedelta(seconds=5))}  # fmt: skip
    window.adopt(made(clock, 1, revocations=[entry]))
    with pytest.raises(NotTrusted, match="PERMIT_KEY_UNKNOWN"):
        window.check_key(window.choose(1), "a")
    window.check_key(window.choose(1), "b")
    clock.advance(6)
    window.check_key(window.choose(1), "a")


def follow(follower, window, steps, poll_s=5.0, report=None):
    """Run the following while ``steps`` (a coroutine function) acts."""

    async def run():
        following = asyncio.create_task(Following(follower, window, poll_s=poll_s, report=report).run())
        try:
            async with asyncio.timeout(10):
                await steps()
        finally:
            following.cancel()

    asyncio.run(run())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_following_starts_on_the_held_release_and_fetches_when_a_permit_names_a_newer_one(window, clock):
    follower = HandFollower(made(clock, 1))

    async def steps():
        await until(lambda: window.active is not None)
        follower.published = made(clock, 2)
        begun = time.monotonic()
        assert refusal(window, 2) == "RELEASE_NOT_YET"
        await until(lambda: window.active.number == 2)
        assert time.monotonic() - begun < 2  # long before the poll

    follow(follower, window, steps, poll_s=60)


def test_a_refresh_that_fails_keeps_the_old_release_and_is_reported(window, clock):
    follower, reports = HandFollower(made(clock, 1)), []

    async def report(active, refused):
        reports.append((active.number if active else None, refused))

    async def steps():
        await until(lambda: window.active is not None)
        for error in (NotTrusted("RELEASE_SIGNATURE"), RuntimeError("a defect")):
            follower.error, follower.refused, seen = error, (4, "RELEASE_SIGNATURE"), follower.refreshed
            await until(lambda seen=seen: follower.refreshed > seen + 1)
            assert window.choose(1).number == 1
        follower.error, follower.published = None, made(clock, 2)
        await until(lambda: window.active.number == 2)
        follower.active = None  # the follower found it revoked
        follower.published = None
        await until(lambda: window.active is None)

    follow(follower, window, steps, poll_s=0.05, report=report)
    assert (1, (4, "RELEASE_SIGNATURE")) in reports
    assert reports[-1][0] is None


def test_the_durable_record_only_rises(database):
    record = AcceptedReleases(database.writer)
    assert record.highest() is None
    record.accept(3, "a" * 64)
    record.accept(3, "a" * 64)
    assert AcceptedReleases(database.writer).highest() == (3, "a" * 64)
    for number, digest, code in ((3, "b" * 64, "RELEASE_FORKED"), (2, "a" * 64, "RELEASE_ROLLBACK")):
        with pytest.raises(NotTrusted, match=code):
            record.accept(number, digest)
    with pytest.raises(SymphonyError, match="STORE_UNAVAILABLE"):
        AcceptedReleases("postgresql://nobody@127.0.0.1:1/none").highest()


def test_over_http_a_newer_release_is_not_yet_there_and_then_is(world, client, sidecar, follower):
    body = posting()
    follower.published = release([sidecar], 2, world.clock)
    answers = set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status, document = client.post(body, sidecar.permit(body, release_number=2))
        answers.add(document.get("reason_code", status))
        if status == 201:
            break
        assert (status, document["reason_code"], document["retryable"]) == (503, "RELEASE_NOT_YET", True)
    assert 201 in answers
    late = posting()
    assert client.post(late, sidecar.permit(late, release_number=1))[0] == 201  # within the grace
    world.clock.advance(61)
    later = posting()
    status, document = client.post(later, sidecar.permit(later, release_number=1))
    assert (status, document["reason_code"], document["retryable"]) == (409, "RELEASE_SUPERSEDED", True)


def test_over_http_no_release_no_posting(world, client, sidecar, follower):
    body = posting()
    permit = sidecar.permit(body)
    follower.active = follower.published = None
    world.ledger.ledger.window.withdraw()
    status, document = client.post(body, permit)
    assert (status, document["reason_code"]) == (503, "NO_ACTIVE_RELEASE")
    assert client.request("GET", "/health/ready")[0] == 503
    assert client.request("GET", "/health/live")[0] == 200
    assert world.journal() == []


def emergency(clock, number=1, seconds=600, **changes):
    """A release with emergency 1 over it."""
    over = Emergency(1, "e" * 64, "0" * 64, clock.now(), clock.now() + timedelta(seconds=seconds), POLICY)
    return replace(made(clock, number, **changes), policy_digest=GLASS, emergency=over)


def told(window, policy):
    """The code for a permit of release 1 and this policy, or the emergency under which it is taken."""
    try:
        return window.choose(1, policy).in_force[1]
    except SymphonyError as error:
        return error.code


def test_an_emergencys_policy_is_taken_while_it_is_open_and_the_other_is_never_lost(window, clock):
    """ADR 0013: known to be ahead or behind, a permit is answered retryable; what nobody sealed is for intake to refuse."""
    window.adopt(made(clock, 1), GLASS)
    assert (told(window, POLICY), told(window, GLASS)) == (0, "RELEASE_NOT_YET")
    assert window.newer_named.is_set(), "it looks at once"
    window.adopt(emergency(clock), GLASS)
    assert (told(window, GLASS), told(window, POLICY)) == (1, 0)
    clock.advance(61)
    assert (told(window, GLASS), told(window, POLICY)) == (1, "RELEASE_SUPERSEDED")
    window.adopt(made(clock, 1), GLASS)
    assert (told(window, POLICY), told(window, GLASS)) == (0, 1), "closed: what was signed before is taken for a minute"
    clock.advance(61)
    assert (told(window, POLICY), told(window, GLASS)) == (0, "RELEASE_SUPERSEDED")
    assert told(window, "f" * 64) == 0


def test_an_emergency_ends_in_the_ledger_by_its_own_clock(window, clock):
    window.adopt(emergency(clock, seconds=30), GLASS)
    assert (told(window, GLASS), told(window, POLICY)) == (1, "RELEASE_SUPERSEDED")
    clock.advance(31)
    assert (told(window, POLICY), told(window, GLASS)) == (0, "RELEASE_NOT_YET")
    window.adopt(made(clock, 1), GLASS)
    assert (told(window, POLICY), told(window, GLASS)) == (0, "RELEASE_SUPERSEDED"), "no grace for what has run out"
