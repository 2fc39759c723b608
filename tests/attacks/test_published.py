"""The control plane's database rewritten by its owner, with every online key, and then asked to serve, over real TLS.

The attacker has the owner's login: he switches the append-only triggers off, writes what he likes into ``tuf_metadata``,
``tuf_targets``, ``policy_versions``, and signs snapshot and timestamp anew. The control plane serves it as its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from contracts.canonical import sha256_hex
from contracts.release import ReleaseFollower
from controlplane import served
from controlplane.trust.signing import RoleFile, next_snapshot, next_timestamp
from symphony.release.ceremony import revocation
from tests.attacks.attacker import REVOCATIONS, Attacker, ours
from tests.attacks.index import attack
from tests.attacks.test_approvals import role
from tests.releases.running import Running, control_plane
from tests.releases.support import ENVIRONMENT, World, changed, follower, sign_file
from tests.support.database import Database, TestPostgres

TABLES: tuple[LiteralString, ...] = ("tuf_metadata", "tuf_targets", "policy_versions", "release_targets")
KEPT = ("tuf_metadata", "tuf_targets", "release_targets")
RULES, TUF = "contracts.release.rules", "TUF contracts.release.repository"


class Owner:
    """The attacker at the database: every table as he likes it; ``undo`` puts it back for the next test."""

    def __init__(self, running: Running, database: Database) -> None:
        self.running, self.world = running, running.world
        self._connection = psycopg.connect(database.owner, autocommit=True)
        for table in TABLES:
            self.run(f"ALTER TABLE symphony.{table} DISABLE TRIGGER USER")
        self.run("ALTER TABLE symphony.release_targets DROP CONSTRAINT release_targets_sha256_fkey")
        for (name,) in self.rows("SELECT conname FROM pg_constraint WHERE conrelid = 'symphony.tuf_targets'::regclass AND contype = 'c'"):
            self.run(f"ALTER TABLE symphony.tuf_targets DROP CONSTRAINT {name}")
        self._kept = {table: self.rows(f"SELECT * FROM symphony.{table}") for table in KEPT}

    def run(self, statement: str, *values: Any) -> None:
        """A statement with owner rights."""
        self._connection.execute(statement.encode(), values or None)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a question."""
        return self._connection.execute(statement.encode(), values or None).fetchall()

    def newest(self) -> dict[str, RoleFile]:
        """What the database says is newest."""
        rows = self.rows("SELECT DISTINCT ON (role) role, version, content FROM symphony.tuf_metadata ORDER BY role, version DESC")
        return {name: RoleFile(name, version, bytes(content)) for name, version, content in rows}

    def write(self, *files: RoleFile, without: tuple[str, ...] = ()) -> None:
        """Role files, whatever stood in their place, under a snapshot and a timestamp signed with the online keys."""
        from datetime import timedelta

        for file in files:
            self._put(file)
        newest = {name: file for name, file in self.newest().items() if name not in without}
        newest |= {file.role: file for file in files}
        expires = self.world.clock.now() + timedelta(hours=1)
        snapshot = next_snapshot(newest, [], self.world.ceremony.online("snapshot"), expires)
        self._put(snapshot)
        self._put(next_timestamp(newest["timestamp"], snapshot, self.world.ceremony.online("timestamp"), expires))

    def _put(self, file: RoleFile) -> None:
        self.run("DELETE FROM symphony.tuf_metadata WHERE role = %s AND version >= %s", file.role, file.version)
        self.run(
            "INSERT INTO symphony.tuf_metadata (role, version, content, sha256) VALUES (%s, %s, %s, %s)",
            file.role, file.version, file.content, file.sha256,
        )  # fmt: skip

    def store(self, number: int, files: dict[str, bytes]) -> None:
        """The targets of a release, so that they are served, with a row that says it is active."""
        for content in files.values():
            self.run("INSERT INTO symphony.tuf_targets (sha256, content) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                     sha256_hex(content), content)  # fmt: skip
        self.run("UPDATE symphony.policy_versions SET status = 'SUPERSEDED', is_active = false")
        self.run(
            "INSERT INTO symphony.policy_versions (environment, number, status, is_active, checksum, metadata_digest, metadata,"
            " proposer_key_id, actor, reason) VALUES (%s, %s, 'ACTIVE', true, repeat('a', 64), repeat('a', 64), '',"
            " repeat('a', 64), 'x', 'x') ON CONFLICT (environment, number) DO UPDATE SET status = 'ACTIVE', is_active = true",
            ENVIRONMENT, number,
        )  # fmt: skip
        for path, content in files.items():
            self.run(
                "INSERT INTO symphony.release_targets VALUES (%s, %s, %s, %s) ON CONFLICT (environment, number, path)"
                " DO UPDATE SET sha256 = excluded.sha256", ENVIRONMENT, number, path, sha256_hex(content),
            )  # fmt: skip

    def undo(self) -> None:
        """As it was."""
        for table in KEPT:
            self.run(f"DELETE FROM symphony.{table}")
        self.run("DELETE FROM symphony.policy_versions WHERE number > 1")
        self.run("UPDATE symphony.policy_versions SET status = 'ACTIVE', is_active = true")
        for table, rows in self._kept.items():
            for row in rows:
                self.run(f"INSERT INTO symphony.{table} VALUES ({', '.join(['%s'] * len(row))})", *row)


@pytest.fixture(scope="module")
def owner(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """A control plane with release 1 in force, and the attacker at its database."""
    database = postgres.new_database("controlplane")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(served, "KEPT_S", 0)  # what is written behind the server's back is served at once
        with control_plane(World(tmp_path_factory.mktemp("published") / "stack"), database.writer) as running:
            running.release()
            yield Owner(running, database)
    postgres.drop(database)


class Published(Attacker):
    """The attacker whose mirror is the control plane itself."""

    def __init__(self, made: Any, owner: Owner, victim: ReleaseFollower) -> None:
        self.owner = owner
        self.mirror = _Served(owner.world, victim)  # type: ignore[assignment]
        super().__init__(made, self.mirror, victim)

    def writes_release(self, content: bytes, files: dict[str, bytes], number: int = 2) -> None:
        """Release ``number`` into every table."""
        self.owner.store(number, files)
        self.owner.write(RoleFile(ENVIRONMENT, number, content))


class _Served:
    """The part of a mirror that the attack language asks for."""

    def __init__(self, world: World, victim: ReleaseFollower) -> None:
        self.world, self._victim = world, victim

    def follower(self) -> ReleaseFollower:
        """The victim after a restart."""
        folder = self._victim._held._folder
        return follower(self.world, self._victim._repository._source, folder)


@pytest.fixture
def attacker(request: pytest.FixtureRequest, owner: Owner, tmp_path: Path) -> Iterator[Published]:
    """The owner, and a victim that took release 1 from the honest control plane."""
    source = owner.running.source()
    victim = follower(owner.world, source, tmp_path / "follower")
    assert victim.refresh() is not None
    made = Published(request.function.attack, owner, victim)
    yield made
    owner.undo()
    source.close()
    assert made.was_refused


@attack("the database rewritten: a release of the attacker's, signed with the online keys", by=TUF, code="RELEASE_SIGNATURE")
def test_published_a_release_of_the_attackers_own(attacker: Published) -> None:
    made = attacker.drafts()
    attacker.writes_release(attacker.signs(made, "snapshot", "timestamp"), made.files)
    attacker.is_refused()


@attack("the database rewritten: the release in force with other bytes", by=TUF, code="RELEASE_SIGNATURE")
def test_published_the_release_in_force_with_other_bytes(attacker: Published) -> None:
    made = attacker.drafts(1)
    attacker.writes_release(attacker.signs(made, "snapshot", "timestamp"), made.files, number=1)
    attacker.is_refused(number=1)


@attack("the database rewritten: a proposal with one approval marked as active", by=TUF, code="RELEASE_SIGNATURE")
def test_published_a_proposal_that_was_never_approved(attacker: Published) -> None:
    made = attacker.drafts()
    attacker.writes_release(attacker.world.signed(made, "bruno"), made.files)
    attacker.is_refused()


@attack("the database rewritten: an approved release's numbers edited under its signatures", by=TUF, code="RELEASE_SIGNATURE")
def test_published_a_release_edited_under_its_signatures(attacker: Published) -> None:
    made = attacker.drafts()
    late = changed(attacker.world.signed(made), lambda s: ours(s).update(activate_before="2999-01-01T00:00:00.000000Z"))
    attacker.writes_release(late, made.files)
    attacker.is_refused()


@attack("the database rewritten: a target's bytes exchanged under their digest", by=TUF, code="RELEASE_DIGEST")
def test_published_target_bytes_exchanged(attacker: Published) -> None:
    made = attacker.drafts()
    attacker.writes_release(attacker.world.signed(made), made.files)
    loose = made.files["environment.json"].replace(b"10000000", b"99999999")
    assert loose != made.files["environment.json"]
    attacker.owner.run("UPDATE symphony.tuf_targets SET content = %s WHERE sha256 = %s",
                       loose, sha256_hex(made.files["environment.json"]))  # fmt: skip
    attacker.is_refused()


@attack("the database rewritten: release 2 taken back, release 1 in force again", by=TUF, code="RELEASE_ROLLBACK")
def test_published_history_taken_back(attacker: Published) -> None:
    first = attacker.owner.newest()[ENVIRONMENT]
    made = attacker.drafts()
    attacker.writes_release(attacker.world.signed(made), made.files)
    assert attacker.victim.refresh() is not None
    attacker.takes_effect_from()
    attacker.owner.write(first)
    attacker.is_refused(number=2)


@attack("the database rewritten: custodians' metadata with officers of the attacker's", by=TUF, code="RELEASE_SIGNATURE")
def test_published_officers_of_the_attackers_own(attacker: Published) -> None:
    from contracts.keys import key_id_of, public_hex

    def own_officer(signed: dict[str, Any]) -> None:
        key = attacker.key("log")
        value = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex(key)}}
        signed["delegations"]["keys"][key_id_of(key)] = value
        role(signed, ENVIRONMENT).update(keyids=[key_id_of(key)], threshold=1)

    forged = attacker.targets(own_officer, attacker.key("snapshot"), attacker.key("timestamp"))
    attacker.owner.write(RoleFile("targets", 2, forged))
    attacker.is_refused(number=1)


@attack("the database rewritten: a root of the attacker's", by=TUF, code="RELEASE_SIGNATURE")
def test_published_a_root_of_the_attackers_own(attacker: Published) -> None:
    root = attacker.world.ceremony.root(attacker.world.clock.now(), version=2)
    own = [attacker.key("snapshot"), attacker.key("timestamp")]
    attacker.owner.write(RoleFile("root", 2, sign_file(root, *own)))
    attacker.is_refused(number=1)


@attack("the database rewritten: the revocation list emptied", by=TUF, code="RELEASE_SIGNATURE")
def test_published_a_revocation_list_emptied(attacker: Published) -> None:
    attacker.owner.write(RoleFile(REVOCATIONS, 2, attacker.list_of(version=2, key=attacker.key("timestamp"))))
    attacker.is_refused(number=1)


@attack("the database rewritten: the revocation list of before, served again", by=TUF, code="RELEASE_ROLLBACK")
def test_published_the_revocation_list_of_before(attacker: Published) -> None:
    before = attacker.owner.newest()[REVOCATIONS]
    entry = revocation("certificate", "ab" * 32, "stolen", attacker.world.clock.now())
    attacker.owner.write(RoleFile(REVOCATIONS, 2, attacker.list_of(entry, version=2)))
    assert attacker.victim.refresh() is None
    attacker.owner.write(before)
    attacker.is_refused(number=1)
    assert attacker.victim.active is not None
    assert [entry["id"] for entry in attacker.victim.active.revocations] == ["ab" * 32]


@attack("the database rewritten: the revocation list left out of the snapshot", by=TUF, code="RELEASE_SHAPE")
def test_published_the_revocation_list_left_out(attacker: Published) -> None:
    attacker.owner.write(without=(REVOCATIONS,))
    attacker.is_refused(number=1)


@attack("the database rewritten: a withdrawn release marked as active", by=f"12 {RULES}", code="RELEASE_REVOKED")
def test_published_a_withdrawn_release(attacker: Published) -> None:
    made = attacker.drafts()
    entry = revocation("release", made.digest, "withdrawn", attacker.world.clock.now())
    attacker.owner.write(RoleFile(REVOCATIONS, 2, attacker.list_of(entry, version=2)))
    attacker.writes_release(attacker.world.signed(made), made.files)
    attacker.is_refused()
