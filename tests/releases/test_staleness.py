"""Manifests with a schedule through a real repository: sound or refused, held past the end as long as signed, whole or not at all."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts import schemas
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.release import ReleaseFollower, load_held, staleness
from contracts.release.contents import verify_contents
from contracts.release.held import HeldReleases
from contracts.release.record import FileRecord
from contracts.release.rules import verify_role
from contracts.release.trust import root_of, trust_of
from symphony.stack.environment import manifests_in
from tests.releases.support import ENVIRONMENT, SERVICE, Mirror, World, manifests

ENDLESS = [{"after_s": 0, "caps_percent": 50}]


def with_schedule(**of: Any) -> dict[str, dict[str, Any]]:
    """Our manifests, with another schedule (``None``: without one) for each service that is named."""
    made = manifests()
    for name, schedule in of.items():
        one = made[name.replace("_", "-")]
        one.pop("staleness")
        one.update({} if schedule is None else {"staleness": schedule})
    return made


def test_a_manifest_with_an_unsound_schedule_does_not_activate_and_holds_up_no_other_service(mirror: Mirror, following: ReleaseFollower) -> None:
    """Officers could not have approved it; a quorum that was deceived could: the sidecar judges by itself."""
    world = mirror.world
    mirror.put_release(world.draft(2, world.files(manifests=with_schedule(reference_rail={"lease": ENDLESS}))))
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST: reference-rail: staleness of the lease: the last step"):
        following.refresh()
    assert following.active is not None
    assert (following.active.number, following.refused) == (1, (2, "RELEASE_MANIFEST"))
    ledger = mirror.follower("ledger", service="core-ledger")
    taken = ledger.refresh()
    assert taken is not None
    assert taken.number == 2


@pytest.mark.parametrize(
    "of",
    [{"reference_rail": {"lease": ENDLESS}}, {"core_ledger": None}, {"core_ledger": {"lease": [{"after_s": 0, "stop": True}]}}],
    ids=["unsound", "a ledger without one", "a ledger that stops first"],
)
def test_who_proposes_and_who_approves_refuses_what_is_unsound_or_does_not_agree(world: World, of: dict[str, Any]) -> None:
    """All manifests are read together there; a service reads its own alone."""
    made = world.draft(1, world.files(manifests=with_schedule(**of)))
    trust = trust_of(root_of(world.root, []), world.trust["targets.json"], ENVIRONMENT)
    role = verify_role(trust, world.signed(made), ENVIRONMENT)
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST"):
        verify_contents(trust, role, made.files)


@pytest.mark.parametrize(
    ("service", "schedule"), [("reference-rail", {"lease": ENDLESS}), ("core-ledger", None)], ids=["unsound", "does not agree"]
)
def test_a_folder_with_such_manifests_is_refused_before_anything_is_built(tmp_path: Path, service: str, schedule: Any) -> None:
    """What ``symphony up``, ``release collect`` and ``release propose --from`` read."""
    for name, one in with_schedule(**{service.replace("-", "_"): schedule}).items():
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST"):
        manifests_in(tmp_path)


def test_the_schedule_of_the_page_is_sound() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/explanation/when-a-release-grows-old.md"
    shown = json.loads("{" + page.read_text("utf-8").partition("```json\n")[2].partition("```")[0] + "}")
    made = {**manifests()[SERVICE], **shown}
    schemas.check("symphony.service/1", made, code="RELEASE_MANIFEST")
    staleness.check_manifest(made)


def test_a_held_release_past_its_end_is_started_on_as_long_as_its_schedule(mirror: Mirror) -> None:
    """An offline restart keeps the step; after the schedule there is none."""
    world = mirror.world
    mirror.put_release(world.draft(1))
    first = mirror.follower("old")
    release = first.refresh()
    assert release is not None
    world.clock.moved += release.expires_at - world.clock.now() + timedelta(hours=1)
    started = mirror.follower("old").start()
    assert started is not None
    found = staleness.standing(started, world.clock.now())
    assert (found.role, found.caps_percent) == (2, 50)
    world.clock.moved += timedelta(hours=23)
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        mirror.follower("old").start()


def test_a_held_release_without_a_schedule_ends_when_it_ends(mirror: Mirror) -> None:
    """N-1: a manifest of the release before."""
    world = mirror.world
    mirror.put_release(world.draft(1, world.files(manifests=with_schedule(reference_rail=None, core_ledger=None))))
    release = mirror.follower("old").refresh()
    assert release is not None
    world.clock.moved += release.expires_at - world.clock.now()
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        mirror.follower("old").start()


def test_a_repository_that_withholds_the_timestamp_leaves_less_and_less_and_a_new_one_everything(mirror: Mirror, following: ReleaseFollower) -> None:
    """The whole way on a real follower: 100, 50, low value, stop; what is withheld is refused, what is new makes it fresh."""
    world = mirror.world

    def permitted() -> tuple[int, bool, bool]:
        with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
            following.refresh()
        assert following.active is not None
        now = staleness.standing(following.active, world.clock.now())
        return now.caps_percent, now.payment_minor_max is not None, now.stopped

    seen = []
    world.clock.moved += timedelta(hours=1)
    for hours in (0, 1, 2, 1):
        world.clock.moved += timedelta(hours=hours)
        seen.append(permitted())
    assert seen == [(50, False, False), (50, True, False), (50, True, False), (50, True, True)]
    mirror.put("sandbox-revocations", 1, world.trust["sandbox-revocations.json"])
    assert following.refresh() is None
    assert following.active is not None
    assert staleness.standing(following.active, world.clock.now()) is staleness.FRESH


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("place", ["download", "save", "accept", "after"])
def test_a_crash_anywhere_in_an_activation_leaves_the_old_release_or_the_new_one_whole(
    mirror: Mirror, following: ReleaseFollower, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """What a restart finds is one release with its own manifest, schedule and bytes, and the next look brings the new one."""
    world, schedule = mirror.world, copy.deepcopy(manifests()[SERVICE]["staleness"])
    schedule["lease"][0]["caps_percent"] = 10
    mirror.put_release(world.draft(2, world.files(cap_minor=5, manifests=with_schedule(reference_rail=schedule))))

    def crash(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(*{
            "download": (following._repository, "download", crash), "save": (HeldReleases, "save", crash),
            "accept": (FileRecord, "accept", crash), "after": (ReleaseFollower, "_keep", crash),
        }[place])  # fmt: skip
        with pytest.raises(Crash):
            following.refresh()
    restarted = mirror.follower()
    found = restarted.start()
    assert found is not None
    caps, percent = found.environment_data["caps"]["ZMW"]["payment_minor_max"], found.manifest["staleness"]["lease"][0]["caps_percent"]
    assert (found.number, caps, percent) == ((2, 5, 10) if place == "after" else (1, 1_000_000, 50))
    restarted.refresh()
    assert restarted.active is not None
    assert restarted.active.number == 2


def test_an_acceptor_reads_the_step_from_what_its_writer_holds(mirror: Mirror, following: ReleaseFollower) -> None:
    """The manifest that it verifies by itself says the same; without the writer's folder there is nothing."""
    world = mirror.world
    world.clock.moved += timedelta(hours=1)
    held = load_held(
        environment=ENVIRONMENT, service=SERVICE, folder=world.folder / "follower", root_bytes=world.root,
        record=FileRecord(world.folder / "follower" / "accepted.json"), clock=world.clock,
    )  # fmt: skip
    assert held is not None
    assert staleness.demand(held, world.clock.now()).caps_percent == 50
    with pytest.raises((NotTrusted, CannotEvaluate)):
        staleness.demand(held, world.clock.now() + timedelta(hours=4))
