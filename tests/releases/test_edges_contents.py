"""The custodians' metadata, envelopes and documents at their edges, as pure functions over one world (rules 1 to 5, 8, 9, 13)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted
from contracts.keys import INTOTO_TYPE, PROPOSAL_TYPE, key_id_of, public_hex
from contracts.release import contents, rules
from contracts.release.envelope import make_envelope, open_envelope, open_envelope_bytes
from contracts.release.limits import TARGET_BYTES_MAX
from contracts.release.model import FIELD, Role, Target
from contracts.release.trust import Trust, parse, revocations_paths, role_paths, root_of, trust_of
from symphony.release import ceremony
from symphony.release.ceremony import build_key_id, public_pem
from symphony.release.propose import Draft
from tests.releases.support import ENVIRONMENT, XSD, World, environment_data, manifests, sign_file
from tests.releases.test_edges import code_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for all: nothing here changes it."""
    return World(tmp_path_factory.mktemp("edges") / "stack")


@pytest.fixture(scope="module")
def trust(world: World) -> Trust:
    """What its custodians say."""
    return trust_of(root_of(world.root), world.trust["targets.json"], ENVIRONMENT)


@pytest.fixture(scope="module")
def made(world: World) -> Draft:
    """Release 2."""
    return world.draft(2)


@pytest.fixture(scope="module")
def role(world: World, trust: Trust, made: Draft) -> Role:
    """Its role."""
    return rules.verify_role(trust, world.signed(made), ENVIRONMENT)


# envelopes ----------------------------------------------------------------------------------------------------------


def test_an_envelope_gives_its_payload_and_who_signed(world: World) -> None:
    key = world.ceremony.gate
    keys = {"other": "00" * 32, key_id_of(key): public_hex(key)}
    made = make_envelope(key, "text/x", b"hello")
    assert set(made) == {"payload", "payloadType", "signatures"}
    assert made["payloadType"] == "text/x"
    assert base64.b64decode(made["payload"]) == b"hello"
    assert [set(signature) for signature in made["signatures"]] == [{"keyid", "sig"}]
    assert open_envelope(made, "text/x", keys, "RELEASE_GATE") == (b"hello", key_id_of(key))
    assert open_envelope_bytes(json.dumps(made).encode(), "text/x", keys, "RELEASE_GATE") == (b"hello", key_id_of(key))


ENVELOPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda e: [e],
    "nothing": lambda e: None,
    "a field more": lambda e: {**e, "more": 1},
    "a field less": lambda e: {k: v for k, v in e.items() if k != "payloadType"},
    "another type": lambda e: {**e, "payloadType": "text/y"},
    "no signature": lambda e: {**e, "signatures": []},
    "two signatures": lambda e: {**e, "signatures": e["signatures"] * 2},
    "signatures a number": lambda e: {**e, "signatures": 7},
    "a signature without key id": lambda e: {**e, "signatures": [{"sig": e["signatures"][0]["sig"]}]},
    "a signature without bytes": lambda e: {**e, "signatures": [{"keyid": e["signatures"][0]["keyid"]}]},
    "a key id that is none": lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": ["x"]}]},
    "an unknown key id": lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": "x"}]},
    "another key's id": lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": "other"}]},
    "a payload with a stranger in it": lambda e: {**e, "payload": "!" + e["payload"]},
    "a signature with a stranger in it": lambda e: {
        **e, "signatures": [{**e["signatures"][0], "sig": "!" + e["signatures"][0]["sig"]}],
    },
    "another payload": lambda e: {**e, "payload": base64.b64encode(b"hullo").decode()},
    "a payload that is a number": lambda e: {**e, "payload": 7},
    "a signature of other bytes": lambda e: {**e, "signatures": [{**e["signatures"][0], "sig": base64.b64encode(bytes(64)).decode()}]},
}  # fmt: skip


@pytest.mark.parametrize("what", ENVELOPES)
def test_an_envelope_of_another_form(world: World, what: str) -> None:
    key = world.ceremony.gate
    keys = {"other": public_hex(world.ceremony.officer("alice")), key_id_of(key): public_hex(key)}
    spoiled = ENVELOPES[what](make_envelope(key, "text/x", b"hello"))
    assert code_of(lambda: open_envelope(spoiled, "text/x", keys, "RELEASE_GATE")) == "RELEASE_GATE"
    assert code_of(lambda: open_envelope_bytes(json.dumps(spoiled).encode(), "text/x", keys, "RELEASE_GATE")) == "RELEASE_GATE"
    assert code_of(lambda: open_envelope_bytes(b"{", "text/x", keys, "RELEASE_PROPOSAL")) == "RELEASE_PROPOSAL"


# the custodians -----------------------------------------------------------------------------------------------------


def test_the_custodians_metadata_reads_as_what_it_says(world: World) -> None:
    keys, trust = world.ceremony, trust_of(root_of(world.root), world.trust["targets.json"], ENVIRONMENT)
    assert trust.officers == {key_id_of(keys.officer(n)): public_hex(keys.officer(n)) for n in ceremony.OFFICERS}
    assert len(trust.security_officers) == 2
    assert trust.security_officers[key_id_of(keys.security_officer)] == public_hex(keys.security_officer)
    assert trust.gate_keys == {key_id_of(keys.gate): public_hex(keys.gate)}
    assert (trust.build_key_id, trust.build_key_pem) == (build_key_id(keys.build), public_pem(keys.build))
    assert trust.approvals_min == 2
    assert (trust.root.version, trust.targets.version) == (1, 1)
    assert trust.expires_at == min(trust.root.expires, trust.targets.expires)
    assert role_paths("x") == ["x/*/*", "x/*/*/*", "x/*/*/*/*"]
    assert revocations_paths("x") == ["x-revocations/*"]


def test_the_custodians_word_ends_with_the_first_of_root_and_targets(world: World) -> None:
    early = json.loads(world.trust["targets.json"])
    early["signed"]["expires"] = "2026-02-03T00:00:00Z"
    custodians = [world.ceremony.custodian(name) for name in ceremony.CUSTODIANS[:2]]
    found = trust_of(root_of(world.root), sign_file(canonical_bytes(early), *custodians), ENVIRONMENT)
    assert found.expires_at == datetime(2026, 2, 3, tzinfo=UTC)


def delegated(signed: dict[str, Any], name: str = ENVIRONMENT) -> dict[str, Any]:
    """A delegated role."""
    (found,) = [value for value in signed["delegations"]["roles"] if value["name"] == name]
    assert isinstance(found, dict)
    return found


def with_key(change: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """One officer's key changed in what it says of itself."""

    def changed(signed: dict[str, Any]) -> None:
        signed["delegations"]["keys"][delegated(signed)["keyids"][0]].update(change)

    return changed


TARGETS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a target": (lambda s: s.update(targets={"a": {"length": 1, "hashes": {"sha256": "0" * 64}}}), "RELEASE_SHAPE"),
    "no field of ours": (lambda s: s.pop(FIELD), "RELEASE_SHAPE"),
    "our field a number": (lambda s: s.update({FIELD: 7}), "RELEASE_SHAPE"),
    "no gate keys": (lambda s: s[FIELD].pop("gate_keys"), "RELEASE_SHAPE"),
    "gate keys none": (lambda s: s[FIELD].update(gate_keys=[]), "RELEASE_SHAPE"),
    "a gate key named twice": (lambda s: s[FIELD].update(gate_keys=s[FIELD]["gate_keys"] * 2), "RELEASE_SHAPE"),
    "a gate key without id": (lambda s: s[FIELD]["gate_keys"][0].pop("key_id"), "RELEASE_SHAPE"),
    "a gate key without bytes": (lambda s: s[FIELD]["gate_keys"][0].pop("public_key"), "RELEASE_SHAPE"),
    "no build key": (lambda s: s[FIELD].pop("build_key"), "RELEASE_SHAPE"),
    "a build key without id": (lambda s: s[FIELD]["build_key"].pop("key_id"), "RELEASE_SHAPE"),
    "a build key without pem": (lambda s: s[FIELD]["build_key"].pop("public_key_pem"), "RELEASE_SHAPE"),
    "no delegations": (lambda s: s.pop("delegations"), "RELEASE_SHAPE"),
    "no role delegated": (lambda s: s["delegations"].update(roles=[]), "RELEASE_SHAPE"),
    "an unknown environment": (lambda s: delegated(s).update(name="moon"), "RELEASE_SHAPE"),
    "an unknown kind": (lambda s: delegated(s, "sandbox-emergency").update(name="sandbox-x"), "RELEASE_SHAPE"),
    "an unknown environment with its own paths": (lambda s: delegated(s).update(name="moon", paths=role_paths("moon")), "RELEASE_SHAPE"),
    "an unknown kind with its own paths": (
        lambda s: delegated(s, "sandbox-emergency").update(name="sandbox-x", paths=role_paths("sandbox-x")), "RELEASE_SHAPE"),
    "an officer who is security officer under his own id": (
        lambda s: delegated(s, "sandbox-revocations")["keyids"].append(delegated(s)["keyids"][0]), "RELEASE_KEY_REUSED"),
    "a dash too many": (lambda s: delegated(s, "sandbox-emergency").update(name="sandbox-emergency-x"), "RELEASE_SHAPE"),
    "paths of another": (lambda s: delegated(s).update(paths=role_paths("production")), "RELEASE_SHAPE"),
    "a path more": (lambda s: delegated(s)["paths"].append("x"), "RELEASE_SHAPE"),
    "a path less": (lambda s: delegated(s)["paths"].pop(), "RELEASE_SHAPE"),
    "hash prefixes": (lambda s: (delegated(s).pop("paths"), delegated(s).update(path_hash_prefixes=["00"])), "RELEASE_SHAPE"),
    "not terminating": (lambda s: delegated(s).update(terminating=False), "RELEASE_SHAPE"),
    "a revocation role with a release's paths": (
        lambda s: delegated(s, "sandbox-revocations").update(paths=role_paths("sandbox-revocations")), "RELEASE_SHAPE"),
    "a threshold above the custodians'": (lambda s: delegated(s).update(threshold=3), "RELEASE_SHAPE"),
    "a key of another type": (with_key({"keytype": "rsa", "scheme": "rsassa-pss-sha256"}), "RELEASE_SHAPE"),
    "a key too short": (with_key({"keyval": {"public": "0" * 63}}), "RELEASE_SHAPE"),
    "a key too long": (with_key({"keyval": {"public": "0" * 65}}), "RELEASE_SHAPE"),
}  # fmt: skip


def signed_targets(world: World, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The custodians' targets, changed and signed."""
    value = json.loads(world.trust["targets.json"])
    change(value["signed"])
    return sign_file(canonical_bytes(value), *(world.ceremony.custodian(name) for name in ceremony.CUSTODIANS[:2]))


@pytest.mark.parametrize("what", TARGETS)
def test_custodians_metadata_of_another_shape(world: World, what: str) -> None:
    change, code = TARGETS[what]
    assert code_of(lambda: trust_of(root_of(world.root), signed_targets(world, change), ENVIRONMENT)) == code


@pytest.mark.parametrize("change", [
    lambda s: delegated(s).update(threshold=1), lambda s: delegated(s)["paths"].reverse(),
    lambda s: s[FIELD]["gate_keys"][0].update(public_key=s[FIELD]["gate_keys"][0]["public_key"].upper()),
], ids=["a lower threshold", "paths in another order", "a gate key in capitals"])  # fmt: skip
def test_custodians_metadata_that_still_holds(world: World, change: Any) -> None:
    found = trust_of(root_of(world.root), signed_targets(world, change), ENVIRONMENT)
    assert found.approvals_min in (1, 2)
    assert found.gate_keys == {key_id_of(world.ceremony.gate): public_hex(world.ceremony.gate)}


@pytest.mark.parametrize("first", ["custodian-1", "snapshot", "timestamp", "alice", "esnart", "gate"])
@pytest.mark.parametrize("second", ["officers", "security officers", "gate"])
def test_no_material_stands_in_two_groups(world: World, first: str, second: str) -> None:
    from tests.attacks.attacker import key_of

    key = key_of(world, first)

    def change(signed: dict[str, Any]) -> None:
        if second == "gate":
            signed[FIELD]["gate_keys"].append({"key_id": "11" * 32, "public_key": public_hex(key)})
            return
        signed["delegations"]["keys"]["11" * 32] = {
            "keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key).upper()},
        }  # fmt: skip
        delegated(signed, ENVIRONMENT if second == "officers" else "sandbox-revocations")["keyids"].append("11" * 32)

    assert code_of(lambda: trust_of(root_of(world.root), signed_targets(world, change), ENVIRONMENT)) == "RELEASE_KEY_REUSED"


def test_the_emergency_role_counts_among_the_officers(world: World) -> None:
    def change(signed: dict[str, Any]) -> None:
        value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(world.ceremony.gate)}}
        signed["delegations"]["keys"]["11" * 32] = value
        delegated(signed, "sandbox-emergency")["keyids"].append("11" * 32)

    assert code_of(lambda: trust_of(root_of(world.root), signed_targets(world, change), ENVIRONMENT)) == "RELEASE_KEY_REUSED"


@pytest.mark.parametrize("role", ["root", "targets"])
def test_each_of_the_custodians_two_thresholds_counts(world: World, role: str) -> None:
    value = json.loads(world.root)
    value["signed"]["roles"][role]["threshold"] = 1
    pinned = sign_file(canonical_bytes(value), *(world.ceremony.custodian(name) for name in ceremony.CUSTODIANS[:2]))
    assert code_of(lambda: trust_of(root_of(pinned), world.trust["targets.json"], ENVIRONMENT)) == "RELEASE_SHAPE"


def test_what_is_no_role_of_this_kind(world: World) -> None:
    from tuf.api.metadata import Root, Targets

    assert code_of(lambda: parse(world.root, Targets)) == "RELEASE_SHAPE"
    assert code_of(lambda: parse(world.trust["targets.json"], Root)) == "RELEASE_SHAPE"
    assert code_of(lambda: parse(b"{", Root)) == "RELEASE_SHAPE"
    assert code_of(lambda: parse(world.root.replace(b'"signed"', b'"signed": {}, "signed"', 1), Root)) == "RELEASE_SHAPE"
    assert code_of(lambda: trust_of(root_of(world.root), world.trust["targets.json"], "staging")) == "RELEASE_ENVIRONMENT"


def test_a_root_follows_by_one_and_by_both_thresholds(world: World) -> None:
    second, third = (world.ceremony.root(world.clock.now(), version=version) for version in (2, 3))
    assert [root_of(world.root, more).version for more in ([], [second], [second, third])] == [1, 2, 3]
    for wrong in ([third], [world.root], [second, second], [third, second]):
        assert code_of(lambda wrong=wrong: root_of(world.root, wrong)) == "RELEASE_ROLLBACK"  # type: ignore[misc]
    value = json.loads(second)
    value["signed"]["roles"]["root"]["threshold"] = 3
    by_the_old_only = sign_file(canonical_bytes(value), *(world.ceremony.custodian(n) for n in ceremony.CUSTODIANS[:2]))
    by_one = sign_file(second, world.ceremony.custodian(ceremony.CUSTODIANS[0]))
    for content in (by_the_old_only, by_one):
        assert code_of(lambda content=content: root_of(world.root, [content])) == "RELEASE_SIGNATURE"  # type: ignore[misc]
    assert code_of(lambda: root_of(by_one)) == "RELEASE_SIGNATURE"


def test_how_long_a_role_may_be(world: World) -> None:
    from tuf.api.metadata import Root

    from contracts.release.limits import ROLE_BYTES_MAX

    assert parse(world.root + b" " * (ROLE_BYTES_MAX - len(world.root)), Root).signed.version == 1
    assert code_of(lambda: parse(world.root + b" " * (ROLE_BYTES_MAX - len(world.root) + 1), Root)) == "RELEASE_SHAPE"


# the documents ------------------------------------------------------------------------------------------------------


def test_the_documents_read_as_what_they_say(trust: Trust, role: Role, made: Draft) -> None:
    found = contents.verify_contents(trust, role, made.files)
    assert found.proposal["number"] == 2
    assert found.environment_data == environment_data()
    assert found.invariants == {"schema": "symphony.invariants/1", "invariants": []}
    assert found.manifests == manifests()
    assert found.schemas == {"iso20022/pacs.008.001.08": XSD}
    assert (found.policy_wasm, found.policy_bundle) == (made.files["policy.wasm"], made.files["policy.tar.gz"])
    assert contents.manifest_of(found, "core-ledger")["service"] == "core-ledger"
    assert code_of(lambda: contents.manifest_of(found, "nobody")) == "RELEASE_SERVICE_UNKNOWN"


def files_and_role(role: Role, files: dict[str, bytes]) -> tuple[Role, dict[str, bytes]]:
    """Other files, and a role that names them."""
    return replace(role, targets={p: Target(sha256_hex(d), len(d)) for p, d in files.items()}), files


@pytest.mark.parametrize("spoil", [
    lambda f: f.pop("gate.json"), lambda f: f.update(more=b""), lambda f: f.update({"policy.wasm": f["policy.wasm"] + b"\0"}),
    lambda f: f.update({"policy.wasm": b"\0" + f["policy.wasm"][1:-1] + b"\0"}),
], ids=["one less", "one more", "longer", "other bytes"])  # fmt: skip
def test_files_that_are_not_the_roles(trust: Trust, role: Role, made: Draft, spoil: Any) -> None:
    files = dict(made.files)
    spoil(files)
    assert code_of(lambda: contents.verify_contents(trust, role, files)) == "RELEASE_DIGEST"


@pytest.mark.parametrize("which", ["length", "sha256"])
def test_length_and_digest_count_both(trust: Trust, role: Role, made: Draft, which: str) -> None:
    target = role.targets["policy.wasm"]
    wrong = replace(target, length=target.length + 1) if which == "length" else replace(target, sha256="0" * 64)
    other = replace(role, targets={**role.targets, "policy.wasm": wrong})
    assert code_of(lambda: contents.verify_contents(trust, other, made.files)) == "RELEASE_DIGEST"


@pytest.mark.parametrize(("field", "value"), [
    ("schema", "x"), ("environment", "x"), ("number", 3), ("not_before", "x"), ("predecessor", None), ("targets", {}),
    ("gate_sha256", "x"), ("proposer_key_id", "x"), ("reason", ""), ("reason", 7), ("change_ticket", ""), ("created_at", None),
], ids=str)  # fmt: skip
def test_a_proposal_about_something_else(world: World, trust: Trust, role: Role, made: Draft, field: str, value: Any) -> None:
    proposal = json.loads(base64.b64decode(json.loads(made.files["release.json"])["payload"]))
    for payload in (canonical_bytes({**proposal, field: value}), json.dumps(proposal, indent=1).encode(), b"[]", b"{"):
        envelope = json.dumps(make_envelope(world.officer("alice").key, PROPOSAL_TYPE, payload)).encode()
        files = {**made.files, "release.json": envelope}
        assert code_of(lambda files=files: contents.verify_proposal(trust, role, files)) == "RELEASE_PROPOSAL"  # type: ignore[misc]


def test_a_first_release_has_no_predecessor(world: World, trust: Trust) -> None:
    first = world.draft(1)
    role = rules.verify_role(trust, world.signed(first), ENVIRONMENT)
    assert contents.verify_proposal(trust, role, first.files)["predecessor"] is None


STATEMENTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another type": lambda s: s.update(_type="x"),
    "another predicate": lambda s: s.update(predicateType="x"),
    "no predicate": lambda s: s.pop("predicate"),
    "a predicate that is a list": lambda s: s.update(predicate=[]),
    "no subject": lambda s: s.pop("subject"),
    "a subject without digest": lambda s: s["subject"][0].pop("digest"),
    "a subject less": lambda s: s["subject"].pop(),
    "a subject more": lambda s: s["subject"].append({"name": "x", "digest": {"sha256": "0" * 64}}),
    "a subject of other bytes": lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
    "failed": lambda s: s["predicate"].update(result="FAILED"),
    "warned": lambda s: s["predicate"].update(result="WARNED"),
    "nothing ran": lambda s: s["predicate"].update(passedTests=[]),
    "a test failed": lambda s: s["predicate"].update(failedTests=["x"]),
    "a test warned": lambda s: s["predicate"].update(warnedTests=["x"]),
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_a_gate_result_that_is_no_pass_for_these(world: World, trust: Trust, role: Role, made: Draft, what: str) -> None:
    statement = json.loads(base64.b64decode(json.loads(made.files["gate.json"])["payload"]))
    STATEMENTS[what](statement)
    spoiled = json.dumps(make_envelope(world.ceremony.gate, INTOTO_TYPE, canonical_bytes(statement))).encode()
    assert code_of(lambda: contents.verify_gate(trust, role, spoiled)) == "RELEASE_GATE"


def test_who_may_sign_a_gate_result(world: World, trust: Trust, role: Role, made: Draft) -> None:
    payload = base64.b64decode(json.loads(made.files["gate.json"])["payload"])
    assert contents.verify_gate(trust, role, made.files["gate.json"])["predicate"]["result"] == "PASSED"
    alice = world.officer("alice")
    by_alice = json.dumps(make_envelope(alice.key, INTOTO_TYPE, payload)).encode()
    assert code_of(lambda: contents.verify_gate(trust, role, by_alice)) == "RELEASE_GATE"
    deceived = replace(trust, gate_keys={alice.key_id: public_hex(alice.key)})
    assert code_of(lambda: contents.verify_gate(deceived, role, by_alice)) == "RELEASE_GATE"
    bruno = world.officer("bruno")
    other = replace(trust, gate_keys={bruno.key_id: public_hex(bruno.key)})
    by_bruno = json.dumps(make_envelope(bruno.key, INTOTO_TYPE, payload)).encode()
    assert contents.verify_gate(other, role, by_bruno), "only the proposer's key is ruled out here"


@pytest.mark.parametrize(("path", "content", "code"), [
    ("environment.json", b"{", "RELEASE_MANIFEST"), ("environment.json", b"[]", "RELEASE_MANIFEST"),
    ("environment.json", b'{"a": 1, "a": 1}', "RELEASE_MANIFEST"),
    ("environment.json", b'{"environment": "production"}', "RELEASE_ENVIRONMENT"),
    ("environment.json", b'{"environment": "sandbox"}', "RELEASE_MANIFEST"), ("invariants.json", b"[]", "RELEASE_MANIFEST"),
    ("invariants.json", b'{"a": 99999999999999999999}', "RELEASE_MANIFEST"), ("services/core-ledger.json", b"{}", "RELEASE_MANIFEST"),
    ("policy.tar.gz", b"", "RELEASE_BUNDLE"),
], ids=str)  # fmt: skip
def test_a_document_of_another_shape(world: World, trust: Trust, made: Draft, path: str, content: bytes, code: str) -> None:
    files = {**world.files(), path: content}
    spoiled = world.draft(2, files)
    role = rules.verify_role(trust, world.signed(spoiled), ENVIRONMENT)
    assert code_of(lambda: contents.verify_contents(trust, role, spoiled.files)) == code


@pytest.mark.parametrize(("data", "wide"), [
    ({}, False), ({"wildcards": None, "participants": None, "caps": None}, False), ({"wildcards": {"a": False}}, False),
    ({"wildcards": {"a": False, "b": True}}, True), ({"wildcards": ["a"]}, False), ({"participants": [{"agents": ["*"]}]}, True),
    ({"participants": [{"agents": ["A"]}, {"agents": ["A", "*"]}]}, True), ({"participants": ["*", {"agents": None}]}, False),
    ({"caps": {"*": 1}}, True), ({"caps": {"ZMW": 1}}, False), ({"participants": [{"caps": {"*": 1}}]}, True),
    ({"participants": [{"caps": {"ZMW": 1}}]}, False),
], ids=str)  # fmt: skip
def test_what_is_a_wildcard(data: dict[str, Any], wide: bool) -> None:
    assert contents.has_wildcard(data) is wide


def test_a_document_may_be_as_long_as_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TARGET_BYTES_MAX == 16 * 1024 * 1024
    long = b'{"a": "' + b"x" * (5 * 1024 * 1024) + b'"}'
    assert len(contents._object("invariants.json", long)["a"]) == 5 * 1024 * 1024
    monkeypatch.setattr(contents, "TARGET_BYTES_MAX", 10)
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST"):
        contents._object("invariants.json", long)
