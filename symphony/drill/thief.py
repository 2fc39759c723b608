"""Who stole keys: a mirror of the repository in a folder, signed with what he has, that a sidecar is made to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, Targets

from contracts.canonical import sha256_hex
from contracts.keys import signer_of
from contracts.release import FolderSource
from controlplane.trust.signing import RoleFile, next_snapshot, next_timestamp
from symphony.drill.world import ENVIRONMENT, World
from symphony.release.propose import Draft

FOR_EVER = timedelta(days=3650)


class Thief:
    """A copy of what is published, and the stolen online keys."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self._snapshot, self._timestamp = world.ceremony.online("snapshot"), world.ceremony.online("timestamp")
        found = world.published()
        assert found.snapshot is not None
        assert found.timestamp is not None
        files = {**found.roles, "targets": found.targets_bytes}
        self.newest = {
            name: RoleFile(name, found.snapshot.meta[f"{name}.json"].version, data) for name, data in files.items()
        }
        self.newest["snapshot"] = RoleFile("snapshot", found.snapshot.version, b"")
        self.newest["timestamp"] = RoleFile("timestamp", found.timestamp.version, b"")
        (folder / "metadata").mkdir(parents=True)
        for number, root in enumerate(found.roots, start=1):
            self._write(RoleFile("root", number, root))
        for name in files:
            self._write(self.newest[name])
        self.sign()

    @property
    def source(self) -> FolderSource:
        """The mirror, as a sidecar reads it."""
        return FolderSource(self.folder)

    def sign(self, changed: Sequence[RoleFile] = (), *, versions_ahead: int = 0) -> None:
        """Snapshot and timestamp that never end, over what lies in the mirror; versions far ahead, if he likes."""
        ends = self.world.clock.now() + FOR_EVER
        ahead = {
            name: RoleFile(name, self.newest[name].version + versions_ahead, b"") for name in ("snapshot", "timestamp")
        }
        snapshot = next_snapshot({**self.newest, **ahead}, list(changed), self._snapshot, ends)
        timestamp = next_timestamp(ahead["timestamp"], snapshot, self._timestamp, ends)
        for file in (*changed, snapshot, timestamp):
            self.newest[file.role] = file
            self._write(file)

    def forge(self, made: Draft, *keys: Ed25519PrivateKey) -> None:
        """A release of his own, signed with these keys."""
        for path, data in made.files.items():
            digest = sha256_hex(data)
            place = self.folder / "targets" / ENVIRONMENT / str(made.number) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            (place.parent / f"{digest}.{place.name}").write_bytes(data)
        role = Metadata[Targets].from_bytes(made.metadata)
        role.signatures.clear()
        for key in keys:
            role.sign(signer_of(key), append=True)
        self.sign([RoleFile(ENVIRONMENT, made.number, role.to_bytes())])

    def _write(self, file: RoleFile) -> None:
        name = "timestamp.json" if file.role == "timestamp" else f"{file.version}.{file.role}.json"
        (self.folder / "metadata" / name).write_bytes(file.content)
