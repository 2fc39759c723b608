"""The token as a compact JWS (ATT-02 step 4, RFC 7515, RFC 8725): read strictly, its key found, its signature held.

Rules, in this order:

* ``Authorization: Bearer <token>`` (``TOKEN_MISSING``; the DPoP scheme is ``POP_UNSUPPORTED``);
* at most ``TOKEN_BYTES_MAX`` ASCII bytes, exactly three parts, each in the one canonical base64url without padding,
  header and payload UTF-8 JSON objects without duplicate names (``TOKEN_MALFORMED``);
* header: ``typ`` absent, JWT or at+jwt; no ``crit``, no ``b64``; ``kid`` a string (``TOKEN_MALFORMED``);
  ``alg`` of the allow-list, so never none and never HS256 (``TOKEN_ALGORITHM``);
* issuer, algorithm and key as in ``issuers`` (``TOKEN_CLAIMS`` when ``iss`` is no text);
* the signature verifies under that one key (``TOKEN_SIGNATURE``).

Not here: the other claims (``claims``). Replay never looks at these bytes: two encodings of one signature exist.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from contracts.canonical import parse_json
from contracts.errors import Refused
from sidecar.attestation.issuers import ALGORITHMS, Issuers, TokenKey
from sidecar.attestation.limits import HEADERS_CACHED_MAX, SUBJECT_TEXT_MAX, TOKEN_BYTES_MAX

_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Header:
    """What a token's header says, once it is of the permitted form."""

    alg: str
    kid: str


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token whose signature verified; ``claims`` are the issuer's words, not yet checked."""

    header: Header
    key: TokenKey
    claims: dict[str, Any]


def bearer_token(authorization: str | None) -> str:
    """The token of an Authorization header value. Raises ``Refused TOKEN_MISSING`` or ``POP_UNSUPPORTED``."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "dpop":
        raise Refused("POP_UNSUPPORTED", "DPoP is not taken here")
    if scheme.lower() != "bearer" or not token:
        raise Refused("TOKEN_MISSING")
    return token


def verify_token(token: str, issuers: Issuers) -> SignedToken:
    """The token with its signature verified under a key of the release. Raises ``Refused TOKEN_*``."""
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        raise Refused("TOKEN_MALFORMED", f"not ASCII, or over {TOKEN_BYTES_MAX} bytes")
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused("TOKEN_MALFORMED", "not three parts")
    header = _header(parts[0])
    claims = _json_object(parts[1], "payload")
    signature = _decoded(parts[2], "signature")
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Refused("TOKEN_CLAIMS", "iss is missing or no text")
    key = issuers.key_for(issuer, header.alg, header.kid)
    if not key.verify(header.alg, f"{parts[0]}.{parts[1]}".encode("ascii"), signature):
        raise Refused("TOKEN_SIGNATURE")
    return SignedToken(header, key, claims)


@lru_cache(maxsize=HEADERS_CACHED_MAX)
def _header(part: str) -> Header:
    value = _json_object(part, "header")
    if "crit" in value or "b64" in value:
        raise Refused("TOKEN_MALFORMED", "crit and b64 are not taken")
    typ, alg, kid = value.get("typ", "JWT"), value.get("alg"), value.get("kid")
    if not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise Refused("TOKEN_MALFORMED", "typ is neither JWT nor at+jwt")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise Refused("TOKEN_ALGORITHM", "alg is not on the allow-list")
    if not isinstance(kid, str) or not 1 <= len(kid) <= SUBJECT_TEXT_MAX:
        raise Refused("TOKEN_MALFORMED", "kid is missing or no key id")
    return Header(alg, kid)


def _json_object(part: str, name: str) -> dict[str, Any]:
    try:
        value = parse_json(_decoded(part, name).decode("utf-8"), bytes_max=TOKEN_BYTES_MAX)
    except (UnicodeDecodeError, Refused) as error:
        raise Refused("TOKEN_MALFORMED", f"the {name} is not strict UTF-8 JSON") from error
    if not isinstance(value, dict):
        raise Refused("TOKEN_MALFORMED", f"the {name} is not an object")
    return value


def _decoded(part: str, name: str) -> bytes:
    """Strict base64url: what does not encode back to the same text has another, second form."""
    raw = part.encode("ascii")
    try:
        value = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except (binascii.Error, ValueError) as error:
        raise Refused("TOKEN_MALFORMED", f"the {name} is not base64url") from error
    if base64.urlsafe_b64encode(value).rstrip(b"=") != raw:
        raise Refused("TOKEN_MALFORMED", f"the {name} is not canonical base64url")
    return value
