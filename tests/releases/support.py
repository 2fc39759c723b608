"""A whole small world for release tests: custodians, officers, a control plane over real TLS, services that follow it."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata

from contracts.canonical import canonical_bytes
from contracts.keys import signer_of
from contracts.release import FileRecord, FolderSource, HttpsSource, ReleaseFollower, ReleaseSource
from contracts.tls import client_context, server_context, uvicorn_config
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.identity import enrol_file
from controlplane.store import Database
from symphony.release import ceremony, propose
from symphony.release.approve import approve
from symphony.release.client import ControlPlane, Officer
from symphony.release.gate import sign_gate
from symphony.release.promote import promote
from symphony.release.propose import Draft, draft
from symphony.release.review import review
from symphony.release.revoke import publish_revocations, publish_trust
from symphony.stack import credentials

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


@dataclass
class Running:
    """A control plane that runs, with everybody's certificates."""

    world: World
    url: str
    ca: Path
    context: Context
    logged: list[tuple[str, int, str]]

    def control(self, name: str) -> ControlPlane:
        """The API as a person with a certificate: an officer, ``esnart``, ``custodian-1``."""
        return ControlPlane.for_folder(self.url, _folder_of(self.world, name), self.ca)

    def service_context(self, name: str = SERVICE) -> Any:
        """The TLS context of a service."""
        folder = self.world.folder / "services" / name
        return client_context(folder / "client.pem", folder / "client-key.pem", self.ca)

    def source(self) -> HttpsSource:
        """The source that a service uses."""
        return HttpsSource(f"{self.url}/tuf", self.service_context())

    def release(self, *, cap_minor: int = 1_000_000, proposer: str = "alice", **changes: Any) -> Draft:
        """Propose, approve twice, promote."""
        made = self.proposed(cap_minor=cap_minor, proposer=proposer, **changes)
        self.approved(made.number, *[n for n in ("bruno", "chanda", "alice") if n != proposer][:2])
        promote(self.control(proposer), self.world.officer(proposer), ENVIRONMENT, made.number)
        return made

    def proposed(self, *, cap_minor: int = 1_000_000, proposer: str = "alice", **changes: Any) -> Draft:
        """A proposal."""
        files = changes.pop("files", None) or self.world.files(cap_minor=cap_minor)
        arguments: dict[str, Any] = {
            "environment": ENVIRONMENT, "reason": "a test", "change_ticket": "CHG-1", "root": self.world.root,
            "now": self.world.clock.now(),
        }  # fmt: skip
        return propose.propose(
            self.control(proposer),
            self.world.officer(proposer),
            files,
            self.world.gate(files),
            **{**arguments, **changes},
        )

    def approved(self, number: int, *names: str) -> list[str]:
        """Reviews and approvals; the status after each."""
        out = []
        for name in names:
            control = self.control(name)
            reviewed = review(control, ENVIRONMENT, number, root=self.world.root, now=self.world.clock.now())
            out.append(approve(control, self.world.officer(name), reviewed))
        return out


def _folder_of(world: World, name: str) -> Path:
    kinds = {"esnart": "security", **dict.fromkeys(ceremony.CUSTODIANS, "custodians")}
    return world.folder / kinds.get(name, "officers") / name


@contextmanager
def control_plane(world: World, database_url: str) -> Iterator[Running]:
    """A control plane in a thread of its own, over real TLS, with trust and revocations published."""
    ca = credentials.make_ca("test", now=world.clock.now())
    ca_path = world.folder / "ca.pem"
    ca_path.write_text(ca.pem)
    fingerprints = {name: _certificate(world, ca, _folder_of(world, name)) for name in (
        *ceremony.OFFICERS, ceremony.SECURITY_OFFICER, ceremony.CUSTODIANS[0],
    )}  # fmt: skip
    services = {name: _certificate(world, ca, world.folder / "services" / name) for name in (SERVICE, "core-ledger")}
    principals = world.folder / "principals.json"
    principals.write_text(json.dumps(world.ceremony.principals(fingerprints, services)))
    server = credentials.server_credential(ca, "controlplane", now=world.clock.now())
    server.write(world.folder / "server.pem", world.folder / "server-key.pem")
    tls = server_context(world.folder / "server.pem", world.folder / "server-key.pem", ca_path)
    logged: list[tuple[str, int, str]] = []
    thread = _Server(world, database_url, tls, principals, logged)
    with thread as (url, context):
        running = Running(world, url, ca_path, context, logged)
        publish_trust(running.control("custodian-1"), [world.root], world.trust["targets.json"])
        publish_revocations(running.control("esnart"), ENVIRONMENT, world.trust["sandbox-revocations.json"])
        yield running


def _certificate(world: World, ca: credentials.Credential, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    made = credentials.officer_credential(ca, ENVIRONMENT, folder.name, now=world.clock.now())
    if not (folder / "client.pem").exists():
        made.write(folder / "client.pem", folder / "client-key.pem")
    return made.sha256


class _Server:
    """uvicorn in a thread."""

    def __init__(
        self, world: World, database_url: str, tls: Any, principals: Path, logged: list[tuple[str, int, str]]
    ) -> None:
        self._arguments = (world, database_url, tls, principals, logged)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> tuple[str, Context]:
        self._thread.start()
        assert self._started.wait(30), "the control plane did not start"
        if self._error is not None:
            raise self._error
        return self._url, self._context

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._started.set()

    async def _serve(self) -> None:
        world, database_url, tls, principals, logged = self._arguments
        keys = world.ceremony

        self._context = Context(
            pool=Database(database_url),
            environment=ENVIRONMENT,
            snapshot_key=keys.online("snapshot"),
            timestamp_key=keys.online("timestamp"),
            log_key=keys.online("log"),
            log_origin="test",
            clock=world.clock,
        )
        await enrol_file(self._context, principals)
        app = create_app(self._context)
        _listen_in(self._context, logged)
        self._server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0, context=tls, lifespan="on"))
        task = asyncio.create_task(self._server._serve())
        while not self._server.started and not task.done():
            await asyncio.sleep(0.01)
        if self._server.started:
            self._url = f"https://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
            self._started.set()
        await task


def _listen_in(context: Context, logged: list[tuple[str, int, str]]) -> None:
    """Hear what the evidence log is told."""
    inner = context.log_release_metadata

    async def log(role: str, version: int, sha256: str) -> None:
        logged.append((role, version, sha256))
        if inner is not None:
            await inner(role, version, sha256)

    context.log_release_metadata = log
