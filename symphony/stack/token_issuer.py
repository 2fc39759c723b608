"""The development token issuer: sender-constrained JWTs, ES256, bound to a client certificate (RFC 8705, RFC 9068)."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey

from symphony.stack.certificates import key_pem

LIFETIME_S = 300
"""Five minutes, the machine token of ATT-03."""


def issue_token(
    issuer_key: ec.EllipticCurvePrivateKey,
    kid: str,
    issuer: str,
    audience: str,
    subject: str,
    x5t: str,
    now: datetime,
    lifetime_s: int = LIFETIME_S,
    jti: str | None = None,
) -> str:
    """A token for ``subject``, bound to the certificate with thumbprint ``x5t``; ``jti`` is fresh unless given."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": issued,
        "nbf": issued,
        "exp": issued + lifetime_s,
        "jti": jti or str(uuid.uuid4()),
        "cnf": {"x5t#S256": x5t},
    }
    return sign_claims(issuer_key, {"alg": "ES256", "kid": kid, "typ": "at+jwt"}, claims)


def sign_claims(issuer_key: ec.EllipticCurvePrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Any header and claims, signed ES256; tests make wrong tokens with it."""
    payload = json.dumps(claims, separators=(",", ":"))
    return jws.serialize_compact(header, payload, _private(issuer_key), algorithms=["ES256"])


def public_jwk(issuer_key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    """The public half as a JWK for ``environment.json``."""
    return dict(_private(issuer_key).as_dict(private=False, kid=kid, alg="ES256", use="sig"))


def jwks(keys: dict[str, ec.EllipticCurvePrivateKey]) -> dict[str, Any]:
    """A JWKS of the public halves, by kid: ``issuers[].jwks`` of the environment data."""
    return {"keys": [public_jwk(key, kid) for kid, key in keys.items()]}


def issuer_entry(issuer: str, keys: dict[str, ec.EllipticCurvePrivateKey]) -> dict[str, Any]:
    """One entry of ``issuers`` in the environment data."""
    return {"issuer": issuer, "algorithms": ["ES256"], "jwks": jwks(keys)}


@lru_cache(maxsize=16)
def _private(issuer_key: ec.EllipticCurvePrivateKey) -> ECKey:
    return ECKey.import_key(key_pem(issuer_key))
