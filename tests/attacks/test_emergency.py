"""Break-glass: who holds the online keys and the database opens nothing, keeps nothing open and replays nothing (E1 to E9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contracts.keys import key_id_of, public_hex
from contracts.release import ReleaseFollower, emergency
from symphony.release.emergency import EmergencyDraft, reviewed
from tests.attacks.attacker import Attacker, digest_of_role, ours
from tests.attacks.index import attack
from tests.releases import glass
from tests.releases.glass import CAPS, edited, opened, put_document, put_sealed, role_file, sealed_draft, sealed_of
from tests.releases.support import changed, sign_file

RULES, FOLLOWING = "contracts.release.emergency", "contracts.release.emergency_following"
TUF = "TUF contracts.release.repository"


def seals(attacker: Attacker, number: int = 1, **more: Any) -> EmergencyDraft:
    """A release that officers sealed and approved of their own free will."""
    made = sealed_draft(attacker.world, number, **more)
    put_sealed(attacker.mirror, made)
    return made


def is_refused(attacker: Attacker) -> None:
    """The victim's look ends with the code, the release in force is not touched, and no emergency is open, also after a restart."""
    attacker.is_refused(number=None)
    assert attacker.victim.emergency_refused == (attacker.victim._published("sandbox-emergency")[1], attacker.attack.code)
    for follower in (attacker.victim, attacker.mirror.follower()):
        active = follower.active or follower.start()
        assert active is not None
        assert active.in_force == (1, 0)


@attack("an emergency opened by one officer only", by=f"E4 {RULES}", code="EMERGENCY_SIGNATURE")
def test_opened_by_one_officer_only(attacker: Attacker) -> None:
    made = seals(attacker)
    attacker.steals("bruno")
    put_document(attacker.mirror, 1, opened(attacker.world, made, "bruno"))
    is_refused(attacker)


@pytest.mark.parametrize("names", [("bruno", "bruno"), ("alice", "bruno", "bruno")], ids=["alone", "beside another"])
@attack("an emergency opened by the same officer twice", by=f"E4 {RULES}", code="EMERGENCY_SIGNATURE")
def test_opened_by_the_same_officer_twice(attacker: Attacker, names: tuple[str, ...]) -> None:
    made = seals(attacker)
    attacker.steals(*names)
    put_document(attacker.mirror, 1, opened(attacker.world, made, *names))
    is_refused(attacker)


@attack("an emergency opened under two key ids of one material", by=f"E4 {RULES}", code="EMERGENCY_SIGNATURE")
def test_two_key_ids_of_one_material(attacker: Attacker) -> None:
    """Rule 5 refuses such custodians' metadata; E4 does not lean on it."""
    made = seals(attacker)
    attacker.steals("bruno")
    envelope = opened(attacker.world, made, "bruno")
    envelope["signatures"].append({**envelope["signatures"][0], "keyid": "11" * 32})
    trust = glass.trust(attacker.world)
    twice = {**trust.officers, "11" * 32: public_hex(attacker.key("bruno"))}
    with_both = replace(trust, officers=twice)
    sealed, now = sealed_of(attacker.world, made), attacker.world.clock.now()
    assert attacker.code_of(lambda: emergency.verify_opening(with_both, sealed, envelope, now)) == attacker.attack.code
    put_document(attacker.mirror, 1, envelope)
    is_refused(attacker)


@pytest.mark.parametrize("whose", ["snapshot", "esnart", "gate", "custodian-3"])
@attack("an emergency opened by an officer and a key that is no officer's", by=f"E4 {RULES}", code="EMERGENCY_SIGNATURE")
def test_opened_by_a_key_that_is_no_officers(attacker: Attacker, whose: str) -> None:
    made = seals(attacker)
    attacker.steals("bruno", whose)
    put_document(attacker.mirror, 1, edited(opened(attacker.world, made), attacker.key("bruno"), attacker.key(whose)))
    is_refused(attacker)


@attack("a second signature that does not hold under an officer's key id", by=f"E4 {RULES}", code="EMERGENCY_SIGNATURE")
def test_a_signature_of_other_bytes(attacker: Attacker) -> None:
    made = seals(attacker)
    honest, mine = opened(attacker.world, made), opened(attacker.world, made, "bruno", over=1, reason="mine")
    mine["signatures"] += [one for one in honest["signatures"] if one["keyid"] != mine["signatures"][0]["keyid"]]
    put_document(attacker.mirror, 1, mine)
    is_refused(attacker)


@attack("an opening replayed after its end, to a follower that has lost its record", by=f"E5 {RULES}", code="")
def test_an_opening_replayed_after_its_end(attacker: Attacker) -> None:
    made = seals(attacker)
    put_document(attacker.mirror, 1, opened(attacker.world, made))
    attacker.lets_pass(seconds=3601)
    attacker.mirror.put(glass.ROLE, 1, role_file(attacker.world, made))
    newcomer = attacker.mirror.follower("newcomer")
    for follower in (attacker.victim, newcomer):
        follower.refresh()
        assert stands(follower) == (1, 0)
    attacker.comes_to_nothing()


@attack("an old opening under the next emergency's number", by=f"E4 {RULES}", code="EMERGENCY_INVALID")
def test_an_old_opening_for_the_next_emergency(attacker: Attacker) -> None:
    old = opened(attacker.world, seals(attacker))
    seals(attacker, 2)
    put_document(attacker.mirror, 2, old)
    is_refused(attacker)


@attack("a second opening of an emergency that was closed", by=f"E6 {FOLLOWING}", code="EMERGENCY_REPLAYED")
def test_a_second_opening_of_one_number(attacker: Attacker) -> None:
    made = seals(attacker)
    envelope = opened(attacker.world, made)
    put_document(attacker.mirror, 1, envelope)
    attacker.victim.refresh()
    put_document(attacker.mirror, 1, envelope, glass.closed(attacker.world, made, envelope))
    attacker.victim.refresh()
    attacker.steals("alice", "bruno")
    put_document(attacker.mirror, 1, opened(attacker.world, made, reason="once more"))
    is_refused(attacker)


@attack("an emergency kept open past its validity by withholding its closing", by=f"E5 {RULES}", code="")
def test_kept_open_past_its_validity(attacker: Attacker) -> None:
    made = seals(attacker)
    put_document(attacker.mirror, 1, opened(attacker.world, made))
    attacker.victim.refresh()
    assert stands(attacker.victim) == (1, 1)
    attacker.lets_pass(seconds=3601)
    assert stands(attacker.victim) == (1, 0)
    attacker.comes_to_nothing()


@attack("an opening by two officers whose sealed file has run out", by=TUF, code="RELEASE_EXPIRED")
def test_opened_after_the_sealed_file_ran_out(attacker: Attacker) -> None:
    bounds = replace(glass.BOUNDS, sealed_for=timedelta(seconds=60))
    made = seals(attacker, bounds=bounds)
    sealed = sealed_of(attacker.world, made)
    attacker.lets_pass(seconds=120)
    put_document(attacker.mirror, 1, opened(attacker.world, made, sealed=sealed))
    is_refused(attacker)


@attack("an opening that is dated ahead, to be used when the officers are gone", by=f"E5 {RULES}", code="EMERGENCY_TIME")
def test_dated_ahead(attacker: Attacker) -> None:
    made = seals(attacker)
    put_document(attacker.mirror, 1, opened(attacker.world, made, now=attacker.world.clock.now() + timedelta(hours=1)))
    is_refused(attacker)


@attack("an opening that stood over the release before the one in force", by=f"E7 {FOLLOWING}", code="")
def test_over_the_release_before(attacker: Attacker) -> None:
    made = seals(attacker)
    envelope = opened(attacker.world, made)
    attacker.passes_on(attacker.drafts())
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    put_document(attacker.mirror, 1, envelope)
    attacker.victim.refresh()
    assert stands(attacker.victim) == (2, 0)
    attacker.comes_to_nothing()


@attack("an opening of another environment's emergency", by=f"E4 {RULES}", code="RELEASE_ENVIRONMENT")
def test_another_environments_opening(attacker: Attacker) -> None:
    made = seals(attacker)
    honest = opened(attacker.world, made)
    put_document(attacker.mirror, 1, edited(honest, *attacker.officers("alice", "bruno"), environment="staging"))
    is_refused(attacker)


@attack("an emergency that its sealed file says is another environment's", by=f"E1 {RULES}", code="RELEASE_ENVIRONMENT")
def test_another_environments_sealed_file(attacker: Attacker) -> None:
    forged_sealed(attacker, lambda signed: ours(signed).update(environment="staging"))


@pytest.mark.parametrize("cap", [
    {**CAPS["ZMW"], "payment_minor_max": 0}, {**CAPS["ZMW"], "payment_minor_max": -1}, {"payment_minor_max": 1},
    {**CAPS["ZMW"], "daily_minor_max": True}, None,
], ids=["zero", "negative", "without the day's", "no number", "none"])  # fmt: skip
@attack("an emergency whose caps are no caps", by=f"E1 {RULES}", code="EMERGENCY_INVALID")
def test_caps_that_are_none(attacker: Attacker, cap: Any) -> None:
    forged_sealed(attacker, lambda signed: ours(signed).update(caps={"ZMW": cap}))


@attack("an emergency whose caps are above those of the release", by=f"E1 {RULES}", code="")
def test_caps_above_the_releases(attacker: Attacker) -> None:
    before = attacker.victim.active
    high = dict.fromkeys(CAPS["ZMW"], 2**53 - 1)
    made = seals(attacker, bounds=replace(glass.BOUNDS, caps={"ZMW": high}))
    put_document(attacker.mirror, 1, opened(attacker.world, made))
    attacker.victim.refresh()
    assert stands(attacker.victim) == (1, 1)
    assert attacker.victim.active is not None
    assert before is not None
    assert attacker.victim.active.environment_data["caps"] == before.environment_data["caps"]
    attacker.comes_to_nothing()


@attack("a validity above its bound", by=f"E1 {RULES}", code="EMERGENCY_INVALID")
def test_a_validity_above_its_bound(attacker: Attacker) -> None:
    forged_sealed(attacker, lambda signed: ours(signed).update(valid_for_s=24 * 3600 + 1))


@attack("a sealed file that runs for longer than 90 days", by=f"E1 {RULES}", code="EMERGENCY_INVALID")
def test_a_sealed_file_that_runs_for_too_long(attacker: Attacker) -> None:
    late = (attacker.world.clock.now() + timedelta(days=91)).replace(microsecond=0)
    forged_sealed(attacker, lambda signed: signed.update(expires=f"{late:%Y-%m-%dT%H:%M:%SZ}"))


@attack("an emergency that brings environment data of its own", by=f"E1 {RULES}", code="RELEASE_SHAPE")
def test_environment_data_of_its_own(attacker: Attacker) -> None:
    def with_data(signed: dict[str, Any]) -> None:
        (path, target), *_ = signed["targets"].items()
        signed["targets"][path.rpartition("/")[0] + "/environment.json"] = target

    forged_sealed(attacker, with_data)


@attack("a field of a sealed file edited after its approval", by=TUF, code="RELEASE_SIGNATURE")
def test_a_sealed_file_edited_after_its_approval(attacker: Attacker) -> None:
    made = seals(attacker)
    envelope = opened(attacker.world, made)
    value = json.loads(role_file(attacker.world, made))
    ours(value["signed"])["caps"]["ZMW"]["payment_minor_max"] = 10**9
    put_sealed(attacker.mirror, made, json.dumps(value).encode())
    put_document(attacker.mirror, 1, envelope)
    is_refused(attacker)


@attack("other bytes than those that were sealed", by=TUF, code="RELEASE_DIGEST")
def test_unsealed_content_differs(attacker: Attacker) -> None:
    files = {**attacker.world.files(), "invariants.json": b'{"schema":"symphony.invariants/1","invariants":[1]}'}
    made = seals(attacker, files=files)
    put_document(attacker.mirror, 1, opened(attacker.world, made))
    for path in (attacker.mirror.folder / "targets" / glass.ROLE / "1").glob("*.invariants.json"):
        path.write_bytes(b"{}")
    is_refused(attacker)


@attack("an emergency approved only by counting its proposer", by=f"E2 {RULES}", code="RELEASE_SIGNATURE")
def test_approved_only_by_counting_the_proposer(attacker: Attacker) -> None:
    made = sealed_draft(attacker.world)
    envelope = opened(attacker.world, made)
    put_sealed(attacker.mirror, made, role_file(attacker.world, made, "alice", "bruno"))
    put_document(attacker.mirror, 1, envelope)
    is_refused(attacker)


@attack("an emergency whose gate result is forged", by="9 contracts.release.contents", code="RELEASE_GATE")
def test_a_forged_gate_result(attacker: Attacker) -> None:
    files = attacker.world.files()
    made = seals(attacker, files=files, gate=attacker.world.gate(files, key=attacker.key("log")))
    put_document(attacker.mirror, 1, opened(attacker.world, made))
    is_refused(attacker)


@attack("an emergency whose proposal says other caps than its role", by=f"E3 {RULES}", code="RELEASE_PROPOSAL")
def test_a_proposal_of_other_caps(attacker: Attacker) -> None:
    forged_sealed(attacker, lambda signed: ours(signed).update(caps={"ZMW": {**CAPS["ZMW"], "payment_minor_max": 999}}))


@attack("a review by an officer who opened", by=f"E9 {RULES}", code="EMERGENCY_OWN")
def test_reviewed_by_who_opened(attacker: Attacker) -> None:
    world = attacker.world
    made = seals(attacker)
    sealed, digest = sealed_of(world, made), emergency.payload_sha256(opened(world, made))
    trust, now = glass.trust(world), world.clock.now()
    openers = {key_id_of(key): public_hex(key) for key in attacker.officers("alice", "bruno")}

    def look(name: str) -> None:
        envelope = reviewed(world.officer(name), sealed, digest, reason="fine", now=now)
        emergency.verify_review(trust, sealed, digest, envelope, now, involved=openers)

    look("chanda")
    attacker.is_not_approved(lambda: look("bruno"))


def forged_sealed(attacker: Attacker, change: Callable[[dict[str, Any]], None]) -> None:
    """Officers were deceived into a sealed file that breaks a rule, and into its opening."""
    made = sealed_draft(attacker.world)
    honest = opened(attacker.world, made)
    content = sign_file(changed(made.metadata, change), *attacker.officers("bruno", "chanda"))
    put_sealed(attacker.mirror, made, content)
    digest = digest_of_role(content)
    put_document(attacker.mirror, 1, edited(honest, *attacker.officers("alice", "bruno"), metadata_digest=digest))
    is_refused(attacker)


def stands(follower: ReleaseFollower) -> tuple[int, int]:
    """What is in force."""
    assert follower.active is not None
    return follower.active.in_force
