"""The request around the token: what is taken from the ASGI scope, and the rules of key, type and body.

Rules:

* the certificate comes from the TLS connection only; no header is ever read for one (ATT-17);
* a header that stands twice counts as one value joined by ``", "``, which no rule then accepts;
* Idempotency-Key: 1 to 64 printable ASCII characters without spaces (``IDEMPOTENCY_KEY_INVALID``);
* Content-Type: one that the rail takes, parameters aside (``CONTENT_TYPE_UNSUPPORTED``);
* a body (``BODY_EMPTY``). Its size is bounded by the acceptor while it reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from contracts.errors import Refused
from sidecar.attestation.limits import IDEMPOTENCY_KEY_MAX
from sidecar.attestation.values import Presented

CONTENT_TYPES = frozenset({"application/xml", "text/xml"})
"""What the ISO 20022 rail takes."""

_IDEMPOTENCY_KEY = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_MAX}}}")


def presented_of(scope: Mapping[str, Any], body: bytes, *, correlation_id: str) -> Presented:
    """What an ASGI request presents; the peer certificate as ``contracts.tls.PeerProtocol`` left it."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in (b"authorization", b"idempotency-key", b"content-type"):
            text = value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if name in found else text
    return Presented(
        certificate_der=scope.get("extensions", {}).get("tls.peer_der"),
        authorization=found.get(b"authorization"),
        idempotency_key=found.get(b"idempotency-key"),
        content_type=found.get(b"content-type"),
        body=body,
        body_sha256=hashlib.sha256(body).hexdigest(),
        correlation_id=correlation_id,
    )


def valid_idempotency_key(value: str | None) -> str | None:
    """The key when it is one, else ``None``."""
    return value if value is not None and _IDEMPOTENCY_KEY.fullmatch(value) else None


def check_request(presented: Presented, content_types: frozenset[str]) -> None:
    """Raise ``Refused`` with one of the codes above."""
    if valid_idempotency_key(presented.idempotency_key) is None:
        raise Refused("IDEMPOTENCY_KEY_INVALID")
    media_type = (presented.content_type or "").partition(";")[0].strip().lower()
    if media_type not in content_types:
        raise Refused("CONTENT_TYPE_UNSUPPORTED", f"not one of {', '.join(sorted(content_types))}")
    if not presented.body:
        raise Refused("BODY_EMPTY")
