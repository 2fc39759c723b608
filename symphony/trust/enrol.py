"""A new officer's way into the control plane: his client certificate beside his key; on a local stack both are made."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from contracts.errors import Misused
from contracts.keys import load_private_key, new_private_key, public_hex
from symphony.stack.credentials import load_credential, officer_credential
from symphony.stack.layout import ENVIRONMENT, Layout
from symphony.trust.plan import tuf_key

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


def local_officer(layout: Layout, name: str, now: datetime) -> tuple[str, Path]:
    """Key and certificate of an officer in ``DIR/officers/<name>``, kept where they are there: public key, certificate."""
    if not _NAME.fullmatch(name):
        raise Misused("CONFIGURATION", f"{name!r} is no name: lower case letters, digits and hyphens")
    folder = layout.folder / "officers" / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, certificate = folder / "key.pem", folder / "client.pem"
    if not key.exists():
        new_private_key(key)
    if not certificate.exists():
        ca = load_credential(layout.ca, layout.ca.with_name("processes-key.pem"))
        officer_credential(ca, ENVIRONMENT, name, now=now).write(certificate, folder / "client-key.pem")
    return public_hex(load_private_key(key)), certificate


def certificate_of(path: Path) -> str:
    """The SHA-256 (hex) of a certificate file. Raises ``Misused CONFIGURATION``."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Misused("CONFIGURATION", f"{path}: no readable certificate: {error}") from error
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def principal(kind: str, name: str, public: str, certificate_sha256: str) -> dict[str, Any]:
    """An entry of the control plane's list of who may ask."""
    return {"sha256": certificate_sha256, "kind": kind, "name": name, "key_id": tuf_key(public).keyid}
