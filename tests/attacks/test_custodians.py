"""The custodians' metadata and the shape of a role: what python-tuf alone accepts (rules 1 to 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.keys import key_id_of, public_hex
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack
from tests.attacks.test_approvals import role
from tests.releases.support import ENVIRONMENT, sign_file

RULES, TRUST, TUF = "contracts.release.rules", "contracts.release.trust", "TUF contracts.release.repository"


@attack("a target listed in the top-level targets: custodians who bypass the officers", by=f"3 {TRUST}", code="RELEASE_SHAPE")
def test_a_target_in_the_top_level_targets(attacker: Attacker) -> None:
    target = {"length": 1, "hashes": {"sha256": "00" * 32}}
    attacker.mirror.put("targets", 2, attacker.targets(
        lambda signed: signed.update(targets={f"{ENVIRONMENT}/2/policy.wasm": target}), *attacker.custodians(),
    ))  # fmt: skip
    attacker.is_refused(number=1)


@attack("officers whose threshold is higher than the custodians'", by=f"2 {TRUST}", code="RELEASE_SHAPE")
def test_a_threshold_above_the_custodians(attacker: Attacker) -> None:
    attacker.mirror.put("targets", 2, attacker.targets(
        lambda signed: role(signed, ENVIRONMENT).update(threshold=3), *attacker.custodians(),
    ))  # fmt: skip
    attacker.is_refused(number=1)


@pytest.mark.parametrize("paths", [["*/*/*"], [f"{ENVIRONMENT}/*/*"], ["production/*/*"]])
@attack("an environment's role delegated other paths than its own", by=f"4 {TRUST}", code="RELEASE_SHAPE")
def test_a_delegation_of_other_paths(attacker: Attacker, paths: list[str]) -> None:
    """TUF matches by segment: ``sandbox/*/*`` takes ``sandbox/../x``."""
    attacker.mirror.put("targets", 2, attacker.targets(
        lambda signed: role(signed, ENVIRONMENT).update(paths=paths), *attacker.custodians(),
    ))  # fmt: skip
    attacker.is_refused(number=1)


@attack("a delegation beside the known ones, to the attacker's key", by=f"4 {TRUST}", code="RELEASE_SHAPE")
def test_a_delegation_with_no_meaning(attacker: Attacker) -> None:
    def backdoor(signed: dict[str, Any]) -> None:
        signed["delegations"]["roles"].insert(0, {**role(signed, ENVIRONMENT), "name": f"{ENVIRONMENT}-backdoor"})

    attacker.mirror.put("targets", 2, attacker.targets(backdoor, *attacker.custodians()))
    attacker.is_refused(number=1)


@attack("custodians' metadata signed by the online keys", by=TUF, code="RELEASE_SIGNATURE")
def test_targets_signed_by_the_online_keys(attacker: Attacker) -> None:
    def own_officer(signed: dict[str, Any]) -> None:
        key = attacker.key("log")
        value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key)}}
        signed["delegations"]["keys"][key_id_of(key)] = value
        role(signed, ENVIRONMENT).update(keyids=[key_id_of(key)], threshold=1)

    attacker.publishes_targets(own_officer, "snapshot", "timestamp")
    attacker.is_refused(number=1)


@attack("custodians' metadata signed by one custodian of two", by=TUF, code="RELEASE_SIGNATURE")
def test_targets_signed_by_one_custodian(attacker: Attacker) -> None:
    attacker.steals("custodian-1")
    attacker.publishes_targets(lambda signed: role(signed, ENVIRONMENT).update(threshold=1), "custodian-1")
    attacker.is_refused(number=1)


@attack("a root of the attacker's own", by=TUF, code="RELEASE_SIGNATURE")
def test_a_root_of_the_attackers_own(attacker: Attacker) -> None:
    root = json.loads(attacker.world.ceremony.root(attacker.world.clock.now(), version=2))
    own = [attacker.key("snapshot"), attacker.key("timestamp")]
    for name in ("root", "targets"):
        root["signed"]["roles"][name]["keyids"] = [key_id_of(key) for key in own]
    content = sign_file(json.dumps(root).encode(), *own)
    (attacker.mirror.folder / "metadata" / "2.root.json").write_bytes(content)
    attacker.is_refused(number=1)


@attack("a root version left out", by=TUF, code="RELEASE_ROLLBACK")
def test_a_root_version_left_out(attacker: Attacker) -> None:
    root = attacker.world.ceremony.root(attacker.world.clock.now(), version=3)
    (attacker.mirror.folder / "metadata" / "2.root.json").write_bytes(root)
    attacker.is_refused(number=1)


@pytest.mark.parametrize("path", ["sandbox/2/../x", "sandbox/1/policy.wasm", "sandbox/2/extra.json", "sandbox/2/services/../x.json"])
@attack("a target that is none of this release, among them paths that climb", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_target_that_is_none_of_this_release(attacker: Attacker, path: str) -> None:
    def change(signed: dict[str, Any]) -> None:
        signed["targets"][path] = signed["targets"]["sandbox/2/policy.wasm"]

    attacker.passes_on_changed(change)
    attacker.is_refused()


@attack("a release without its policy", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_release_without_its_policy(attacker: Attacker) -> None:
    attacker.passes_on_changed(lambda signed: signed["targets"].pop("sandbox/2/policy.wasm"))
    attacker.is_refused()


@attack("a target by a weak hash beside the strong one", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_target_by_a_weak_hash(attacker: Attacker) -> None:
    attacker.passes_on_changed(lambda signed: signed["targets"]["sandbox/2/policy.wasm"]["hashes"].update(md5="00" * 16))
    attacker.is_refused()


@attack("a number that is not the role's version", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_number_that_is_not_the_roles_version(attacker: Attacker) -> None:
    attacker.passes_on_changed(lambda signed: signed["x-symphony"].update(number=7))
    attacker.is_refused()


@attack("a number that is a float, or true", by=f"6 {RULES}", code="RELEASE_SHAPE")
def test_a_number_of_another_type(attacker: Attacker) -> None:
    """``1 == True`` in Python: release 1 with the number ``true``, for a service that is new."""
    other = attacker.elsewhere()
    made = attacker.world.draft(1)
    value = json.loads(made.metadata)
    value["signed"]["x-symphony"]["number"] = True
    other.put_release(made, sign_file(json.dumps(value).encode(), *attacker.officers("bruno", "chanda")))
    attacker.is_refused_by_a_newcomer(1, other.follower("new"))


@attack("a JSON key twice, so that two readers read two things", by=f"6 {TRUST}", code="RELEASE_SHAPE")
def test_a_key_twice(attacker: Attacker) -> None:
    made = attacker.drafts()
    content = attacker.world.signed(made)
    attacker.mirror.put_release(made, content.replace(b'"signatures"', b'"signatures": [], "signatures"', 1))
    attacker.is_refused()


@attack("target bytes exchanged under their signed digest", by=TUF, code="RELEASE_DIGEST")
def test_target_bytes_exchanged(attacker: Attacker) -> None:
    attacker.passes_on(attacker.drafts())
    (file,) = (attacker.mirror.folder / "targets" / ENVIRONMENT / "2").glob("*.environment.json")
    file.write_bytes(file.read_bytes().replace(b"Kafue", b"Kafuf"))
    attacker.is_refused()
