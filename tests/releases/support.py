"""A small world for release tests: custodians, officers, a control plane over real TLS, services that follow it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.keys import signer_of
from contracts.release import FileRecord, FolderSource, ReleaseFollower, ReleaseSource
from symphony.release import ceremony, propose
from symphony.release.client import Officer
from symphony.release.gate import sign_gate
from symphony.release.propose import Draft, draft

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "sandbox"
SERVICE = "reference-rail"
HEX = "ab" * 32
XSD = b'<?xml version="1.0"?><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>'


class MovableClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def now(self) -> datetime:
        """The host's time, moved."""
        return datetime.now(UTC) + self.moved


def environment_data(cap_minor: int = 1_000_000) -> dict[str, Any]:
    """Environment data that fits its schema; ``cap_minor`` tells releases apart."""
    caps = {"payment_minor_max": cap_minor, "daily_minor_max": 10_000_000, "daily_count_max": 1000}
    key = {"key_id": HEX, "public_key": HEX, "sidecar": SERVICE}
    participant = {
        "id": "kafue-bank", "name": "Kafue", "status": "active", "agents": ["KFUBZMLUXXX"],
        "clients": ["kafue"], "message_types": ["pacs.008"],
    }  # fmt: skip
    return {
        "schema": "symphony.environment/1",
        "environment": ENVIRONMENT,
        "wildcards": {"agents": False, "currencies": False, "settlement_methods": False, "dates": False},
        "participants": [participant],
        "agents": ["KFUBZMLUXXX"],
        "currencies": {"ZMW": {"exponent": 2, "money": True}},
        "caps": {"ZMW": caps},
        "permitted": {
            "participants": ["kafue-bank"], "agents": ["KFUBZMLUXXX"], "currencies": ["ZMW"],
            "settlement_methods": ["CLRG"], "settlement_days_ahead_max": 5, "hours": {"enforced": False},
        },
        "issuers": [],
        "certificate_authorities": [],
        "permit_keys": [key],
        "evidence_keys": [key],
        "log_keys": [],
        "calendars": {},
    }  # fmt: skip


@cache
def _manifests() -> dict[str, dict[str, Any]]:
    files = (ROOT / "manifests").glob("*.json")
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def manifests() -> dict[str, dict[str, Any]]:
    """The repo's own manifests, to be changed at will."""
    return copy.deepcopy(_manifests())


@dataclass
class World:
    """Keys and clock; ``draft`` makes releases, ``signed`` their role files."""

    folder: Path
    clock: MovableClock = field(default_factory=MovableClock)

    def __post_init__(self) -> None:
        self.ceremony = ceremony.Ceremony(self.folder)
        self.ceremony.make_keys()
        self.trust = self.ceremony.sign_trust(self.clock.now())

    @property
    def root(self) -> bytes:
        """The pinned root."""
        return self.trust["1.root.json"]

    def officer(self, name: str) -> Officer:
        """An officer by name."""
        return Officer.from_folder(self.folder / "officers" / name)

    def files(self, *, cap_minor: int = 1_000_000, **changes: Any) -> dict[str, bytes]:
        """The targets of a release but proposal and gate; ``changes`` replaces arguments of ``collect``."""
        arguments: dict[str, Any] = {
            "environment_data": environment_data(cap_minor),
            "manifests": manifests(),
            "invariants": {"schema": "symphony.invariants/1", "invariants": []},
            "schemas": {"iso20022/pacs.008.001.08": XSD},
            "build_key": self.ceremony.build,
        }
        return propose.collect(**{**arguments, **changes})

    def gate(self, files: dict[str, bytes], **changes: Any) -> bytes:
        """A gate result, by default a pass."""
        return sign_gate(changes.pop("key", self.ceremony.gate), files, **{"passed": ["INV-018"], **changes})

    def draft(self, number: int, files: dict[str, bytes] | None = None, **changes: Any) -> Draft:
        """Release ``number``, proposed by alice."""
        files = files or self.files()
        arguments: dict[str, Any] = {
            "environment": ENVIRONMENT, "number": number, "reason": "a test", "change_ticket": "CHG-1",
            "now": self.clock.now(),
        }  # fmt: skip
        gate = changes.pop("gate", None) or self.gate(files)
        officer = changes.pop("officer", None) or self.officer("alice")
        return draft(officer, files, gate, **{**arguments, **changes})

    def signed(self, made: Draft, *names: str) -> bytes:
        """The role file of a draft, signed by officers."""
        keys = [self.ceremony.officer(name) for name in names or ("bruno", "chanda")]
        return sign_file(made.metadata, *keys)


def sign_file(metadata: bytes, *keys: Ed25519PrivateKey) -> bytes:
    """A role file with these signatures and no other."""
    role: Metadata[Any] = Metadata.from_bytes(metadata)
    role.signatures.clear()
    for key in keys:
        role.sign(signer_of(key), append=True)
    return role.to_bytes()


def changed(metadata: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A role file whose signed part was changed; to be signed again."""
    value = json.loads(metadata)
    change(value["signed"])
    return canonical_bytes(value)


class Mirror:
    """A TUF repository in a folder, written with the online keys by whoever holds them: the tests' hostile operator."""

    def __init__(self, world: World, folder: Path) -> None:
        from controlplane.trust.signing import RoleFile, next_snapshot, next_timestamp

        self._file, self._snapshot, self._timestamp = RoleFile, next_snapshot, next_timestamp
        self.world, self.folder = world, folder
        self.newest: dict[str, Any] = {}
        (folder / "metadata").mkdir(parents=True)
        (folder / "metadata" / "1.root.json").write_bytes(world.root)
        self.put("targets", 1, world.trust["targets.json"])
        self.put("sandbox-revocations", 1, world.trust["sandbox-revocations.json"])

    @property
    def source(self) -> ReleaseSource:
        """The mirror as a source."""
        return FolderSource(self.folder)

    def put(self, role: str, version: int, content: bytes, *, lifetime: timedelta = timedelta(hours=1)) -> None:
        """Publish a role version with a fresh snapshot and timestamp."""
        keys, expires = self.world.ceremony, self.world.clock.now() + lifetime
        changed_file = self._file(role, version, content)
        snapshot = self._snapshot(self.newest, [changed_file], keys.online("snapshot"), expires)
        timestamp = self._timestamp(self.newest.get("timestamp"), snapshot, keys.online("timestamp"), expires)
        for file in (changed_file, snapshot, timestamp):
            self.newest[file.role] = file
            name = "timestamp.json" if file.role == "timestamp" else f"{file.version}.{file.role}.json"
            (self.folder / "metadata" / name).write_bytes(file.content)

    def put_release(self, made: Draft, content: bytes | None = None) -> None:
        """Publish a release with its targets."""
        content = content or self.world.signed(made)
        targets = json.loads(content)["signed"]["targets"]
        for path, data in made.files.items():
            digest = targets.get(f"{ENVIRONMENT}/{made.number}/{path}", {"hashes": {}})["hashes"].get("sha256", "none")
            place = self.folder / "targets" / ENVIRONMENT / str(made.number) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            (place.parent / f"{digest}.{place.name}").write_bytes(data)
        for name, data in made.build.items():
            place = self.folder / "targets" / ENVIRONMENT / str(made.number) / f"{sha256_hex(data)}.{name}"
            place.write_bytes(data)
        self.put(ENVIRONMENT, made.number, content)

    def follower(self, name: str = "follower", **changes: Any) -> ReleaseFollower:
        """A follower of this mirror with a folder and a record by name."""
        return follower(self.world, self.source, self.world.folder / name, **changes)


def follower(world: World, source: ReleaseSource, folder: Path, **changes: Any) -> ReleaseFollower:
    """A follower; ``changes`` replaces its arguments."""
    arguments: dict[str, Any] = {
        "environment": ENVIRONMENT, "service": SERVICE, "folder": folder, "root_bytes": world.root, "source": source,
        "record": FileRecord(folder / "accepted.json"), "clock": world.clock,
    }  # fmt: skip
    return ReleaseFollower(**{**arguments, **changes})
