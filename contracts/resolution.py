"""Resolutions: what two officers sign to close one parked payment (D8, OUT-12). Pure.

Rules:

* a resolution is a DSSE envelope of its own payload type over canonical JSON (``symphony.resolution/1``), at most
  ``ENVELOPE_BYTES_MAX`` bytes;
* exactly two signatures, by two different keys of the environment's officers; one of them is the maker that the payload
  names, which both have signed, so that the two cannot be exchanged (``RESOLUTION_TWO_OFFICERS``);
* a key that the custodians do not list now (removed, of the gate, a custodian's, a stranger's) is ``OFFICER_UNKNOWN``;
* one key under two ids counts once; a signature that does not hold is ``ENVELOPE_INVALID``;
* it speaks of one environment, service, stream, payment and parked row, and for ``LIFETIME_MAX`` at most.

Not here: whether the payment is parked so, what the rail says, writing (``sidecar.dispatch.resolution``).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import RESOLUTION_TYPE, key_id_of, verify
from contracts.release.envelope import make_envelope, split_envelope
from contracts.schemas import check
from contracts.times import parse_rfc3339, rfc3339

SCHEMA = "symphony.resolution/1"
ENVELOPE_BYTES_MAX = 16 * 1024
LIFETIME_MAX = timedelta(days=7)
LIFETIME = timedelta(hours=24)
CLOCKS_APART_MAX = timedelta(seconds=60)
DECISIONS = ("DISPATCHED", "FAILED")
_SIGNERS = 2


@dataclass(frozen=True, slots=True)
class Resolution:
    """A resolution that was read; nothing of it is trusted until ``verified``."""

    payload: bytes
    claims: Mapping[str, Any]
    signatures: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """Of the payload: what evidence names."""
        return sha256_hex(self.payload)

    @property
    def resolution_id(self) -> str:
        """The record's id: the same payload gives the same, so that a file handed over twice is one record."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:symphony:resolution:{self.sha256}"))


@dataclass(frozen=True, slots=True)
class Signers:
    """The two officers' key ids."""

    maker: str
    checker: str


def made(
    key: Ed25519PrivateKey, *, environment: str, service: str, stream: str, instruction_id: str, decision: str, reason: str,
    evidence_reference: str, reason_code: str, parked_at: str, now: datetime, lifetime: timedelta = LIFETIME,
) -> dict[str, Any]:  # fmt: skip
    """The maker's envelope. Raises ``Refused REQUEST_INVALID`` with the field at fault."""
    claims = {
        "schema": SCHEMA, "environment": environment, "service": service, "stream": stream, "instruction_id": instruction_id,
        "decision": decision, "reason": reason, "evidence_reference": evidence_reference, "reason_code": reason_code,
        "parked_at": parked_at, "maker_key_id": key_id_of(key), "made_at": rfc3339(now), "expires_at": rfc3339(now + lifetime),
    }  # fmt: skip
    check(SCHEMA, claims, code="REQUEST_INVALID")
    return make_envelope(key, RESOLUTION_TYPE, canonical_bytes(claims))


def read(data: bytes) -> Resolution:
    """An envelope from its JSON bytes, shape only. Raises ``NotTrusted ENVELOPE_INVALID`` or ``Refused REQUEST_INVALID``."""
    if len(data) > ENVELOPE_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"a resolution of more than {ENVELOPE_BYTES_MAX} bytes")
    try:
        envelope = parse_json(data, bytes_max=ENVELOPE_BYTES_MAX)
    except Refused as error:
        raise NotTrusted("ENVELOPE_INVALID", error.detail) from error
    payload, signatures = split_envelope(envelope, RESOLUTION_TYPE, "ENVELOPE_INVALID")
    claims = parse_json(payload)
    check(SCHEMA, claims, code="REQUEST_INVALID")
    if canonical_bytes(claims) != payload:
        raise Refused("REQUEST_INVALID", "the resolution is not canonical JSON (RFC 8785)")
    return Resolution(payload, claims, signatures)


def verified(resolution: Resolution, officers: Mapping[str, str]) -> Signers:
    """The two officers who signed. Raises ``NotTrusted``: see the module."""
    if len(resolution.signatures) != _SIGNERS:
        raise NotTrusted("RESOLUTION_TWO_OFFICERS", f"{len(resolution.signatures)} signatures, not {_SIGNERS}")
    for key_id, signature in resolution.signatures:
        check_signature(resolution, key_id, signature, officers)
    ids = [key_id for key_id, _ in resolution.signatures]
    if len({officers[key_id].lower() for key_id in ids}) != _SIGNERS:
        raise NotTrusted("RESOLUTION_TWO_OFFICERS", "both signatures are of one officer's key")
    maker = resolution.claims["maker_key_id"]
    if maker not in ids:
        raise NotTrusted("RESOLUTION_TWO_OFFICERS", "the maker that it names has not signed it")
    (checker,) = (key_id for key_id in ids if key_id != maker)
    return Signers(maker, checker)


def check_signature(resolution: Resolution, key_id: str, signature: str, officers: Mapping[str, str]) -> None:
    """Raise unless one signature is an officer's and holds."""
    if key_id not in officers:
        raise NotTrusted("OFFICER_UNKNOWN", f"key {key_id[:16]}… is no officer's of this environment now")
    verify(officers[key_id], RESOLUTION_TYPE, resolution.payload, signature, code="ENVELOPE_INVALID")


def check_scope(resolution: Resolution, *, environment: str, service: str, stream: str, instruction_id: str) -> None:
    """Raise ``Refused RESOLUTION_SCOPE`` unless it speaks of this place and payment."""
    here = {"environment": environment, "service": service, "stream": stream, "instruction_id": instruction_id}
    for name, value in here.items():
        if resolution.claims[name] != value:
            raise Refused("RESOLUTION_SCOPE", f"{name} is {str(resolution.claims[name])[:64]}, here it is {value}")


def check_time(resolution: Resolution, now: datetime) -> None:
    """Raise ``Refused RESOLUTION_EXPIRED`` unless it is valid at ``now``."""
    try:
        begins, ends = (parse_rfc3339(resolution.claims[name]) for name in ("made_at", "expires_at"))
    except ValueError as error:
        raise Refused("RESOLUTION_EXPIRED", "made_at or expires_at is no time") from error
    if not begins < ends <= begins + LIFETIME_MAX:
        raise Refused("RESOLUTION_EXPIRED", f"valid for longer than {LIFETIME_MAX.days} days, or for no time at all")
    if now < begins - CLOCKS_APART_MAX:
        raise Refused("RESOLUTION_EXPIRED", f"made at {resolution.claims['made_at']}, which is not yet")
    if now >= ends:
        raise Refused("RESOLUTION_EXPIRED", f"ran out at {resolution.claims['expires_at']}")
