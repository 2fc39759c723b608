"""Development credentials: private files, the right names and usages, tokens and key sets that fit the release."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.schemas import schema
from contracts.tls import client_context, server_context
from symphony.stack import credentials as dev

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def ca() -> dev.Credential:
    return dev.make_ca("Sandbox CA", now=NOW)


def names(credential: dev.Credential) -> list[str]:
    extension = credential.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def usages(credential: dev.Credential) -> list[x509.ObjectIdentifier]:
    return list(credential.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_files_are_private_and_never_overwritten(tmp_path: Path, ca: dev.Credential):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    ca.write(certificate, key)
    assert certificate.stat().st_mode & 0o777 == key.stat().st_mode & 0o777 == 0o600
    again = dev.load_credential(certificate, key)
    assert (again.der, dev.key_pem(again.key)) == (ca.der, dev.key_pem(ca.key))
    with pytest.raises(FileExistsError):
        ca.write(certificate, key)


def test_names_and_usages(ca: dev.Credential):
    server = dev.server_credential(ca, "ledger", now=NOW)
    assert names(server) == ["localhost", "127.0.0.1"]
    assert usages(server) == [ExtendedKeyUsageOID.SERVER_AUTH]
    made = {
        "process/adapter": dev.process_credential(ca, "sandbox", "adapter", now=NOW),
        "participant/zanaco": dev.participant_credential(ca, "sandbox", "zanaco", now=NOW),
        "officer/a": dev.officer_credential(ca, "sandbox", "a", now=NOW),
    }
    for name, credential in made.items():
        assert names(credential) == [f"spiffe://symphony/sandbox/{name}"]
        assert usages(credential) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        credential.certificate.verify_directly_issued_by(ca.certificate)


async def handshake(folder: Path, host: str) -> str:
    """The client name that a server of ours saw."""
    seen: list[bytes] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        seen.append(tls.getpeercert(binary_form=True))
        writer.write(b"x")
        await writer.drain()
        writer.close()

    files = {name: folder / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")}
    accepting = server_context(files["server"], files["server-key"], files["ca"])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=accepting)
    port = server.sockets[0].getsockname()[1]
    calling: ssl.SSLContext = client_context(files["client"], files["client-key"], files["ca"])
    reader, writer = await asyncio.open_connection(host, port, ssl=calling)
    assert await reader.read(1) == b"x"
    writer.close()
    server.close()
    await server.wait_closed()
    certificate = x509.load_der_x509_certificate(seen[0])
    return certificate.subject.rfc4514_string()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_they_make_a_handshake_by_name_and_by_address(tmp_path: Path, ca: dev.Credential, host: str):
    (tmp_path / "ca.pem").write_text(ca.pem)
    dev.server_credential(ca, "ledger", now=NOW).write(tmp_path / "server.pem", tmp_path / "server-key.pem")
    client = dev.process_credential(ca, "sandbox", "adapter", now=NOW)
    client.write(tmp_path / "client.pem", tmp_path / "client-key.pem")
    assert asyncio.run(handshake(tmp_path, host)) == "CN=adapter"


def test_an_issuer_fits_the_environment_schema_and_has_no_private_half():
    import jsonschema

    entry = dev.issuer_entry("https://issuer.example", {"k1": dev.new_key(), "k2": dev.new_key()})
    jsonschema.validate([entry], schema("symphony.environment/1")["properties"]["issuers"])
    assert [key["kid"] for key in entry["jwks"]["keys"]] == ["k1", "k2"]
    assert all("d" not in key for key in entry["jwks"]["keys"])


def test_tokens_are_fresh_and_carry_what_was_asked():
    import jwt as pyjwt

    key = dev.new_key()
    first, second = (dev.issue_token(key, "k", "i", "a", "s", "x5t", datetime.now(UTC), 60) for _ in range(2))
    claims = pyjwt.decode(first, key.public_key(), algorithms=["ES256"], audience="a")
    assert claims["exp"] - claims["iat"] == timedelta(minutes=1).total_seconds()
    assert claims["cnf"] == {"x5t#S256": "x5t"}
    assert pyjwt.decode(second, key.public_key(), algorithms=["ES256"], audience="a")["jti"] != claims["jti"]
    assert pyjwt.get_unverified_header(first) == {"alg": "ES256", "kid": "k", "typ": "at+jwt"}
