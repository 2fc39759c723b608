"""Old, early, late, withdrawn, forked, frozen, mixed: numbers and times (rules 10 to 12, and TUF's own)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from contracts.release import staleness
from contracts.release.aging import Aging
from symphony.release.ceremony import revocation
from tests.attacks.attacker import Attacker, ours
from tests.attacks.index import attack
from tests.releases.support import ENVIRONMENT

RULES, TUF = "contracts.release.rules", "TUF contracts.release.repository"


@attack("an expired release", by=f"12 {RULES}", code="RELEASE_EXPIRED")
def test_an_expired_release(attacker: Attacker) -> None:
    """Signed long ago for a far day, so that its own ``activate_before`` has not passed."""
    now = attacker.world.clock.now()
    made = attacker.drafts(now=now - timedelta(days=91), not_before=now - timedelta(hours=1))
    attacker.passes_on(made)
    attacker.is_refused()


@attack("a release before its time", by=f"10 {RULES}", code="RELEASE_NOT_BEFORE")
def test_a_release_before_its_time(attacker: Attacker) -> None:
    attacker.passes_on(attacker.drafts(not_before=attacker.world.clock.now() + timedelta(days=1)))
    attacker.is_refused()


@attack("a release past its activate_before, kept back until it hurts", by=f"10 {RULES}", code="RELEASE_LATE")
def test_a_release_past_its_activate_before(attacker: Attacker) -> None:
    attacker.passes_on(attacker.drafts(now=attacker.world.clock.now() - timedelta(days=8)))
    attacker.is_refused()


@attack("a release that may be activated for ever", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_an_activate_before_without_bound(attacker: Attacker) -> None:
    attacker.passes_on_changed(lambda signed: ours(signed).update(activate_before="2999-01-01T00:00:00.000000Z"))
    attacker.is_refused()


@attack("a withdrawn release (its metadata digest revoked)", by=f"12 {RULES}", code="RELEASE_REVOKED")
def test_a_withdrawn_release(attacker: Attacker) -> None:
    made = attacker.drafts()
    attacker.publishes_list(revocation("release", made.digest, "withdrawn", attacker.world.clock.now()))
    attacker.passes_on(made)
    attacker.is_refused()


@attack("a withdrawn release, encoded in another way and signed by one officer more", by=f"12 {RULES}", code="RELEASE_REVOKED")
def test_a_withdrawn_release_encoded_in_another_way(attacker: Attacker) -> None:
    made = attacker.drafts()
    attacker.publishes_list(revocation("release", made.digest, "withdrawn", attacker.world.clock.now()))
    content = attacker.world.signed(made, "bruno", "chanda", "dalitso")
    attacker.mirror.put_release(made, json.dumps(json.loads(content), indent=2).encode())
    attacker.is_refused()


@attack("the release in force before, replayed under a fresh snapshot", by=TUF, code="RELEASE_ROLLBACK")
def test_an_old_release_replayed(attacker: Attacker) -> None:
    old = attacker.world.draft(1)
    attacker.mirror.put_release(attacker.drafts(2))
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    attacker.mirror.put_release(old)
    attacker.is_refused()


@attack("an old release for a client whose cache is empty", by=f"10 {RULES}", code="RELEASE_ROLLBACK")
def test_an_old_release_for_an_empty_cache(attacker: Attacker) -> None:
    """Stock TUF accepts it; the durable record does not."""
    attacker.mirror.put_release(attacker.drafts(2))
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    other = attacker.elsewhere()
    other.put_release(attacker.world.draft(1))
    emptied = other.follower("emptied", record=attacker.victim._record)
    attacker.is_refused_by_a_newcomer(1, emptied)


@attack("an old release to a service that is new: below its enrolment's number", by=f"10 {RULES}", code="RELEASE_ROLLBACK")
def test_a_first_release_below_the_enrolments_number(attacker: Attacker) -> None:
    attacker.is_refused_by_a_newcomer(1, attacker.mirror.follower("new", minimum_number=2))


@attack("a fork: the number in force with another digest", by=f"10 {RULES}", code="RELEASE_FORKED")
def test_the_same_number_with_another_digest(attacker: Attacker) -> None:
    """A quorum was deceived into signing release 1 twice; a client with an empty cache, whose record knows better."""
    other = attacker.elsewhere()
    other.put_release(attacker.drafts(1))
    attacker.is_refused_by_a_newcomer(1, other.follower("emptied", record=attacker.victim._record))


@attack("other releases to other sidecars", by=f"10 {RULES}", code="RELEASE_FORKED")
def test_other_releases_to_other_sidecars(attacker: Attacker) -> None:
    """Two sidecars were given a release 2 each; shown the other's, each refuses."""
    other = attacker.elsewhere()
    other.put_release(attacker.world.draft(1))
    second = other.follower("second")
    assert second.refresh() is not None
    attacker.mirror.put_release(attacker.drafts(2))
    other.put_release(attacker.world.draft(2, attacker.world.files(cap_minor=9)))
    assert attacker.victim.refresh() is not None
    assert second.refresh() is not None
    attacker.takes_effect_from()
    shown = other.follower("shown", record=attacker.victim._record)
    attacker.is_refused_by_a_newcomer(2, shown)


@attack("the number in force with other bytes, under the victim's own cache", by=f"10 {RULES}", code="RELEASE_FORKED")
def test_the_same_number_with_other_bytes_under_the_own_cache(attacker: Attacker) -> None:
    attacker.mirror.put_release(attacker.drafts(1))
    attacker.is_refused(number=1)


@attack("a freeze: the timestamp is not renewed", by=TUF, code="RELEASE_EXPIRED")
def test_a_frozen_repository(attacker: Attacker) -> None:
    attacker.mirror.put_release(attacker.drafts(2))
    (attacker.mirror.folder / "metadata" / "timestamp.json").write_bytes(_timestamp_of(attacker, hours=-1))
    attacker.is_refused(number=1)


@attack("a freeze that outlasts the lease: the victim's clock goes on", by="12 contracts.release.follower", code="RELEASE_EXPIRED")
def test_a_freeze_that_outlasts_the_lease(attacker: Attacker) -> None:
    attacker.lets_pass(hours=2)
    attacker.is_refused(number=1)
    assert attacker.victim.active is not None
    assert attacker.code_of(lambda: attacker.victim.active.check_live(attacker.world.clock.now())) == "RELEASE_EXPIRED"


@attack("a freeze, and the clock set back to before the lease ran out", by="3 contracts.release.staleness", code="RELEASE_EXPIRED")
def test_a_freeze_with_the_clock_set_back(attacker: Attacker) -> None:
    """What the schedule left is not given back by a clock, nor by the same timestamp again."""
    aging, release = Aging(attacker.world.clock), attacker.victim.active
    assert release is not None
    attacker.lets_pass(hours=5)
    attacker.is_refused(number=1)
    assert aging.standing(release).stopped
    assert attacker.code_of(lambda: staleness.demand(release, attacker.world.clock.now())) == "RELEASE_EXPIRED"
    attacker.lets_pass(hours=-5)
    assert attacker.victim.refresh() is None
    assert attacker.victim.active is not None
    assert aging.standing(attacker.victim.active).stopped


@attack("an old timestamp replayed", by=TUF, code="RELEASE_ROLLBACK")
def test_an_old_timestamp_replayed(attacker: Attacker) -> None:
    file = attacker.mirror.folder / "metadata" / "timestamp.json"
    old = file.read_bytes()
    attacker.publishes_list(version=2)
    assert attacker.victim.refresh() is None
    file.write_bytes(old)
    attacker.is_refused(number=1)


@attack("mix and match: a new snapshot over an older revocation list", by=TUF, code="RELEASE_ROLLBACK")
def test_a_snapshot_that_mixes_old_and_new(attacker: Attacker) -> None:
    attacker.publishes_list(version=2)
    assert attacker.victim.refresh() is None
    attacker.publishes_list(version=1)
    attacker.is_refused(number=1)


@attack("mix and match: a snapshot that no longer names the revocation list", by=TUF, code="RELEASE_SHAPE")
def test_a_snapshot_without_the_revocation_list(attacker: Attacker) -> None:
    del attacker.mirror.newest[f"{ENVIRONMENT}-revocations"]
    attacker.passes_on(attacker.drafts())
    attacker.is_refused(number=1)


@attack("mix and match: another snapshot than the timestamp names", by=TUF, code="RELEASE_DIGEST")
def test_another_snapshot_than_the_timestamp_names(attacker: Attacker) -> None:
    before = attacker.mirror.newest["snapshot"].content
    attacker.passes_on(attacker.drafts())
    newest = attacker.mirror.newest["snapshot"].version
    (attacker.mirror.folder / "metadata" / f"{newest}.snapshot.json").write_bytes(before)
    attacker.is_refused(number=1)


@attack("the clock jumps forward past every expiry", by=TUF, code="RELEASE_EXPIRED")
def test_the_clock_jumps_forward(attacker: Attacker) -> None:
    attacker.lets_pass(days=400)
    attacker.is_refused(number=1, restarts=False)
    attacker.lets_pass(days=-400)
    assert attacker.victim.refresh() is None, "and comes back when the clock does"
    assert attacker.victim.refused is None


@attack("the clock jumps back before a release's time", by=f"10 {RULES}", code="RELEASE_NOT_BEFORE")
def test_the_clock_jumps_back(attacker: Attacker) -> None:
    attacker.passes_on(attacker.drafts())
    attacker.lets_pass(days=-2)
    attacker.is_refused()
    attacker.lets_pass(days=2)
    assert attacker.victim.refresh() is not None, "and is taken when the clock is right again"


@attack("another environment's role, signed by the same officers, under this one's name", by=f"6 {RULES}", code="RELEASE_ENVIRONMENT")
def test_another_environments_role(attacker: Attacker) -> None:
    """The role's name is not in what TUF signs."""
    attacker.passes_on_changed(lambda signed: ours(signed).update(environment="production"))
    attacker.is_refused()


@attack("environment data of another environment", by="13 contracts.release.contents", code="RELEASE_ENVIRONMENT")
def test_environment_data_of_another_environment(attacker: Attacker) -> None:
    from tests.releases.support import environment_data

    attacker.passes_on(attacker.drafts(environment_data={**environment_data(), "environment": "production"}))
    attacker.is_refused()


@attack("a release that has no manifest of this service", by="13 contracts.release.contents", code="RELEASE_SERVICE_UNKNOWN")
def test_a_release_for_another_service(attacker: Attacker) -> None:
    from tests.releases.support import manifests

    others = {name: value for name, value in manifests().items() if name == "core-ledger"}
    attacker.passes_on(attacker.drafts(manifests=others))
    attacker.is_refused()


@attack("another service's manifest under this one's name", by="13 contracts.release.contents", code="RELEASE_MANIFEST")
def test_another_services_manifest(attacker: Attacker) -> None:
    from tests.releases.support import manifests

    swapped = manifests()
    swapped["reference-rail"] = swapped["core-ledger"]
    attacker.passes_on(attacker.drafts(manifests=swapped))
    attacker.is_refused()


def _timestamp_of(attacker: Attacker, **life: float) -> bytes:
    """The newest timestamp with another end, signed with the online key."""
    from tuf.api.metadata import Metadata

    from contracts.keys import signer_of

    metadata: Metadata[Any] = Metadata.from_bytes(attacker.mirror.newest["timestamp"].content)
    metadata.signed.expires = (attacker.world.clock.now() + timedelta(**life)).replace(microsecond=0)
    metadata.signed.version += 1
    metadata.sign(signer_of(attacker.key("timestamp")))
    return metadata.to_bytes()
