"""The permit: a sidecar's signed leave for one effect on the ledger (design section 3).

A permit is canonical JSON (RFC 8785)::

    {"schema": "symphony.permit/1", "claims": {...}, "leaf_index", "tree_size", "proof": [hex], "root", "signature"}

One form for one permit or many: the claims are leaves (RFC 6962) of a tree of at most ``TREE_SIZE_MAX``, the
signature is over the tree's root and size, and a single permit is a tree of size 1. ``verify`` holds, in this order:

1. the permit is its own canonical bytes, of at most ``PERMIT_BYTES_MAX``, with exactly the members of ``Claims``,
   each of its form, and lives at most ``LIFETIME_S_MAX``                                    ``PERMIT_MALFORMED``
2. environment and audience are the verifier's own                                           ``PERMIT_AUDIENCE``
3. the key id is one of the release and belongs to the sidecar that the claims name          ``PERMIT_KEY_UNKNOWN``
4. the inclusion proof leads to the root, and the key signed that root and size              ``PERMIT_SIGNATURE``
5. ``iat - skew <= now < exp + skew``                                                        ``PERMIT_EXPIRED``
6. the purpose is the one asked for                                                          ``PERMIT_PURPOSE``
7. ``request_sha256`` is the SHA-256 of the body as received                                 ``PERMIT_BODY_MISMATCH``

Not here: the release number and the (epoch, attempt) order, which need the verifier's state (``services.ledger``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import PERMIT_TYPE, sign
from contracts.keys import verify as verify_signature
from contracts.merkle import inclusion_proofs, leaf_hash, root, verify_inclusion

SCHEMA = "symphony.permit/1"
PURPOSES = ("post", "reserve", "commit", "void", "return", "seal")
TREE_SIZE_MAX = 512
PROOF_LENGTH_MAX = 9  # log2 of TREE_SIZE_MAX
LIFETIME_S_MAX = 60
PERMIT_BYTES_MAX = 4096
INTEGER_MAX = 2**53 - 1

Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}\Z", max_length=63)]
Uuid = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", max_length=36)
]
Number = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=TREE_SIZE_MAX)]
TreeSize = Annotated[int, msgspec.Meta(ge=1, le=TREE_SIZE_MAX)]
Purpose = Literal["post", "reserve", "commit", "void", "return", "seal"]


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the sidecar permits. ``iat`` and ``exp`` are seconds of Unix time."""

    version: Literal[1]
    environment: Literal["sandbox", "staging", "production"]
    sidecar: Name
    key_id: Hash
    instruction_id: Uuid
    attempt: Number
    epoch: Number
    purpose: Purpose
    request_sha256: Hash
    release_number: Positive
    policy_digest: Hash
    attestation_leaf_hash: Hash
    audience: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,128}\Z", max_length=128)]
    iat: Number
    exp: Number


class Permit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Claims, their place in the signed tree, and the signature over its root."""

    schema: Literal["symphony.permit/1"]
    claims: Claims
    leaf_index: Index
    tree_size: TreeSize
    proof: Annotated[list[Hash], msgspec.Meta(max_length=PROOF_LENGTH_MAX)]
    root: Hash
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z", max_length=128)]


class VerifiedRoots:
    """A bounded memory of signatures that held, so that one batch's root is checked once. Never one that failed."""

    def __init__(self, size_max: int = 1024) -> None:
        self._size_max = size_max
        self._seen: OrderedDict[tuple[str, str, int, str], None] = OrderedDict()

    def verify(self, public_key: str, permit: Permit) -> None:
        """Raise ``NotTrusted PERMIT_SIGNATURE`` unless the key signed the permit's root and size."""
        entry = (public_key, permit.root, permit.tree_size, permit.signature)
        if entry in self._seen:
            self._seen.move_to_end(entry)
            return
        payload = root_payload(permit.root, permit.tree_size)
        verify_signature(public_key, PERMIT_TYPE, payload, permit.signature, code="PERMIT_SIGNATURE")
        self._seen[entry] = None
        if len(self._seen) > self._size_max:
            self._seen.popitem(last=False)


def root_payload(root_hex: str, tree_size: int) -> bytes:
    """What is signed, before the DSSE encoding: the canonical bytes of root and size."""
    return canonical_bytes({"root": root_hex, "tree_size": tree_size})


def issue(key: Ed25519PrivateKey, claims: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """One permit per claims object, in order, under one signature. ``Refused REQUEST_INVALID`` for an unusable batch.

    The members of a claims object are those of ``Claims``; all of one batch name the same key id.
    """
    if not 1 <= len(claims) <= TREE_SIZE_MAX:
        raise Refused("REQUEST_INVALID", f"a batch is 1 to {TREE_SIZE_MAX} permits, not {len(claims)}")
    checked = [_checked_claims(item) for item in claims]
    if len({item.key_id for item in checked}) != 1:
        raise Refused("REQUEST_INVALID", "the permits of one batch name one key")
    leaves = [leaf_hash(encoded(item)) for item in checked]
    root_hex, size = root(leaves).hex(), len(leaves)
    signature = sign(key, PERMIT_TYPE, root_payload(root_hex, size))
    proofs = inclusion_proofs(leaves, range(size))
    return [
        encoded(Permit(schema="symphony.permit/1", claims=item, leaf_index=index, tree_size=size,
                       proof=[node.hex() for node in proof], root=root_hex, signature=signature))
        for index, (item, proof) in enumerate(zip(checked, proofs, strict=True))
    ]


def parse(permit_bytes: bytes) -> Permit:
    """Read a permit and hold rule 1. Nothing in it is to be believed before ``verify``."""
    if len(permit_bytes) > PERMIT_BYTES_MAX:
        raise NotTrusted("PERMIT_MALFORMED", f"over {PERMIT_BYTES_MAX} bytes")
    try:
        permit = msgspec.json.decode(permit_bytes, type=Permit)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotTrusted("PERMIT_MALFORMED", str(error)) from error
    if encoded(permit) != permit_bytes:
        raise NotTrusted("PERMIT_MALFORMED", "not in canonical form (RFC 8785)")
    _check_lifetime(permit.claims, "PERMIT_MALFORMED")
    return permit


def verify(
    permit_bytes: bytes,
    *,
    body: bytes,
    purpose: str,
    audience: str,
    environment: str,
    keys: Mapping[str, Mapping[str, str]],
    now: datetime,
    skew_s: int,
    roots: VerifiedRoots | None = None,
) -> Claims:
    """The claims of a permit that holds. ``keys`` is ``{key_id: {"public_key": hex, "sidecar": name}}``.

    Raises ``NotTrusted`` with the first rule broken; ``roots`` spares a signature that was checked before.
    """
    return verify_parsed(
        parse(permit_bytes), body=body, purpose=purpose, audience=audience, environment=environment, keys=keys,
        now=now, skew_s=skew_s, roots=roots,
    )  # fmt: skip


def verify_parsed(
    permit: Permit,
    *,
    body: bytes,
    purpose: str,
    audience: str,
    environment: str,
    keys: Mapping[str, Mapping[str, str]],
    now: datetime,
    skew_s: int,
    roots: VerifiedRoots | None = None,
) -> Claims:
    """``verify`` from rule 2 on, for who had to read the permit first; only of what ``parse`` gave."""
    claims = permit.claims
    if claims.environment != environment or claims.audience != audience:
        raise NotTrusted("PERMIT_AUDIENCE", f"for {claims.audience!r} in {claims.environment}")
    key = keys.get(claims.key_id)
    if key is None or key["sidecar"] != claims.sidecar:
        raise NotTrusted("PERMIT_KEY_UNKNOWN", f"key {claims.key_id[:16]}… of {claims.sidecar}")
    _check_proof(permit)
    (roots or VerifiedRoots(1)).verify(key["public_key"], permit)
    moment = now.timestamp()
    if not claims.iat - skew_s <= moment < claims.exp + skew_s:
        raise NotTrusted("PERMIT_EXPIRED", f"valid from {claims.iat} to {claims.exp}")
    if claims.purpose != purpose:
        raise NotTrusted("PERMIT_PURPOSE", f"for {claims.purpose}")
    if claims.request_sha256 != sha256_hex(body):
        raise NotTrusted("PERMIT_BODY_MISMATCH", "the body is not the one that was permitted")
    return claims


def encoded(value: Claims | Permit) -> bytes:
    """Canonical bytes. Names are ASCII and numbers integers, so a sorted compact encoding is RFC 8785 (tested)."""
    return msgspec.json.encode(value, order="sorted")


def _checked_claims(value: Mapping[str, Any]) -> Claims:
    try:
        claims = msgspec.convert(dict(value), Claims)
    except msgspec.ValidationError as error:
        raise Refused("REQUEST_INVALID", f"claims: {error}") from error
    _check_lifetime(claims, "REQUEST_INVALID")
    return claims


def _check_lifetime(claims: Claims, code: str) -> None:
    if not 0 < claims.exp - claims.iat <= LIFETIME_S_MAX:
        detail = f"a permit lives 1 to {LIFETIME_S_MAX} s"
        raise NotTrusted(code, detail) if code == "PERMIT_MALFORMED" else Refused(code, detail)


def _check_proof(permit: Permit) -> None:
    leaf = leaf_hash(encoded(permit.claims))
    proof = [bytes.fromhex(node) for node in permit.proof]
    if not verify_inclusion(leaf, permit.leaf_index, permit.tree_size, proof, bytes.fromhex(permit.root)):
        raise NotTrusted("PERMIT_SIGNATURE", "the inclusion proof does not lead to the root")
