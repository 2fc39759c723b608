"""DSSE envelopes in JSON (secure-systems-lab/dsse, protocol version 1), by Ed25519 keys and by the build key (P-256)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import parse_json
from contracts.errors import NotTrusted, Refused
from contracts.keys import key_id_of, pae, sign, verify

_FIELDS = {"payload", "payloadType", "signatures"}


def make_envelope(key: Ed25519PrivateKey, payload_type: str, payload: bytes) -> dict[str, Any]:
    """An envelope over ``payload`` by ``key``."""
    signature = bytes.fromhex(sign(key, payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key_id_of(key), "sig": base64.b64encode(signature).decode()}],
    }


def countersigned(envelope: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The same envelope with one more signature, by ``key``, after those that it has."""
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = make_envelope(key, envelope["payloadType"], payload)["signatures"]
    return {**envelope, "signatures": [*envelope["signatures"], signature]}


def split_envelope(envelope: Any, payload_type: str, code: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """``(payload, ((key id, signature in hex), …))`` of an envelope, shape only; no signature is checked here.

    Raises ``NotTrusted(code)`` unless it is an envelope of this payload type.
    """
    try:
        if not isinstance(envelope, dict) or set(envelope) != _FIELDS or envelope["payloadType"] != payload_type:
            raise NotTrusted(code, f"not an envelope of {payload_type}")
        payload = base64.b64decode(envelope["payload"], validate=True)
        return payload, tuple(map(_signature, envelope["signatures"]))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise NotTrusted(code, "not a DSSE envelope") from error


def _signature(entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"} or not isinstance(entry["keyid"], str):
        raise ValueError("a signature is keyid and sig")
    return entry["keyid"], base64.b64decode(entry["sig"], validate=True).hex()


def open_envelope(envelope: Any, payload_type: str, keys: Mapping[str, str], code: str) -> tuple[bytes, str]:
    """``(payload, key id)``; ``keys`` is key id to public key (hex).

    Raises ``NotTrusted(code)`` unless there is exactly one signature, by one of the keys, over this payload type.
    """
    try:
        if not isinstance(envelope, dict) or set(envelope) != _FIELDS or envelope["payloadType"] != payload_type:
            raise NotTrusted(code, f"not an envelope of {payload_type}")
        (signature,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        sig, key_id = base64.b64decode(signature["sig"], validate=True), signature["keyid"]
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise NotTrusted(code, "not a DSSE envelope with exactly one signature") from error
    if not isinstance(key_id, str) or key_id not in keys:
        raise NotTrusted(code, f"signed by a key that is not listed: {str(key_id)[:16]}…")
    verify(keys[key_id], payload_type, payload, sig.hex(), code=code)
    return payload, key_id


def open_envelope_bytes(data: bytes, payload_type: str, keys: Mapping[str, str], code: str) -> tuple[bytes, str]:
    """The same over the envelope's JSON bytes."""
    try:
        envelope = parse_json(data)
    except Refused as error:
        raise NotTrusted(code, error.detail) from error
    return open_envelope(envelope, payload_type, keys, code)


def make_build_envelope(key: ec.EllipticCurvePrivateKey, key_id: str, payload_type: str, payload: bytes) -> dict[str, Any]:
    """An envelope by the build key; RFC 6979, so that the same payload gives the same bytes."""
    signature = key.sign(pae(payload_type, payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }


def open_build_envelope(data: bytes, payload_type: str, key_id: str, public_key_pem: str, code: str) -> bytes:
    """The payload. Raises ``NotTrusted(code)`` unless there is exactly one signature, by the build key, over this payload type."""
    try:
        payload, signatures = split_envelope(parse_json(data), payload_type, code)
        public = serialization.load_pem_public_key(public_key_pem.encode())
    except (Refused, ValueError) as error:
        raise NotTrusted(code, f"no envelope: {error}") from error
    if len(signatures) != 1 or signatures[0][0] != key_id or not isinstance(public, ec.EllipticCurvePublicKey):
        raise NotTrusted(code, "not signed by exactly the build key that the custodians name")
    try:
        public.verify(bytes.fromhex(signatures[0][1]), pae(payload_type, payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise NotTrusted(code, "the build key's signature does not verify") from error
    return payload
