"""The acceptor's TLS over real sockets: who gets through the handshake, and what a held connection is worth."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.errors import CannotEvaluate
from contracts.tls import uvicorn_config
from sidecar.attestation import (
    Attestor,
    HandshakeRefusal,
    Rejected,
    RevocationView,
    acceptor_context,
    presented_of,
)
from symphony.stack import credentials as dev
from tests.attestation.support import AUDIENCE, BODY, CLIENT, ISSUER, KID, environment_data, issuer_key, manifest

START = datetime.now(UTC).replace(microsecond=0)
USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


class Acceptor:
    """A small acceptor: every request is attested, the clock and the revocations are the test's."""

    def __init__(self, folder: Path, loop: str) -> None:
        self.ca = dev.make_ca("Sandbox CA", now=START)
        self.folder, self.loop = folder, loop
        dev.server_credential(self.ca, "acceptor", now=START).write(folder / "server.pem", folder / "server-key.pem")
        self.clock = lambda: datetime.now(UTC)
        self.revoked: list[dict[str, Any]] = []
        self.refusals: list[HandshakeRefusal] = []
        self.connections: list[Connection] = []
        self.context = acceptor_context(
            folder / "server.pem", folder / "server-key.pem", [self.ca.pem], on_refused=self.refusals.append
        )
        self.trust([self.ca])

    def trust(self, authorities: list[dev.Credential]) -> None:
        """Take a release with these authorities."""
        pems = [authority.pem for authority in authorities]
        self.context.reload(pems)
        data = {**environment_data(), "certificate_authorities": pems}
        self.attestor = Attestor(data, manifest(), environment="sandbox")

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """The raw ASGI function: 200 with the participant, or 401 with the code."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        now = self.clock()
        view = RevocationView.of(self.revoked, now)
        answer = self.attestor.attest(presented_of(scope, body, correlation_id="c"), revocations=view, now=now)
        said = answer.code if isinstance(answer, Rejected) else answer.participant_id
        status = 401 if isinstance(answer, Rejected) else 200
        payload = json.dumps(said).encode()
        headers = [(b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def start(self) -> None:
        """Serve on a free port, in a thread of its own."""
        config = uvicorn_config(
            self.app, host="127.0.0.1", port=0, context=self.context, loop=self.loop, lifespan="off", interface="asgi3"
        )
        self.server = uvicorn.Server(config)
        started = threading.Event()

        async def serve() -> None:
            task = asyncio.ensure_future(self.server.serve())
            while not self.server.started and not task.done():
                await asyncio.sleep(0.005)
            started.set()
            await task

        factory = config.get_loop_factory()

        def run() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(serve())

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert started.wait(10)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close what the test opened; end the server and its thread."""
        for connection in self.connections:
            connection.http.close()
        self.server.should_exit = True
        self.thread.join(10)

    # -- the client's side --

    def participant(self, **changes: Any) -> dev.Credential:
        """A client certificate of the participant, in time unless changed."""
        times = {"not_before": START - timedelta(minutes=5), "not_after": START + timedelta(hours=1), **changes}
        return dev.issue(self.ca, "zanaco", (), USAGE, **times)

    def client_context(self, credential: dev.Credential | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.pem)
        if credential is not None:
            stem = self.folder / credential.sha256
            if not stem.with_suffix(".pem").exists():
                credential.write(stem.with_suffix(".pem"), stem.with_suffix(".key"))
            context.load_cert_chain(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        return context

    def connect(self, credential: dev.Credential | None, context: ssl.SSLContext | None = None) -> Connection:
        """One more connection; it is closed when the test ends."""
        self.connections.append(Connection(self, credential, context or self.client_context(credential)))
        return self.connections[-1]


class Connection:
    """One keep-alive connection of a participant."""

    def __init__(self, acceptor: Acceptor, credential: dev.Credential | None, context: ssl.SSLContext) -> None:
        self.acceptor, self.credential = acceptor, credential
        self.http = http.client.HTTPSConnection("localhost", acceptor.port, context=context, timeout=5)
        self.sockets: set[int] = set()

    def post(self, **headers: str) -> tuple[int, str]:
        """Status and code, or participant."""
        x5t = self.credential.x5t_s256 if self.credential else "none"
        text = dev.issue_token(issuer_key(), KID, ISSUER, AUDIENCE, CLIENT, x5t, self.acceptor.clock())
        self.http.request("POST", "/v1/instructions", BODY, {
            "Authorization": f"Bearer {text}", "Idempotency-Key": "k", "Content-Type": "application/xml", **headers,
        })  # fmt: skip
        answer = self.http.getresponse()
        self.sockets.add(id(self.http.sock))
        return answer.status, json.loads(answer.read())


@pytest.fixture(params=["asyncio", "uvloop"])
def acceptor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Acceptor]:
    running = Acceptor(tmp_path, request.param)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_a_participant_is_taken_and_a_missing_certificate_has_a_code(acceptor: Acceptor):
    """Not a TLS error: the refusal can be recorded and says what to do."""
    good, bare = acceptor.connect(acceptor.participant()), acceptor.connect(None)
    assert good.post() == (200, "zanaco")
    assert bare.post() == (401, "CERTIFICATE_MISSING")
    assert acceptor.refusals == []


def test_a_revocation_reaches_a_held_connection_at_its_next_request(acceptor: Acceptor):
    """NEG-19: the handshake was long ago."""
    held = acceptor.connect(acceptor.participant())
    assert held.post() == (200, "zanaco")
    entry = {"kind": "certificate", "id": held.credential.sha256, "reason": "x", "revoked_at": "", "until": None}
    acceptor.revoked = [entry]
    assert held.post() == (401, "CERTIFICATE_REVOKED")
    acceptor.revoked = []
    assert held.post() == (200, "zanaco")
    assert len(held.sockets) == 1


def test_a_certificate_that_ends_does_not_outlive_itself_on_a_held_connection(acceptor: Acceptor):
    held = acceptor.connect(acceptor.participant())
    assert held.post() == (200, "zanaco")
    acceptor.clock = lambda: START + timedelta(hours=1, seconds=1)
    assert held.post() == (401, "CERTIFICATE_EXPIRED")
    assert len(held.sockets) == 1


def test_a_new_list_of_authorities_reaches_held_and_new_connections(acceptor: Acceptor):
    """A live context cannot forget an authority; the context that hands out connections can."""
    credential = acceptor.participant()
    held = acceptor.connect(credential)
    assert held.post() == (200, "zanaco")
    acceptor.trust([dev.make_ca("Next CA", now=START)])
    assert held.post() == (401, "CERTIFICATE_UNTRUSTED")
    refused_by_tls(acceptor, credential, "CERTIFICATE_UNTRUSTED")
    acceptor.trust([acceptor.ca])
    assert acceptor.connect(credential).post() == (200, "zanaco")


def refused_by_tls(acceptor: Acceptor, credential: dev.Credential, code: str) -> None:
    """The handshake fails, and leaves one refusal with the code."""
    acceptor.refusals.clear()
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        acceptor.connect(credential).post()
    assert [refusal.code for refusal in acceptor.refusals] == [code]


def test_a_certificate_of_another_authority_is_refused_and_reported(acceptor: Acceptor):
    other = dev.make_ca("Sandbox CA", now=START)
    refused_by_tls(acceptor, dev.participant_credential(other, "sandbox", "zanaco", now=START), "CERTIFICATE_UNTRUSTED")


def test_an_expired_certificate_is_refused_and_reported(acceptor: Acceptor):
    refused_by_tls(acceptor, acceptor.participant(not_after=START - timedelta(minutes=1)), "CERTIFICATE_EXPIRED")


def test_a_server_certificate_is_no_client(acceptor: Acceptor):
    credential = dev.server_credential(acceptor.ca, "server", now=START)
    refused_by_tls(acceptor, credential, "CERTIFICATE_UNTRUSTED")


def test_an_old_protocol_version_is_refused_and_reported(acceptor: Acceptor):
    credential = acceptor.participant()
    context = acceptor.client_context(credential)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        acceptor.connect(credential, context).post()
    assert [refusal.code for refusal in acceptor.refusals] == [None]


def test_no_session_is_ever_resumed(acceptor: Acceptor):
    """A resumed session would bypass a revocation that the handshake checks."""
    context = acceptor.client_context(acceptor.participant())
    held = acceptor.connect(acceptor.participant(), context)
    held.post()
    session = held.http.sock.session
    assert session is None or not session.has_ticket
    import socket

    with socket.create_connection(("127.0.0.1", acceptor.port)) as raw:
        again = context.wrap_socket(raw, server_hostname="localhost", session=session)
        assert not again.session_reused
        with suppress(OSError):
            again.close()


def test_a_certificate_in_a_header_is_ignored(acceptor: Acceptor):
    """ATT-17, over the wire: no certificate in the handshake, one in every header that proxies use."""
    credential = acceptor.participant()
    bare = acceptor.connect(None)
    bare.credential = credential
    pem = credential.pem.replace("\n", "%0A")
    names = ("X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Client-Cert", "X-Client-Cert", "X-ARR-ClientCert")
    assert bare.post(**dict.fromkeys(names, pem)) == (401, "CERTIFICATE_MISSING")


def test_files_that_cannot_be_used_are_a_refusal_to_start(tmp_path: Path):
    with pytest.raises(CannotEvaluate) as error:
        acceptor_context(tmp_path / "no.pem", tmp_path / "no.key", [], on_refused=print)
    assert error.value.code == "CONFIGURATION"


def test_a_failed_reload_keeps_the_context_before(tmp_path: Path):
    running = Acceptor(tmp_path, "asyncio")
    before = running.context._current
    with pytest.raises(CannotEvaluate):
        running.context.reload(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    assert running.context._current is before
