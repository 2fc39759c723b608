"""The OPA bundle of a release (``policy.tar.gz``): built and signed here, readable by a stock OPA (POL-06).

Content: the governing Rego, ``.manifest`` (revision, roots, Rego version) and ``.signatures.json`` with exactly one
JWT, ES256, by the build key that the custodians' ``targets`` names. Signatures are deterministic (RFC 6979), so the
same files, revision and key give the same bytes and a release keeps its digests through all environments.

What ``verify`` demands, each with a refusal in ``tests/policy/test_opa_bundle.py``:

* the archive's one form (``contracts.bundle_archive``);
* one JWT whose header is exactly ``{"alg": "ES256", "kid": <the key id>, "typ": "JWT"}``: no ``none``, no HMAC, no
  other key, no ``crit``, ``jwk`` or ``jku``; written in canonical base64url; signed by the very key given;
* claims exactly ``files``, ``keyid``, ``scope``; key id and scope are never optional (GHSA-g2pf-6v5v-qcc8); a time
  claim is a refusal: expiry is TUF's business;
* each file listed once, by SHA-256, and present; each present file listed;
* a manifest of exactly our keys, with ``roots`` of the policy's package only, in canonical bytes (so that OPA's hash
  over its parsed form is the SHA-256 of its bytes).

Not here: which key is the build key, expiry and rollback (``contracts.release``); compiling (``symphony``).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from contracts.bundle_archive import MANIFEST, SIGNATURES, is_rego_name, pack, unpack
from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused

SCOPE = "symphony"
ROOTS = ["symphony"]
REGO_VERSION = 1
ALGORITHM = "ES256"
FILES_MAX = 200
CLAIMS_BYTES_MAX = 100_000
"""200 files of 250 bytes each, and under the 128,000 that the JOSE library reads."""

_COORDINATE_BYTES = 32
_REVISION = re.compile(r"[A-Za-z0-9._:/+-]{1,128}")

PublicKey = ec.EllipticCurvePublicKey | str | bytes


def build(
    files: dict[str, bytes], revision: str, key: ec.EllipticCurvePrivateKey, key_id: str, *, scope: str = SCOPE
) -> bytes:
    """The signed bundle of Rego files by name. Raises ``Refused RELEASE_BUNDLE`` for what it could not verify."""
    wrong = [name for name in files if not is_rego_name(name)]
    if wrong or not 1 <= len(files) <= FILES_MAX:
        raise Refused("RELEASE_BUNDLE", f"{len(files)} files, of which no Rego name: {wrong[:3]}")
    if not _REVISION.fullmatch(revision):
        raise Refused("RELEASE_BUNDLE", f"a revision is 1 to 128 plain characters, not {revision[:140]!r}")
    held = {**files, MANIFEST: _manifest(revision)}
    claims = {"files": [_listed(name, held[name]) for name in sorted(held)], "keyid": key_id, "scope": scope}
    token = _sign(canonical_bytes(claims), key, key_id)
    return pack({**held, SIGNATURES: canonical_bytes({"signatures": [token]})})


def verify(bundle: bytes, public_key: PublicKey, key_id: str, scope: str = SCOPE) -> dict[str, bytes]:
    """The verified files by name, ``.manifest`` included. Raises ``NotTrusted RELEASE_BUNDLE``."""
    files = unpack(bundle)
    try:
        token = _token(files.pop(SIGNATURES, None))
        claims = _claims(_verified(token, _ec_key(public_key), key_id), key_id, scope)
        _check_files(claims, files)
        _check_manifest(files.get(MANIFEST))
    except Refused as error:
        raise _not_trusted(error.detail) from error
    return files


def revision_of(files: dict[str, bytes]) -> str:
    """The revision in the manifest of verified files."""
    return str(parse_json(files[MANIFEST])["revision"])


def _manifest(revision: str) -> bytes:
    return canonical_bytes({"revision": revision, "roots": ROOTS, "rego_version": REGO_VERSION})


def _listed(name: str, content: bytes) -> dict[str, str]:
    return {"name": name, "hash": sha256_hex(content), "algorithm": "SHA-256"}


def _sign(payload: bytes, key: ec.EllipticCurvePrivateKey, key_id: str) -> str:
    """A compact JWS with a deterministic signature, which the JOSE library does not make (it verifies it)."""
    if not isinstance(key.curve, ec.SECP256R1):
        raise Refused("RELEASE_BUNDLE", "the build key is not on P-256")
    signed = b".".join(_encode(part) for part in (canonical_bytes(_header(key_id)), payload))
    der = key.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    signature = b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in decode_dss_signature(der))
    return b".".join((signed, _encode(signature))).decode("ascii")


def _header(key_id: str) -> dict[str, str]:
    return {"alg": ALGORITHM, "kid": key_id, "typ": "JWT"}


def _token(document: bytes | None) -> str:
    if document is None:
        raise _not_trusted("no .signatures.json")
    value = parse_json(document)
    signatures = value.get("signatures") if isinstance(value, dict) and set(value) == {"signatures"} else None
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], str):
        raise _not_trusted(".signatures.json does not hold exactly one JWT")
    return signatures[0]


def _verified(token: str, key: ECKey, key_id: str) -> bytes:
    """The payload of a token in its one form, signed by the key given."""
    parts = token.split(".")
    if len(parts) != 3 or any(_encode(_decode(part)).decode() != part for part in parts):
        raise _not_trusted("the JWT is not three parts in canonical base64url")
    if parse_json(_decode(parts[0])) != _header(key_id):
        raise _not_trusted(f"the JWT's header is not exactly ES256 by key {key_id[:16]}…")
    if len(parts[1]) > CLAIMS_BYTES_MAX:
        raise _not_trusted(f"claims over {CLAIMS_BYTES_MAX} bytes")
    try:
        return bytes(jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload)
    except (JoseError, InvalidSignature, ValueError) as error:
        raise _not_trusted(f"the JWT does not verify: {error}") from error


def _claims(payload: bytes, key_id: str, scope: str) -> list[Any]:
    claims = parse_json(payload)
    if not isinstance(claims, dict) or set(claims) != {"files", "keyid", "scope"}:
        raise _not_trusted("the claims are not exactly files, keyid and scope")
    if not scope or claims["scope"] != scope:
        raise _not_trusted("the signature is for another scope")
    if not key_id or claims["keyid"] != key_id:
        raise _not_trusted("the claims name another key")
    if not isinstance(claims["files"], list):
        raise _not_trusted("the claims list no files")
    return claims["files"]


def _check_files(listed: list[Any], files: dict[str, bytes]) -> None:
    found = [_listed(name, files[name]) for name in sorted(files)]
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in listed]
    for name in files:
        if names.count(name) != 1:
            raise _not_trusted(f"{name} is listed {names.count(name)} times in the signature, not once")
    absent = [name for name in names if name not in files]
    if absent:
        raise _not_trusted(f"the signature lists a file that is not there: {str(absent[0])[:80]}")
    changed = [entry["name"] for entry in found if entry not in listed]
    if changed:
        raise _not_trusted(f"{changed[0]} is not the file that was signed (SHA-256)")


def _check_manifest(document: bytes | None) -> None:
    if document is None:
        raise _not_trusted("no .manifest")
    value = parse_json(document)
    revision = value.get("revision") if isinstance(value, dict) else None
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision) or document != _manifest(revision):
        raise _not_trusted(f"the manifest is not exactly a revision, roots {ROOTS} and rego_version {REGO_VERSION}")


def _ec_key(key: PublicKey) -> ECKey:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        imported = ECKey.import_key(key)
    except (JoseError, ValueError, TypeError, binascii.Error) as error:
        raise _not_trusted(f"the build key is not a public key: {error}") from error
    if imported.curve_name != "P-256" or imported.is_private:
        raise _not_trusted("the build key is not a public key on P-256")
    return imported


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, UnicodeError) as error:
        raise _not_trusted(f"not base64url: {error}") from error


def _not_trusted(detail: str) -> NotTrusted:
    return NotTrusted("RELEASE_BUNDLE", detail)
