"""Every rule at its edges, as pure functions over one world: what just holds, and what just does not (rules 1 to 14).

``tests/attacks`` proves each refusal through a whole follower; here each bound is met from both sides, in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted
from contracts.keys import key_id_of, public_hex
from contracts.release import rules
from contracts.release.limits import RELEASE_BYTES_MAX, REVOCATIONS_MAX, TARGET_BYTES_MAX, TARGETS_MAX
from contracts.release.model import FIELD, Revocations, Role, Target
from contracts.release.trust import Trust, root_of, trust_of
from contracts.times import rfc3339
from symphony.release.ceremony import revocation, signed_revocations
from symphony.release.propose import Draft
from tests.releases.support import ENVIRONMENT, World, sign_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(microseconds=1)
PREFIX = f"{ENVIRONMENT}/2/"


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


def role_with(world: World, made: Draft, change: Callable[[dict[str, Any]], None], *names: str) -> bytes:
    """Its role file, changed and signed."""
    value = json.loads(made.metadata)
    change(value["signed"])
    return sign_file(canonical_bytes(value), *(world.ceremony.officer(name) for name in names or ("bruno", "chanda")))


def code_of(call: Callable[[], object]) -> str:
    """The code of a refusal."""
    with pytest.raises(NotTrusted) as error:
        call()
    return error.value.code


def a_role(**changes: Any) -> Role:
    """A role that holds at NOW."""
    made = Role(ENVIRONMENT, 2, "d" * 64, NOW + timedelta(days=1), NOW, NOW + timedelta(days=7), "p", ("a", "b"), {})
    return replace(made, **changes)


# the role file ------------------------------------------------------------------------------------------------------


def test_a_role_reads_as_what_it_says(world: World, trust: Trust, made: Draft) -> None:
    role = rules.verify_role(trust, world.signed(made), ENVIRONMENT)
    signed = json.loads(made.metadata)["signed"]
    officers = sorted(world.officer(name).key_id for name in ("bruno", "chanda"))
    assert (role.environment, role.number, role.digest) == (ENVIRONMENT, 2, made.digest)
    assert role.proposer_key_id == world.officer("alice").key_id
    assert sorted(role.approver_key_ids) == officers
    assert rfc3339(role.not_before) == signed[FIELD]["not_before"]
    assert rfc3339(role.activate_before) == signed[FIELD]["activate_before"]
    assert role.expires_at.isoformat().startswith(signed["expires"][:-1])
    assert role.targets == {p: Target(sha256_hex(d), len(d)) for p, d in made.files.items()}


def test_three_approvals_are_enough_and_one_is_not(world: World, trust: Trust, made: Draft) -> None:
    assert len(rules.verify_role(trust, world.signed(made, "bruno", "chanda", "dalitso"), ENVIRONMENT).approver_key_ids) == 3
    assert code_of(lambda: rules.verify_role(trust, world.signed(made, "bruno"), ENVIRONMENT)) == "RELEASE_SIGNATURE"
    assert rules.read_role(trust, world.signed(made, "bruno"), ENVIRONMENT).approver_key_ids


def fields(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Changes of our own field; None removes one."""

    def change(signed: dict[str, Any]) -> None:
        signed[FIELD].update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del signed[FIELD][name]

    return change


def targets(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Changes of the targets by path below the release; None removes one."""

    def change(signed: dict[str, Any]) -> None:
        for path, value in changes.items():
            signed["targets"].pop(PREFIX + path, None)
            if value is not None:
                signed["targets"][PREFIX + path] = value

    return change


def target(length: int = 1, **hashes: str) -> dict[str, Any]:
    """A target of a role file."""
    return {"length": length, "hashes": hashes or {"sha256": "0" * 64}}


ROLES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another number": (fields(number=3), "RELEASE_SHAPE"),
    "a number as text": (fields(number="2"), "RELEASE_SHAPE"),
    "no number": (fields(number=None), "RELEASE_SHAPE"),
    "another environment": (fields(environment="production"), "RELEASE_ENVIRONMENT"),
    "no environment": (fields(environment=None), "RELEASE_ENVIRONMENT"),
    "our field a list": (lambda signed: signed.update({FIELD: []}), "RELEASE_SHAPE"),
    "our field gone": (lambda signed: signed.pop(FIELD), "RELEASE_SHAPE"),
    "no not_before": (fields(not_before=None), "RELEASE_SHAPE"),
    "not_before a number": (fields(not_before=7), "RELEASE_SHAPE"),
    "not_before without fractions": (fields(not_before="2026-01-01T00:00:00Z"), "RELEASE_SHAPE"),
    "no activate_before": (fields(activate_before=None), "RELEASE_SHAPE"),
    "a proposer that is a list": (fields(proposer_key_id=[]), "RELEASE_PROPOSAL"),
    "delegations": (lambda signed: signed.update(delegations={"keys": {}, "roles": []}), "RELEASE_SHAPE"),
    "a path of another release": (lambda s: s["targets"].update({"sandbox/3/policy.wasm": target()}), "RELEASE_SHAPE"),
    "a path that is the prefix": (lambda s: s["targets"].update({PREFIX: target()}), "RELEASE_SHAPE"),
    "a name of one letter too many": (targets(**{f"services/{'a' * 64}.json": target()}), "RELEASE_SHAPE"),
    "a schema that is none": (targets(**{"schemas/iso/x.xml": target()}), "RELEASE_SHAPE"),
    "no hash": (targets(**{"policy.wasm": {"length": 1, "hashes": {"sha1": "0" * 40}}}), "RELEASE_SHAPE"),
    "a hash in capitals": (targets(**{"policy.wasm": target(sha256="A" * 64)}), "RELEASE_SHAPE"),
    "a hash too short": (targets(**{"policy.wasm": target(sha256="0" * 63)}), "RELEASE_SHAPE"),
    "two hashes": (targets(**{"policy.wasm": target(sha256="0" * 64, sha512="0" * 128)}), "RELEASE_SHAPE"),
    "a target too long": (targets(**{"policy.wasm": target(TARGET_BYTES_MAX + 1)}), "RELEASE_SHAPE"),
    **{f"no {name}": (targets(**{name: None}), "RELEASE_SHAPE") for name in (
        "policy.wasm", "policy.tar.gz", "invariants.json", "environment.json", "release.json", "gate.json",
    )},
}  # fmt: skip


@pytest.mark.parametrize("what", ROLES)
def test_a_role_that_breaks_its_shape(world: World, trust: Trust, made: Draft, what: str) -> None:
    change, code = ROLES[what]
    assert code_of(lambda: rules.verify_role(trust, role_with(world, made, change), ENVIRONMENT)) == code


@pytest.mark.parametrize("change", [
    targets(**{f"services/{'a' * 63}.json": target(), "schemas/iso20022/pacs.008.001.08.xsd": target()}),
    targets(**{"policy.wasm": target(TARGET_BYTES_MAX), "services/empty.json": target(0)}),
], ids=["the longest name", "the longest and the shortest target"])  # fmt: skip
def test_a_role_that_just_holds(world: World, trust: Trust, made: Draft, change: Any) -> None:
    assert rules.verify_role(trust, role_with(world, made, change), ENVIRONMENT).number == 2


def test_how_many_targets_and_how_many_bytes(world: World, trust: Trust, made: Draft) -> None:
    def many(count: int) -> bytes:
        more = {f"services/s{n}.json": target() for n in range(count - len(made.files))}
        return role_with(world, made, targets(**more))

    def heavy(total: int) -> bytes:
        lengths = [TARGET_BYTES_MAX] * 3 + [total - 3 * TARGET_BYTES_MAX]
        more = {f"services/s{n}.json": target(length) for n, length in enumerate(lengths)}

        def change(signed: dict[str, Any]) -> None:
            for value in signed["targets"].values():
                value["length"] = 0
            targets(**more)(signed)

        return role_with(world, made, change)

    assert rules.verify_role(trust, many(TARGETS_MAX), ENVIRONMENT)
    assert code_of(lambda: rules.verify_role(trust, many(TARGETS_MAX + 1), ENVIRONMENT)) == "RELEASE_SHAPE"
    assert rules.verify_role(trust, heavy(RELEASE_BYTES_MAX), ENVIRONMENT)
    assert code_of(lambda: rules.verify_role(trust, heavy(RELEASE_BYTES_MAX + 1), ENVIRONMENT)) == "RELEASE_SHAPE"


@pytest.mark.parametrize(("after", "holds"), [
    (SECOND, True), (timedelta(days=7), True), (timedelta(), False), (-SECOND, False), (timedelta(days=7) + SECOND, False),
], ids=["a moment", "seven days", "none", "before", "seven days and a moment"])  # fmt: skip
def test_activate_before_from_both_sides(world: World, trust: Trust, made: Draft, after: timedelta, holds: bool) -> None:
    content = role_with(world, made, fields(not_before=rfc3339(NOW), activate_before=rfc3339(NOW + after)))
    if holds:
        assert rules.verify_role(trust, content, ENVIRONMENT).activate_before == NOW + after
    else:
        assert code_of(lambda: rules.verify_role(trust, content, ENVIRONMENT)) == "RELEASE_SHAPE"


def test_material_counts_once_and_the_proposers_never(trust: Trust) -> None:
    officers = {"a": "m1", "b": "m1", "c": "m2", "p": "m3", "q": "m3"}
    two = replace(trust, officers=officers)
    assert rules.approvers_among(two, ["b", "a", "c", "stranger"], "p") == ("a", "c")
    assert rules.approvers_among(two, ["p", "q", "c"], "p") == ("c",)
    assert rules.approvers_among(two, [], "p") == ()


# numbers and times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "accepted", "minimum", "now", "code"), [
    ({}, None, 2, NOW, None), ({}, None, 3, NOW, "RELEASE_ROLLBACK"), ({}, None, 1, NOW, None),
    ({}, (1, "e" * 64), 9, NOW, None), ({}, (2, "e" * 64), 1, NOW, "RELEASE_FORKED"),
    ({}, (2, "d" * 64), 1, NOW, "RELEASE_ROLLBACK"), ({}, (3, "e" * 64), 1, NOW, "RELEASE_ROLLBACK"),
    ({}, None, 1, NOW - SECOND, "RELEASE_NOT_BEFORE"), ({}, None, 1, NOW + timedelta(days=7) - SECOND, None),
    ({}, None, 1, NOW + timedelta(days=7), "RELEASE_LATE"),
], ids=lambda value: str(value)[:24])  # fmt: skip
def test_to_activate(role: dict[str, Any], accepted: Any, minimum: int, now: datetime, code: str | None) -> None:
    def check() -> None:
        rules.check_may_activate(a_role(**role), accepted, minimum, now)

    assert (code_of(check) if code else check()) == code


@pytest.mark.parametrize(("accepted", "code"), [
    ((2, "d" * 64), None), (None, "RELEASE_ROLLBACK"), ((1, "d" * 64), "RELEASE_ROLLBACK"), ((3, "d" * 64), "RELEASE_ROLLBACK"),
    ((2, "e" * 64), "RELEASE_FORKED"),
], ids=["the one", "none", "lower", "higher", "forked"])  # fmt: skip
def test_to_hold(accepted: Any, code: str | None) -> None:
    def check() -> None:
        rules.check_may_hold(a_role(), accepted)

    assert (code_of(check) if code else check()) == code
    if accepted:
        forked = code == "RELEASE_FORKED"
        assert forked == (code is not None and accepted[0] == 2)


def test_always_unexpired_and_not_revoked(trust: Trust) -> None:
    role = a_role()
    longer, shorter = replace(trust, expires_at=NOW + timedelta(days=9)), replace(trust, expires_at=NOW)
    rules.check_always(longer, role, [], role.expires_at - SECOND)
    assert code_of(lambda: rules.check_always(longer, role, [], role.expires_at)) == "RELEASE_EXPIRED"
    rules.check_always(shorter, role, [], NOW - SECOND)
    assert code_of(lambda: rules.check_always(shorter, role, [], NOW)) == "RELEASE_EXPIRED"
    mine = [revocation("release", role.digest, "x", NOW)]
    assert code_of(lambda: rules.check_always(longer, role, mine, NOW)) == "RELEASE_REVOKED"
    rules.check_always(longer, role, [revocation("certificate", role.digest, "x", NOW)], NOW)
    ending = [revocation("release", role.digest, "x", NOW, NOW + SECOND)]
    assert code_of(lambda: rules.check_always(longer, role, ending, NOW)) == "RELEASE_REVOKED"
    rules.check_always(longer, role, ending, NOW + SECOND)


def test_an_entry_ends_at_its_very_moment() -> None:
    entries = [revocation("release", "a", "x", NOW), revocation("certificate", "b", "x", NOW, NOW + SECOND)]
    assert rules.is_revoked(entries, "release", "a", NOW)
    assert rules.is_revoked(entries, "certificate", "b", NOW)
    assert not rules.is_revoked(entries, "certificate", "b", NOW + SECOND)
    assert not rules.is_revoked(entries, "certificate", "a", NOW)
    assert not rules.is_revoked(entries, "release", "b", NOW)
    assert not rules.is_revoked([], "release", "a", NOW)


# revocation lists ---------------------------------------------------------------------------------------------------


def a_list(world: World, *entries: Any, version: int = 2, environment: str = ENVIRONMENT, key: Any = None) -> bytes:
    """A signed list."""
    return signed_revocations(key or world.ceremony.security_officer, environment, version, entries, world.clock.now())


def test_a_list_reads_as_what_it_says(world: World, trust: Trust) -> None:
    entry = revocation("participant", "kafue", "x", NOW, NOW)
    content = a_list(world, entry)
    found = rules.verify_revocations(trust, content, ENVIRONMENT)
    assert (found.version, found.entries) == (2, (entry,))
    assert found.expires_at.isoformat().startswith(json.loads(content)["signed"]["expires"][:-1])


@pytest.mark.parametrize(("change", "code"), [
    ({}, None), ({"kind": "nobody"}, "RELEASE_SHAPE"), ({"id": 7}, "RELEASE_SHAPE"), ({"reason": None}, "RELEASE_SHAPE"),
    ({"revoked_at": "now"}, "RELEASE_SHAPE"), ({"until": "then"}, "RELEASE_SHAPE"), ({"until": None}, None), ({"more": 1}, "RELEASE_SHAPE"),
], ids=lambda value: str(value)[:30])  # fmt: skip
def test_an_entrys_shape(world: World, trust: Trust, change: dict[str, Any], code: str | None) -> None:
    entry = {**revocation("participant", "kafue", "x", NOW, NOW), **change}

    def check() -> int:
        return len(rules.verify_revocations(trust, a_list(world, entry), ENVIRONMENT).entries)

    assert (code_of(check) == code) if code else check() == 1


def test_whom_a_list_may_not_name(world: World, trust: Trust) -> None:
    keys = world.ceremony
    people = [key_id_of(keys.officer("alice")), public_hex(keys.officer("alice")), key_id_of(keys.security_officer),
              key_id_of(keys.custodian("custodian-2")), key_id_of(keys.online("timestamp"))]  # fmt: skip
    for identifier in people:
        entry = revocation("token_key", identifier, "x", NOW)
        assert code_of(lambda entry=entry: rules.verify_revocations(trust, a_list(world, entry), ENVIRONMENT)) == "RELEASE_SHAPE"  # type: ignore[misc]


def test_a_list_of_another_shape(world: World, trust: Trust) -> None:
    def changed_list(change: Callable[[dict[str, Any]], None]) -> bytes:
        value = json.loads(a_list(world))
        change(value["signed"])
        return sign_file(canonical_bytes(value), world.ceremony.security_officer)

    shapes: list[Callable[[dict[str, Any]], None]] = [
        lambda signed: signed.update(targets={"x": target()}),
        lambda signed: signed.update(delegations={"keys": {}, "roles": []}),
        lambda signed: signed[FIELD].pop("entries"),
        lambda signed: signed[FIELD].update(entries={}),
        lambda signed: signed[FIELD].update(entries=["x"]),
    ]
    for change in shapes:
        assert code_of(lambda change=change: rules.verify_revocations(trust, changed_list(change), ENVIRONMENT)) == "RELEASE_SHAPE"  # type: ignore[misc]
    other = a_list(world, environment="staging")
    assert code_of(lambda: rules.verify_revocations(trust, other, ENVIRONMENT)) == "RELEASE_ENVIRONMENT"
    stranger = a_list(world, key=world.ceremony.officer("alice"))
    assert code_of(lambda: rules.verify_revocations(trust, stranger, ENVIRONMENT)) == "RELEASE_SIGNATURE"


def test_how_long_a_list_may_be(world: World, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REVOCATIONS_MAX == 100_000
    monkeypatch.setattr(rules, "REVOCATIONS_MAX", 2)
    entries = [revocation("participant", f"p{n}", "x", NOW) for n in range(3)]
    assert rules.verify_revocations(trust, a_list(world, *entries[:2]), ENVIRONMENT)
    assert code_of(lambda: rules.verify_revocations(trust, a_list(world, *entries), ENVIRONMENT)) == "RELEASE_SHAPE"


def test_a_list_only_grows(world: World, trust: Trust) -> None:
    one, two = (revocation("participant", name, "x", NOW) for name in ("a", "b"))
    before = Revocations(2, NOW, (one,))

    def check(version: int, *entries: Any) -> Revocations:
        return rules.verify_revocations(trust, a_list(world, *entries, version=version), ENVIRONMENT, before)

    assert check(2, one).version == 2
    assert check(3, two, one).version == 3
    assert code_of(lambda: check(1, one)) == "RELEASE_ROLLBACK"
    assert code_of(lambda: check(3, two)) == "RELEASE_ROLLBACK"
    assert code_of(lambda: check(3, {**one, "reason": "y"})) == "RELEASE_ROLLBACK"
