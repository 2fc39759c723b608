"""The revocation list: it only grows, the security officer alone signs it, and it removes no officer (rule 14)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.keys import key_id_of, public_hex
from contracts.release import ReleaseFollower
from symphony.release.ceremony import revocation, signed_revocations
from tests.attacks.attacker import REVOCATIONS, Attacker, key_of
from tests.attacks.index import attack
from tests.releases.support import ENVIRONMENT

RULES, TUF = "contracts.release.rules", "TUF contracts.release.repository"


def stolen(attacker: Attacker, identifier: str = "ab" * 32, kind: str = "certificate") -> dict[str, object]:
    """A revoked certificate."""
    return revocation(kind, identifier, "stolen", attacker.world.clock.now())


def entries(follower: ReleaseFollower) -> list[str]:
    """What is revoked, as the follower has it."""
    assert follower.active is not None
    return [entry["id"] for entry in follower.active.revocations]


@attack("a revocation list that forgets an entry", by=f"14 {RULES}", code="RELEASE_ROLLBACK")
def test_a_list_that_forgets_an_entry(attacker: Attacker) -> None:
    attacker.steals("esnart")
    attacker.publishes_list(stolen(attacker), stolen(attacker, "cd" * 32))
    assert attacker.victim.refresh() is None
    attacker.publishes_list(stolen(attacker, "cd" * 32), version=3, key=attacker.key("esnart"))
    attacker.is_refused(number=1)
    assert entries(attacker.victim) == ["ab" * 32, "cd" * 32]
    again = attacker.mirror.follower()
    again.start()
    assert entries(again) == ["ab" * 32, "cd" * 32], "and a restart forgets nothing"


@attack("a revocation list that forgets an entry, for a victim that restarted", by=f"14 {RULES}", code="RELEASE_ROLLBACK")
def test_a_list_that_forgets_for_a_victim_that_restarted(attacker: Attacker) -> None:
    attacker.publishes_list(stolen(attacker))
    assert attacker.victim.refresh() is None
    attacker.publishes_list(version=3)
    restarted = attacker.mirror.follower()
    restarted.start()
    attacker.is_refused(number=1, victim=restarted)
    assert entries(restarted) == ["ab" * 32]


@attack("an entry whose end is moved forward, so that it lapses at once", by=f"14 {RULES}", code="RELEASE_ROLLBACK")
def test_an_entry_that_lapses_at_once(attacker: Attacker) -> None:
    entry = stolen(attacker)
    attacker.publishes_list(entry)
    assert attacker.victim.refresh() is None
    attacker.publishes_list({**entry, "until": entry["revoked_at"]}, version=3)
    attacker.is_refused(number=1)


@pytest.mark.parametrize("whose", ["alice", "custodian-1", "esnart"])
@attack("a revocation list that names an officer's, a custodian's or the security officer's key", by=f"14 {RULES}", code="RELEASE_SHAPE")
def test_a_list_that_names_an_officers_key(attacker: Attacker, whose: str) -> None:
    """With the security officer's key alone nobody unseats those whom the custodians name."""
    attacker.steals("esnart")
    named = stolen(attacker, key_id_of(key_of(attacker.world, whose)), "token_key")
    attacker.publishes_list(named, key=attacker.key("esnart"))
    attacker.is_refused(number=1)


@attack("a revocation list that names an officer by his key's material", by=f"14 {RULES}", code="RELEASE_SHAPE")
def test_a_list_that_names_an_officers_material(attacker: Attacker) -> None:
    attacker.publishes_list(stolen(attacker, public_hex(key_of(attacker.world, "bruno")), "permit_key"))
    attacker.is_refused(number=1)


@attack("a revocation list signed by an officer, or by an online key", by=TUF, code="RELEASE_SIGNATURE")
def test_a_list_signed_by_the_wrong_key(attacker: Attacker) -> None:
    attacker.publishes_list(key=attacker.key("timestamp"))
    attacker.is_refused(number=1)


@attack("another environment's revocation list", by=f"14 {RULES}", code="RELEASE_ENVIRONMENT")
def test_another_environments_list(attacker: Attacker) -> None:
    esnart = attacker.world.ceremony.security_officer
    attacker.mirror.put(REVOCATIONS, 2, signed_revocations(esnart, "production", 2, [], attacker.world.clock.now()))
    attacker.is_refused(number=1)


@attack("a revocation list that has run out", by=TUF, code="RELEASE_EXPIRED")
def test_a_list_that_has_run_out(attacker: Attacker) -> None:
    esnart = attacker.world.ceremony.security_officer
    old = signed_revocations(esnart, ENVIRONMENT, 2, [], attacker.world.clock.now() - timedelta(days=366))
    attacker.mirror.put(REVOCATIONS, 2, old)
    attacker.is_refused(number=1)


@attack("a release list entry of a kind that does not exist", by=f"14 {RULES}", code="RELEASE_SHAPE")
def test_an_entry_of_another_kind(attacker: Attacker) -> None:
    attacker.publishes_list(stolen(attacker, kind="officer"))
    attacker.is_refused(number=1)
