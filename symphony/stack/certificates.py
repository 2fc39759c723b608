"""Development certificates: authority, servers, processes, participants, officers (design section 12, local stacks).

P-256 everywhere, made on this machine, files 0600, never overwritten. A process's name is
``spiffe://symphony/<environment>/process/<name>``, a participant's ``…/participant/<id>``, an officer's
``…/officer/<name>``. Outside development certificates come from the operator's own PKI.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
CERTIFICATE_DAYS = 365
BACKDATED = timedelta(minutes=5)
"""Certificates begin this much earlier, so that a clock a little behind takes them at once."""

_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @property
    def der(self) -> bytes:
        """The certificate as DER: what the TLS peer shows."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def sha256(self) -> str:
        """The fingerprint (hex) that a revocation names."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def x5t_s256(self) -> str:
        """The thumbprint that a token's ``cnf`` names (RFC 8705)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.der).digest()).rstrip(b"=").decode("ascii")

    def write(self, certificate: Path, key: Path) -> None:
        """Write both files, 0600. ``FileExistsError`` rather than overwrite."""
        write_private(key, key_pem(self.key))
        write_private(certificate, self.pem.encode("ascii"))


def write_private(path: Path, data: bytes) -> None:
    """Write a new file, 0600. ``FileExistsError`` when it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key, for TLS, the build key and the token issuer."""
    return ec.generate_private_key(ec.SECP256R1())


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from PEM. ``TypeError`` for another kind."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not a P-256 key")
    return key


def load_credential(certificate: Path, key: Path) -> Credential:
    """A certificate and its key from their files."""
    return Credential(x509.load_pem_x509_certificate(certificate.read_bytes()), load_key(key))


def make_ca(name: str, *, now: datetime, days: int = CA_DAYS) -> Credential:
    """A self-signed authority that signs leaves only (path length 0)."""
    key = new_key()
    builder = _builder(name, name, key.public_key(), now - BACKDATED, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return Credential(builder.sign(key, hashes.SHA256()), key)


def server_credential(ca: Credential, name: str, *, now: datetime, days: int = CERTIFICATE_DAYS) -> Credential:
    """A server's certificate for ``localhost`` and 127.0.0.1."""
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
    ]
    return issue(ca, name, names, _SERVER, not_before=now - BACKDATED, not_after=now + timedelta(days=days))


def process_credential(
    ca: Credential, environment: str, name: str, *, now: datetime, days: int = CERTIFICATE_DAYS
) -> Credential:
    """A client certificate of one of our processes."""
    return _client(ca, f"spiffe://symphony/{environment}/process/{name}", name, now, days)


def participant_credential(
    ca: Credential, environment: str, participant_id: str, *, now: datetime, days: int = CERTIFICATE_DAYS
) -> Credential:
    """A participant's client certificate."""
    return _client(ca, f"spiffe://symphony/{environment}/participant/{participant_id}", participant_id, now, days)


def officer_credential(
    ca: Credential, environment: str, name: str, *, now: datetime, days: int = CERTIFICATE_DAYS
) -> Credential:
    """An officer's client certificate, by which the control plane knows him."""
    return _client(ca, f"spiffe://symphony/{environment}/officer/{name}", name, now, days)


def issue(
    ca: Credential,
    common_name: str,
    names: Sequence[x509.GeneralName],
    usage: x509.ExtendedKeyUsage | None,
    *,
    not_before: datetime,
    not_after: datetime,
) -> Credential:
    """Any leaf of the authority; tests make wrong ones with it."""
    key = new_key()
    issuer = ca.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(str(issuer), common_name, key.public_key(), not_before, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(usage, critical=False)
    return Credential(builder.sign(ca.key, hashes.SHA256()), key)


def _client(ca: Credential, uri: str, name: str, now: datetime, days: int) -> Credential:
    names = [x509.UniformResourceIdentifier(uri)]
    return issue(ca, name, names, _CLIENT, not_before=now - BACKDATED, not_after=now + timedelta(days=days))


def _builder(
    issuer: str, subject: str, public: ec.EllipticCurvePublicKey, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
