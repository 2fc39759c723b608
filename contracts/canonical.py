"""Canonical JSON (RFC 8785) and the digests over it. Floats are refused: money is an integer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785

from contracts.errors import Refused


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises ``Refused`` for what has no canonical form here."""
    try:
        return bytes(rfc8785.dumps(value))
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise Refused("REQUEST_INVALID", f"no canonical form: {error}") from error


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 (hex) over the canonical bytes of a JSON value."""
    return sha256_hex(canonical_bytes(value))


def length_prefixed(*parts: str) -> bytes:
    """Unambiguous concatenation: each part as UTF-8 behind its length in 8 bytes, big-endian."""
    out = bytearray()
    for part in parts:
        raw = part.encode("utf-8")
        out += len(raw).to_bytes(8, "big") + raw
    return bytes(out)


def parse_json(data: bytes | str, *, bytes_max: int = 4 * 1024 * 1024) -> Any:
    """Strict JSON: bounded, no duplicate keys, no floats with a fraction lost, no NaN."""
    if len(data) > bytes_max:
        raise Refused("REQUEST_INVALID", f"JSON over {bytes_max} bytes")
    try:
        return json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("REQUEST_INVALID", f"not JSON: {error}") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"duplicate key {key!r}")
        out[key] = value
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
