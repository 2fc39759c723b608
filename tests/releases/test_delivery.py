"""How far a release has come: acknowledged, refused for good or tried again, silent; what is broken for one stops no other."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.canonical import sha256_hex
from contracts.errors import NotTrusted, SymphonyError
from contracts.release import ReleaseFollower, VerifiedRelease
from contracts.release.status import status_report
from symphony.commands.fleet import row, table
from symphony.commands.release_status import NACKED, NOT_REACHED, REACHED, code_of, document, lines
from symphony.release.client import ControlPlane
from symphony.release.delivery import Delivery, State, delivery_of, follow
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE, Mirror, World, follower, manifests

LEDGER = "core-ledger"
DIGEST = "ab" * 32


def entry(**changes: Any) -> dict[str, Any]:
    """What the fleet view says of an instance that runs release 1 and has been shown no other."""
    return {
        "environment": ENVIRONMENT, "service": SERVICE, "instance": "one", "desired_number": 2, "delivered_number": 1,
        "active_number": 1, "active_digest": "cd" * 32, "refused_number": None, "refused_code": None, "refused_permanent": None,
        "ready": True, "mode": "enforced", "lease_expires_at": None, "last_seen": "2026-11-24T12:00:00+00:00", "silent": False,
        **changes,
    }  # fmt: skip


def refused(code: str, *, permanent: bool, number: int = 2) -> dict[str, Any]:
    """Fields of a refusal."""
    return {"refused_number": number, "refused_code": code, "refused_permanent": permanent, "delivered_number": number}


@pytest.mark.parametrize(
    ("changes", "state", "code"),
    [
        ({"active_number": 2, "active_digest": "ee" * 32}, State.REJECTED, "RELEASE_FORKED"),
        (refused("RELEASE_MANIFEST", permanent=True), State.REJECTED, "RELEASE_MANIFEST"),
        ({**refused("RELEASE_MANIFEST", permanent=True), "silent": True}, State.REJECTED, "RELEASE_MANIFEST"),
        (refused("STORE_UNAVAILABLE", permanent=False), State.TRYING, "STORE_UNAVAILABLE"),
        ({**refused("STORE_UNAVAILABLE", permanent=False), "silent": True}, State.SILENT, None),
        (refused("RELEASE_SIGNATURE", permanent=True, number=1), State.PENDING, None),
        ({"silent": True}, State.SILENT, None),
        ({}, State.PENDING, None),
        ({"delivered_number": None}, State.PENDING, None),
        ({"active_number": None, "active_digest": None, "delivered_number": 2}, State.DELIVERED, None),
        ({"active_number": 2, "active_digest": DIGEST}, State.ACTIVE, None),
        ({"active_number": 3, "active_digest": "ee" * 32}, State.ACTIVE, None),
    ],
    ids=["forked", "refused", "refused-then-silent", "tried-again", "tried-again-then-silent", "another-refused", "silent", "not-shown",
         "before-delivery-was-said", "shown", "runs", "runs-a-newer-one"],
)  # fmt: skip
def test_where_an_instance_stands(changes: dict[str, Any], state: State, code: str | None) -> None:
    (one,) = delivery_of([entry(**changes)], ENVIRONMENT, 2, DIGEST).standings
    assert (one.state, one.code) == (state, code)


ACTIVE = entry(instance="a", active_number=2, active_digest=DIGEST)
REJECTED = entry(instance="r", **refused("RELEASE_ENGINE", permanent=True))
SILENT, PENDING = entry(instance="s", silent=True), entry(instance="p")


@pytest.mark.parametrize(
    ("fleet", "settled", "code"),
    [
        ([], False, NOT_REACHED),
        ([entry(environment="production", active_number=2, active_digest=DIGEST)], False, NOT_REACHED),
        ([PENDING, ACTIVE], False, NOT_REACHED),
        ([SILENT, ACTIVE], False, NOT_REACHED),
        ([REJECTED, PENDING, ACTIVE], False, NACKED),
        ([REJECTED, SILENT, ACTIVE], True, NACKED),
        ([REJECTED], True, NACKED),
        ([ACTIVE], True, REACHED),
    ],
    ids=["nobody-known", "another-environment", "one-to-go", "one-silent", "refused-and-one-to-go", "refused-and-one-silent",
         "refused", "all"],
)  # fmt: skip
def test_what_is_waited_for_and_how_it_ends(fleet: list[dict[str, Any]], settled: bool, code: int) -> None:
    found = delivery_of(fleet, ENVIRONMENT, 2, DIGEST)
    assert (found.is_settled, code_of(found)) == (settled, code)


def test_a_refusal_is_named_with_its_reason_and_whom_the_release_did_not_reach() -> None:
    found = delivery_of([ACTIVE, REJECTED, SILENT], ENVIRONMENT, 2, DIGEST)
    said = lines(found)
    assert "RELEASE_ENGINE" in said[0]
    assert said[-1].endswith(f"not reached: {SERVICE}/r, {SERVICE}/s")
    assert document(found)["not_reached"] == [f"{SERVICE}/r", f"{SERVICE}/s"]
    assert found.sentence == "1 of 3 active, 1 rejected, 1 silent"


def test_the_fleet_tells_lease_silence_and_the_kind_of_a_refusal() -> None:
    now = datetime(2026, 11, 24, 12, 0, 40, tzinfo=UTC)
    shown = row({**REJECTED, "silent": True, "lease_expires_at": "2026-11-24T12:50:40+00:00"}, now)
    assert shown[2:] == ("2", "2", "1", "SILENT", "enforced", "50 min", "40 s ago", "2: RELEASE_ENGINE (permanent)")
    assert row(entry(lease_expires_at="2026-11-24T12:00:40+00:00"), now)[7:] == ("RUN OUT", "40 s ago", "-")
    assert "transient" in row(entry(**refused("STORE_UNAVAILABLE", permanent=False)), now)[9]
    assert len({len(line) for line in table([("a", "bb", "x"), ("ccc", "d", "y")])}) == 1


def report(running: Running, ours: ReleaseFollower) -> None:
    """One look and one status report, as a service does it."""
    with suppress(SymphonyError):
        ours.refresh()
    identity = {"environment": ENVIRONMENT, "service": ours.service, "instance": "one"}
    body = status_report(identity, ours.active, ours.refused, delivered=ours.delivered, ready=True, halted=False)
    ControlPlane(running.url, running.service_context(ours.service)).post("/v1/fleet/status", body)


def seen(running: Running, number: int, digest: str) -> Delivery:
    """Through the officers' API, without waiting."""
    return follow(running.control("alice"), ENVIRONMENT, number, digest, timeout_s=0, told=lambda _: None)


def test_a_promotion_is_acknowledged_by_one_service_and_refused_by_another(running: Running, tmp_path: Path) -> None:
    """The reason goes all the way; one service's own trouble is its own."""

    def self_test(_release: VerifiedRelease) -> None:
        raise NotTrusted("RELEASE_INVARIANT", "INV-018 does not hold here")

    made = running.release()
    rail = follower(running.world, running.source(), tmp_path / "rail", self_test=self_test)
    ledger = follower(running.world, running.source(), tmp_path / "ledger", service=LEDGER)
    assert code_of(seen(running, 1, made.digest)) == NOT_REACHED
    report(running, ledger)
    assert code_of(seen(running, 1, made.digest)) == REACHED
    report(running, rail)
    found = seen(running, 1, made.digest)
    assert code_of(found) == NACKED
    assert {(one.service, one.state, one.code) for one in found.standings} == {
        (LEDGER, State.ACTIVE, None), (SERVICE, State.REJECTED, "RELEASE_INVARIANT"),
    }  # fmt: skip


def broken_for_the_rail(world: World) -> dict[str, bytes]:
    """A release whose manifest for the reference rail does not fit its schema."""
    made = manifests()
    made[SERVICE]["clock_skew_s"] = "soon"
    return world.files(manifests=made)


def test_a_broken_manifest_is_refused_when_it_is_proposed(running: Running) -> None:
    """Whoever proposes, approves or publishes checks all of them."""
    with pytest.raises(SymphonyError) as error:
        running.proposed(files=broken_for_the_rail(running.world))
    assert error.value.code == "RELEASE_MANIFEST"
    made = running.world.draft(1, broken_for_the_rail(running.world))
    envelope = running.world.officer("alice").ask("propose", ENVIRONMENT, 1, made.digest, reason="a test")
    with pytest.raises(SymphonyError) as error:
        running.control("alice").post("/v1/releases", proposal_of(made, envelope))
    assert error.value.code == "RELEASE_MANIFEST"


def proposal_of(made: Any, envelope: dict[str, Any]) -> dict[str, Any]:
    """What a client without our checks sends."""
    return {
        "envelope": envelope, "environment": ENVIRONMENT, "metadata": base64.b64encode(made.metadata).decode(),
        "targets": {sha256_hex(data): base64.b64encode(data).decode() for data in made.files.values()},
    }  # fmt: skip


def test_a_broken_manifest_of_one_service_does_not_block_the_others(mirror: Mirror) -> None:
    """Signed all the same (a newer form, for a newer sidecar): its own service refuses it, the old release runs there."""
    mirror.put_release(mirror.world.draft(1))
    rail, ledger = mirror.follower("rail"), mirror.follower("ledger", service=LEDGER)
    rail.refresh()
    ledger.refresh()
    mirror.put_release(mirror.world.draft(2, broken_for_the_rail(mirror.world)))
    with pytest.raises(NotTrusted) as error:
        rail.refresh()
    assert (error.value.code, rail.refused) == ("RELEASE_MANIFEST", (2, "RELEASE_MANIFEST"))
    assert rail.active is not None
    assert rail.active.number == 1
    taken = ledger.refresh()
    assert taken is not None
    assert (taken.number, ledger.refused) == (2, None)


def test_a_service_whose_own_manifest_is_missing_is_alone_with_it(mirror: Mirror) -> None:
    made = {name: manifest for name, manifest in manifests().items() if name == LEDGER}
    mirror.put_release(mirror.world.draft(1, mirror.world.files(manifests=made)))
    with pytest.raises(NotTrusted) as error:
        mirror.follower("rail").refresh()
    assert error.value.code == "RELEASE_SERVICE_UNKNOWN"
    assert mirror.follower("ledger", service=LEDGER).refresh() is not None


def test_a_fleet_report_that_lies_in_its_shape_is_refused(running: Running) -> None:
    service = ControlPlane(running.url, running.service_context())
    identity = {"environment": ENVIRONMENT, "service": SERVICE, "instance": "one"}
    good = status_report(identity, None, (2, "RELEASE_ENGINE"), delivered=2, ready=False, halted=False)
    for changes in (
        {"delivered": -1}, {"delivered": True}, {"delivered": "2"}, {"lease_expires_at": "tomorrow"}, {"lease_expires_at": 5},
        {"refused": {"number": 2, "code": "RELEASE_ENGINE", "permanent": "yes"}},
    ):  # fmt: skip
        with pytest.raises(SymphonyError) as error:
            service.post("/v1/fleet/status", {**good, **changes})
        assert error.value.code == "REQUEST_INVALID", orjson.dumps(changes)
    service.post("/v1/fleet/status", good)
