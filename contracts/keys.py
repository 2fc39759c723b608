"""Keys and signatures: Ed25519 through ``cryptography``, key ids and public forms through ``securesystemslib``.

A *public key* in a document is ``{"key_id": <TUF key id>, "public_key": <64 hex characters>}`` (Ed25519).
What is signed is always the DSSE pre-authentication encoding of a payload type and bytes, so that a
signature made for one purpose never verifies for another (DSSE protocol, secure-systems-lab/dsse).
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from contracts.errors import CannotEvaluate, NotTrusted

PERMIT_TYPE = "application/vnd.symphony.permit-root.v1"
BATCH_TYPE = "application/vnd.symphony.evidence-batch.v1"
HEARTBEAT_TYPE = "application/vnd.symphony.evidence-heartbeat.v1"
PROPOSAL_TYPE = "application/vnd.symphony.release-proposal.v1"
REQUEST_TYPE = "application/vnd.symphony.officer-request.v1"
INTOTO_TYPE = "application/vnd.in-toto+json"
REVOCATIONS_TYPE = "application/vnd.symphony.revocations.v1"
RESOLUTION_TYPE = "application/vnd.symphony.resolution.v1"
ORDER_TYPE = "application/vnd.symphony.order.v1"
ORDER_LIFT_TYPE = "application/vnd.symphony.order-lift.v1"
EMERGENCY_TYPE = "application/vnd.symphony.emergency-proposal.v1"
EMERGENCY_OPEN_TYPE = "application/vnd.symphony.emergency-open.v1"
EMERGENCY_CLOSE_TYPE = "application/vnd.symphony.emergency-close.v1"
EMERGENCY_REVIEW_TYPE = "application/vnd.symphony.emergency-review.v1"


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: what is signed."""
    return bytes(Envelope(payload, payload_type, {}).pae())


def new_private_key(path: Path) -> Ed25519PrivateKey:
    """Make a key and write it as PKCS#8 PEM, 0600; refuses to overwrite (``FileExistsError``)."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return key


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a PKCS#8 PEM Ed25519 key. Raises ``CannotEvaluate`` with the path when it is not one."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise CannotEvaluate("CONFIGURATION", f"no readable private key at {path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CannotEvaluate("CONFIGURATION", f"{path} is not an Ed25519 key")
    return key


def signer_of(key: Ed25519PrivateKey) -> CryptoSigner:
    """A ``securesystemslib`` signer (for TUF metadata) over the same key."""
    return CryptoSigner(key)


def public_hex(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The raw public half, 64 hex characters."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def key_id_of(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The TUF key id (SHA-256 of the canonical key), the same that role metadata uses."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return str(SSlibKey.from_crypto(public).keyid)


def sign(key: Ed25519PrivateKey, payload_type: str, payload: bytes) -> str:
    """Signature (hex) over the DSSE pre-authentication encoding."""
    return key.sign(pae(payload_type, payload)).hex()


def verify(public_key_hex: str, payload_type: str, payload: bytes, signature_hex: str, *, code: str) -> None:
    """Raise ``NotTrusted(code)`` unless the signature holds."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_hex))
        public.verify(bytes.fromhex(signature_hex), pae(payload_type, payload))
    except (InvalidSignature, ValueError) as error:
        raise NotTrusted(code, "the signature does not verify") from error
