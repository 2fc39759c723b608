"""A follower among crashes, edited folders, slow and endless peers: the record decides, bytes are verified again."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.release import FileRecord, FolderSource, HttpsSource, NotThere, ReleaseFollower
from symphony.release.ceremony import CUSTODIANS
from tests.releases.peer import cut, drip, drip_headers, endless, error_500, peer, silence
from tests.releases.support import ENVIRONMENT, Mirror, World, follower, sign_file


class Crash(BaseException):
    """The process is gone."""


def held_file(follower_folder: Path, name: str, number: int = 1) -> Path:
    """A signed file of the held release."""
    (found,) = (follower_folder / "held").glob(f"{number}-*/{name}")
    return found


@pytest.mark.parametrize("step", ["save", "accept", "prune"])
def test_a_crash_between_any_two_steps_of_an_activation_is_taken_up_again(
    mirror: Mirror, following: ReleaseFollower, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The record says what may be started: release 1 before ``accept`` returned, release 2 after it."""
    owner: Any = following._record if step == "accept" else following._held

    def crash(*_args: object) -> None:
        raise Crash

    mirror.put_release(mirror.world.draft(2))
    monkeypatch.setattr(owner, step, crash)
    with pytest.raises(Crash):
        following.refresh()
    again = mirror.follower()
    started = again.start()
    assert started is not None
    assert started.number == (2 if step == "prune" else 1)
    again.refresh()
    assert again.active is not None
    assert again.active.number == 2


def test_a_lost_folder_is_fetched_again_with_the_record_kept(mirror: Mirror, following: ReleaseFollower) -> None:
    fresh = mirror.follower("fresh", record=following._record)
    assert fresh.start() is None
    release = fresh.refresh()
    assert release is not None
    assert release.number == 1


@pytest.mark.parametrize("name", ["file.json", "targets.json"])
def test_an_edited_held_file_does_not_start(mirror: Mirror, following: ReleaseFollower, name: str) -> None:
    file = held_file(mirror.world.folder / "follower", name)
    before = file.read_bytes()
    file.write_bytes(re.sub(rb'"version": ?1', b'"version":2', before))
    assert file.read_bytes() != before
    with pytest.raises(NotTrusted):
        mirror.follower().start()


def test_a_held_target_that_was_edited_or_cut_short_does_not_start(mirror: Mirror, following: ReleaseFollower) -> None:
    folder = mirror.world.folder / "follower" / "targets"
    for file in folder.iterdir():
        content = file.read_bytes()
        for edited in (content[:-1], content + b" ", b""):
            file.write_bytes(edited)
            with pytest.raises(NotTrusted, match="RELEASE_DIGEST"):
                mirror.follower().start()
        file.write_bytes(content)
    assert mirror.follower().start() is not None


def test_a_record_that_cannot_be_read_is_not_an_empty_one(mirror: Mirror, following: ReleaseFollower) -> None:
    (mirror.world.folder / "follower" / "accepted.json").write_text("{")
    for call in (mirror.follower().start, mirror.follower().refresh):
        with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
            call()


def test_the_record_never_goes_back(tmp_path: Path) -> None:
    record = FileRecord(tmp_path / "accepted.json")
    record.accept(2, "a")
    record.accept(2, "a")
    for number, digest in ((1, "a"), (2, "b")):
        with pytest.raises(NotTrusted, match="RELEASE_ROLLBACK"):
            record.accept(number, digest)
    record.accept(3, "c")
    assert FileRecord(tmp_path / "accepted.json").highest() == (3, "c")


def test_only_the_release_in_force_and_the_one_before_are_kept(mirror: Mirror, following: ReleaseFollower) -> None:
    for number in (2, 3):
        mirror.put_release(mirror.world.draft(number, mirror.world.files(cap_minor=number)))
        following.refresh()
    folder = mirror.world.folder / "follower"
    assert sorted(p.name.split("-")[0] for p in (folder / "held").iterdir()) == ["2", "3", "revocations"]
    kept = {t.sha256 for role in following._roles for t in role.targets.values()}
    assert {file.name for file in (folder / "targets").iterdir()} == kept


def test_before_the_first_release_nothing_is_claimed(mirror: Mirror) -> None:
    with pytest.raises(CannotEvaluate, match="no release is published yet"):
        mirror.follower().refresh()


def test_a_repository_without_a_revocation_list_is_refused(world: World, tmp_path: Path) -> None:
    mirror = Mirror(world, tmp_path / "mirror")
    del mirror.newest[f"{ENVIRONMENT}-revocations"]
    mirror.put_release(world.draft(1))
    with pytest.raises(NotTrusted, match="RELEASE_SHAPE"):
        mirror.follower().refresh()


def test_mirrors_are_interchangeable_and_a_folder_is_one(mirror: Mirror, following: ReleaseFollower) -> None:
    assert following.active is not None
    copied = mirror.world.folder / "copied"
    shutil.copytree(mirror.folder, copied)
    other = follower(mirror.world, FolderSource(copied), mirror.world.folder / "other")
    release = other.refresh()
    assert release is not None
    assert release.metadata_digest == following.active.metadata_digest


@pytest.mark.parametrize("path", ["../secret", "metadata/../../secret", "/etc/hostname", "metadata", "nothing"])
def test_a_folder_source_gives_nothing_from_outside(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "source" / "metadata").mkdir(parents=True)
    with pytest.raises(NotThere):
        FolderSource(tmp_path / "source").fetch(path, 100)


@pytest.mark.parametrize(
    ("answer", "code"),
    [(drip, "RELEASE_UNREACHABLE"), (drip_headers, "RELEASE_UNREACHABLE"), (endless, "RELEASE_DIGEST"),
     (cut, "RELEASE_UNREACHABLE"), (silence, "RELEASE_UNREACHABLE"), (error_500, "RELEASE_UNREACHABLE")],
)  # fmt: skip
def test_a_peer_that_misbehaves_is_cut_off_in_time(tmp_path: Path, answer: Any, code: str) -> None:
    with peer(tmp_path, answer) as hostile:
        source = HttpsSource(hostile.url, hostile.client, timeout_s=1.0)
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(SymphonyError) as error:
                source.fetch("metadata/timestamp.json", 16_384)
            assert error.value.code == code, error.value
        assert time.monotonic() - started < 20
        source.close()


def test_a_source_is_https_only() -> None:
    with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
        HttpsSource("http://127.0.0.1/tuf", ssl.create_default_context())


def test_a_peer_that_is_not_there(tmp_path: Path) -> None:
    with peer(tmp_path, silence) as gone:
        gone.close()
        time.sleep(0.1)
        with pytest.raises(CannotEvaluate, match="RELEASE_UNREACHABLE"):
            HttpsSource(gone.url, gone.client, timeout_s=1.0).fetch("metadata/timestamp.json", 100)


def test_a_lease_that_was_edited_is_no_lease(mirror: Mirror, following: ReleaseFollower) -> None:
    file = mirror.world.folder / "follower" / "lease.json"
    value = json.loads(file.read_text())
    file.write_text(json.dumps({**value, "timestamp": value["timestamp"][:-8] + "AAAAAAA="}))
    started = mirror.follower().start()
    assert started is not None
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        started.check_live(mirror.world.clock.now())


def without_officer(world: World, name: str) -> bytes:
    """The custodians' next targets, which name one officer less."""
    from tuf.api.metadata import Metadata

    metadata: Any = Metadata.from_bytes(world.ceremony.targets(world.clock.now(), version=2))
    key_id = world.officer(name).key_id
    for role in (ENVIRONMENT, f"{ENVIRONMENT}-emergency"):
        metadata.signed.revoke_key(key_id, role)
    return sign_file(metadata.to_bytes(), *(world.ceremony.custodian(custodian) for custodian in CUSTODIANS[:2]))


def test_an_officer_whom_the_custodians_removed_is_none_at_once_and_after_a_restart(mirror: Mirror, following: ReleaseFollower) -> None:
    """OUT-12: no new release is needed, and the held release, which was signed under the old targets, brings nobody back."""
    gone = mirror.world.officer("dalitso").key_id
    assert following.active is not None
    assert gone in following.active.officers
    mirror.put("targets", 2, without_officer(mirror.world, "dalitso"))
    assert following.refresh() is None
    left = following.active.officers
    assert sorted(left) == sorted(mirror.world.officer(name).key_id for name in ("alice", "bruno", "chanda"))
    again = mirror.follower()
    started = again.start()
    assert started is not None
    assert started.officers == left
    shutil.rmtree(mirror.world.folder / "follower" / "tuf")
    assert (mirror.follower().start() or started).officers == {}, "nobody can be told from the newest targets"
