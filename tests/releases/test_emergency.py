"""An emergency release over the release in force, in a follower: opened by two, ended by itself, never twice (ADR 0013)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from contracts.caps import cap_of
from contracts.errors import NotTrusted, SymphonyError
from contracts.release import ReleaseFollower, load_held
from contracts.release.emergency import lowered
from contracts.release.standing import is_standing
from symphony.release.emergency import EmergencyDraft
from tests.releases.glass import CAPS, closed, opened, put_document, put_sealed, sealed_draft
from tests.releases.support import ENVIRONMENT, SERVICE, Mirror, environment_data, follower
from tests.releases.test_follower import without_officer


@dataclass
class Glass:
    """A follower with emergency 1 open over release 1."""

    mirror: Mirror
    follower: ReleaseFollower
    made: EmergencyDraft
    opening: dict[str, Any]


def state(follower: ReleaseFollower) -> tuple[int, int]:
    assert follower.active is not None
    return follower.active.in_force


def code_of(follower: ReleaseFollower) -> str:
    with pytest.raises(SymphonyError) as error:
        follower.refresh()
    return error.value.code


@pytest.fixture
def glass(following: ReleaseFollower, mirror: Mirror) -> Glass:
    made = sealed_draft(mirror.world)
    put_sealed(mirror, made)
    envelope = opened(mirror.world, made)
    put_document(mirror, 1, envelope)
    following.refresh()
    assert state(following) == (1, 1)
    return Glass(mirror, following, made, envelope)


def test_a_sealed_release_changes_nothing_and_its_policy_is_known(following: ReleaseFollower, mirror: Mirror) -> None:
    put_sealed(mirror, sealed_draft(mirror.world))
    following.refresh()
    assert following.active is not None
    assert (state(following), following.active.environment_data) == ((1, 0), environment_data())
    assert following.emergency_policy == following.active.policy_digest


def test_two_officers_open_it_and_its_caps_hold_and_a_restart_offline_keeps_it(glass: Glass) -> None:
    active = glass.follower.active
    assert active is not None
    assert active.emergency is not None
    assert (active.environment_data["caps"], active.decide_again) == (CAPS, True)
    again = glass.mirror.follower()
    assert again.start() is not None
    assert state(again) == (1, 1)


def test_it_ends_by_itself_without_a_word_from_anybody(glass: Glass) -> None:
    held = glass.follower.active
    assert held is not None
    glass.mirror.world.clock.moved += timedelta(seconds=3601)
    assert state(glass.follower) == (1, 0)
    with pytest.raises(NotTrusted) as error:
        held.check_live(glass.mirror.world.clock.now())
    assert error.value.code in ("EMERGENCY_OVER", "RELEASE_EXPIRED")
    assert glass.follower.active is not None
    assert glass.follower.active.decide_again, "what the emergency allowed is decided again"


def test_one_officer_closes_it_and_it_stays_closed(glass: Glass) -> None:
    put_document(glass.mirror, 1, glass.opening, closed(glass.mirror.world, glass.made, glass.opening))
    glass.follower.refresh()
    assert state(glass.follower) == (1, 0)
    put_document(glass.mirror, 1, glass.opening)
    glass.follower.refresh()
    assert state(glass.follower) == (1, 0)
    again = glass.mirror.follower()
    again.start()
    again.refresh()
    assert state(again) == (1, 0)


def test_a_closing_that_does_not_hold_closes_nothing(glass: Glass) -> None:
    other = {**glass.opening}
    put_document(glass.mirror, 1, glass.opening, other)
    assert code_of(glass.follower) == "EMERGENCY_INVALID"
    assert state(glass.follower) == (1, 1)


def test_the_next_promotion_ends_it(glass: Glass) -> None:
    glass.mirror.put_release(glass.mirror.world.draft(2))
    assert glass.follower.refresh() is not None
    assert state(glass.follower) == (2, 0)


def test_the_next_promotion_ends_it_whatever_the_repository_says_of_it(glass: Glass) -> None:
    """E7 hangs on no document: who spoils it does not carry the emergency over to release 2."""
    glass.mirror.put_release(glass.mirror.world.draft(2))
    (glass.mirror.folder / "emergency" / ENVIRONMENT / "1.json").write_text("spoiled")
    assert code_of(glass.follower) == "EMERGENCY_INVALID"
    assert state(glass.follower) == (2, 0)


def test_it_stands_while_its_document_is_withheld(glass: Glass) -> None:
    (glass.mirror.folder / "emergency" / ENVIRONMENT / "1.json").unlink()
    glass.follower.refresh()
    assert state(glass.follower) == (1, 1)


def test_it_is_over_when_its_metadata_is_revoked(glass: Glass) -> None:
    from symphony.release.ceremony import revocation

    world = glass.mirror.world
    entry = revocation("release", glass.made.digest, "opened in error", world.clock.now())
    glass.mirror.put("sandbox-revocations", 2, world.ceremony.revocations(ENVIRONMENT, 2, [entry], world.clock.now()))
    assert code_of(glass.follower) == "RELEASE_REVOKED"
    assert state(glass.follower) == (1, 0)
    assert glass.follower.emergency_refused == (1, "RELEASE_REVOKED")
    assert glass.follower.refused is None, "the release itself is not refused"


@pytest.mark.parametrize(("removed", "code"), [("bruno", "RELEASE_SIGNATURE"), ("dalitso", "EMERGENCY_SIGNATURE")],
                         ids=["who approved it", "who opened it"])  # fmt: skip
def test_it_is_over_when_the_custodians_remove_an_officer_of_it(
    following: ReleaseFollower, mirror: Mirror, removed: str, code: str
) -> None:
    made = sealed_draft(mirror.world)
    put_sealed(mirror, made)
    put_document(mirror, 1, opened(mirror.world, made, "alice", "dalitso"))
    following.refresh()
    assert state(following) == (1, 1)
    mirror.put("targets", 2, without_officer(mirror.world, removed))
    assert code_of(following) == code
    assert state(following) == (1, 0)
    assert following.emergency_refused == (1, code)


def test_a_self_test_that_fails_leaves_the_release_in_force(mirror: Mirror) -> None:
    def test(release: Any) -> None:
        assert release.emergency is None, "does not compile"

    victim = mirror.follower("other", self_test=test)
    mirror.put_release(mirror.world.draft(1))
    victim.refresh()
    made = sealed_draft(mirror.world)
    put_sealed(mirror, made)
    put_document(mirror, 1, opened(mirror.world, made))
    assert code_of(victim) == "RELEASE_ENGINE"
    assert state(victim) == (1, 0)


def test_a_service_that_demands_an_attested_build_runs_no_emergency(glass: Glass) -> None:
    """ATT-19: an emergency carries no provenance; it is no way around."""
    other = glass.mirror.follower("other")
    other.refresh()
    assert state(other) == (1, 1)
    assert other._base is not None
    other._base = replace(other._base, manifest={**other._base.manifest, "attested_build": {"required": True}})
    assert code_of(other) == "RELEASE_PROVENANCE"
    assert state(other) == (1, 0)


def test_a_service_that_is_behind_waits_for_its_release(following: ReleaseFollower, mirror: Mirror) -> None:
    made = sealed_draft(mirror.world)
    put_sealed(mirror, made)
    put_document(mirror, 1, opened(mirror.world, made, over=2))
    assert code_of(following) == "RELEASE_NOT_YET"
    mirror.put_release(mirror.world.draft(2))
    following.refresh()
    assert state(following) == (2, 1)


def test_the_process_beside_reads_it_from_the_folder_and_writes_nothing(glass: Glass) -> None:
    world = glass.mirror.world
    folder = world.folder / "follower"

    def beside() -> tuple[int, int]:
        found = load_held(
            environment=ENVIRONMENT, service=SERVICE, folder=folder, root_bytes=world.root,
            record=follower(world, glass.mirror.source, folder)._record, clock=world.clock,
        )  # fmt: skip
        assert found is not None
        return found.in_force

    assert beside() == (1, 1)
    before = (folder / "emergency.json").read_bytes()
    world.clock.moved += timedelta(seconds=3601)
    assert beside() == (1, 0)
    assert (folder / "emergency.json").read_bytes() == before


def test_an_emergency_never_holds_up_a_change_of_keys() -> None:
    """It ends where it does not stand any more; releases and revocation lists must go on to stand."""
    names = ("sandbox", "sandbox-revocations", "sandbox-emergency")
    assert [is_standing(name) for name in names] == [True, True, False]


@pytest.mark.parametrize(("currency", "expected"), [
    ("ZMW", {"payment_minor_max": 500, "daily_minor_max": 70, "daily_count_max": 10}), ("USD", None), ("EUR", None),
], ids=["the lesser of both", "not named by the emergency", "not in the release"])  # fmt: skip
def test_caps_only_lower(currency: str, expected: dict[str, int] | None) -> None:
    """POL-05: an emergency loosens no cap, and pays in no currency that it does not name or the release does not know."""
    data = environment_data()
    data["caps"]["USD"] = data["caps"]["ZMW"]
    data["caps"]["ZMW"] = {"payment_minor_max": 10_000, "daily_minor_max": 70, "daily_count_max": 99}
    made = lowered(data, {**CAPS, "EUR": CAPS["ZMW"]})
    assert cap_of(made, made["participants"][0], currency) == expected
    assert json.loads(json.dumps(data)) == data


def test_a_participants_own_cap_and_a_sandbox_star_are_lowered_too() -> None:
    data = environment_data()
    data["participants"][0]["caps"] = {"*": {"payment_minor_max": 100, "daily_minor_max": 9_999, "daily_count_max": 1}}
    made = lowered(data, CAPS)
    assert cap_of(made, made["participants"][0], "ZMW") == {
        "payment_minor_max": 100, "daily_minor_max": 5_000, "daily_count_max": 1,
    }  # fmt: skip
    assert cap_of(made, made["participants"][0], "USD") is None
