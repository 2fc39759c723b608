"""Revocation lists: signed by the security officer, only growing, never about those whom only custodians remove."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.release import rules
from contracts.release.trust import root_of, trust_of
from contracts.times import rfc3339
from symphony.release.ceremony import revocation, signed_revocations
from symphony.release.revoke import revoke
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, Mirror, World, follower
from tests.releases.test_refusals import put_revocations, refused


def verified(world: World, entries: list[dict[str, Any]], **changes: Any) -> rules.Revocations:
    """A list that went through the rules."""
    trust = trust_of(root_of(world.root), world.trust["targets.json"], ENVIRONMENT)
    key = changes.pop("key", world.ceremony.security_officer)
    content = signed_revocations(key, changes.pop("environment", ENVIRONMENT), 2, entries, world.clock.now())
    return rules.verify_revocations(trust, content, ENVIRONMENT, **changes)


def an_entry(world: World, **changes: Any) -> dict[str, Any]:
    """A revoked certificate."""
    return {**revocation("certificate", "ab" * 32, "stolen", world.clock.now()), **changes}


def test_an_entry_ends_by_itself(world: World) -> None:
    now = world.clock.now()
    entries = [an_entry(world, until=rfc3339(now + timedelta(hours=1)))]
    assert rules.is_revoked(entries, "certificate", "ab" * 32, now)
    assert not rules.is_revoked(entries, "certificate", "ab" * 32, now + timedelta(hours=2))
    assert not rules.is_revoked(entries, "permit_key", "ab" * 32, now)


def test_only_the_security_officer_signs(world: World) -> None:
    for key in (world.ceremony.officer("alice"), world.ceremony.online("timestamp")):
        with pytest.raises(NotTrusted, match="RELEASE_SIGNATURE"):
            verified(world, [], key=key)


def test_another_environments_list(world: World) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_ENVIRONMENT"):
        verified(world, [], environment="production")


@pytest.mark.parametrize("changes", [{"kind": "officer"}, {"extra": 1}, {"revoked_at": "yesterday"}, {"id": 7},
                                     {"until": "soon"}])  # fmt: skip
def test_an_entry_of_another_shape(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_SHAPE"):
        verified(world, [an_entry(world, **changes)])


@pytest.mark.parametrize("whose", ["alice", "esnart", "custodian"])
def test_nobody_revokes_those_whom_only_custodians_remove(world: World, whose: str) -> None:
    from contracts.keys import key_id_of

    keys = world.ceremony
    key = {"alice": keys.officer("alice"), "esnart": keys.security_officer, "custodian": keys.custodian("custodian-1")}
    with pytest.raises(NotTrusted, match="RELEASE_SHAPE"):
        verified(world, [an_entry(world, id=key_id_of(key[whose]))])


def test_a_list_that_lost_an_entry_is_refused_and_the_old_one_stays(mirror: Mirror) -> None:
    mirror.put_release(mirror.world.draft(1))
    following = mirror.follower()
    following.refresh()
    put_revocations(mirror, 2, [an_entry(mirror.world)])
    assert following.refresh() is None
    assert following.active is not None
    assert following.active.revocations_version == 2
    put_revocations(mirror, 3, [])
    refused(following, "RELEASE_ROLLBACK")
    refused(mirror.follower(), "RELEASE_ROLLBACK")
    restarted = mirror.follower().start()
    assert restarted is not None
    assert [entry["id"] for entry in restarted.revocations] == ["ab" * 32]


def test_an_expired_list_is_a_freeze_of_revocations(mirror: Mirror) -> None:
    world = mirror.world
    mirror.put_release(world.draft(1))
    following = mirror.follower()
    following.refresh()
    old = signed_revocations(
        world.ceremony.security_officer, ENVIRONMENT, 2, [], world.clock.now() - timedelta(days=366)
    )
    mirror.put(f"{ENVIRONMENT}-revocations", 2, old)
    refused(following, "RELEASE_EXPIRED")


def test_the_security_officer_adds_to_the_published_list(running: Running, world: World, tmp_path: Any) -> None:
    running.release()
    following = follower(world, running.source(), tmp_path / "f")
    following.refresh()
    control = running.control("esnart")
    arguments: dict[str, Any] = {"root": world.root, "now": world.clock.now()}
    assert revoke(control, world.ceremony.security_officer, ENVIRONMENT, [an_entry(world)], **arguments) == 2
    second = [an_entry(world, id="cd" * 32)]
    assert revoke(control, world.ceremony.security_officer, ENVIRONMENT, second, **arguments) == 3
    assert following.refresh() is None
    assert following.active is not None
    assert [entry["id"] for entry in following.active.revocations] == ["ab" * 32, "cd" * 32]
