"""A private Sigstore: an authority for short-lived certificates, a CT log's key and a Rekor's, by hand and offline."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
OIDC_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
IDENTITY, ISSUER = "ci@bank.example", "https://issuer.example"
ORIGIN = "rekor.example"


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class PrivateSigstore:
    """Its keys; ``bundle`` signs as a keyless signer, a CT log and a Rekor would together."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    rekor_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private fulcio"),
                          x509.NameAttribute(NameOID.ORGANIZATION_NAME, "bank.example")])  # fmt: skip
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.ca_key.public_key())
        self.ca = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.ca_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1)).not_valid_after(self.now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True).add_extension(identifier, critical=False)
            .sign(self.ca_key, hashes.SHA256())
        )  # fmt: skip

    def trusted_root(self, path: Path) -> Path:
        """``trusted_root.json`` as an officer pins it."""
        valid = {"start": (self.now - timedelta(days=1)).isoformat().replace("+00:00", "Z")}
        authority = {
            "subject": {"organization": "bank.example", "commonName": "private fulcio"}, "uri": "https://fulcio.example",
            "certChain": {"certificates": [{"rawBytes": _b64(self.ca.public_bytes(serialization.Encoding.DER))}]},
            "validFor": valid,
        }  # fmt: skip
        path.write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "certificateAuthorities": [authority],
            "tlogs": [_log(self.rekor_key, valid)], "ctlogs": [_log(self.ct_key, valid)],
        }))  # fmt: skip
        return path

    def bundle(self, data: bytes, *, identity: str = IDENTITY, issuer: str = ISSUER) -> bytes:
        """A bundle over ``data``, by a certificate for ``identity`` that ``issuer`` vouched for."""
        key = _key()
        certificate = self._certificate(key, identity, issuer)
        signature, digest = _sign(key, data), hashlib.sha256(data).digest()
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = json.dumps({
            "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
                "signature": {"content": _b64(signature), "publicKey": {"content": _b64(pem)}},
            },
        }).encode()  # fmt: skip
        return json.dumps({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(certificate.public_bytes(serialization.Encoding.DER))},
                "tlogEntries": [self._entry(body)],
            },
            "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": _b64(digest)}, "signature": _b64(signature)},
        }).encode()  # fmt: skip

    def _certificate(self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str) -> x509.Certificate:
        """Signed twice: for the log without its SCT, then with it."""
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.ca.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(minutes=5)).not_valid_after(self.now + timedelta(minutes=5))
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(OIDC_ISSUER, issuer.encode()), critical=False)
        )  # fmt: skip
        tbs = builder.sign(self.ca_key, hashes.SHA256()).tbs_certificate_bytes
        listed = x509.UnrecognizedExtension(SCT_LIST, self._sct(tbs))
        return builder.add_extension(listed, critical=False).sign(self.ca_key, hashes.SHA256())

    def _sct(self, tbs: bytes) -> bytes:
        """RFC 6962, 3.2 and 3.3: a list of one, in its octet string."""
        moment = struct.pack("!Q", int(self.now.timestamp() * 1000))
        entry = _log_id(self.ca_key) + struct.pack("!I", len(tbs))[1:] + tbs
        signature = _sign(self.ct_key, b"\x00\x00" + moment + b"\x00\x01" + entry + b"\x00\x00")
        sct = b"\x00" + _log_id(self.ct_key) + moment + b"\x00\x00" + b"\x04\x03" + struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        assert len(listed) < 0x80, "a short length in one byte"
        return b"\x04" + bytes([len(listed)]) + listed

    def _entry(self, body: bytes) -> dict[str, Any]:
        """The only leaf of a log, with its proof, checkpoint and promise."""
        root = hashlib.sha256(b"\x00" + body).digest()
        log_id, moment = _log_id(self.rekor_key), int(self.now.timestamp())
        note = f"{ORIGIN}\n1\n{_b64(root)}\n"
        signed = _b64(log_id[:4] + _sign(self.rekor_key, note.encode()))
        promised = json.dumps(
            {"body": _b64(body), "integratedTime": moment, "logID": log_id.hex(), "logIndex": 0}, separators=(",", ":"), sort_keys=True
        )
        return {
            "logIndex": "0", "logId": {"keyId": _b64(log_id)}, "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
            "integratedTime": str(moment), "canonicalizedBody": _b64(body),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_sign(self.rekor_key, promised.encode()))},
            "inclusionProof": {
                "logIndex": "0", "rootHash": _b64(root), "treeSize": "1", "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 {ORIGIN} {signed}\n"},
            },
        }  # fmt: skip


def _log(key: ec.EllipticCurvePrivateKey, valid: dict[str, str]) -> dict[str, Any]:
    public = {"rawBytes": _b64(_spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}
    return {
        "baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": _b64(_log_id(key))},
    }  # fmt: skip


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
