"""One refusal for each rule of ``contracts.release.rules``; the old release stays in force each time (POL-05, POL-06).

The mirror is run by somebody who holds every online key; where a test says so he holds officers' keys as well. What is an
attack rather than a fault stands in ``tests/attacks``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contracts.canonical import canonical_bytes
from contracts.errors import NotTrusted, SymphonyError
from contracts.keys import PROPOSAL_TYPE
from contracts.release import ReleaseFollower
from contracts.release.envelope import make_envelope
from contracts.release.model import FIELD
from contracts.times import parse_rfc3339, rfc3339
from symphony.release.ceremony import revocation
from symphony.release.propose import Draft, role_file
from tests.releases.support import ENVIRONMENT, Mirror, World, changed, sign_file


def refused(follower: ReleaseFollower, code: str) -> SymphonyError:
    """The refusal of a refresh; what was in force stays."""
    before = follower.active
    with pytest.raises(SymphonyError) as error:
        follower.refresh()
    assert error.value.code == code, error.value
    after = follower.active
    assert (after and after.metadata_digest) == (before and before.metadata_digest)
    return error.value


def put_changed(mirror: Mirror, change: Callable[[dict[str, Any]], None], *signers: str, number: int = 2) -> None:
    """Publish release 2 with its signed part changed, then properly signed by officers."""
    made = mirror.world.draft(number)
    metadata = changed(made.metadata, change)
    keys = [mirror.world.ceremony.officer(name) for name in signers or ("bruno", "chanda")]
    mirror.put_release(made, sign_file(metadata, *keys))


def ours(signed: dict[str, Any]) -> dict[str, Any]:
    """The field of ours in a signed part."""
    field = signed[FIELD]
    assert isinstance(field, dict)
    return field


# rule 6: the shape of the role file ---------------------------------------------------------------------------------


def test_a_role_without_our_field(mirror: Mirror, following: ReleaseFollower) -> None:
    put_changed(mirror, lambda signed: signed.pop(FIELD))
    refused(following, "RELEASE_SHAPE")


def test_a_target_with_another_hash_than_sha256(mirror: Mirror, following: ReleaseFollower) -> None:
    put_changed(mirror, lambda signed: signed["targets"]["sandbox/2/policy.wasm"].update(hashes={"md5": "00" * 16}))
    refused(following, "RELEASE_SHAPE")


def test_activate_before_more_than_seven_days_ahead(mirror: Mirror, following: ReleaseFollower) -> None:
    late = rfc3339(mirror.world.clock.now() + timedelta(days=9))
    put_changed(mirror, lambda signed: ours(signed).update(activate_before=late))
    refused(following, "RELEASE_SHAPE")


# rule 8: the proposal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("environment", "production"), ("number", 3), ("predecessor", 7), ("reason", ""), ("targets", {}),
     ("gate_sha256", "00" * 32), ("not_before", "2020-01-01T00:00:00.000000Z"), ("schema", "symphony.release/2")],
)  # fmt: skip
def test_a_proposal_that_is_about_something_else(
    mirror: Mirror, following: ReleaseFollower, field: str, value: Any
) -> None:
    made = mirror.world.draft(2)
    alice = mirror.world.officer("alice")
    proposal = json.loads(_payload(made.files["release.json"]))
    proposal[field] = value
    envelope = canonical_bytes(make_envelope(alice.key, PROPOSAL_TYPE, canonical_bytes(proposal)))
    mirror.put_release(*_again(mirror, made, {"release.json": envelope}))
    refused(following, "RELEASE_PROPOSAL")


def test_a_proposal_signed_for_another_purpose(mirror: Mirror, following: ReleaseFollower) -> None:
    made = mirror.world.draft(2)
    payload = _payload(made.files["release.json"])
    envelope = canonical_bytes(make_envelope(mirror.world.officer("alice").key, "text/plain", payload))
    mirror.put_release(*_again(mirror, made, {"release.json": envelope}))
    refused(following, "RELEASE_PROPOSAL")


# rule 9: the gate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"failed": ["INV-001"]}, {"passed": []}], ids=["failed", "nothing ran"])
def test_a_gate_result_that_is_no_pass(mirror: Mirror, following: ReleaseFollower, changes: dict[str, Any]) -> None:
    files = mirror.world.files()
    mirror.put_release(mirror.world.draft(2, files, gate=mirror.world.gate(files, **changes)))
    refused(following, "RELEASE_GATE")


def test_a_gate_result_signed_by_the_proposer(mirror: Mirror, following: ReleaseFollower) -> None:
    files = mirror.world.files()
    gate = mirror.world.gate(files, key=mirror.world.officer("alice").key)
    mirror.put_release(mirror.world.draft(2, files, gate=gate))
    refused(following, "RELEASE_GATE")


# rules 10 and 11: numbers and times ---------------------------------------------------------------------------------


def test_not_before_has_not_come(mirror: Mirror, following: ReleaseFollower) -> None:
    world = mirror.world
    mirror.put_release(world.draft(2, not_before=world.clock.now() + timedelta(minutes=10)))
    refused(following, "RELEASE_NOT_BEFORE")
    world.clock.moved += timedelta(minutes=11)
    assert following.refresh() is not None


def test_a_release_held_past_activate_before_still_restarts(mirror: Mirror, following: ReleaseFollower) -> None:
    mirror.world.clock.moved += timedelta(days=8)
    again = mirror.follower().start()
    assert again is not None
    assert again.number == 1


# rule 12: expired, revoked ------------------------------------------------------------------------------------------


def test_an_expired_role_neither_activates_nor_restarts(mirror: Mirror, following: ReleaseFollower) -> None:
    mirror.world.clock.moved += timedelta(days=91)
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        mirror.follower().start()
    mirror.put("snapshot-filler", 1, mirror.world.trust["sandbox-revocations.json"])
    refused(following, "RELEASE_EXPIRED")


def test_a_release_in_force_that_is_revoked_stops(mirror: Mirror, following: ReleaseFollower) -> None:
    assert following.active is not None
    put_revocations(mirror, 2, [entry(mirror, "release", following.active.metadata_digest)])
    with pytest.raises(NotTrusted, match="RELEASE_REVOKED"):
        following.refresh()
    assert following.active is None
    with pytest.raises(NotTrusted, match="RELEASE_REVOKED"):
        mirror.follower().start()


# helpers ------------------------------------------------------------------------------------------------------------


def entry(mirror: Mirror, kind: str, identifier: str) -> dict[str, Any]:
    """A revocation without an end."""
    return revocation(kind, identifier, "a test", mirror.world.clock.now())


def put_revocations(mirror: Mirror, version: int, entries: list[dict[str, Any]]) -> None:
    """Publish a list."""
    world: World = mirror.world
    signed = world.ceremony.revocations(ENVIRONMENT, version, entries, world.clock.now())
    mirror.put(f"{ENVIRONMENT}-revocations", version, signed)


def _payload(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])


def _again(mirror: Mirror, made: Draft, replaced: dict[str, bytes]) -> tuple[Draft, bytes]:
    """The draft with other files, its role made and signed again."""
    files = {**made.files, **replaced}
    world = mirror.world
    start = parse_rfc3339(json.loads(made.metadata)["signed"][FIELD]["not_before"])
    metadata = role_file(world.officer("alice"), files, ENVIRONMENT, made.number, start, start)
    again = Draft(ENVIRONMENT, made.number, metadata, files)
    return again, world.signed(again)
