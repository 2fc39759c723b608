"""Custodians' metadata: what python-tuf alone accepts and ``contracts.release.trust`` refuses (rules 1 to 5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, Targets

from contracts.canonical import canonical_bytes
from contracts.errors import NotTrusted
from contracts.keys import key_id_of, public_hex
from contracts.release.model import FIELD
from contracts.release.trust import parse, root_of, trust_of
from symphony.release import ceremony
from tests.releases.support import ENVIRONMENT, World, sign_file


def custodians(world: World) -> list[Ed25519PrivateKey]:
    """Two of the three."""
    return [world.ceremony.custodian(name) for name in ceremony.CUSTODIANS[:2]]


def refused(world: World, code: str, change: Callable[[dict[str, Any]], None]) -> None:
    """The targets metadata, changed and signed by the custodians, is refused."""
    value = json.loads(world.trust["targets.json"])
    change(value["signed"])
    content = sign_file(canonical_bytes(value), *custodians(world))
    with pytest.raises(NotTrusted) as error:
        trust_of(root_of(world.root), content, ENVIRONMENT)
    assert error.value.code == code, error.value


def add_key(signed: dict[str, Any], role: str, key: Ed25519PrivateKey, key_id: str | None = None) -> None:
    """Put a key into a delegated role, under an id of one's choice."""
    name = key_id or key_id_of(key)
    value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key)}}
    signed["delegations"]["keys"][name] = value
    (found,) = [r for r in signed["delegations"]["roles"] if r["name"] == role]
    found["keyids"].append(name)


def test_the_ceremonys_own_metadata_holds(world: World) -> None:
    trust = trust_of(root_of(world.root), world.trust["targets.json"], ENVIRONMENT)
    assert trust.approvals_min == 2
    assert len(trust.officers) == 4
    assert set(trust.gate_keys) == {key_id_of(world.ceremony.gate)}


def test_targets_that_list_a_target_of_their_own(world: World) -> None:
    target = {"length": 1, "hashes": {"sha256": "00" * 32}}
    refused(world, "RELEASE_SHAPE", lambda signed: signed.update(targets={"sandbox/1/policy.wasm": target}))


def test_one_key_under_two_ids_counts_twice_for_tuf_and_is_refused_here(world: World) -> None:
    bruno = world.ceremony.officer("bruno")
    refused(world, "RELEASE_KEY_REUSED", lambda signed: add_key(signed, ENVIRONMENT, bruno, "11" * 32))


@pytest.mark.parametrize("whose", ["gate", "online", "custodian", "security officer"])
def test_a_key_of_another_office_among_the_officers(world: World, whose: str) -> None:
    keys = world.ceremony
    key = {
        "gate": keys.gate,
        "online": keys.online("snapshot"),
        "custodian": keys.custodian("custodian-3"),
        "security officer": keys.security_officer,
    }[whose]
    refused(world, "RELEASE_KEY_REUSED", lambda signed: add_key(signed, ENVIRONMENT, key))


def test_upper_case_does_not_make_another_key(world: World) -> None:
    def change(signed: dict[str, Any]) -> None:
        add_key(signed, ENVIRONMENT, world.ceremony.gate)
        signed[FIELD]["gate_keys"][0]["public_key"] = signed[FIELD]["gate_keys"][0]["public_key"].upper()

    refused(world, "RELEASE_KEY_REUSED", change)


def test_officers_with_a_higher_threshold_than_the_custodians(world: World) -> None:
    refused(world, "RELEASE_SHAPE", lambda signed: signed["delegations"]["roles"][0].update(threshold=3))


@pytest.mark.parametrize("paths", [["*/*/*"], ["sandbox/*/*"], ["production/*/*"], []])
def test_a_delegation_of_other_paths(world: World, paths: list[str]) -> None:
    refused(world, "RELEASE_SHAPE", lambda signed: signed["delegations"]["roles"][0].update(paths=paths))


def test_a_delegation_that_is_not_terminating(world: World) -> None:
    refused(world, "RELEASE_SHAPE", lambda signed: signed["delegations"]["roles"][0].update(terminating=False))


@pytest.mark.parametrize("name", ["anything", "sandbox-backdoor"])
def test_a_delegation_that_has_no_meaning_here(world: World, name: str) -> None:
    refused(world, "RELEASE_SHAPE", lambda signed: signed["delegations"]["roles"][1].update(name=name))


def test_an_environment_that_the_custodians_do_not_delegate(world: World) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_ENVIRONMENT"):
        trust_of(root_of(world.root), world.trust["targets.json"], "production")


@pytest.mark.parametrize("change", [lambda f: f.pop("gate_keys"), lambda f: f.update(gate_keys=[]),
                                    lambda f: f.pop("build_key")])  # fmt: skip
def test_targets_without_gate_or_build_key(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    refused(world, "RELEASE_SHAPE", lambda signed: change(signed[FIELD]))


def test_a_key_that_is_not_ed25519(world: World) -> None:
    def change(signed: dict[str, Any]) -> None:
        key = next(iter(signed["delegations"]["keys"].values()))
        key["keyval"]["public"] = "no key"

    refused(world, "RELEASE_SHAPE", change)


def test_targets_signed_by_one_custodian(world: World) -> None:
    content = sign_file(world.trust["targets.json"], custodians(world)[0])
    with pytest.raises(NotTrusted, match="RELEASE_SIGNATURE"):
        trust_of(root_of(world.root), content, ENVIRONMENT)


def test_a_root_follows_the_pinned_one_by_both_thresholds(world: World) -> None:
    second = world.ceremony.root(world.clock.now(), version=2)
    assert root_of(world.root, [second]).version == 2
    with pytest.raises(NotTrusted, match="RELEASE_ROLLBACK"):
        root_of(world.root, [world.ceremony.root(world.clock.now(), version=3)])
    with pytest.raises(NotTrusted, match="RELEASE_SIGNATURE"):
        root_of(world.root, [sign_file(second, custodians(world)[0], world.ceremony.online("snapshot"))])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"signed": 1, "signatures": []}', b"\xff" * 10, b"[" * 100_000])
def test_what_is_no_metadata(data: bytes) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_SHAPE"):
        parse(data, Targets)


def test_a_role_of_another_kind(world: World) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_SHAPE"):
        parse(world.root, Targets)
    assert Metadata.from_bytes(world.root).signed.type == "root"
