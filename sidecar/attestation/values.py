"""The values of station 1: what was presented, and the two answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Presented:
    """What one request brought. The certificate is the TLS peer's, never a header's (ATT-17)."""

    certificate_der: bytes | None
    authorization: str | None
    idempotency_key: str | None
    content_type: str | None
    body: bytes
    body_sha256: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified identity context (ATT-01, ATT-09). Hashes are lower-case hexadecimal SHA-256.

    ``jti_hash`` is over the length-prefixed (issuer, jti), never over the token's bytes: an ECDSA signature has a
    second valid form. ``token_day`` is the UTC day of the signed ``exp``, the partition of ``seen_jti``.
    """

    participant_id: str
    client_id: str
    certificate_sha256: str
    x5t_s256: str
    jwt_iss: str
    jwt_aud: str
    jwt_kid: str
    jti_hash: str
    token_expires_at: datetime
    token_day: date
    token_sha256: str
    signature_alg: str
    body_sha256: str
    idempotency_key: str
    db_role: str = "ingest"
    pop_mode: str = "mtls"
    spendable: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """One reason code, and the facts that had been established before it.

    ``spendable``: signature, audience, times and proof of possession had verified, so the token is spent by this
    refusal. Only then are ``jti_hash``, ``token_expires_at``, ``token_day``, ``pop_mode`` filled.
    ``jwt_*``, ``signature_alg`` and ``client_id`` are filled once the signature verified; ``participant_id`` only when
    the participant is verified (D3). ``certificate_sha256`` and ``token_sha256`` name what was presented, verified or
    not.
    """

    code: str
    detail: str
    spendable: bool = False
    participant_id: str | None = None
    client_id: str | None = None
    certificate_sha256: str | None = None
    x5t_s256: str | None = None
    jwt_iss: str | None = None
    jwt_aud: str | None = None
    jwt_kid: str | None = None
    jti_hash: str | None = None
    token_expires_at: datetime | None = None
    token_day: date | None = None
    token_sha256: str | None = None
    signature_alg: str | None = None
    body_sha256: str | None = None
    idempotency_key: str | None = None
    db_role: str = "ingest"
    pop_mode: str | None = None
