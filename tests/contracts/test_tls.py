"""contracts/tls.py over real sockets: the peer certificate is seen, and who has none is refused (SEC-06)."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts import tls

NOW = datetime.datetime.now(datetime.UTC)


class Authority:
    """A throw-away certificate authority that writes PEM files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.ca = folder / "ca.pem"
        certificate = self._builder(self.name, self.key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca.write_bytes(certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(minutes=5))
            .not_valid_after(NOW + datetime.timedelta(days=1))
        )

    def issue(self, name: str, usage: x509.ObjectIdentifier) -> tuple[Path, Path]:
        """The certificate and key files of a new leaf."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        signed = builder.sign(self.key, hashes.SHA256())
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


async def _app(scope: Any, _receive: Any, send: Any) -> None:
    peer = tls.peer_of(scope)
    body = json.dumps({"sha256": peer.sha256 if peer else None}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def _get(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 9.9.9.9\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def _serving(authority: Authority) -> tuple[uvicorn.Server, asyncio.Task[None], int]:
    certificate, key = authority.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
    context = tls.server_context(certificate, key, authority.ca)
    server = uvicorn.Server(tls.uvicorn_config(_app, host="127.0.0.1", port=0, context=context, lifespan="off"))
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    return server, task, server.servers[0].sockets[0].getsockname()[1]


async def _with_server(authority: Authority, contexts: list[ssl.SSLContext]) -> list[bytes | Exception]:
    server, task, port = await _serving(authority)
    answers: list[bytes | Exception] = []
    for context in contexts:
        try:
            answers.append(await _get(port, context))
        except (ssl.SSLError, OSError) as error:
            answers.append(error)
    server.should_exit = True
    await task
    return answers


def test_a_route_sees_the_certificate_that_the_connection_was_made_with(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client", ExtendedKeyUsageOID.CLIENT_AUTH)
    context = tls.client_context(certificate, key, authority.ca)
    (answer,) = asyncio.run(_with_server(authority, [context]))
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    assert isinstance(answer, bytes)
    assert tls.peer_from_der(der).sha256.encode() in answer


def test_no_certificate_a_strangers_and_a_servers_are_refused_in_the_handshake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    bare = ssl.create_default_context(cafile=str(authority.ca))
    contexts = [bare]
    for who, usage in ((stranger, ExtendedKeyUsageOID.CLIENT_AUTH), (authority, ExtendedKeyUsageOID.SERVER_AUTH)):
        contexts.append(tls.client_context(*who.issue("bad", usage), authority.ca))
    answers = asyncio.run(_with_server(authority, contexts))
    assert all(isinstance(answer, Exception) or answer == b"" for answer in answers), answers
    assert sum("a TLS handshake was refused" in line for line in caplog.messages) == len(contexts)


def test_tls_1_2_is_not_spoken_and_no_ticket_is_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = tls.server_context(*authority.issue("server", ExtendedKeyUsageOID.SERVER_AUTH), authority.ca)
    assert server.minimum_version is ssl.TLSVersion.TLSv1_3
    assert server.num_tickets == 0


def test_a_certificate_is_current_only_inside_its_validity(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, _ = authority.issue("client", ExtendedKeyUsageOID.CLIENT_AUTH)
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    peer = tls.peer_from_der(der)
    assert peer.is_current(NOW)
    assert not peer.is_current(NOW + datetime.timedelta(days=2))
    assert not peer.is_current(NOW - datetime.timedelta(days=1))
