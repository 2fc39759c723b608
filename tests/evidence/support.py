"""A real control plane over mTLS on 127.0.0.1, with a real TUF repository, and sidecars that seal evidence."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, TargetFile, Targets

from contracts import evidence, keys
from contracts.canonical import canonical_bytes
from contracts.times import rfc3339
from contracts.tls import client_context, server_context, uvicorn_config
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.evidence import own
from controlplane.store import Database
from controlplane.trust import services as trust_services
from controlplane.trust import swap
from controlplane.trust.signing import RoleFile
from symphony.evidence_export import export, lines_to_parts
from symphony.release.ceremony import Ceremony
from symphony.stack import certificates

ORIGIN = "log.test/sandbox"
ENVIRONMENT = "sandbox"
WASM = b"\x00asm"
POLICY = hashlib.sha256(WASM).hexdigest()


def key_entry(name: str, key: Ed25519PrivateKey) -> dict[str, str]:
    return {"key_id": keys.key_id_of(key), "public_key": keys.public_hex(key), "sidecar": name}


@dataclass
class Sidecar:
    """One stream's writer and shipper, in memory. ``leaves`` and ``batches`` are what was sealed so far."""

    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    epoch: int = 1
    records: list[bytes] = field(default_factory=list)
    sealed: int = 0
    previous: str | None = None

    def add(self, kind: str, **fields: Any) -> bytes:
        data = evidence.record(
            kind, environment=ENVIRONMENT, service=self.name, stream=self.name, seq=len(self.records) + 1,
            recorded_at=datetime.now(UTC), **fields,
        )  # fmt: skip
        self.records.append(data)
        return data

    def plain(self, count: int) -> None:
        for _ in range(count):
            self.add("shipping", count=1)

    def seal(self) -> dict[str, Any]:
        """The body of ``POST /v1/evidence/batches`` for what is not sealed yet."""
        chosen = self.records[self.sealed :]
        sealed = evidence.seal(
            self.key, keys.key_id_of(self.key), environment=ENVIRONMENT, stream=self.name, epoch=self.epoch,
            first_seq=self.sealed + 1, leaves=[evidence.leaf(item) for item in chosen],
            previous_batch_sha256=self.previous, sealed_at=datetime.now(UTC),
        )  # fmt: skip
        self.sealed, self.previous = len(self.records), evidence.batch_sha256(sealed.body)
        return {**sealed.envelope(), "records": [base64.b64encode(item).decode() for item in chosen]}

    def heartbeat(self, last_seq: int | None = None) -> dict[str, str]:
        sealed = evidence.heartbeat(
            self.key, keys.key_id_of(self.key), environment=ENVIRONMENT, stream=self.name, epoch=self.epoch,
            last_seq=len(self.records) if last_seq is None else last_seq, sent_at=datetime.now(UTC),
        )  # fmt: skip
        return sealed.envelope("heartbeat")

    def payment(self, instruction_id: str, *, outcome: str | None = "DISPATCHED", amount: int = 100) -> None:
        """An accepted payment: its attestation, its DISPATCHING attempt and, unless ``None``, its outcome."""
        self.attest(instruction_id, amount=amount)
        for number, state in enumerate(["DISPATCHING"] + ([outcome] if outcome else [])):
            self.add(
                "attempt", outbox_id=instruction_id, attempt_no=number + 1, state=state, epoch=1, release_number=1,
                policy_digest=POLICY, rail="book", rail_reference=None, error_code=None,
            )  # fmt: skip

    def attest(self, instruction_id: str, *, reason: str | None = None, amount: int = 100) -> None:
        decision = "REFUSED" if reason else "ALLOW"
        instruction = {
            "instruction_id": instruction_id, "tx_index": 0, "decision": decision, "reason_code": reason,
            "sequence_id": 1, "amount_minor": amount, "currency": "ZMW", "instructing_agent": "AAAAZMLUXXX",
            "instructed_agent": "BBBBZMLUXXX",
        }  # fmt: skip
        self.add(
            "attestation", decision="REJECT" if reason else "ACCEPT", attestation_id=f"a-{instruction_id}",
            participant_id="zanaco", reason_code=reason, release_number=1, policy_digest=POLICY,
            instructions=[instruction],
        )  # fmt: skip


@dataclass
class Plane:
    """A running control plane and a client that an enrolled officer holds."""

    client: httpx.Client
    ceremony: Ceremony
    database: Any
    folder: Path
    log_key: Ed25519PrivateKey

    def send(self, body: dict[str, Any]) -> httpx.Response:
        return self.client.post("/v1/evidence/batches", json=body)

    def beat(self, body: dict[str, Any]) -> httpx.Response:
        return self.client.post("/v1/evidence/heartbeats", json=body)

    def checkpoint(self, *, size: int, timeout_s: float = 5.0) -> str:
        """The newest note once it covers ``size`` leaves."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            answer = self.client.get("/log/checkpoint")
            if answer.status_code == 200 and int(answer.text.split("\n")[1]) >= size:
                return answer.text
            time.sleep(0.05)
        raise AssertionError(f"no checkpoint of {size} leaves in {timeout_s} s")

    def size(self) -> int:
        """Leaves of the log, once a checkpoint covers them."""
        with psycopg.connect(self.database.admin) as connection:
            row = connection.execute("SELECT size FROM symphony.log_head").fetchone()
        assert row is not None
        self.checkpoint(size=int(row[0]))
        return int(row[0])

    def publish(self, number: int, entries: list[dict[str, str]], *, log_keys: list[Ed25519PrivateKey]) -> None:
        """Publish release ``number`` as the officers would, its environment data with these evidence keys."""
        data = {
            "schema": "symphony.environment/1", "environment": ENVIRONMENT, "evidence_keys": entries,
            "log_keys": [{"origin": ORIGIN, "public_key": keys.public_hex(key)} for key in log_keys],
        }  # fmt: skip
        asyncio.run(_publish(self, number, canonical_bytes(data)))


async def log_withdrawal(plane: Plane) -> None:
    """Log an event of release 1 as the control plane does."""
    context = _context(plane.database, plane.ceremony)
    async with context.pool.transaction() as connection:
        await own.log_event(
            context, connection, "WITHDRAWN", environment=ENVIRONMENT, number=1, action="withdraw",
            actor_key_id="ab" * 32, envelope_sha256="cd" * 32,
        )  # fmt: skip
    await context.pool.close()


def export_packet(
    plane: Plane, out: Path, *, postings: list[dict[str, Any]] | None = None, **period: str
) -> Path:
    """An evidence packet, as ``symphony evidence export`` makes it."""
    read_at = None if postings is None else datetime.now(UTC)
    with plane.client.stream("GET", "/v1/exports/evidence", params={"settle_s": 1, **period}) as answer:
        assert answer.status_code == 200, answer.read()
        parts = lines_to_parts(answer.iter_lines())
        return export(parts, out, postings=postings, ledger_read_at=read_at)


def posting(instruction_id: str, **changes: Any) -> dict[str, Any]:
    """What the ledger says of a posting that ``Sidecar.payment`` recorded."""
    return {
        "instruction_id": instruction_id, "amount_minor": 100, "currency": "ZMW", "debit_agent": "AAAAZMLUXXX",
        "credit_agent": "BBBBZMLUXXX", "posted_at": "2026-11-24T10:00:00.000000Z",
    } | changes  # fmt: skip


def verify(packet: Path, *more: str) -> tuple[int, str]:
    """Run the packet's own verifier, isolated: nothing of ours is on its path."""
    done = subprocess.run(
        [sys.executable, "-I", str(packet / "verify.py"), str(packet), *more], capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def story(plane: Plane, sidecar: Sidecar) -> list[dict[str, Any]]:
    """A day of payments over several batches; the ledger's postings."""
    for number in range(3):
        sidecar.payment(f"i-{number}")
        sidecar.attest(f"r-{number}", reason="CAP_PAYMENT" if number else "DUPLICATE_TRANSACTION")
        assert plane.send(sidecar.seal()).status_code == 200
    sidecar.payment("i-failed", outcome="FAILED")
    sidecar.payment("i-parked", outcome="PENDING_MANUAL")
    sidecar.payment("i-pending", outcome=None)
    sidecar.add("startup", reason="restart")
    plane.send(sidecar.seal())
    plane.beat(sidecar.heartbeat())
    return [posting(f"i-{number}") for number in range(3)]


@contextmanager
def own_plane(postgres: Any, folder: Path) -> Iterator[tuple[Plane, Sidecar]]:
    """A control plane of its own, its log empty but for the TUF roles, with one sidecar, ``rail``."""
    with running(postgres.new_database("controlplane"), folder) as plane:
        sidecar = Sidecar("rail")
        plane.publish(1, [key_entry(sidecar.name, sidecar.key)], log_keys=[plane.log_key])
        yield plane, sidecar


async def _publish(plane: Plane, number: int, environment_data: bytes) -> None:
    context = _context(plane.database, plane.ceremony)
    try:
        await _publish_in(context, plane, number, environment_data)
    finally:
        await context.pool.close()


async def _publish_in(context: Context, plane: Plane, number: int, environment_data: bytes) -> None:
    files = {
        "environment.json": environment_data,
        "policy.wasm": WASM,
        "release.json": b"{}",
        "gate.json": b"{}",
        "invariants.json": b"{}",
    }
    ceremony, now = plane.ceremony, datetime.now(UTC)
    role = _role(ceremony, number, files)
    paths, digests = list(files), [hashlib.sha256(content).hexdigest() for content in files.values()]
    proposer = keys.key_id_of(ceremony.officer("alice"))
    async with context.pool.transaction() as connection:
        newest = await trust_services.newest_files(connection)
        if "targets" not in newest:
            trust = ceremony.sign_trust(now)
    if "targets" not in newest:
        await swap.publish_trust(context, swap.Change([trust["1.root.json"]], trust["targets.json"]))
    async with context.pool.transaction() as connection:
        newest = await trust_services.newest_files(connection)
        digest = hashlib.sha256(role).hexdigest()
        await connection.execute(
            "SELECT symphony.record_proposal(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (ENVIRONMENT, number, POLICY, digest, role, proposer, "alice", "test", b"{}", paths, digests,
             list(files.values())),
        )  # fmt: skip
        await connection.execute(
            "SELECT symphony.record_approval(%s, %s, %s, %s, %s, %s, true)",
            (ENVIRONMENT, number, keys.key_id_of(ceremony.officer("bruno")), "00" * 64, "bruno", b"{}"),
        )
        changed = trust_services.publication(context, newest, [RoleFile(ENVIRONMENT, number, role)])
        await connection.execute(
            "SELECT symphony.activate_release(%s, %s, %s, %s, %s, %s, %s, %s)",
            (ENVIRONMENT, number, "alice", proposer, b"{}", *trust_services.columns(changed)),
        )
    await trust_services.log_published(context, changed)


def _role(ceremony: Ceremony, number: int, files: dict[str, bytes]) -> bytes:
    now = datetime.now(UTC)
    targets = {
        f"{ENVIRONMENT}/{number}/{path}": TargetFile.from_data(f"{ENVIRONMENT}/{number}/{path}", content, ["sha256"])
        for path, content in files.items()
    }
    field_ = {
        "environment": ENVIRONMENT, "number": number, "not_before": rfc3339(now),
        "activate_before": rfc3339(now + timedelta(days=1)),
        "proposer_key_id": keys.key_id_of(ceremony.officer("alice")),
    }  # fmt: skip
    signed = Targets(
        version=number, expires=(now + timedelta(days=30)).replace(microsecond=0), targets=targets,
        unrecognized_fields={"x-symphony": field_},
    )  # fmt: skip
    metadata: Metadata[Any] = Metadata(signed)
    for name in ("alice", "bruno", "chanda"):
        metadata.sign(keys.signer_of(ceremony.officer(name)), append=True)
    return metadata.to_bytes()


def _context(database: Any, ceremony: Ceremony) -> Context:
    context = Context(
        pool=Database(database.writer),
        environment=ENVIRONMENT,
        snapshot_key=ceremony.online("snapshot"),
        timestamp_key=ceremony.online("timestamp"),
        log_key=ceremony.online("log"),
        log_origin=ORIGIN,
    )
    context.log_release_metadata = partial(own.log_release_metadata, context)
    return context


@contextmanager
def running(database: Any, folder: Path) -> Iterator[Plane]:
    """A control plane over mTLS; gone with the block."""
    ceremony = Ceremony(folder / "stack")
    ceremony.make_keys()
    now = datetime.now(UTC)
    ca = certificates.make_ca("test authority", now=now)
    (folder / "ca.pem").write_text(ca.pem)
    server_pair, client_pair = certificates.server_credential(ca, "cp", now=now), certificates.officer_credential(
        ca, ENVIRONMENT, "alice", now=now
    )
    server_pair.write(folder / "server.pem", folder / "server-key.pem")
    client_pair.write(folder / "client.pem", folder / "client-key.pem")
    context = _context(database, ceremony)
    tls = server_context(folder / "server.pem", folder / "server-key.pem", folder / "ca.pem")
    config = uvicorn_config(create_app(context), host="127.0.0.1", port=0, context=tls, lifespan="on", loop="asyncio")
    asyncio.run(_enrol(database, ceremony, client_pair.sha256))
    with _serving(uvicorn.Server(config)) as port:
        verify = client_context(folder / "client.pem", folder / "client-key.pem", folder / "ca.pem")
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=verify, timeout=30) as client:
            yield Plane(client, ceremony, database, folder, ceremony.online("log"))


async def _enrol(database: Any, ceremony: Ceremony, fingerprint: str) -> None:
    pool = Database(database.writer)
    await pool.fetch(
        "SELECT symphony.enrol_principal(%s, 'officer', 'alice', %s)", fingerprint,
        keys.key_id_of(ceremony.officer("alice")),
    )  # fmt: skip
    await pool.close()


@contextmanager
def _serving(server: uvicorn.Server) -> Iterator[int]:
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the control plane ended"
        assert time.monotonic() < end, "the control plane did not start in time"
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)


def decoded(body: dict[str, Any]) -> dict[str, Any]:
    """The signed claims inside a batch body."""
    claims = json.loads(base64.b64decode(body["batch"]))
    assert isinstance(claims, dict)
    return claims
