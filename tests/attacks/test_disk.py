"""The victim's own disk: edited, cut short, put back, full; and a process that is killed at any write (rules 11, 13 and 16)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.canonical import sha256_hex
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack
from tests.releases.support import ENVIRONMENT, ROOT
from tests.releases.test_follower import held_file, without_officer

FOLLOWER, HELD = "contracts.release.follower", "contracts.release.held"


def home(attacker: Attacker) -> Path:
    """The victim's folder."""
    return attacker.world.folder / "follower"


def held_target(attacker: Attacker, path: str) -> Path:
    """A target of the release in force, on the victim's disk."""
    role = json.loads(held_file(home(attacker), "file.json").read_bytes())
    return home(attacker) / "targets" / role["signed"]["targets"][f"{ENVIRONMENT}/1/{path}"]["hashes"]["sha256"]


@pytest.mark.parametrize("path", ["policy.wasm", "policy.tar.gz", "environment.json", "release.json"])
@attack("a persisted copy that was edited", by="13 contracts.release.contents", code="RELEASE_DIGEST")
def test_a_persisted_copy_that_was_edited(attacker: Attacker, path: str) -> None:
    file = held_target(attacker, path)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    attacker.does_not_start()


@attack("a persisted copy that was cut short", by="13 contracts.release.contents", code="RELEASE_DIGEST")
def test_a_persisted_copy_that_was_cut_short(attacker: Attacker) -> None:
    file = held_target(attacker, "policy.wasm")
    file.write_bytes(file.read_bytes()[:-1])
    attacker.does_not_start()


@attack("a persisted copy that was removed", by=f"13 {HELD}", code="RELEASE_DIGEST")
def test_a_persisted_copy_that_was_removed(attacker: Attacker) -> None:
    held_target(attacker, "policy.wasm").unlink()
    attacker.does_not_start()


@attack("a persisted role file that was edited", by="7 contracts.release.rules", code="RELEASE_SIGNATURE")
def test_a_persisted_role_that_was_edited(attacker: Attacker) -> None:
    file = held_file(home(attacker), "file.json")
    value = json.loads(file.read_bytes())
    value["signed"]["x-symphony"]["activate_before"] = value["signed"]["x-symphony"]["not_before"][:-8] + ".999999Z"
    value["signed"]["expires"] = "2999-01-01T00:00:00Z"
    file.write_text(json.dumps(value))
    attacker.does_not_start()


@attack("persisted custodians' metadata that was edited", by="1 contracts.release.trust", code="RELEASE_SIGNATURE")
def test_persisted_targets_that_were_edited(attacker: Attacker) -> None:
    file = held_file(home(attacker), "targets.json")
    value = json.loads(file.read_bytes())
    for role in value["signed"]["delegations"]["roles"]:
        role["threshold"] = 1
    file.write_text(json.dumps(value))
    attacker.does_not_start()


@attack("an older release put back on disk", by="11 contracts.release.rules", code="RELEASE_ROLLBACK")
def test_an_older_release_put_back_on_disk(attacker: Attacker) -> None:
    """Where the record names 2, release 1's files in the place of release 2's."""
    old = {file.name: file.read_bytes() for file in held_file(home(attacker), "file.json").parent.iterdir()}
    attacker.mirror.put_release(attacker.drafts(2))
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    for name, content in old.items():
        held_file(home(attacker), name, 2).write_bytes(content)
    attacker.does_not_start()


@attack("a revocation list removed from the disk", by=f"14 {FOLLOWER}", code="RELEASE_DIGEST")
def test_a_revocation_list_removed_from_the_disk(attacker: Attacker) -> None:
    shutil.rmtree(home(attacker) / "held" / "revocations")
    attacker.does_not_start()


@attack("the durable record edited into nonsense", by="10 contracts.release.record", code="CONFIGURATION")
def test_a_record_edited_into_nonsense(attacker: Attacker) -> None:
    """It is never taken for an empty one, under which any old release could start."""
    record = home(attacker) / "accepted.json"
    before = record.read_bytes()
    record.write_bytes(before[:-3])
    attacker.does_not_start()
    assert attacker.code_of(attacker.mirror.follower().refresh) == "CONFIGURATION"
    record.write_bytes(before)


@attack("a lease edited to last for ever", by=f"12 {FOLLOWER}", code="RELEASE_EXPIRED")
def test_a_lease_edited_to_last(attacker: Attacker) -> None:
    import base64

    file = home(attacker) / "lease.json"
    value = json.loads(file.read_text())
    timestamp = json.loads(base64.b64decode(value["timestamp"]))
    timestamp["signed"]["expires"] = "2999-01-01T00:00:00Z"
    value["timestamp"] = base64.b64encode(json.dumps(timestamp).encode()).decode()
    file.write_text(json.dumps(value))
    started = attacker.mirror.follower().start()
    assert started is not None
    assert attacker.code_of(lambda: started.check_live(attacker.world.clock.now())) == attacker.attack.code
    attacker.was_refused = True


@attack("TUF's own cache edited, an older snapshot and targets among it", by=f"16 {FOLLOWER}", code="RELEASE_ROLLBACK")
def test_the_custodians_older_word_put_back_with_the_cache(attacker: Attacker) -> None:
    """dalitso was removed; with TUF's cache lost, stock TUF takes the metadata that names him, and his signature."""
    attacker.mirror.put("targets", 2, without_officer(attacker.world, "dalitso"))
    attacker.mirror.put_release(attacker.world.draft(2))
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    shutil.rmtree(home(attacker) / "tuf")
    attacker.steals("dalitso", "bruno")
    other = attacker.elsewhere()
    made = attacker.drafts(3)
    other.put_release(made, attacker.signs(made, "dalitso", "bruno"))
    restarted = other.follower()
    assert restarted.start() is not None
    attacker.is_refused(number=3, victim=restarted)


@attack("the release in force revoked while the victim's disk is full", by=f"12 {FOLLOWER}", code="CONFIGURATION")
def test_a_full_disk_does_not_keep_a_revoked_release(attacker: Attacker) -> None:
    """The list cannot be written; it is heeded all the same, and the release ends."""
    from symphony.release.ceremony import revocation

    active = attacker.victim.active
    assert active is not None
    full(home(attacker) / "held" / "revocations" / "targets.json")
    attacker.publishes_list(revocation("release", active.metadata_digest, "withdrawn", attacker.world.clock.now()))
    assert attacker.code_of(attacker.victim.refresh) == attacker.attack.code
    assert attacker.victim.active is None
    assert attacker.victim.refused == (1, attacker.attack.code)
    assert attacker.victim._record.highest() == (1, active.metadata_digest)
    attacker.was_refused = True


@pytest.mark.parametrize("place", ["accepted.json", "lease.json", "held/{place}/file.json", "held/{place}/targets.json"])
@attack("a disk that is full at any file of an activation", by="10 contracts.release.record", code="CONFIGURATION")
def test_a_full_disk_at_any_file_of_an_activation(attacker: Attacker, place: str) -> None:
    """The kernel itself refuses the bytes (``/dev/full``)."""
    from contracts.release.held import place_of

    made = attacker.drafts()
    attacker.mirror.put_release(made)
    file = home(attacker) / place.format(place=place_of(2, made.digest))
    full(file)
    attacker.is_refused(number=2)
    file.with_name(file.name + ".new").unlink()
    assert attacker.victim.refresh() is not None, "and is taken once there is room"


@attack("a target that the disk has no room for", by="TUF contracts.release.repository", code="CONFIGURATION")
def test_a_target_without_room(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def no_room(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    attacker.mirror.put_release(attacker.drafts())
    with monkeypatch.context() as broken:
        broken.setattr("tuf.ngclient.updater.shutil.copyfileobj", no_room)
        attacker.is_refused()
    assert attacker.victim.refresh() is not None


@attack("a process killed at any write between download and swap", by=f"10 {FOLLOWER}", code="")
def test_a_process_killed_at_any_write(attacker: Attacker) -> None:
    """SIGKILL at each write in turn: what starts is release 1 or 2, whole; then 2 is taken. No third state, nothing lost."""
    attacker.mirror.put_release(attacker.drafts())
    asked = {
        "root": attacker.world.root.decode(), "source": str(attacker.mirror.folder), "home": str(home(attacker)),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.attacks.killed"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr
    *killed, lived = json.loads(done.stdout)
    assert len(killed) > 10, "each write of an activation is one end"
    assert all(end["killed"] for end in killed)
    assert lived == {"killed": False, "started": 2, "then": 2}
    started = [end["started"] for end in killed]
    assert started == sorted(started), "the old one until the record says the new"
    assert set(started) == {1, 2}
    assert {end["then"] for end in killed} == {2}
    attacker.comes_to_nothing()


@attack("a target left half-written by a crash", by="TUF contracts.release.repository", code="")
def test_a_target_left_half_written(attacker: Attacker) -> None:
    made = attacker.drafts()
    attacker.mirror.put_release(made)
    content = made.files["environment.json"]
    (home(attacker) / "targets" / sha256_hex(content)).write_bytes(content[: len(content) // 2])
    assert attacker.victim.refresh() is not None, "fetched again, whole"
    assert attacker.mirror.follower().start() is not None
    attacker.comes_to_nothing()


@attack("TUF's own cache edited byte by byte", by="TUF contracts.release.repository", code="")
def test_tufs_own_cache_edited(attacker: Attacker) -> None:
    """What does not verify is fetched again."""
    for file in (home(attacker) / "tuf" / "metadata").glob("*.json"):
        file.write_bytes(file.read_bytes().replace(b"2", b"3", 3))
    attacker.mirror.put_release(attacker.drafts())
    restarted = attacker.mirror.follower()
    assert restarted.start() is not None
    assert restarted.refresh() is not None
    attacker.comes_to_nothing()


def full(file: Path) -> None:
    """From now on the kernel has no room for this file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name(file.name + ".new").symlink_to("/dev/full")
