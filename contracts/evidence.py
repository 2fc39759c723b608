"""Evidence: records, their leaves, sealed batches and heartbeats (design section 9; EVD-01, EVD-08, EVD-09).

Rules:

* a record is canonical JSON (RFC 8785) whose head is schema, environment, service, stream, seq, recorded_at; its
  leaf is the RFC 6962 hash of exactly those bytes, which are stored and never rebuilt;
* a stream's numbers begin at 1 and have no gap; ``stream`` in a record is the stream it is numbered in;
* a batch binds environment, stream, epoch, range, the root of its leaves and the SHA-256 of the batch before it
  (64 zeros for the first), and is signed once: a retry sends the same bytes;
* a heartbeat signs a stream's highest number, so that a missing tail shows;
* a kind only gains versions; unknown kinds are taken; names that would carry payload or secrets are refused.

Not here: storage, the log and checkpoints (``controlplane.evidence``), the offline verifier (``symphony.packet``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import keys, merkle
from contracts.canonical import parse_json, sha256_hex
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import NotTrusted, Refused
from contracts.schemas import check, fast_validator
from contracts.times import rfc3339

RECORD_BYTES_MAX = 256 * 1024
"""One record: 512 instructions of about 480 bytes."""
BATCH_LEAVES_MAX = 2000
"""Records of one sealed batch; the manifest's ``batching.evidence.batch_size_max`` is within it."""
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Record bytes of one batch together; the shipper closes a batch before it would pass this."""
NO_PREVIOUS = "0" * 64
"""``previous_batch_sha256`` of a stream's first batch."""

_LONG_NUMBER = re.compile(rb"[:,\[]-?[0-9]{17}")
_SCHEMA = "symphony.evidence/1"
_BATCH_SCHEMA = "symphony.evidence_batch/1"
_HEARTBEAT_SCHEMA = "symphony.evidence_heartbeat/1"


class Sealed(NamedTuple):
    """What travels and is kept: the signed bytes and the signature over them (hex)."""

    body: bytes
    signature: str

    def envelope(self, name: str = "batch") -> dict[str, str]:
        """``{"batch": <base64>, "signature": <hex>}``; ``name`` is ``heartbeat`` for a heartbeat."""
        return {name: base64.b64encode(self.body).decode("ascii"), "signature": self.signature}


def record(
    kind: str, *, environment: str, service: str, stream: str, seq: int, recorded_at: str | datetime, **fields: Any
) -> bytes:
    """The bytes of a record of ``kind`` (``attestation``, ``attempt`` … version 1). The caller checks it in tests."""
    moment = rfc3339(recorded_at) if isinstance(recorded_at, datetime) else recorded_at
    head = {
        "schema": f"symphony.evidence/{kind}/1", "environment": environment, "service": service, "stream": stream,
        "seq": seq, "recorded_at": moment,
    }  # fmt: skip
    return fast_canonical_bytes({**fields, **head})


def leaf(record_bytes: bytes) -> bytes:
    """The RFC 6962 leaf hash (32 bytes) of a record's bytes."""
    return merkle.leaf_hash(record_bytes)


def kind_of(document: dict[str, Any]) -> str:
    """``attestation`` of ``symphony.evidence/attestation/1``."""
    return str(document["schema"]).split("/")[1]


def parse_record(data: bytes) -> dict[str, Any]:
    """A record from its bytes. Raises ``Refused REQUEST_INVALID`` unless canonical, bounded and within its schema."""
    if len(data) > RECORD_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"a record of more than {RECORD_BYTES_MAX} bytes")
    document = _parsed(data)
    if not fast_validator(_SCHEMA).is_valid(document):
        check(_SCHEMA, document, code="REQUEST_INVALID")
        raise Refused("REQUEST_INVALID", "the record does not fit its schema")
    if fast_canonical_bytes(document) != data:
        raise Refused("REQUEST_INVALID", "the record is not canonical JSON (RFC 8785)")
    return dict(document)


def _parsed(data: bytes) -> Any:
    """JSON, quickly: a member that stands twice is seen when the bytes are compared, an integer beyond 64 bits is not."""
    if _LONG_NUMBER.search(data):
        return parse_json(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Refused("REQUEST_INVALID", f"not JSON: {error}") from error


def seal(
    key: Ed25519PrivateKey, key_id: str, *, environment: str, stream: str, epoch: int, first_seq: int,
    leaves: Sequence[bytes], previous_batch_sha256: str | None, sealed_at: str | datetime,
) -> Sealed:  # fmt: skip
    """Sign a batch of consecutive leaf hashes. Keep the result before sending it: a retry sends the same bytes."""
    if not 1 <= len(leaves) <= BATCH_LEAVES_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_LEAVES_MAX} leaves")
    body = fast_canonical_bytes(
        {
            "schema": _BATCH_SCHEMA, "environment": environment, "stream": stream, "epoch": epoch,
            "first_seq": first_seq, "last_seq": first_seq + len(leaves) - 1, "leaf_count": len(leaves),
            "root": merkle.root(leaves).hex(), "previous_batch_sha256": previous_batch_sha256 or NO_PREVIOUS,
            "sealed_at": rfc3339(sealed_at) if isinstance(sealed_at, datetime) else sealed_at, "key_id": key_id,
        }
    )
    return Sealed(body, keys.sign(key, keys.BATCH_TYPE, body))


def batch_sha256(body: bytes) -> str:
    """What the next batch names as its previous one."""
    return sha256_hex(body)


def parse_batch(body: bytes) -> dict[str, Any]:
    """The claims of a batch, signature not yet checked. Raises ``Refused REQUEST_INVALID``."""
    claims = _parse(_BATCH_SCHEMA, body)
    if claims["last_seq"] - claims["first_seq"] + 1 != claims["leaf_count"]:
        raise Refused("REQUEST_INVALID", "the batch's range and leaf count differ")
    if (claims["first_seq"] == 1) != (claims["previous_batch_sha256"] == NO_PREVIOUS):
        raise Refused("REQUEST_INVALID", "exactly the batch that begins at 1 has no batch before it")
    return claims


def verify_batch(
    body: bytes, signature: str, *, public_key: str, leaves: Sequence[bytes] | None = None
) -> dict[str, Any]:
    """The claims of a batch whose signature, and root when ``leaves`` are given, hold; else ``NotTrusted``."""
    claims = parse_batch(body)
    keys.verify(public_key, keys.BATCH_TYPE, body, signature, code="BATCH_SIGNATURE")
    if leaves is not None and (len(leaves) != claims["leaf_count"] or merkle.root(leaves).hex() != claims["root"]):
        raise NotTrusted("BATCH_SIGNATURE", "the root over the records is not the signed root")
    return claims


def heartbeat(
    key: Ed25519PrivateKey, key_id: str, *, environment: str, stream: str, epoch: int, last_seq: int,
    sent_at: str | datetime,
) -> Sealed:  # fmt: skip
    """Sign a stream's highest number; 0 for a stream without a record."""
    moment = rfc3339(sent_at) if isinstance(sent_at, datetime) else sent_at
    body = fast_canonical_bytes(
        {
            "schema": _HEARTBEAT_SCHEMA, "environment": environment, "stream": stream, "epoch": epoch,
            "last_seq": last_seq, "sent_at": moment, "key_id": key_id,
        }
    )
    return Sealed(body, keys.sign(key, keys.HEARTBEAT_TYPE, body))


def parse_heartbeat(body: bytes) -> dict[str, Any]:
    """The claims of a heartbeat, signature not yet checked. Raises ``Refused REQUEST_INVALID``."""
    return _parse(_HEARTBEAT_SCHEMA, body)


def verify_heartbeat(body: bytes, signature: str, *, public_key: str) -> dict[str, Any]:
    """The claims of a heartbeat whose signature holds; else ``NotTrusted BATCH_SIGNATURE``."""
    claims = parse_heartbeat(body)
    keys.verify(public_key, keys.HEARTBEAT_TYPE, body, signature, code="BATCH_SIGNATURE")
    return claims


def _parse(schema_id: str, body: bytes) -> dict[str, Any]:
    claims = parse_json(body, bytes_max=4096)
    check(schema_id, claims, code="REQUEST_INVALID")
    if fast_canonical_bytes(claims) != body:
        raise Refused("REQUEST_INVALID", "not canonical JSON (RFC 8785)")
    return dict(claims)
