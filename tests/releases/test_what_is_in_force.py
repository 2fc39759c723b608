"""What a follower says of the release in force: at first, renewed, after a restart, offline; and after the root has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted
from contracts.keys import key_id_of, public_hex
from contracts.release import FileRecord, NotThere, ReleaseFollower, VerifiedRelease, load_held
from contracts.release.offline import _Nowhere
from contracts.release.repository import _SourceFetcher
from contracts.times import rfc3339
from symphony.release.ceremony import CUSTODIANS, OFFICERS, revocation
from tests.releases.support import ENVIRONMENT, SERVICE, XSD, Mirror, environment_data, manifests, sign_file
from tests.releases.test_refusals import put_revocations


def ends(mirror: Mirror, role: str) -> Any:
    """When the newest version of a role runs out."""
    return Metadata.from_bytes(mirror.newest[role].content).signed.expires


def test_everything_that_a_verified_release_says(mirror: Mirror) -> None:
    made = mirror.world.draft(1)
    mirror.put_release(made)
    told: list[VerifiedRelease] = []
    before = mirror.world.clock.now()
    release = mirror.follower(self_test=told.append).refresh()
    assert release is not None
    officers = {mirror.world.officer(name).key_id: public_hex(mirror.world.officer(name).key) for name in OFFICERS}
    assert told == [release], "the engine is asked about this very release"
    assert before <= release.fetched_at <= mirror.world.clock.now()
    expected = VerifiedRelease(
        environment=ENVIRONMENT, number=1, metadata_digest=made.digest, policy_digest=sha256_hex(made.files["policy.wasm"]),
        expires_at=min(ends(mirror, ENVIRONMENT), ends(mirror, "targets")), fetched_at=release.fetched_at,
        lease_expires_at=min(ends(mirror, "timestamp"), ends(mirror, "snapshot")), environment_data=environment_data(),
        manifest=manifests()[SERVICE], policy_wasm=made.files["policy.wasm"], policy_bundle=made.files["policy.tar.gz"],
        invariants=json.loads(made.files["invariants.json"]), schemas={"iso20022/pacs.008.001.08": XSD},
        proposal=release.proposal, approver_key_ids=tuple(sorted(mirror.world.officer(n).key_id for n in ("bruno", "chanda"))),
        revocations=[], revocations_version=1, officers=officers,
    )  # fmt: skip
    assert release == expected
    assert (release.proposal["number"], release.proposal["reason"]) == (1, "a test")


def test_a_restart_and_an_offline_look_say_the_same(mirror: Mirror, following: ReleaseFollower) -> None:
    assert following.active is not None
    told: list[VerifiedRelease] = []
    started = mirror.follower(self_test=told.append).start()
    assert started is not None
    seen = replace(following.active, fetched_at=started.fetched_at)
    assert started == seen
    assert rfc3339(started.fetched_at) == rfc3339(following.active.fetched_at)
    assert told == [replace(started, officers=told[0].officers)]
    folder = mirror.world.folder / "follower"
    arguments: dict[str, Any] = {
        "environment": ENVIRONMENT, "service": SERVICE, "root_bytes": mirror.world.root, "clock": mirror.world.clock,
    }  # fmt: skip
    offline = load_held(folder=folder, record=FileRecord(folder / "accepted.json"), self_test=told.append, **arguments)
    assert offline == started
    assert len(told) == 2
    empty = mirror.world.folder / "empty"
    assert load_held(folder=empty, record=FileRecord(empty / "accepted.json"), **arguments) is None
    with pytest.raises(NotThere, match="metadata/timestamp"):
        _Nowhere().fetch("metadata/timestamp.json", 1)


def test_a_renewal_brings_lease_time_and_revocations(mirror: Mirror, following: ReleaseFollower) -> None:
    before = following.active
    assert before is not None
    mirror.world.clock.moved += timedelta(minutes=30)
    entry = revocation("certificate", "ab" * 32, "x", mirror.world.clock.now())
    put_revocations(mirror, 2, [entry])
    assert following.refresh() is None
    after = following.active
    assert after is not None
    assert after.fetched_at >= before.fetched_at + timedelta(minutes=30)
    assert after == replace(
        before, fetched_at=after.fetched_at, lease_expires_at=min(ends(mirror, "timestamp"), ends(mirror, "snapshot")),
        revocations=[entry], revocations_version=2,
    )  # fmt: skip
    assert after.lease_expires_at > before.lease_expires_at


def test_a_release_revoked_until_a_day_stops_until_then(mirror: Mirror, following: ReleaseFollower) -> None:
    assert following.active is not None
    now = mirror.world.clock.now()
    put_revocations(mirror, 2, [revocation("release", following.active.metadata_digest, "x", now, now + timedelta(minutes=5))])
    with pytest.raises(NotTrusted, match="RELEASE_REVOKED"):
        following.refresh()
    assert following.active is None
    mirror.world.clock.moved += timedelta(minutes=6)
    assert following.refresh() is not None


def test_a_root_that_changed_the_custodians_is_followed_and_held(mirror: Mirror, following: ReleaseFollower) -> None:
    """Targets 2 is signed by keys that only root 2 names: whatever forgets root 2 forgets everything."""
    world = mirror.world
    new = [Ed25519PrivateKey.generate() for _ in range(2)]
    root = json.loads(world.ceremony.root(world.clock.now(), version=2))
    for key in new:
        value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key)}}
        root["signed"]["keys"][key_id_of(key)] = value
    root["signed"]["roles"]["targets"]["keyids"] = [key_id_of(key) for key in new]
    custodians = [world.ceremony.custodian(name) for name in CUSTODIANS[:2]]
    (mirror.folder / "metadata" / "2.root.json").write_bytes(sign_file(canonical_bytes(root), *custodians))
    mirror.put("targets", 2, sign_file(world.ceremony.targets(world.clock.now(), version=2), *new))
    put_revocations(mirror, 2, [])
    mirror.put_release(world.draft(2))
    assert following.refresh() is not None
    started = mirror.follower().start()
    assert started is not None
    assert started.number == 2
    assert sorted(started.officers) == sorted(world.officer(name).key_id for name in OFFICERS)
    assert mirror.follower().refresh() is not None


def test_tufs_own_way_to_fetch_is_bounded_as_ours(mirror: Mirror) -> None:
    fetcher = _SourceFetcher(mirror.source, 10)
    assert b"".join(fetcher._fetch("symphony:metadata/timestamp.json")) == mirror.newest["timestamp"].content
