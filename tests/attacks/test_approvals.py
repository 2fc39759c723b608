"""Who approves: the online keys never, the proposer not himself, nobody twice, nobody who was removed (rules 6 to 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from contracts.keys import key_id_of, public_hex, signer_of
from tests.attacks.attacker import Attacker, ours
from tests.attacks.index import attack
from tests.releases.support import ENVIRONMENT, sign_file
from tests.releases.test_follower import without_officer

RULES, TRUST, TUF = "contracts.release.rules", "contracts.release.trust", "TUF contracts.release.repository"


@attack("targets forged with the online keys", by=TUF, code="RELEASE_SIGNATURE")
def test_forged_targets_with_the_online_keys(attacker: Attacker) -> None:
    attacker.publishes(attacker.drafts(), "snapshot", "timestamp", "log")
    attacker.is_refused()


@attack("the online keys' signatures under officers' key ids", by=TUF, code="RELEASE_SIGNATURE")
def test_online_signatures_under_officers_ids(attacker: Attacker) -> None:
    made = attacker.drafts()
    signed = json.loads(sign_file(made.metadata, attacker.key("snapshot"), attacker.key("timestamp")))
    for signature, name in zip(signed["signatures"], ("bruno", "chanda"), strict=True):
        signature["keyid"] = attacker.world.officer(name).key_id
    attacker.mirror.put_release(made, json.dumps(signed).encode())
    attacker.is_refused()


@attack("one stolen officer's key", by=TUF, code="RELEASE_SIGNATURE")
def test_one_stolen_officers_key(attacker: Attacker) -> None:
    attacker.steals("bruno")
    attacker.publishes(attacker.drafts(), "bruno")
    attacker.is_refused()


@attack("the threshold met only by counting the proposer", by=f"7 {RULES}", code="RELEASE_SIGNATURE")
def test_the_threshold_met_only_by_counting_the_proposer(attacker: Attacker) -> None:
    """Stock TUF accepts it: two signatures of the role's keys."""
    attacker.steals("alice", "bruno")
    attacker.publishes(attacker.drafts(), "alice", "bruno")
    attacker.is_refused()


@attack("a proposer whom the signers merely claim", by="8 contracts.release.contents", code="RELEASE_PROPOSAL")
def test_a_proposer_that_the_signers_merely_claim(attacker: Attacker) -> None:
    """dalitso is named, but alice signed the proposal; else she could approve her own."""
    attacker.steals("alice", "bruno")
    made = attacker.drafts()
    value = json.loads(made.metadata)
    ours(value["signed"])["proposer_key_id"] = attacker.world.officer("dalitso").key_id
    signed = sign_file(json.dumps(value).encode(), attacker.key("alice"), attacker.key("bruno"))
    attacker.mirror.put_release(made, signed)
    attacker.is_refused()


@attack("a proposer who is no officer", by=f"6 {RULES}", code="RELEASE_PROPOSAL")
def test_a_proposer_who_is_no_officer(attacker: Attacker) -> None:
    esnart = key_id_of(attacker.world.ceremony.security_officer)
    attacker.passes_on_changed(lambda signed: ours(signed).update(proposer_key_id=esnart))
    attacker.is_refused()


@attack("no proposer named", by=f"6 {RULES}", code="RELEASE_PROPOSAL")
def test_no_proposer_named(attacker: Attacker) -> None:
    attacker.passes_on_changed(lambda signed: ours(signed).pop("proposer_key_id"))
    attacker.is_refused()


@attack("one officer's signature twice under his key id", by="TUF contracts.release.repository", code="RELEASE_SHAPE")
def test_one_signature_twice_under_one_id(attacker: Attacker) -> None:
    attacker.steals("bruno")
    made = attacker.drafts()
    value = json.loads(sign_file(made.metadata, attacker.key("bruno")))
    value["signatures"] *= 2
    attacker.mirror.put_release(made, json.dumps(value).encode())
    attacker.is_refused()


@attack("the same officer twice under two key ids, in the custodians' metadata", by=f"5 {TRUST}", code="RELEASE_KEY_REUSED")
def test_the_same_officer_twice_under_two_key_ids(attacker: Attacker) -> None:
    """Custodians were deceived; to stock TUF bruno alone then reaches the threshold of two."""
    bruno = attacker.world.ceremony.officer("bruno")

    def second_id(signed: dict[str, Any]) -> None:
        signed["delegations"]["keys"]["11" * 32] = {
            "keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(bruno)},
        }  # fmt: skip
        role(signed, ENVIRONMENT)["keyids"].append("11" * 32)

    attacker.mirror.put("targets", 2, attacker.targets(second_id, *attacker.custodians()))
    made = attacker.drafts()
    twice: Metadata[Any] = Metadata.from_bytes(sign_file(made.metadata, bruno))
    twice.signatures["11" * 32] = signer_of(bruno).sign(twice.signed_bytes)
    attacker.mirror.put_release(made, twice.to_bytes())
    attacker.is_refused()


@pytest.mark.parametrize("whose", ["gate", "esnart", "snapshot", "custodian-3"])
@attack("one key in two roles: an officer's that is the gate's, the security officer's, an online or a custodian's",
        by=f"5 {TRUST}", code="RELEASE_KEY_REUSED")  # fmt: skip
def test_one_key_in_two_roles(attacker: Attacker, whose: str) -> None:
    attacker.steals(whose)
    key = attacker.key(whose)

    def officer_too(signed: dict[str, Any]) -> None:
        value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key)}}
        signed["delegations"]["keys"][key_id_of(key)] = value
        role(signed, ENVIRONMENT)["keyids"].append(key_id_of(key))

    attacker.mirror.put("targets", 2, attacker.targets(officer_too, *attacker.custodians()))
    attacker.is_refused(number=1)


@attack("a removed officer's key", by=TUF, code="RELEASE_SIGNATURE")
def test_a_removed_officers_key(attacker: Attacker) -> None:
    attacker.mirror.put("targets", 2, without_officer(attacker.world, "dalitso"))
    attacker.steals("dalitso", "bruno")
    attacker.publishes(attacker.drafts(), "dalitso", "bruno")
    attacker.is_refused()


@attack("the custodians' metadata of before an officer's removal, served again", by=TUF, code="RELEASE_ROLLBACK")
def test_the_metadata_of_before_a_removal_served_again(attacker: Attacker) -> None:
    attacker.mirror.put("targets", 2, without_officer(attacker.world, "dalitso"))
    assert attacker.victim.refresh() is None
    attacker.steals("dalitso", "bruno")
    attacker.mirror.put("targets", 1, attacker.world.trust["targets.json"])
    attacker.publishes(attacker.drafts(), "dalitso", "bruno")
    attacker.is_refused(number=1)


@attack("an officer's role that delegates to a key of the attacker's", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_role_that_delegates_further(attacker: Attacker) -> None:
    delegations = json.loads(attacker.world.trust["targets.json"])["signed"]["delegations"]
    attacker.passes_on_changed(lambda signed: signed.update(delegations=delegations))
    attacker.is_refused()


@attack("another role's key: the security officer signs a release", by=TUF, code="RELEASE_SIGNATURE")
def test_another_roles_key(attacker: Attacker) -> None:
    attacker.steals("esnart", "bruno")
    attacker.publishes(attacker.drafts(), "esnart", "bruno")
    attacker.is_refused()


@attack("a field edited after the signatures", by=TUF, code="RELEASE_SIGNATURE")
def test_a_field_edited_after_the_signatures(attacker: Attacker) -> None:
    made = attacker.drafts()
    edited: Metadata[Any] = Metadata.from_bytes(attacker.world.signed(made))
    ours(edited.signed.unrecognized_fields)["activate_before"] = "2999-01-01T00:00:00.000000Z"
    attacker.mirror.put_release(made, edited.to_bytes())
    attacker.is_refused()


@attack("a gate result forged with a key that is no gate key", by="9 contracts.release.contents", code="RELEASE_GATE")
def test_a_forged_gate_result(attacker: Attacker) -> None:
    files = attacker.world.files(cap_minor=7)
    forged = attacker.world.gate(files, key=attacker.key("log"))
    attacker.passes_on(attacker.world.draft(2, files, gate=forged))
    attacker.is_refused()


@attack("the gate result of another policy", by="9 contracts.release.contents", code="RELEASE_GATE")
def test_the_gate_result_of_another_policy(attacker: Attacker) -> None:
    files = attacker.world.files(cap_minor=7)
    attacker.passes_on(attacker.world.draft(2, files, gate=attacker.world.gate({**files, "policy.wasm": b"other"})))
    attacker.is_refused()


def role(signed: dict[str, Any], name: str) -> dict[str, Any]:
    """A delegated role in the custodians' signed part."""
    (found,) = [value for value in signed["delegations"]["roles"] if value["name"] == name]
    return found
