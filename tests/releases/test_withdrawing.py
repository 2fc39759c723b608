"""Withdrawing a release: the number is burned, what was signed is revoked, the next number follows (design section 4, POL-07)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import sha256_hex
from contracts.errors import SymphonyError
from contracts.evidence import parse_record
from contracts.release import rules
from symphony.release.propose import Draft
from symphony.release.revoke import published
from symphony.release.rollback import renew, rollback
from symphony.release.withdraw import revoke_release, withdraw
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, follower

LATER = timedelta(minutes=20)
SAID = {"environment": ENVIRONMENT, "reason": "again", "change_ticket": "CHG-9"}


def refused(code: str, call: Callable[[], Any], saying: str = "") -> None:
    """The call ends with this reason code."""
    with pytest.raises(SymphonyError) as error:
        call()
    assert error.value.code == code, error.value
    assert saying in error.value.detail


def withdrawn(shared: Running, number: int, name: str = "bruno") -> str:
    """A withdrawal as an officer; what it says of the revocation."""
    return withdraw(shared.control(name), shared.world.officer(name), ENVIRONMENT, number, "not this one")


def revoked(shared: Running, number: int) -> int:
    """The security officer's half."""
    world = shared.world
    key, now = world.ceremony.security_officer, world.clock.now()
    return revoke_release(shared.control("esnart"), key, ENVIRONMENT, number, "not this one", root=world.root, now=now)


def status(shared: Running, number: int) -> str:
    return str(shared.control("alice").release(ENVIRONMENT, number)["status"])


def approved(shared: Running, **changes: Any) -> Draft:
    made = shared.proposed(**changes)
    shared.signed(made)
    return made


def test_the_active_release_cannot_be_withdrawn_and_the_attempt_is_kept(shared: Running) -> None:
    made = approved(shared)
    shared.promoted(made)
    refused("RELEASE_IN_FORCE", lambda: withdrawn(shared, made.number), f"release {made.number} is active")
    assert status(shared, made.number) == "ACTIVE"
    kept = shared.rows(
        "SELECT actor, reason_code, envelope FROM symphony.release_refusals WHERE action = 'withdraw' AND number = %s",
        made.number,
    )
    assert [(actor, code) for actor, code, _ in kept] == [("bruno", "RELEASE_IN_FORCE")]
    leaf = leaves(shared)[-1]
    assert (leaf["event"], leaf["reason_code"]) == ("REFUSED", "RELEASE_IN_FORCE")
    assert leaf["envelope_sha256"] == sha256_hex(bytes(kept[0][2]))
    refused("RELEASE_IN_FORCE", lambda: withdrawn(shared, made.number))
    assert leaves(shared)[-1] == leaf, "the same envelope, refused again for the same cause, is kept once"


def leaves(shared: Running) -> list[dict[str, Any]]:
    """What the evidence log holds of releases' events; each record fits its schema."""
    rows = shared.rows("SELECT record FROM symphony.log_leaves WHERE kind = 'release_event' ORDER BY index")
    return [parse_record(bytes(record)) for (record,) in rows]


def test_a_proposal_is_withdrawn_without_a_revocation_and_takes_no_approval_and_no_promotion(shared: Running) -> None:
    made = shared.proposed(cap_minor=5)
    assert withdrawn(shared, made.number) == "not_needed"
    refused("RELEASE_STATE", lambda: shared.signed(made, "bruno"))
    refused("RELEASE_STATE", lambda: shared.promoted(made), "is WITHDRAWN")
    assert shared.proposed(cap_minor=6).number == made.number + 1


def test_an_approved_release_is_revoked_by_its_signed_metadata_and_no_service_takes_it(
    shared: Running, tmp_path: Path
) -> None:
    """Who holds every online key could still serve the officers' signatures: each sidecar says RELEASE_REVOKED."""
    world = shared.world
    made = approved(shared, cap_minor=7)
    assert withdrawn(shared, made.number) == "missing"
    assert status(shared, made.number) == "WITHDRAWN"
    version = revoked(shared, made.number)
    assert revoked(shared, made.number) == version, "again is no error and no new list"
    assert withdrawn(shared, made.number, "dalitso") == "published"
    trust, revocations = published(shared.control("alice"), ENVIRONMENT, world.root)
    assert [(entry["kind"], entry["id"]) for entry in revocations.entries] == [("release", made.digest)]
    role = rules.verify_role(trust, world.signed(made), ENVIRONMENT)
    refused("RELEASE_REVOKED", lambda: rules.check_always(trust, role, revocations.entries, world.clock.now()))
    events = [(e["event"], e["actor"]) for e in shared.control("alice").release(ENVIRONMENT, made.number)["events"]]
    assert events[-1] == ("WITHDRAWN", "bruno"), "one event, by who asked first"
    following = follower(world, shared.source(), tmp_path / "follower")
    held = following.refresh()
    assert held is not None, "what shares its targets is not revoked"
    assert held.revocations_version == version


def test_the_withdrawals_envelope_is_kept_and_is_a_leaf(shared: Running) -> None:
    made = shared.proposed(cap_minor=8)
    withdrawn(shared, made.number)
    ((envelope,),) = shared.rows(
        "SELECT envelope FROM symphony.release_events WHERE number = %s AND event = 'WITHDRAWN'", made.number
    )
    leaf = leaves(shared)[-1]
    assert leaf["event"] == "WITHDRAWN"
    assert leaf["number"] == made.number
    assert leaf["actor_key_id"] == shared.world.officer("bruno").key_id
    assert leaf["envelope_sha256"] == sha256_hex(bytes(envelope))
    assert json.loads(envelope)["signatures"][0]["keyid"] == leaf["actor_key_id"]


def test_a_superseded_release_is_withdrawn_is_not_served_and_nothing_is_rolled_back_to_it(shared: Running) -> None:
    control, world = shared.control("alice"), shared.world
    old = approved(shared, cap_minor=9)
    shared.promoted(old)
    digest = sha256_hex(old.files["environment.json"])
    served = f"/tuf/targets/{ENVIRONMENT}/{old.number}/{digest}.environment.json"
    assert control.get_bytes(served) == old.files["environment.json"]
    shared.promoted(approved(shared, cap_minor=10))
    assert withdrawn(shared, old.number) == "missing"
    refused("NOT_FOUND", lambda: control.get_bytes(served))
    alice = world.officer("alice")
    back = {**SAID, "root": world.root, "now": world.clock.now()}
    refused("RELEASE_STATE", lambda: rollback(control, alice, to=old.number, **back), "was withdrawn")


@pytest.mark.parametrize(
    "changes",
    [{"metadata_digest": "00" * 32}, {"number": 999}, {"environment": "production"}, {"reason": " "}],
    ids=["another digest", "another number", "another environment", "no reason"],
)
def test_a_withdrawal_that_says_something_else_withdraws_nothing(shared: Running, changes: dict[str, Any]) -> None:
    made = shared.proposed(cap_minor=11)
    fields = {"environment": ENVIRONMENT, "number": made.number, "metadata_digest": made.digest, "reason": "r", **changes}
    envelope = shared.world.officer("bruno").say("withdraw", **fields)
    path = f"/v1/releases/{ENVIRONMENT}/{made.number}/withdrawal"
    code = "REQUEST_INVALID" if "reason" in changes else "ENVELOPE_INVALID"
    refused(code, lambda: shared.control("bruno").post(path, {"envelope": envelope}))
    assert status(shared, made.number) == "PROPOSED"
    refused("OFFICER_UNKNOWN", lambda: shared.control("esnart").post(path, {"envelope": envelope}))


def test_a_strangers_word_is_refused_and_not_kept(shared: Running) -> None:
    """Else anybody could fill the log: kept is only what an officer said under his own key."""
    made = shared.proposed(cap_minor=12)
    before = shared.rows("SELECT count(*) FROM symphony.release_refusals")
    envelope = shared.world.officer("alice").ask("withdraw", ENVIRONMENT, made.number, made.digest, reason="r")
    path = f"/v1/releases/{ENVIRONMENT}/{made.number}/withdrawal"
    refused("ENVELOPE_INVALID", lambda: shared.control("bruno").post(path, {"envelope": envelope}))
    assert shared.rows("SELECT count(*) FROM symphony.release_refusals") == before


def test_a_renewal_is_the_active_release_again_with_a_new_life(shared: Running) -> None:
    """Nothing is built or checked anew: every target but the proposal is the active release's own bytes."""
    control, world = shared.control("bruno"), shared.world
    shared.promoted(active := approved(shared, cap_minor=13))
    world.clock.moved += LATER
    number, made = renew(control, world.officer("bruno"), root=world.root, now=world.clock.now(), **SAID)
    assert number == active.number
    changed = [path for path in active.files if made.files[path] != active.files[path]]
    assert changed == ["release.json"]
    shared.signed(made, "alice", "chanda")
    shared.promoted(made, "chanda")
    trust, _ = published(control, ENVIRONMENT, world.root)
    old, new = (rules.read_role(trust, draft.metadata, ENVIRONMENT) for draft in (active, made))
    assert new.expires_at > old.expires_at
    assert status(shared, made.number) == "ACTIVE"


def test_nothing_is_renewed_where_nothing_is_active(running: Running) -> None:
    world = running.world
    call = {**SAID, "root": world.root, "now": world.clock.now()}
    refused("RELEASE_STATE", lambda: renew(running.control("bruno"), world.officer("bruno"), **call))
