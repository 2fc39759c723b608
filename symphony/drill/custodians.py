"""Drills for the custodians: online keys stolen, root expired, the custodians' quorum lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from contracts.keys import new_private_key, public_hex
from contracts.release import ReleaseFollower, staleness
from symphony.drill.officers import followed, in_force
from symphony.drill.report import Report, demand, refused
from symphony.drill.thief import Thief
from symphony.drill.world import ENVIRONMENT, World
from symphony.release.ceremony import revocation
from symphony.release.revoke import revoke
from symphony.trust.change import ONLINE_ROLES, Next
from symphony.trust.status import RED, exit_code, status

FAST_FORWARD = 1_000_000


def online_keys_stolen(world: World, report: Report) -> list[str]:
    """A thief has the keys of snapshot and timestamp, and a sidecar is made to read his mirror."""
    sidecar, victim = followed(world, report)
    thief = Thief(world, world.folder / "thief")
    victim = _restarted(world, "asleep", thief)
    with report.step("the thief serves a release of his own", "RELEASE_SIGNATURE: without officers he invents nothing"):
        online = [world.ceremony.online(role) for role in (*ONLINE_ROLES, "log")]
        forger = Thief(world, world.folder / "forger")
        forger.forge(world.drafted(2, cap_minor=9_000_000), *online)
        world.sidecar("fooled").refresh()
        fooled = _restarted(world, "fooled", forger)
        refused("RELEASE_SIGNATURE", fooled.refresh)
        in_force(fooled, 1)
    with report.step(
        "he withholds release 2 by a timestamp of ten years, far ahead", "the victim stays on release 1 until that ends"
    ):
        number = world.release("alice", ["bruno", "chanda"], cap_minor=500)
        thief.sign(versions_ahead=FAST_FORWARD)
        victim.refresh()
        in_force(victim, 1)
        frozen = victim.active
        assert frozen is not None
        demand(frozen.lease_expires_at > frozen.expires_at, "the forged lease is short")
        refused("RELEASE_EXPIRED", lambda: frozen.check_live(frozen.expires_at))
        sidecar.refresh()
        in_force(sidecar, number)
    with report.step("the victim is brought back to the control plane", "RELEASE_ROLLBACK: it has seen versions far ahead"):
        refused("RELEASE_ROLLBACK", _restarted(world, "asleep", None).refresh)
    _rotate_online(world, report)
    with report.step("the sidecars look at the control plane", "all follow over both roots, the one far ahead too"):
        for name in ("awake", "asleep", "fooled"):
            one = _restarted(world, name, None)
            one.refresh()
            in_force(one, number)
    with report.step("the thief serves his mirror again", "RELEASE_SIGNATURE: his keys are nobody's"):
        again = _restarted(world, "asleep", thief)
        refused("RELEASE_SIGNATURE", again.refresh)
        in_force(again, number)
    return [
        "Stolen online keys freeze whom the thief serves until the release's own end (sandbox 90 days, production 30).",
        "After that end they go on only as long, and as far, as the schedule of their manifest permits.",
        "They invent nothing: the officers' signatures are asked for at every sidecar.",
        "A sidecar that sees only his mirror does not learn of the new root: bring it back to the control plane.",
        "The change takes two roots, with a restart of the control plane between them: old and new keys, then only the new.",
    ]


def _each(wish: Callable[[str, str], None], keys: Mapping[str, str]) -> None:
    for role, key in keys.items():
        wish(role, key)


def _rotate_online(world: World, report: Report) -> None:
    old = {role: world.published().root.roles[role].keyids[0] for role in ONLINE_ROLES}
    fresh = {}
    with report.step(
        "new online keys are made; root 2 names old and new", "the control plane signs on with the old ones"
    ):
        for role in ONLINE_ROLES:
            (world.keys / f"{role}.pem").rename(world.keys / f"{role}.stolen")
            fresh[role] = public_hex(new_private_key(world.keys / f"{role}.pem"))
        folder = world.signed(world.change(lambda following: _each(following.add_online, fresh)))
        demand(world.publish(folder)["root"] == 2, "no second root")
    with report.step(
        "the control plane is restarted with the new keys; root 3 names only them", "the stolen ones are nobody's"
    ):
        world.stop()
        world.start()
        folder = world.signed(world.change(lambda following: _each(following.remove_online, old)))
        demand(world.publish(folder)["root"] == 3, "no third root")
        named = {key for role in ONLINE_ROLES for key in world.published().root.roles[role].keyids}
        demand(named.isdisjoint(old.values()), "a stolen key is still named")


def root_expired(world: World, report: Report) -> list[str]:
    """Nobody renewed root, targets and revocation list in their year."""
    sidecar, _ = followed(world, report)
    ends = world.published().root.expires
    with report.step("the year passes; releases are renewed in time", "trust status warns 30, 7 and 1 days before"):
        world.clock.moved += ends - world.clock.now() - timedelta(minutes=1)
        number = world.renewed(1, "alice", ["bruno", "chanda"])
        world.promoted(number)
        sidecar.refresh()
        in_force(sidecar, number)
        published = world.published()
        for days in (30, 7, 1):
            found = {
                one["name"]: one["warning"]
                for one in status(published, ends - timedelta(days=days, minutes=-1))["roles"]
            }
            demand((found["root"], found["targets"]) == (days, days), f"{days} days before: {found}")
    _tightens_and_stops(world, report, sidecar, ends)
    with report.step(
        "custodians sign root 2 and targets 2, a security officer the list", "published as one, though all has run out"
    ):

        def wish(following: Next) -> None:
            following.relist.add(ENVIRONMENT)

        written = world.publish(world.signed(world.change(wish, root=True)))
        demand(
            (written["root"], written["targets"], written[f"{ENVIRONMENT}-revocations"]) == (2, 2, 2),
            f"written: {written}",
        )
    with report.step("the sidecar looks", "the same release is in force again: no restart, no new release"):
        sidecar.refresh()
        in_force(sidecar, number)
        assert sidecar.active is not None
        sidecar.active.check_live(world.clock.now())
        demand(not staleness.standing(sidecar.active, world.clock.now()).tightens, "its caps are still lowered")
    with report.step("it restarts while the control plane is away", "it starts on what it holds, under root 2"):
        world.stop()
        started = world.sidecar("awake").start()
        world.start()
        demand(started is not None and started.number == number, "it does not start")
        assert started is not None
        started.check_live(world.clock.now())
    return [
        "When root runs out, sidecars take no timestamp any more and tighten by their manifest's schedule; at its end they stop.",
        "With our manifests that is four hours after the lease; with one that has no schedule, at the moment that root runs out.",
        "A new root, targets and list bring them back by themselves; nothing is enrolled by hand.",
    ]


def _tightens_and_stops(world: World, report: Report, sidecar: ReleaseFollower, ends: datetime) -> None:
    with report.step("root runs out", "RELEASE_EXPIRED: no timestamp is taken any more; the sidecar tightens by its schedule"):
        world.clock.moved += ends - world.clock.now() + timedelta(minutes=1)
        refused("RELEASE_EXPIRED", sidecar.refresh)
        assert sidecar.active is not None
        active = sidecar.active
        permitted = staleness.standing(active, world.clock.now())
        demand(permitted.tightens and not permitted.stopped, f"it does not tighten: {permitted}")
    with report.step("nobody mends it until the schedule ends", "RELEASE_EXPIRED: it takes nothing; trust status is red"):
        world.clock.moved += staleness.stops_at(active) - world.clock.now()
        refused("RELEASE_EXPIRED", lambda: staleness.demand(active, world.clock.now()))
        demand(
            exit_code(status(world.published(), world.clock.now()), fail_on_warn=False) == RED,
            "trust status is not red",
        )


def quorum_lost(world: World, report: Report, new: World) -> list[str]:
    """Two of three custodians have lost their keys. ``new`` is where another trust is made."""
    sidecar, _ = followed(world, report)
    ends = min(world.published().root.expires, world.published().targets.expires)
    with report.step(
        "two of three custodians' keys are deleted; the third signs a change",
        "RELEASE_SIGNATURE: no key changes any more",
    ):
        for name in ("custodian-2", "custodian-3"):
            shutil.rmtree(world.folder / "custodians" / name)
        folder = world.signed(world.change(lambda f: f.remove_officer(ENVIRONMENT, "dalitso")))
        refused("RELEASE_SIGNATURE", lambda: world.publish(folder))
    with report.step(
        "officers and security officer go on", "releases and revocations work until root or targets run out"
    ):
        number = world.release("alice", ["bruno", "chanda"], cap_minor=500)
        entry = revocation("certificate", "ab" * 32, "a drill", world.clock.now())
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
        demand(sidecar.active.revocations_version == 2, "the list did not arrive")
    with new:
        _enrol_by_hand(world, new, report, number)
    return [
        f"Until {ends.date()} releases, approvals and revocations go on; then every sidecar tightens by its schedule and stops.",
        "No key can be added or removed: a stolen officer's key stays an officer's, and still approves nothing alone.",
        "Another trust is another pinned root, enrolled by hand at each sidecar and ledger.",
        "Their durable records of accepted releases are kept.",
        "Numbers go on above the highest accepted: numbers of the new repository up to it are proposed and never promoted.",
        "The new security officers put every entry of the old revocation list into the first list.",
    ]


def _enrol_by_hand(world: World, new: World, report: Report, number: int) -> None:
    with report.step(
        "new custodians make another trust, served from a new database", "who pins the old root refuses it and runs on"
    ):
        new.release()
        stubborn = world.sidecar("awake", new.source())
        stubborn.start()
        refused("RELEASE_SIGNATURE", stubborn.refresh)
        in_force(stubborn, number)
    with report.step(
        "at a sidecar: stop, new root, empty release folder, record kept; start",
        "release 1 is refused: numbers never go back",
    ):
        shutil.rmtree(world.folder / "sidecars" / "awake" / "release")
        enrolled = world.sidecar("awake", new.source(), new.root)
        refused("RELEASE_ROLLBACK", enrolled.refresh)
    with report.step(
        "numbers up to the highest accepted are burned by proposals",
        "the next one is taken: the sidecar follows the new trust",
    ):
        while new.proposed("alice", 700).number < number:
            pass
        following = new.release("alice", ["bruno", "chanda"], cap_minor=700)
        enrolled.refresh()
        in_force(enrolled, following)
        demand(following > number, "the number went back")


def _restarted(world: World, name: str, thief: Thief | None) -> ReleaseFollower:
    """A sidecar that starts again, now reading a thief's mirror, or the control plane."""
    one = world.sidecar(name, thief.source if thief else None)
    one.start()
    return one
