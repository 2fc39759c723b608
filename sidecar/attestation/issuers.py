"""The issuers of a release: which algorithms and keys may sign a token (ATT-02 step 4, ATT-04, ATT-16).

Rules when a release is taken (``NotTrusted RELEASE_MANIFEST``; no start without usable keys):

* public keys only, of kind EC P-256, RSA of at least 2048 bits, or OKP Ed25519; no symmetric key, so a token whose
  HS256 "secret" is a public key has nothing to verify against;
* every key has a ``kid``; no issuer, and no kid of one issuer, stands twice; ``use`` is ``sig`` where it is given.

Rules per token: the issuer is listed (``TOKEN_ISSUER``), the algorithm is on *its* list, the kid is one of *its* keys,
and the key is of the algorithm's kind (``TOKEN_ALGORITHM``). Keys that a token brings (jwk, jku, x5c) are never used.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from contracts.errors import NotTrusted, Refused
from sidecar.attestation.limits import RSA_BITS_MIN, SUBJECT_TEXT_MAX

ALGORITHMS: Mapping[str, Any] = {name: JWSRegistry.algorithms[name] for name in ("ES256", "PS256", "RS256", "EdDSA")}
"""The allow-list of the schema, by ``joserfc``; an issuer's own list can only be shorter."""

_CURVES = {"EC": "P-256", "OKP": "Ed25519"}


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One imported public key, the algorithms it may verify, and the ids under which it can be revoked."""

    kid: str
    key: Any
    algorithms: frozenset[str]
    revocation_ids: tuple[str, ...]

    def verify(self, alg: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature holds; ``alg`` is one of ``algorithms``."""
        try:
            return bool(ALGORITHMS[alg].verify(signing_input, signature, self.key))
        except (JoseError, ValueError):
            return False


class Issuers:
    """The issuers of one release with their keys imported once."""

    def __init__(self, issuers: list[dict[str, Any]]) -> None:
        """``environment_data["issuers"]``. Raises ``NotTrusted RELEASE_MANIFEST``."""
        self._keys: dict[str, dict[str, TokenKey]] = {}
        for entry in issuers:
            name = entry["issuer"]
            if name in self._keys:
                raise NotTrusted("RELEASE_MANIFEST", f"issuer {name} stands twice")
            self._keys[name] = _import_all(name, frozenset(entry["algorithms"]), entry["jwks"]["keys"])

    def key_for(self, issuer: str, alg: str, kid: str) -> TokenKey:
        """The key that must have signed. Raises ``Refused TOKEN_ISSUER`` or ``TOKEN_ALGORITHM``."""
        keys = self._keys.get(issuer)
        if keys is None:
            raise Refused("TOKEN_ISSUER", "the issuer is not listed")
        key = keys.get(kid)
        if key is None:
            raise Refused("TOKEN_ALGORITHM", "the key id is not one of the issuer's")
        if alg not in key.algorithms:
            raise Refused("TOKEN_ALGORITHM", f"{alg} is not permitted for this issuer and key")
        return key


def _import_all(issuer: str, permitted: frozenset[str], jwks: list[dict[str, Any]]) -> dict[str, TokenKey]:
    keys: dict[str, TokenKey] = {}
    for value in jwks:
        key = _import(issuer, permitted, value)
        if key.kid in keys:
            raise NotTrusted("RELEASE_MANIFEST", f"issuer {issuer}: kid {key.kid} stands twice")
        keys[key.kid] = key
    return keys


def _import(issuer: str, permitted: frozenset[str], value: dict[str, Any]) -> TokenKey:
    kid = value.get("kid")
    where = f"issuer {issuer}, kid {kid}"
    if not isinstance(kid, str) or not 1 <= len(kid) <= SUBJECT_TEXT_MAX:
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: not a key id")
    if value.get("kty") not in ("EC", "RSA", "OKP") or value.get("use", "sig") != "sig":
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: not a signature key of a permitted kind")
    try:
        key = jwk.import_key(dict(value))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: {error}") from error
    if key.is_private:
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: a private key in a release")
    _demand_strength(where, value, key)
    thumbprint = key.thumbprint()
    return TokenKey(
        kid=kid,
        key=key,
        algorithms=frozenset(alg for alg in permitted if _fits(alg, value, key)),
        revocation_ids=(kid, thumbprint, _hex_thumbprint(thumbprint)),
    )


def _demand_strength(where: str, value: dict[str, Any], key: Any) -> None:
    if value["kty"] in _CURVES and value.get("crv") != _CURVES[value["kty"]]:
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: curve {value.get('crv')} is not permitted")
    public = key.public_key
    if isinstance(public, RSAPublicKey) and public.key_size < RSA_BITS_MIN:
        raise NotTrusted("RELEASE_MANIFEST", f"{where}: RSA of {public.key_size} bits")


def _fits(alg: str, value: dict[str, Any], key: Any) -> bool:
    """The algorithm is of the key's kind, and the key's own ``alg`` and ``key_ops``, where given, permit it."""
    try:
        ALGORITHMS[alg].check_key(key)
        key.check_key_op("verify")
    except JoseError:
        return False
    return bool(value.get("alg", alg) == alg)


def _hex_thumbprint(thumbprint: str) -> str:
    """The RFC 7638 thumbprint as hexadecimal, the other form in which a revocation may name a key."""
    return base64.urlsafe_b64decode(thumbprint + "=").hex()
