"""Drills for officers: a key is lost, a key is stolen. The key change and the renewal are published as one."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tuf.api.metadata import Metadata, Targets

from contracts.keys import public_hex, signer_of
from contracts.release import ReleaseFollower
from contracts.release.rules import is_revoked
from symphony.drill.report import Report, demand, refused
from symphony.drill.thief import Thief
from symphony.drill.world import ENVIRONMENT, World
from symphony.release.ceremony import revocation
from symphony.release.client import Officer
from symphony.release.promote import promote
from symphony.release.revoke import revoke
from symphony.trust.change import Next
from symphony.trust.status import status

NEW_OFFICER = "femi"
Run = Callable[[World, Report], list[str]]


def key_lost(world: World, report: Report) -> list[str]:
    """bruno, whose approval the release in force counts, has lost his key; femi takes his place."""
    sidecar, sleeper = followed(world, report)
    with report.step("bruno's key is deleted", "the others can still approve: nothing has stopped"):
        (world.person("bruno") / "key.pem").unlink()
        role = next(one for one in status(world.published(), world.clock.now())["roles"] if one["name"] == ENVIRONMENT)
        demand(role["may_lose"] >= 1, f"the threshold cannot be met without him: may lose {role['may_lose']}")
    refused_removal(world, report, "bruno", sidecar)
    with report.step(
        "alice proposes a renewal, chanda and dalitso approve it", "APPROVED by those who stay, not yet published"
    ):
        number = world.renewed(1, "alice", ["chanda", "dalitso"])
        sidecar.refresh()
        in_force(sidecar, 1)
    with report.step(
        "femi makes his key; removal, enrolment and renewal are published", "one change, one version of each role"
    ):
        entry = world.enrolment(NEW_OFFICER)
        public = public_hex(world.officer(NEW_OFFICER).key)

        def wish(following: Next) -> None:
            following.remove_officer(ENVIRONMENT, "bruno")
            following.add_officer(ENVIRONMENT, NEW_OFFICER, public)

        written = world.publish(
            world.signed(world.change(wish), principals=[entry]), renewals=[world.renewal("alice", number)]
        )
        demand((written["targets"], written[ENVIRONMENT]) == (2, number), f"written: {written}")
    follow_over(world, report, (sidecar, sleeper), number)
    with report.step("femi approves the next release", "it is promoted and reaches the sidecar"):
        following = world.release("alice", ["chanda", NEW_OFFICER], cap_minor=900_000)
        sidecar.refresh()
        in_force(sidecar, following)
    with report.step("trust status", "four officers, one key may be lost again, nothing is red"):
        document = status(world.published(), world.clock.now())
        names = sorted(one["name"] for one in document["environments"][ENVIRONMENT])
        demand(names == ["alice", "chanda", "dalitso", NEW_OFFICER], f"officers: {names}")
        demand(not document["red"], "; ".join(document["red"]))
    return [
        "A lost key stops nothing while the threshold can be met by the others, the proposer not counted.",
        "The control plane refuses to drop a key that the release in force counts; key change and renewal go out as one.",
    ]


def key_stolen(world: World, report: Report) -> list[str]:
    """A thief has chanda's key and certificate, and for a while the operator's online keys too."""
    sidecar, sleeper = followed(world, report)
    forged = world.drafted(3, "chanda", cap_minor=9_000_000)
    with report.step(
        "the thief proposes a release of his own and approves it", "OFFICER_IS_PROPOSER: alone he approves nothing"
    ):
        made = world.proposed("chanda", cap_minor=9_000_000)
        refused("OFFICER_IS_PROPOSER", lambda: _approve_unread(world, "chanda", made.number))
        refused(
            "RELEASE_STATE", lambda: promote(world.control("chanda"), world.officer("chanda"), ENVIRONMENT, made.number)
        )
    with report.step(
        "with online keys he serves a release signed by him alone", "RELEASE_SIGNATURE: the sidecar keeps release 1"
    ):
        thief = Thief(world, world.folder / "thief")
        thief.forge(forged, world.officer("chanda").key)
        victim = world.sidecar("victim")
        victim.refresh()
        victim = world.sidecar("victim", thief.source)
        victim.start()
        refused("RELEASE_SIGNATURE", victim.refresh)
        in_force(victim, 1)
    refused_removal(world, report, "chanda", sidecar)
    with report.step("alice proposes a renewal, bruno and dalitso approve it", "it is APPROVED without the stolen key"):
        number = world.renewed(1, "alice", ["bruno", "dalitso"])
    with report.step("removal and renewal are published as one", "the stolen key is no officer's from this moment"):
        change = world.change(lambda following: following.remove_officer(ENVIRONMENT, "chanda"))
        world.publish(world.signed(change), renewals=[world.renewal("alice", number)])
        refused("OFFICER_UNKNOWN", lambda: _approve_unread(world, "chanda", number))
    old = sidecar.active
    follow_over(world, report, (sidecar, sleeper), number)
    with report.step(
        "what he proposed is looked at by another officer", "RELEASE_PROPOSAL: nobody can approve it any more"
    ):
        refused("RELEASE_PROPOSAL", lambda: _approve_unread(world, "bruno", made.number))
    with report.step(
        "the security officer revokes the release that he signed", "no sidecar takes it again; release 2 runs on"
    ):
        demand(old is not None, "no release was in force")
        assert old is not None
        entry = revocation("release", old.metadata_digest, "approved with a stolen key", world.clock.now())
        revoke(
            world.control("esnart"),
            world.ceremony.security_officer,
            ENVIRONMENT,
            [entry],
            root=world.root,
            now=world.clock.now(),
        )
        sidecar.refresh()
        in_force(sidecar, number)
        assert sidecar.active is not None
        entries = sidecar.active.revocations
        demand(is_revoked(entries, "release", old.metadata_digest, world.clock.now()), "the list has no such entry")
    return [
        "One stolen officer's key approves nothing: the threshold counts distinct keys, never the proposer's.",
        "A thief who holds online keys besides can freeze a sidecar that he serves, until its release ends; he invents nothing.",
    ]


def followed(world: World, report: Report) -> tuple[ReleaseFollower, ReleaseFollower]:
    """Release 1 is in force at two sidecars, one of which will not look for a while."""
    with report.step("release 1 is proposed by alice, approved by bruno and chanda", "two sidecars have it in force"):
        world.release()
        sidecar, sleeper = world.sidecar("awake"), world.sidecar("asleep")
        for one in (sidecar, sleeper):
            one.refresh()
            in_force(one, 1)
    return sidecar, sleeper


def refused_removal(world: World, report: Report, name: str, sidecar: ReleaseFollower) -> None:
    """The release in force counts his approval, so that he cannot go without a renewal."""
    with report.step(
        f"{name} is removed without a renewal", "TRUST_BREAKS_RELEASE names the release; nothing is published"
    ):
        change = world.change(lambda following: following.remove_officer(ENVIRONMENT, name))
        refused("TRUST_BREAKS_RELEASE", lambda: world.publish(world.signed(change)))
        demand(world.published().targets.version == 1, "something was published")
        sidecar.refresh()
        in_force(sidecar, 1)


def follow_over(world: World, report: Report, sidecars: tuple[ReleaseFollower, ReleaseFollower], number: int) -> None:
    """Every kind of sidecar comes over the change."""
    awake, sleeper = sidecars
    with report.step("the sidecars look", f"release {number} is in force at once, and at no moment none"):
        in_force(awake, 1)
        awake.refresh()
        in_force(awake, number)
    with report.step("a sidecar restarts; one comes new; one has slept", f"all of them run release {number}"):
        started = world.sidecar("awake").start()
        demand(started is not None and started.number == number, "the restarted one holds another release")
        fresh = world.sidecar("fresh")
        for one in (fresh, sleeper):
            one.refresh()
            in_force(one, number)


def in_force(sidecar: ReleaseFollower, number: int) -> None:
    """The sidecar runs this release, and it and its lease are alive."""
    demand(sidecar.active is not None, "no release is in force")
    assert sidecar.active is not None
    demand(sidecar.active.number == number, f"release {sidecar.active.number} is in force, not {number}")


def _approve_unread(world: World, name: str, number: int) -> str:
    """As a thief approves: with the key, without any check of ours on his side."""
    control, officer = world.control(name), Officer.from_folder(world.person(name))
    shown = control.release(ENVIRONMENT, number)
    signed = Metadata[Targets].from_bytes(base64.b64decode(shown["metadata"])).signed_bytes
    signature = signer_of(officer.key).sign(signed).signature
    envelope = officer.ask("approve", ENVIRONMENT, number, shown["metadata_digest"], signature=signature)
    return str(control.post(f"/v1/releases/{ENVIRONMENT}/{number}/approvals", {"envelope": envelope})["status"])
