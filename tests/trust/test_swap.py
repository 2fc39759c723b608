"""A change of keys at the control plane and at its sidecars: one transaction, never a moment without a release."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Targets

from contracts.errors import NotTrusted, SymphonyError
from contracts.keys import new_private_key, public_hex
from contracts.release import FolderSource
from contracts.release.trust import parse
from symphony.drill.world import ENVIRONMENT, World
from symphony.release.freeze import freeze
from symphony.stack.credentials import new_key
from symphony.trust.plan import pem_of


def refused(code: str, call: Callable[[], Any]) -> str:
    """The call ends with this reason code; its detail."""
    with pytest.raises(SymphonyError) as error:
        call()
    assert error.value.code == code, error.value
    return error.value.detail


def versions(world: World) -> dict[str, int]:
    """The version of every role that is published."""
    found = world.published()
    assert found.snapshot is not None
    return {name.removesuffix(".json"): meta.version for name, meta in found.snapshot.meta.items()} | {"root": found.root.version}


def test_an_officer_whose_approval_the_active_release_needs_is_not_removed(unchanged: World) -> None:
    before = versions(unchanged)
    change = unchanged.change(lambda following: following.remove_officer(ENVIRONMENT, "bruno"))
    (broken,) = change.broken()
    assert (broken.role, broken.code) == (ENVIRONMENT, "RELEASE_SIGNATURE")
    detail = refused("TRUST_BREAKS_RELEASE", lambda: unchanged.publish(unchanged.signed(change)))
    assert "sandbox: 1 of 2 approvals" in detail
    assert versions(unchanged) == before


def test_nor_is_the_proposer_of_the_active_release(unchanged: World) -> None:
    change = unchanged.change(lambda following: following.remove_officer(ENVIRONMENT, "alice"))
    assert "RELEASE_PROPOSAL" in refused("TRUST_BREAKS_RELEASE", lambda: unchanged.publish(unchanged.signed(change)))


def test_an_officer_that_no_release_needs_is_removed_and_the_sidecar_runs_on_after_a_restart_too(world: World) -> None:
    sidecar = world.sidecar("one")
    assert sidecar.refresh() is not None
    gone = world.officer("dalitso").key_id
    world.publish(world.signed(world.change(lambda following: following.remove_officer(ENVIRONMENT, "dalitso"))))
    assert sidecar.refresh() is None
    assert sidecar.active is not None
    assert gone not in sidecar.active.officers
    started = world.sidecar("one").start()
    assert started is not None
    assert (started.number, gone in started.officers) == (1, False)
    refused("RELEASE_PROPOSAL", lambda: world.proposed("dalitso"))


def test_removal_and_renewal_are_one_publication_and_the_sidecar_is_never_without_a_release(world: World) -> None:
    sidecar, behind = world.sidecar("one"), world.sidecar("behind")
    for one in (sidecar, behind):
        one.refresh()
    number = world.renewed(1, "alice", ["chanda", "dalitso"])
    before = versions(world)
    change = world.change(lambda following: following.remove_officer(ENVIRONMENT, "bruno"))
    folder = world.signed(change)
    assert sidecar.refresh() is None
    assert sidecar.active is not None
    world.publish(folder, renewals=[world.renewal("alice", number)])
    after = versions(world)
    assert {name: after[name] - before[name] for name in before} == {
        "root": 0, "targets": 1, ENVIRONMENT: 1, f"{ENVIRONMENT}-revocations": 0,
    }  # fmt: skip
    assert [r["status"] for r in world.control("alice").releases(ENVIRONMENT)] == ["ACTIVE", "SUPERSEDED"]
    renewed = sidecar.refresh()
    assert renewed is not None
    assert (renewed.number, renewed.policy_digest) == (2, behind.active.policy_digest if behind.active else None)
    assert world.sidecar("fresh").refresh() is not None, "who comes new takes the renewal"
    assert behind.active is not None, "who has not looked yet runs on"
    assert behind.refresh() is not None


def test_a_thief_cannot_keep_his_key_in_force_by_a_freeze_but_only_the_same_bytes_pass_it(world: World) -> None:
    number, other = world.renewed(1, "alice", ["chanda", "dalitso"]), world.proposed("alice", cap_minor=900_000).number
    world.approved(other, "chanda", "dalitso")
    freeze(world.control("bruno"), world.officer("bruno"), ENVIRONMENT, "mine", now=world.clock.now())
    refused("RELEASE_FROZEN", lambda: world.promoted(number))
    folder = world.signed(world.change(lambda following: following.remove_officer(ENVIRONMENT, "bruno")))
    refused("RELEASE_FROZEN", lambda: world.publish(folder, renewals=[world.renewal("alice", other)]))
    world.publish(folder, renewals=[world.renewal("alice", number)])
    states = {r["number"]: r["status"] for r in world.control("alice").releases(ENVIRONMENT)}
    assert states == {1: "SUPERSEDED", number: "ACTIVE", other: "APPROVED"}
    refused("RELEASE_FROZEN", lambda: world.promoted(other))


def test_a_renewal_that_does_not_hold_leaves_everything_as_it_was(unchanged: World) -> None:
    """Asked for by the officer who goes; of a release that nobody approved yet."""
    number = unchanged.renewed(1, "alice", ["chanda", "dalitso"])
    waiting = unchanged.proposed("alice").number
    before = versions(unchanged)
    folder = unchanged.signed(unchanged.change(lambda following: following.remove_officer(ENVIRONMENT, "bruno")))
    by_bruno, not_approved = unchanged.renewal("bruno", number), unchanged.renewal("alice", waiting)
    refused("OFFICER_UNKNOWN", lambda: unchanged.publish(folder, renewals=[by_bruno]))
    refused("RELEASE_STATE", lambda: unchanged.publish(folder, renewals=[not_approved]))
    assert versions(unchanged) == before
    states = {r["number"]: r["status"] for r in unchanged.control("alice").releases(ENVIRONMENT)}
    assert states == {1: "ACTIVE", number: "APPROVED", waiting: "PROPOSED"}


def test_a_new_officer_has_key_and_certificate_in_one_change_and_approves(world: World) -> None:
    entry = world.enrolment("femi")
    public = public_hex(world.officer("femi").key)
    stranger = {**entry, "key_id": "11" * 32}
    change = world.change(lambda following: following.add_officer(ENVIRONMENT, "femi", public))
    for wrong in (stranger, {**entry, "kind": "operator"}, {**entry, "name": "Femi!"}):
        refused("REQUEST_INVALID", lambda w=wrong: world.publish(world.signed(
            world.change(lambda following: following.add_officer(ENVIRONMENT, "femi", public)), principals=[w])))  # fmt: skip
    world.publish(world.signed(change, principals=[entry]))
    made = world.proposed("alice")
    assert world.approved(made.number, "bruno", "femi") == "APPROVED"
    assert made.number == 2


def test_a_custodian_is_replaced_and_who_slept_over_several_roots_follows(world: World) -> None:
    awake, asleep = world.sidecar("awake"), world.sidecar("asleep")
    for one in (awake, asleep):
        one.refresh()
    for version, name in enumerate(("naledi", "omar", "pia"), start=2):
        person = world.folder / "custodians" / name
        person.mkdir(mode=0o700)
        public = public_hex(new_private_key(person / "key.pem"))

        def replace(following: Any, n: int = version, who: str = name, key: str = public) -> None:
            following.add_custodian(who, key)
            following.remove_custodian(f"custodian-{n - 1}")

        assert world.publish(world.signed(world.change(replace)))["root"] == version
        assert awake.refresh() is None
        assert awake.refused is None
    assert asleep.refresh() is None
    assert asleep.refused is None
    world.release("bruno", ["alice", "chanda"])
    for one in (awake, asleep):
        found = one.refresh()
        assert found is not None
        assert found.number == 2


def test_a_root_of_other_custodians_needs_targets_of_theirs(unchanged: World) -> None:
    """The published targets are asked for again under the new root: they were not, and every sidecar would have refused them."""
    change = unchanged.change(_other_custodians(unchanged))
    folder = unchanged.signed(change)
    old = unchanged.published().targets_bytes
    from symphony.release.revoke import publish_trust

    assert folder.before is not None
    assert folder.root is not None
    roots = [folder.before, folder.root]
    refused("RELEASE_SIGNATURE", lambda: publish_trust(unchanged.control("custodian-1"), roots, old))
    assert versions(unchanged)["root"] == 1


def _other_custodians(world: World) -> Callable[[Any], None]:
    publics = []
    for name in ("naledi", "omar"):
        person = world.folder / "custodians" / name
        person.mkdir(mode=0o700)
        publics.append((name, public_hex(new_private_key(person / "key.pem"))))

    def wish(following: Any) -> None:
        for name, public in publics:
            following.add_custodian(name, public)
        for name in ("custodian-1", "custodian-2", "custodian-3"):
            following.remove_custodian(name)

    return wish


def test_too_few_custodians_sign_nothing(unchanged: World) -> None:
    folder = unchanged.signed(unchanged.change(lambda _following: None, root=True), "custodian-1")
    said = refused("RELEASE_SIGNATURE", lambda: unchanged.publish(folder))
    assert "root 2: 1 of 2 signatures; still to sign: custodian-" in said
    assert "targets 2: 1 of 2 signatures" in said


def test_online_keys_change_in_two_roots_and_the_lease_outlives_a_restart(world: World) -> None:
    sidecar = world.sidecar("one")
    sidecar.refresh()
    old = {role: world.published().root.roles[role].keyids[0] for role in ("snapshot", "timestamp")}
    fresh = {}
    for role in old:
        (world.keys / f"{role}.pem").rename(world.keys / f"{role}.old")
        fresh[role] = public_hex(new_private_key(world.keys / f"{role}.pem"))
    refused("CONFIGURATION", lambda: world.publish(world.signed(world.change(lambda f: [
        [f.add_online(role, key), f.remove_online(role, old[role])] for role, key in fresh.items()]))))  # fmt: skip
    world.publish(world.signed(world.change(lambda f: [f.add_online(role, key) for role, key in fresh.items()])))
    sidecar.refresh()
    world.stop()
    world.start()
    world.publish(world.signed(world.change(lambda f: [f.remove_online(role, key) for role, key in old.items()])))
    assert sidecar.refresh() is None
    world.stop()
    started = world.sidecar("one", FolderSource(world.folder / "nowhere")).start()
    world.start()
    assert started is not None
    started.check_live(world.clock.now())


def test_a_newer_word_of_the_custodians_ends_the_release_later_and_a_restart_remembers_it(world: World) -> None:
    """Before, a release died with the root that it was activated under, whatever root came after."""
    world.clock.moved += timedelta(days=330)
    world.promoted(world.renewed(1, "alice", ["bruno", "chanda"]))
    sidecar = world.sidecar("one")
    sidecar.refresh()
    assert sidecar.active is not None
    assert sidecar.active.expires_at == world.published().root.expires
    world.publish(world.signed(world.change(lambda _following: None, root=True)))
    sidecar.refresh()
    ends = parse(world.published().roles[ENVIRONMENT], Targets).signed.expires
    assert world.published().root.expires > sidecar.active.expires_at == ends
    shutil.rmtree(world.folder / "sidecars" / "one" / "release" / "tuf")
    started = world.sidecar("one").start()
    assert started is not None
    assert started.expires_at == ends


def test_a_word_that_has_run_out_is_not_published(unchanged: World) -> None:
    unchanged.clock.moved -= timedelta(days=364)
    folder = unchanged.signed(unchanged.change(lambda _following: None, root=True))
    unchanged.clock.moved += timedelta(days=364)
    metadata = parse(folder.targets, Targets)
    assert metadata.signed.expires < unchanged.clock.now() + timedelta(days=2)
    unchanged.clock.moved += timedelta(days=2)
    refused("RELEASE_EXPIRED", lambda: unchanged.publish(folder))
    unchanged.clock.moved -= timedelta(days=2)


def test_a_security_officer_goes_only_with_a_list_that_another_signed(world: World) -> None:
    sidecar = world.sidecar("one")
    sidecar.refresh()
    change = world.change(lambda following: following.remove_security_officer(ENVIRONMENT, "esnart"))
    folder = world.signed(change)
    assert list(folder.lists) == [f"{ENVIRONMENT}-revocations"]
    (folder.path / f"2.{ENVIRONMENT}-revocations.json").rename(folder.path / "kept")
    without = type(folder).read(folder.path)
    refused("TRUST_BREAKS_RELEASE", lambda: world.publish(without))
    (folder.path / "kept").rename(folder.path / f"2.{ENVIRONMENT}-revocations.json")
    world.publish(folder)
    assert sidecar.refresh() is None
    assert sidecar.active is not None
    assert sidecar.active.revocations_version == 2


def test_another_build_key_waits_for_a_renewal(unchanged: World) -> None:
    """What the old build key signed would be refused by every sidecar that starts."""
    pem = pem_of(new_key().public_key())
    change = unchanged.change(lambda following: following.build(pem))
    assert "RELEASE_BUNDLE" in refused("TRUST_BREAKS_RELEASE", lambda: unchanged.publish(unchanged.signed(change)))


def test_a_sidecar_holds_a_release_to_what_custodians_say_now_before_it_stands_on_it(world: World) -> None:
    """A hostile control plane that publishes such a build key: the old release runs on, and starts again."""
    sidecar = world.sidecar("one")
    sidecar.refresh()
    folder = world.signed(world.change(lambda following: following.build(pem_of(new_key().public_key()))))
    _publish_unchecked(world, folder.targets)
    with pytest.raises(NotTrusted, match="RELEASE_BUNDLE"):
        sidecar.refresh()
    assert sidecar.active is not None
    assert world.sidecar("one").start() is not None


def _publish_unchecked(world: World, targets: bytes) -> None:
    """As who owns the control plane's process."""
    import asyncio

    from controlplane.trust import services
    from controlplane.trust.signing import RoleFile

    context, loop = world.plane.context, world.plane.loop
    assert context is not None
    assert loop is not None

    async def write() -> None:
        async with context.pool.transaction() as connection:
            newest = await services.newest_files(connection)
            await services.publish(connection, services.publication(context, newest, [RoleFile("targets", 2, targets)]))

    asyncio.run_coroutine_threadsafe(write(), loop).result(10)
