"""The claims of a verified token (ATT-02 steps 4 to 6, ATT-03, ATT-05, ATT-06; RFC 7519, RFC 8705).

Rules, in this order; ``skew`` and ``lifetime`` come from the signed manifest, all in whole seconds:

* ``iss aud sub exp iat nbf jti`` are all there, in every environment, texts printable and bounded, times integers
  (no bool, no float) and ``exp`` after ``iat`` (``TOKEN_CLAIMS``);
* ``aud`` is this service's audience, alone: a text, or a list of one (``TOKEN_AUDIENCE``);
* ``now < exp + skew`` (``TOKEN_EXPIRED``); ``nbf - skew <= now`` and ``iat - skew <= now`` (``TOKEN_NOT_YET_VALID``);
* ``exp - iat <= lifetime`` (``TOKEN_LIFETIME``). With the rule before, ``exp <= now + skew + lifetime``: a far-future
  ``exp``, for which ``seen_jti`` has no partition, cannot get through;
* ``cnf`` names a certificate (``POP_MISSING``), only that (``POP_UNSUPPORTED`` with ``jkt``), and it is the presented
  one (``POP_MISMATCH``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.canonical import length_prefixed
from contracts.errors import Refused
from sidecar.attestation.limits import CLAIM_TEXT_MAX, MOMENT_S_MAX, SUBJECT_TEXT_MAX


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of the right types; times in seconds since 1970."""

    iss: str
    aud: str
    sub: str
    exp: int
    iat: int
    nbf: int
    jti: str
    cnf: Any

    @property
    def jti_hash(self) -> str:
        """What replay is keyed on: SHA-256 (hex) over the length-prefixed (issuer, jti)."""
        return hashlib.sha256(length_prefixed(self.iss, self.jti)).hexdigest()

    @property
    def expires_at(self) -> datetime:
        """The signed ``exp``; its UTC date is the day of ``seen_jti``."""
        return datetime.fromtimestamp(self.exp, UTC)


def read_claims(value: dict[str, Any], *, audience: str) -> Claims:
    """The claims by type and for this audience. Raises ``Refused TOKEN_CLAIMS`` or ``TOKEN_AUDIENCE``."""
    claims = Claims(
        iss=_text(value, "iss", CLAIM_TEXT_MAX),
        aud=audience,
        sub=_text(value, "sub", SUBJECT_TEXT_MAX),
        exp=_moment(value, "exp"),
        iat=_moment(value, "iat"),
        nbf=_moment(value, "nbf"),
        jti=_text(value, "jti", CLAIM_TEXT_MAX),
        cnf=value.get("cnf"),
    )
    if claims.exp <= claims.iat:
        raise Refused("TOKEN_CLAIMS", "exp is not after iat")
    named = value.get("aud")
    if not isinstance(named, (str, list)) or named in ("", []):
        raise Refused("TOKEN_CLAIMS", "aud is missing or of the wrong type")
    if named not in (audience, [audience]):
        raise Refused("TOKEN_AUDIENCE", "aud is not this service alone")
    return claims


def check_times(claims: Claims, now: datetime, *, skew_s: int, lifetime_s_max: int) -> None:
    """Raise ``Refused TOKEN_EXPIRED``, ``TOKEN_NOT_YET_VALID`` or ``TOKEN_LIFETIME`` outside the bounds."""
    now_s = now.timestamp()
    if now_s >= claims.exp + skew_s:
        raise Refused("TOKEN_EXPIRED")
    if now_s < claims.nbf - skew_s:
        raise Refused("TOKEN_NOT_YET_VALID", "nbf is in the future")
    if now_s < claims.iat - skew_s:
        raise Refused("TOKEN_NOT_YET_VALID", "iat is in the future")
    if claims.exp - claims.iat > lifetime_s_max:
        raise Refused("TOKEN_LIFETIME", f"over {lifetime_s_max} s")


def check_binding(claims: Claims, x5t_s256: str) -> None:
    """Raise ``Refused POP_MISSING``, ``POP_UNSUPPORTED`` or ``POP_MISMATCH`` unless bound to that certificate."""
    cnf = claims.cnf if isinstance(claims.cnf, dict) else {}
    if "jkt" in cnf:
        raise Refused("POP_UNSUPPORTED", "cnf jkt: a DPoP token is not taken here")
    bound = cnf.get("x5t#S256")
    if not isinstance(bound, str) or not bound:
        raise Refused("POP_MISSING")
    if bound != x5t_s256:
        raise Refused("POP_MISMATCH")


def _text(value: dict[str, Any], name: str, length_max: int) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= length_max or not text.isprintable():
        raise Refused("TOKEN_CLAIMS", f"{name} is missing or not a printable text of at most {length_max}")
    return text


def _moment(value: dict[str, Any], name: str) -> int:
    moment = value.get(name)
    if type(moment) is not int or not 0 <= moment <= MOMENT_S_MAX:
        raise Refused("TOKEN_CLAIMS", f"{name} is missing or not whole seconds")
    return moment
