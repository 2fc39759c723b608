"""A ledger under test: hand-made releases, a sidecar that issues permits, a clock to move, real TLS sockets."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import ssl
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts import permit
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import CannotEvaluate
from contracts.keys import key_id_of, public_hex
from contracts.release.model import VerifiedRelease
from contracts.tls import client_context
from services.ledger.config import Config, ReleaseSource
from services.ledger.server import Ledger

AGENTS = ("ZAMBZMLUXXX", "BARCZMLXXXX", "SBICZMLXXXX")
POLICY = "c" * 64
LEAF = "d" * 64


class MovingClock:
    """The real time, shifted at will."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)


@dataclass
class Sidecar:
    """Builds postings and permits, as the writer does."""

    clock: MovingClock
    name: str = "zm-rail"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.key_id = key_id_of(self.key)

    @property
    def listed(self) -> dict[str, str]:
        return {"key_id": self.key_id, "public_key": public_hex(self.key), "sidecar": self.name}

    def permit(self, body: bytes, **changes) -> bytes:
        return permit.issue(self.key, [self.claims(body, **changes)])[0]

    def claims(self, body: bytes, **changes) -> dict:
        document = json.loads(body)
        now = int(self.clock.now().timestamp())
        return {
            "version": 1, "environment": "sandbox", "sidecar": self.name, "key_id": self.key_id,
            "instruction_id": document.get("instruction_id"), "attempt": 1, "epoch": 1,
            "purpose": document.get("purpose"), "request_sha256": sha256_hex(body), "release_number": 1,
            "policy_digest": POLICY, "attestation_leaf_hash": LEAF, "audience": "core-ledger", "iat": now,
            "exp": now + 30, **changes,
        }  # fmt: skip


def posting(instruction_id: str | None = None, **changes) -> bytes:
    """The body of a post."""
    return canonical_bytes({
        "schema": "symphony.posting/1", "instruction_id": instruction_id or str(uuid4()), "purpose": "post",
        "kind": "transfer", "rail": "iso20022", "amount_minor": 1250, "currency": "ZMW", "debit_agent": AGENTS[0],
        "credit_agent": AGENTS[1], "settlement_date": "2026-11-24", **changes,
    })  # fmt: skip


def sealing(instruction_id: str) -> bytes:
    """The body of a seal."""
    return canonical_bytes({"schema": "symphony.posting/1", "instruction_id": instruction_id, "purpose": "seal"})


def release(sidecars, number: int = 1, clock: MovingClock | None = None, **changes) -> VerifiedRelease:
    """A release as ``contracts.release`` would have verified it."""
    now = (clock or MovingClock()).now()
    data = {
        "schema": "symphony.environment/1", "environment": "sandbox", "agents": list(AGENTS),
        "wildcards": {"agents": False, "currencies": False, "settlement_methods": False, "dates": False},
        "currencies": {"ZMW": {"exponent": 2, "money": True}, "XAU": {"exponent": 0, "money": False}},
        "permit_keys": [sidecar.listed for sidecar in sidecars], **changes.pop("data", {}),
    }  # fmt: skip
    fields = {
        "environment": "sandbox", "number": number, "metadata_digest": f"{number:064x}", "policy_digest": POLICY,
        "expires_at": now + timedelta(days=1), "fetched_at": now, "lease_expires_at": now + timedelta(days=1),
        "environment_data": data,
        "manifest": {"schema": "symphony.service/1", "service": "core-ledger", "kind": "ledger",
                     "audience": "core-ledger", "clock_skew_s": 2},
        "policy_wasm": b"", "policy_bundle": b"", "invariants": {}, "schemas": {}, "proposal": {},
        "approver_key_ids": (), "revocations": [], "revocations_version": 1,
    }  # fmt: skip
    return VerifiedRelease(**(fields | changes))


class HandFollower:
    """A follower whose repository is an attribute."""

    def __init__(self, held: VerifiedRelease | None = None) -> None:
        self.active: VerifiedRelease | None = None
        self.held = held
        self.published: VerifiedRelease | None = None
        self.error: Exception | None = None
        self.refreshed = 0
        self.refused: tuple[int, str] | None = None
        self.seen, self.delivered = 0, None
        self.emergency_policy: str | None = None

    def start(self) -> VerifiedRelease | None:
        self.active = self.held
        return self.active

    def refresh(self) -> VerifiedRelease | None:
        self.refreshed += 1
        if self.error is not None:
            raise self.error
        if self.published is None or self.published is self.active:
            return None
        self.active = self.published
        return self.active


class Certificates:
    """A throw-away authority of server and clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ledger test authority")])
        self.ca = folder / "ca.pem"
        authority = self._builder(self.name, self.key, 1, x509.BasicConstraints(ca=True, path_length=0))
        self.ca.write_bytes(authority.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, usage: x509.ObjectIdentifier, days: float = 1) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, days, x509.ExtendedKeyUsage([usage])).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        private.chmod(0o600)  # I-KEY-01
        return certificate, private

    def _builder(self, subject, key, days, *extensions):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=days))
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder

    def client(self, name: str, days: float = 1) -> ssl.SSLContext:
        return client_context(*self.issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, days), self.ca)


class Client:
    """One keep-alive mTLS connection."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)

    def request(self, method: str, path: str, body: bytes | None = None, headers=()) -> tuple[int, dict]:
        self._connection.putrequest(method, path)
        for name, value in dict(headers).items() if isinstance(headers, dict) else headers:
            self._connection.putheader(name, value)
        if body is not None:
            self._connection.putheader("content-length", str(len(body)))
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        self.headers = dict(answer.getheaders())
        return answer.status, json.loads(answer.read())

    def post(self, body: bytes, permit_bytes: bytes | None, headers=()) -> tuple[int, dict]:
        extra = list(headers)
        if permit_bytes is not None:
            extra.append(("Symphony-Permit", urlsafe_b64encode(permit_bytes).rstrip(b"=").decode()))
        return self.request("POST", "/v1/postings", body, extra)

    def close(self) -> None:
        self._connection.close()


class Running:
    """A ledger in a thread of its own, on a free port."""

    def __init__(self, database_url: str, certificates: Certificates, follower, clock, **changes) -> None:
        server = certificates.issue("ledger-server", ExtendedKeyUsageOID.SERVER_AUTH)
        nowhere = ReleaseSource("https://127.0.0.1:1", certificates.ca, *server, certificates.ca, certificates.ca)
        self.settings = Config(**({
            "host": "127.0.0.1", "port": 0, "certificate": server[0], "key": server[1], "ca": certificates.ca,
            "database_url": database_url, "environment": "sandbox", "release": nowhere, "release_poll_ms": 50,
        } | changes))  # fmt: skip
        self._make = lambda: Ledger(self.settings, follower=follower, clock=clock)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self):
        self._thread.start()
        if not self._ready.wait(20):
            raise CannotEvaluate("CONFIGURATION", "the ledger did not start")
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self.ledger.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        async def serve() -> None:
            self._loop, self.ledger = asyncio.get_running_loop(), self._make()
            await self.ledger.serve(self._listening)

        asyncio.run(serve())

    def _listening(self, port: int) -> None:
        self.port = port
        self._ready.set()
