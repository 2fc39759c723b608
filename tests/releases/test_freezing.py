"""Freezes: one officer is enough to freeze, others lift; a calendar's window holds likewise (design section 4, POL-07)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from contracts.canonical import sha256_hex
from contracts.errors import SymphonyError
from contracts.times import rfc3339
from symphony.release.freeze import freeze, freezes, unfreeze
from symphony.release.propose import Draft
from symphony.release.withdraw import withdraw
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, environment_data
from tests.releases.test_withdrawing import leaves, refused

HOUR = timedelta(hours=1)


def frozen(shared: Running, name: str = "alice", reason: str = "month end", **times: Any) -> dict[str, Any]:
    """A freeze by an officer."""
    now = shared.world.clock.now()
    return freeze(shared.control(name), shared.world.officer(name), ENVIRONMENT, reason, now=now, **times)


def lifted(shared: Running, name: str, number: int | None = None) -> dict[str, Any]:
    """An officer's signature to lift a freeze."""
    return unfreeze(shared.control(name), shared.world.officer(name), ENVIRONMENT, number, "it is over")


def approved(shared: Running, **changes: Any) -> Draft:
    made = shared.proposed(**changes)
    shared.signed(made)
    return made


@pytest.fixture
def thawed(shared: Running) -> Iterator[Running]:
    """The shared control plane, on which this test leaves no freeze."""
    yield shared
    for one in freezes(shared.control("alice"), ENVIRONMENT)["freezes"]:
        if one["state"] in ("IN_FORCE", "AHEAD"):
            others = [name for name in ("alice", "bruno", "chanda") if name != one["actor"]]
            assert [lifted(shared, name, one["number"])["state"] for name in others][-1] == "LIFTED"


def test_while_frozen_nothing_is_promoted_and_the_rest_goes_on(thawed: Running) -> None:
    made, other = approved(thawed, cap_minor=3), approved(thawed, cap_minor=4)
    one = frozen(thawed)
    refused("RELEASE_FROZEN", lambda: thawed.promoted(made), f"freeze {one['number']} by alice, until it is lifted: month end")
    assert thawed.proposed(cap_minor=5).number == other.number + 1
    bruno = (thawed.control("bruno"), thawed.world.officer("bruno"))
    assert withdraw(*bruno, ENVIRONMENT, other.number, "not this one") == "missing"
    leaf = leaves(thawed)[-2]
    assert (leaf["event"], leaf["number"], leaf["reason_code"]) == ("REFUSED", made.number, "RELEASE_FROZEN")
    assert lifted(thawed, "bruno")["state"] == "IN_FORCE"
    assert lifted(thawed, "chanda")["state"] == "LIFTED"
    thawed.promoted(made)


def test_who_froze_does_not_lift_and_one_other_is_not_enough(thawed: Running) -> None:
    """Loosening is slow: the threshold of officers, who froze not counted; each counts once."""
    one = frozen(thawed)
    refused("FREEZE_OWN", lambda: lifted(thawed, "alice"), f"alice asked for freeze {one['number']}")
    assert [lifted(thawed, "bruno")["state"] for _ in range(2)] == ["IN_FORCE", "IN_FORCE"]
    made = approved(thawed)
    refused("RELEASE_FROZEN", lambda: thawed.promoted(made))
    after = lifted(thawed, "dalitso")
    assert (after["state"], [s["actor"] for s in after["signatures"]]) == ("LIFTED", ["bruno", "dalitso"])
    assert lifted(thawed, "chanda", one["number"])["signatures"] == after["signatures"], "what is over stays as it was"


def test_freezes_and_signatures_are_kept_with_their_envelopes_and_are_leaves(thawed: Running) -> None:
    one = frozen(thawed)
    for name in ("bruno", "chanda"):
        lifted(thawed, name)
    rows = thawed.rows("SELECT envelope FROM symphony.release_freezes WHERE number = %s", one["number"]) + thawed.rows(
        "SELECT envelope FROM symphony.release_unfreezes WHERE number = %s ORDER BY at", one["number"]
    )
    digests = [sha256_hex(bytes(envelope)) for (envelope,) in rows]
    logged = [(leaf["event"], leaf["envelope_sha256"]) for leaf in leaves(thawed) if leaf["number"] == one["number"]][-4:]
    kinds = ("FREEZE", "UNFREEZE", "UNFREEZE", "LIFTED")
    assert logged == list(zip(kinds, [*digests, digests[-1]], strict=True))


def test_the_same_envelope_again_is_the_same_freeze(thawed: Running) -> None:
    alice, control = thawed.world.officer("alice"), thawed.control("alice")
    now = rfc3339(thawed.world.clock.now())
    envelope = {"envelope": alice.say("freeze", environment=ENVIRONMENT, reason="r", asked_at=now)}
    first, again = (control.post(f"/v1/releases/{ENVIRONMENT}/freezes", envelope) for _ in range(2))
    assert first == again


def test_a_freeze_begins_and_ends_by_itself(thawed: Running) -> None:
    clock = thawed.world.clock
    before, start = clock.moved, clock.now() + HOUR
    one = frozen(thawed, starts_at=start, ends_at=start + HOUR)
    assert one["state"] == "AHEAD"
    thawed.promoted(approved(thawed, cap_minor=6))
    try:
        clock.moved = before + HOUR + timedelta(minutes=1)
        made = approved(thawed, cap_minor=7)
        refused("RELEASE_FROZEN", lambda: thawed.promoted(made), f"until {rfc3339(start + HOUR)}")
        clock.moved = before + 2 * HOUR + timedelta(minutes=1)
        thawed.promoted(made)
    finally:
        clock.moved = before


@pytest.mark.parametrize(
    "fields",
    [
        {"until": "2020-01-01T00:00:00.000000Z"},
        {"from": "2999-01-02T00:00:00.000000Z", "until": "2999-01-01T00:00:00.000000Z"},
        {"from": "tomorrow"},
        {"until": 7},
        {"reason": ""},
        {"reason": "x" * 501},
        {"reason": None},
        {"more": "x" * 70_000},
    ],
    ids=["over already", "ends before it starts", "no time", "a number", "no reason", "a long one", "null", "too large"],
)
def test_a_freeze_that_means_nothing_freezes_nothing(shared: Running, fields: dict[str, Any]) -> None:
    said = {"environment": ENVIRONMENT, "reason": "r", **fields}
    envelope = {"envelope": shared.world.officer("alice").say("freeze", **said)}
    refused("REQUEST_INVALID", lambda: shared.control("alice").post(f"/v1/releases/{ENVIRONMENT}/freezes", envelope))
    assert not freezes(shared.control("alice"), ENVIRONMENT)["frozen"]


def test_an_envelope_lifts_exactly_the_freeze_that_it_names(thawed: Running) -> None:
    first, second = frozen(thawed), frozen(thawed)
    bruno, control = thawed.world.officer("bruno"), thawed.control("bruno")
    said = {"environment": ENVIRONMENT, "reason": "r", "number": second["number"], "freeze_sha256": first["envelope_sha256"]}
    envelope = {"envelope": bruno.say("unfreeze", **said)}
    for number in (first["number"], second["number"]):
        path = f"/v1/releases/{ENVIRONMENT}/freezes/{number}/signatures"
        refused("ENVELOPE_INVALID", lambda p=path: control.post(p, envelope))
    refused("NOT_FOUND", lambda: lifted(thawed, "bruno"), "name one freeze by its number; not over:")
    refused("NOT_FOUND", lambda: lifted(thawed, "bruno", 9999))
    path = f"/v1/releases/{ENVIRONMENT}/freezes/9999/signatures"
    refused("NOT_FOUND", lambda: control.post(path, envelope))
    refused("OFFICER_UNKNOWN", lambda: thawed.control("esnart").post(path, envelope))


def test_a_window_of_the_active_releases_calendar_holds_and_nobody_lifts_it(shared: Running) -> None:
    world, clock = shared.world, shared.world.clock
    before = clock.moved
    day = (clock.now() + 24 * HOUR).date().isoformat()
    data = environment_data(8)
    data["calendars"] = {"utc": {"timezone": "UTC", "weekend": [], "holidays": []}}
    data["freezes"] = [{"name": "closing", "calendar": "utc", "first_date": day, "last_date": day}]
    shared.promoted(approved(shared, files=world.files(environment_data=data)))
    made = approved(shared, cap_minor=9)
    try:
        clock.moved = before + 24 * HOUR
        refused("RELEASE_FROZEN", lambda: shared.promoted(made), "the window closing of the active release's calendar, until")
        found = freezes(shared.control("alice"), ENVIRONMENT)
        assert found["frozen"]
        assert found["window"]["name"] == "closing"
        assert found["window"]["ends_at"] > day
        refused("NOT_FOUND", lambda: lifted(shared, "bruno"))
        clock.moved = before + 48 * HOUR
        shared.promoted(made)
    finally:
        clock.moved = before


def test_of_a_freeze_and_a_promotion_at_once_one_is_first_and_the_other_knows(thawed: Running) -> None:
    """Either the promotion is in the history before the freeze, or it was refused."""
    for cap_minor in (20, 21, 22):
        made = approved(thawed, cap_minor=cap_minor)
        outcomes = together(lambda made=made: thawed.promoted(made), lambda: frozen(thawed, "dalitso", ends_at=soon(thawed)))
        assert outcomes[1] == "done"
        ((frozen_at,),) = thawed.rows("SELECT max(asked_at) FROM symphony.release_freezes")
        active = thawed.rows("SELECT at FROM symphony.release_events WHERE event = 'ACTIVE' AND number = %s", made.number)
        assert [at < frozen_at for (at,) in active] == ([True] if outcomes[0] == "done" else []), outcomes
        assert outcomes[0] in ("done", "RELEASE_FROZEN")
        for name in ("bruno", "chanda"):
            lifted(thawed, name)


def soon(shared: Running) -> Any:
    return shared.world.clock.now() + HOUR


def together(*calls: Callable[[], Any]) -> list[str]:
    """Run calls in threads of their own, let go at once: ``done`` or the reason code of each."""
    barrier, out = threading.Barrier(len(calls)), ["lost"] * len(calls)

    def run(place: int) -> None:
        barrier.wait()
        try:
            calls[place]()
            out[place] = "done"
        except SymphonyError as error:
            out[place] = error.code

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return out
