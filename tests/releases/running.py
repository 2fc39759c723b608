"""A control plane that runs: in a thread of its own, over real TLS and a real PostgreSQL, with all certificates."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import uvicorn
from tuf.api.metadata import Metadata

from contracts.keys import signer_of
from contracts.release import HttpsSource
from contracts.tls import client_context, server_context, uvicorn_config
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.identity import enrol_file
from controlplane.store import Database
from symphony.release import ceremony
from symphony.release.approve import approve
from symphony.release.client import ControlPlane
from symphony.release.promote import promote
from symphony.release.propose import Draft, propose
from symphony.release.review import review
from symphony.release.revoke import publish_revocations, publish_trust
from symphony.stack import credentials
from tests.releases.support import ENVIRONMENT, SERVICE, World
from tests.support.database import Database as TestDatabase


@dataclass
class Running:
    """A control plane that runs, with everybody's certificates."""

    world: World
    url: str
    ca: Path
    context: Context
    logged: list[tuple[str, int, str]]
    loop: asyncio.AbstractEventLoop
    database: TestDatabase | None = None
    sources: list[HttpsSource] = field(default_factory=list)

    def control(self, name: str) -> ControlPlane:
        """The API as a person with a certificate: an officer, ``esnart``, ``custodian-1``."""
        return ControlPlane.for_folder(self.url, _folder_of(self.world, name), self.ca)

    def service_context(self, name: str = SERVICE) -> Any:
        """The TLS context of a service."""
        folder = self.world.folder / "services" / name
        return client_context(folder / "client.pem", folder / "client-key.pem", self.ca)

    def source(self) -> HttpsSource:
        """The source that a service uses; closed before the server ends, which else waits for a peer that keeps still."""
        self.sources.append(HttpsSource(f"{self.url}/tuf", self.service_context()))
        return self.sources[-1]

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
        return propose(
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


    def signed(self, made: Draft, *names: str) -> None:
        """Approvals as the client sends them, without its review: for tests of what comes after."""
        for name in names or ("bruno", "chanda"):
            officer = self.world.officer(name)
            signature = signer_of(officer.key).sign(Metadata.from_bytes(made.metadata).signed_bytes).signature
            envelope = officer.ask("approve", ENVIRONMENT, made.number, made.digest, signature=signature)
            self.control(name).post(f"/v1/releases/{ENVIRONMENT}/{made.number}/approvals", {"envelope": envelope})

    def promoted(self, made: Draft, name: str = "alice") -> str:
        """The promotion of an approved release."""
        return promote(self.control(name), self.world.officer(name), ENVIRONMENT, made.number)

    def rows(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """What the shared control plane's database says, as its reader."""
        assert self.database is not None
        with psycopg.connect(self.database.reader) as connection:
            connection.execute("SET ROLE symphony_control_reader")
            return connection.execute(statement, values).fetchall()


def _folder_of(world: World, name: str) -> Path:
    kinds = {"esnart": "security", **dict.fromkeys(ceremony.CUSTODIANS, "custodians")}
    return world.folder / kinds.get(name, "officers") / name


def enrol(world: World) -> Path:
    """Certificates for everybody, and ``principals.json``, ``server.pem``, ``server-key.pem`` beside them; the authority's file."""
    ca = credentials.make_ca("test", now=world.clock.now())
    ca_path = world.folder / "ca.pem"
    ca_path.write_text(ca.pem)
    fingerprints = {name: _certificate(world, ca, _folder_of(world, name)) for name in (
        *ceremony.OFFICERS, ceremony.SECURITY_OFFICER, ceremony.CUSTODIANS[0],
    )}  # fmt: skip
    services = {name: _certificate(world, ca, world.folder / "services" / name) for name in (SERVICE, "core-ledger")}
    (world.folder / "principals.json").write_text(json.dumps(world.ceremony.principals(fingerprints, services)))
    server = credentials.server_credential(ca, "controlplane", now=world.clock.now())
    server.write(world.folder / "server.pem", world.folder / "server-key.pem")
    return ca_path


def publish_first(running: Running) -> None:
    """The custodians' word and the first revocation list."""
    world = running.world
    publish_trust(running.control("custodian-1"), [world.root], world.trust["targets.json"])
    publish_revocations(running.control("esnart"), ENVIRONMENT, world.trust["sandbox-revocations.json"])


@contextmanager
def control_plane(world: World, database_url: str) -> Iterator[Running]:
    """A control plane in a thread of its own, over real TLS, with trust and revocations published."""
    ca_path = enrol(world)
    tls = server_context(world.folder / "server.pem", world.folder / "server-key.pem", ca_path)
    logged: list[tuple[str, int, str]] = []
    thread = _Server(world, database_url, tls, world.folder / "principals.json", logged)
    with thread as (url, context):
        running = Running(world, url, ca_path, context, logged, thread.loop)
        publish_first(running)
        try:
            yield running
        finally:
            for source in running.sources:
                source.close()


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
        self.loop = asyncio.get_running_loop()
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
