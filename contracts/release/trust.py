"""Root and targets: the custodians' metadata, by the rules that python-tuf alone does not hold.

Rules (design section 4; the numbers are those of ``contracts.release.rules``):

 1. every root follows the pinned one: version by one, signed by the threshold of the root before it and its own;
 2. root's and targets' thresholds are no lower than that of any role they delegate;
 3. ``targets`` lists no target of its own, and names gate keys and build key;
 4. it delegates ``<env>``, ``<env>-emergency`` and ``<env>-revocations``, each to its own paths and no other role;
 5. no key material stands in two of {custodians, officers, security officers, gate, build, online}, nor twice
    under two key ids; all are Ed25519 but the build key (P-256).

Not here: what a release's own role must hold (``rules``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Key, Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from contracts.canonical import parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.release.limits import ROLE_BYTES_MAX
from contracts.release.model import FIELD

ENVIRONMENTS = ("sandbox", "staging", "production")
_Role = TypeVar("_Role", Root, Targets, Snapshot, Timestamp)
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_KINDS: dict[type, str] = {Root: "root", Targets: "targets", Snapshot: "snapshot", Timestamp: "timestamp"}


@dataclass(frozen=True, slots=True)
class Trust:
    """What the custodians say for one environment. Keys are key id to public key (hex)."""

    root: Root
    targets: Targets
    officers: Mapping[str, str]
    security_officers: Mapping[str, str]
    gate_keys: Mapping[str, str]
    build_key_id: str
    build_key_pem: str
    approvals_min: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Custodians:
    """The custodians' newest word seen here, with the bytes that prove it from the pinned root alone."""

    trust: Trust
    targets: bytes
    roots: tuple[bytes, ...]

    @classmethod
    def of(cls, pinned: bytes, roots: Sequence[bytes], targets: bytes, environment: str) -> Custodians:
        """Verified, by rules 1 to 5. Raises ``NotTrusted RELEASE_*``."""
        return cls(trust_of(root_of(pinned, roots), targets, environment), targets, tuple(roots))


def role_paths(name: str) -> list[str]:
    """The path patterns that a delegated role may list targets under (TUF matches them per segment)."""
    return [f"{name}/*/*", f"{name}/*/*/*", f"{name}/*/*/*/*"]


def revocations_paths(environment: str) -> list[str]:
    """The path pattern that leads the stock client to the revocation list, which lists no target."""
    return [f"{environment}-revocations/*"]


def parse(data: bytes, kind: type[_Role]) -> Metadata[_Role]:
    """TUF metadata of one kind; duplicate JSON keys refused. Raises ``NotTrusted RELEASE_SHAPE``."""
    try:
        parse_json(data, bytes_max=ROLE_BYTES_MAX)
        metadata: Metadata[_Role] = Metadata.from_bytes(data)
    except (Refused, DeserializationError) as error:
        raise NotTrusted("RELEASE_SHAPE", f"not TUF metadata: {error}") from error
    if metadata.signed.type != _KINDS[kind]:
        raise NotTrusted("RELEASE_SHAPE", f"{metadata.signed.type} metadata where {_KINDS[kind]} belongs")
    return metadata


def digest_of_signed(metadata: Metadata[Any]) -> str:
    """SHA-256 (hex) of the canonical signed part."""
    return sha256_hex(metadata.signed_bytes)


def root_of(pinned: bytes, successors: Iterable[bytes] = ()) -> Root:
    """The newest root that follows from the pinned one (rule 1). Raises ``NotTrusted RELEASE_SIGNATURE``."""
    current = parse(pinned, Root)
    _signed_by(current.signed, "root", current)
    for data in successors:
        following = parse(data, Root)
        if following.signed.version != current.signed.version + 1:
            raise NotTrusted("RELEASE_ROLLBACK", f"root {following.signed.version} after {current.signed.version}")
        _signed_by(current.signed, "root", following)
        _signed_by(following.signed, "root", following)
        current = following
    return current.signed


def trust_of(root: Root, targets_bytes: bytes, environment: str) -> Trust:
    """The custodians' word for an environment, by rules 2 to 5."""
    metadata = parse(targets_bytes, Targets)
    _signed_by(root, "targets", metadata)
    return unsigned_trust_of(root, metadata.signed, environment)


def unsigned_trust_of(root: Root, targets: Targets, environment: str) -> Trust:
    """The same by rules 2 (but the signatures) to 5: for custodians who have not signed yet."""
    if targets.targets:
        raise NotTrusted("RELEASE_SHAPE", "the top-level targets lists a target of its own")
    gate_keys, build_key = _named_keys(targets)
    _check_delegations(root, targets)
    _check_material(root, targets, gate_keys, build_key)
    return Trust(
        root=root,
        targets=targets,
        officers=keys_of(targets, environment),
        security_officers=keys_of(targets, f"{environment}-revocations"),
        gate_keys=gate_keys,
        build_key_id=build_key["key_id"],
        build_key_pem=build_key["public_key_pem"],
        approvals_min=targets.get_delegated_role(environment).threshold,
        expires_at=min(root.expires, targets.expires),
    )


def _signed_by(delegator: Root | Targets, role: str, metadata: Metadata[Any]) -> None:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise NotTrusted("RELEASE_SIGNATURE", str(error)) from error


def _named_keys(targets: Targets) -> tuple[dict[str, str], dict[str, str]]:
    try:
        named = targets.unrecognized_fields[FIELD]
        gate = {str(k["key_id"]): str(k["public_key"]).lower() for k in named["gate_keys"]}
        build = {name: str(named["build_key"][name]) for name in ("key_id", "public_key_pem")}
    except (KeyError, TypeError) as error:
        raise NotTrusted("RELEASE_SHAPE", "targets names no gate keys or no build key") from error
    if not gate or len(gate) != len(named["gate_keys"]):
        raise NotTrusted("RELEASE_SHAPE", "gate keys are missing or named twice")
    return gate, build


def _check_delegations(root: Root, targets: Targets) -> None:
    roles = targets.delegations.roles if targets.delegations else None
    if not roles:
        raise NotTrusted("RELEASE_SHAPE", "targets delegates to no named role")
    custodians_min = min(root.roles["root"].threshold, root.roles["targets"].threshold)
    for name, role in roles.items():
        environment, _, kind = name.partition("-")
        if environment not in ENVIRONMENTS or kind not in ("", "emergency", "revocations"):
            raise NotTrusted("RELEASE_SHAPE", f"a delegation that has no meaning here: {name}")
        expected = revocations_paths(environment) if kind == "revocations" else role_paths(name)
        if role.paths is None or sorted(role.paths) != sorted(expected) or not role.terminating:
            raise NotTrusted("RELEASE_SHAPE", f"{name} is delegated other paths than its own, or is not terminating")
        if role.threshold > custodians_min:
            raise NotTrusted("RELEASE_SHAPE", f"the custodians' threshold is lower than that of {name}")
        keys_of(targets, name)


def _check_material(root: Root, targets: Targets, gate_keys: Mapping[str, str], build_key: Mapping[str, str]) -> None:
    groups: dict[str, dict[str, str]] = {
        "custodians": _root_keys(root, ("root", "targets")),
        "online": _root_keys(root, ("snapshot", "timestamp")),
        "officers": {},
        "security officers": {},
        "gate": dict(gate_keys),
        "build": {build_key["key_id"]: build_key["public_key_pem"].strip()},
    }
    assert targets.delegations is not None
    for name in targets.delegations.roles or ():
        group = "security officers" if name.endswith("-revocations") else "officers"
        groups[group].update(keys_of(targets, name))
    seen: dict[str, str] = {}
    for group, keys in groups.items():
        for material in _distinct(group, keys):
            if material in seen:
                raise NotTrusted("RELEASE_KEY_REUSED", f"one key stands among {seen[material]} and {group}")
            seen[material] = group


def _distinct(group: str, keys: Mapping[str, str]) -> set[str]:
    material = set(keys.values())
    if len(material) != len(keys):
        raise NotTrusted("RELEASE_KEY_REUSED", f"one key stands twice among the {group}")
    return material


def keys_of(targets: Targets, name: str) -> dict[str, str]:
    """Key id to public key (hex) of a delegated role. Raises ``NotTrusted RELEASE_ENVIRONMENT`` where there is none."""
    try:
        key_ids = targets.get_delegated_role(name).keyids
        return {key_id: _material(targets.get_key(key_id)) for key_id in key_ids}
    except ValueError as error:
        raise NotTrusted("RELEASE_ENVIRONMENT", f"the custodians delegate no role {name}") from error


def _root_keys(root: Root, names: Sequence[str]) -> dict[str, str]:
    return {key_id: _material(root.get_key(key_id)) for name in names for key_id in root.roles[name].keyids}


def _material(key: Key) -> str:
    public = key.keyval.get("public")
    if key.keytype != "ed25519" or key.scheme != "ed25519" or not _HEX_KEY.fullmatch(str(public)):
        raise NotTrusted("RELEASE_SHAPE", f"key {key.keyid[:16]}… is not Ed25519")
    return str(public).lower()
