"""Who holds which key: the plan of a key ceremony, and the root, targets and revocation lists that say so.

A plan is a small YAML file (``docs/how-to/hold-a-key-ceremony.md``); a value of a key is 64 hex characters or the path of a
public half beside the plan. Names stand in the signed part beside the key ids, so that anybody can read who is who.
Not here: signatures (``symphony.trust.sign``), the rules (``contracts.release.trust``, applied by ``drafts``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Key, Metadata, Role, Root, Targets

from contracts.errors import Misused, Refused
from contracts.release.model import FIELD
from contracts.release.trust import ENVIRONMENTS, revocations_paths, role_paths, unsigned_trust_of

SCHEMA = "symphony.trust/1"
LIFETIME = timedelta(days=365)
VALID_DAYS_MAX = 1100
PLAN_BYTES_MAX = 256 * 1024
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HEX = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"schema", "custodians", "officers", "security_officers", "gate", "build", "online", "environments"}


@dataclass(frozen=True, slots=True)
class Office:
    """Officers of one environment, by name, and how many of them must approve besides the proposer."""

    officers: tuple[str, ...]
    approvals_min: int
    security_officers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Keys by name: Ed25519 as 64 hex characters, the build key as PEM."""

    custodians: Mapping[str, str]
    custodians_min: int
    officers: Mapping[str, str]
    security_officers: Mapping[str, str]
    gate: Mapping[str, str]
    build_pem: str
    online: Mapping[str, str]
    environments: Mapping[str, Office]
    lifetime: timedelta = LIFETIME


def read_plan(path: Path) -> Plan:
    """A plan from its file. Raises ``Misused CONFIGURATION`` with the field at fault."""
    from symphony.invariants.documents import Loader

    try:
        text = path.read_text("utf-8")
        document = yaml.load(text, Loader) if len(text) <= PLAN_BYTES_MAX else None  # noqa: S506 - a SafeLoader of our own
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _wrong(path, str(error)) from error
    optional = {"valid_days"}
    if not isinstance(document, dict) or not _FIELDS <= set(document) <= _FIELDS | optional:
        raise _wrong(path, f"a plan has the fields {', '.join(sorted(_FIELDS))} and perhaps valid_days")
    try:
        return _plan(document, path.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(path, f"{type(error).__name__}: {error}") from error


def _plan(document: Mapping[str, Any], folder: Path) -> Plan:
    days = document.get("valid_days", LIFETIME.days)
    if document["schema"] != SCHEMA or type(days) is not int or not 1 <= days <= VALID_DAYS_MAX:
        raise ValueError(f"schema is {SCHEMA}, valid_days 1 to {VALID_DAYS_MAX}")
    offices = {name: _office(value) for name, value in document["environments"].items()}
    if not offices or not set(offices) <= set(ENVIRONMENTS):
        raise ValueError(f"environments are of {', '.join(ENVIRONMENTS)}")
    custodians = document["custodians"]
    return Plan(
        custodians=_keys(custodians["keys"], folder), custodians_min=_count(custodians["threshold"]),
        officers=_keys(document["officers"], folder), security_officers=_keys(document["security_officers"], folder),
        gate=_keys(document["gate"], folder), build_pem=read_build_key(folder / str(document["build"])),
        online=_keys(document["online"], folder), environments=offices, lifetime=timedelta(days=days),
    )  # fmt: skip


def _office(value: Mapping[str, Any]) -> Office:
    return Office(tuple(value["officers"]), _count(value["approvals"]), tuple(value["security_officers"]))


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a threshold is a whole number from 1: {value!r}")
    return value


def _keys(value: Mapping[str, Any], folder: Path) -> dict[str, str]:
    if not value or not all(_NAME.fullmatch(name) for name in value):
        raise ValueError("a name is lower case letters, digits and hyphens")
    return {name: public_of(str(key), folder) for name, key in value.items()}


def public_of(text: str, folder: Path = Path()) -> str:
    """An Ed25519 public key: 64 hex characters, or the path of a PEM or hex file. Raises ``Misused CONFIGURATION``."""
    if _HEX.fullmatch(text.lower()):
        return text.lower()
    path = folder / text
    try:
        data = path.read_bytes()
        if _HEX.fullmatch(hexed := data.decode("ascii", "replace").strip().lower()):
            return hexed
        key = serialization.load_pem_public_key(data)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _wrong(path, f"no readable public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _wrong(path, "not an Ed25519 public key")
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def read_build_key(path: Path) -> str:
    """The build key's public half (P-256) as PEM. Raises ``Misused CONFIGURATION``."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _wrong(path, f"no readable public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _wrong(path, "the build key is P-256: symphony trust key new PATH --kind build")
    return pem_of(key)


def pem_of(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def build_entry(pem: str) -> dict[str, str]:
    """The build key as targets names it."""
    key_id = SSlibKey.from_crypto(serialization.load_pem_public_key(pem.encode())).keyid
    return {"key_id": str(key_id), "public_key_pem": pem}


def tuf_key(public_hex: str) -> SSlibKey:
    """The TUF key of a raw Ed25519 public half."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))


def root_of_plan(plan: Plan, *, version: int, now: datetime) -> Root:
    """The root that a plan asks for, not signed."""
    root = Root(version=version, expires=expiry(now, plan.lifetime), consistent_snapshot=True)
    for role in ("root", "targets"):
        for public in plan.custodians.values():
            root.add_key(tuf_key(public), role)
        root.roles[role] = Role(root.roles[role].keyids, plan.custodians_min)
    for role in ("snapshot", "timestamp"):
        root.add_key(tuf_key(plan.online[role]), role)
    root.unrecognized_fields[FIELD] = {"names": names({**plan.custodians, **plan.online})}
    return root


def targets_of_plan(plan: Plan, *, version: int, now: datetime) -> Targets:
    """The custodians' targets that a plan asks for, not signed: officers of every environment, gate keys, build key."""
    roles: dict[str, DelegatedRole] = {}
    keys: dict[str, Key] = {}
    for environment, office in plan.environments.items():
        officers = [tuf_key(plan.officers[name]) for name in office.officers]
        security = [tuf_key(plan.security_officers[name]) for name in office.security_officers]
        for name in (environment, f"{environment}-emergency"):
            roles[name] = _delegated(name, officers, office.approvals_min, role_paths(name))
        name = f"{environment}-revocations"
        roles[name] = _delegated(name, security, 1, revocations_paths(environment))
        keys |= {key.keyid: key for key in (*officers, *security)}
    field = {
        "gate_keys": [{"key_id": tuf_key(public).keyid, "public_key": public} for public in plan.gate.values()],
        "build_key": build_entry(plan.build_pem),
        "names": names({**plan.officers, **plan.security_officers, **plan.gate}),
    }
    return Targets(
        version=version, expires=expiry(now, plan.lifetime), delegations=Delegations(keys, roles),
        unrecognized_fields={FIELD: field},
    )  # fmt: skip


def drafts(plan: Plan, now: datetime) -> dict[str, bytes]:
    """The first root, targets and empty revocation lists, to be signed; by file name. Raises ``RELEASE_*`` for a bad plan."""
    try:
        root, targets = root_of_plan(plan, version=1, now=now), targets_of_plan(plan, version=1, now=now)
    except (KeyError, ValueError) as error:
        raise Refused("REQUEST_INVALID", f"the plan names nobody of that name, or a wrong number: {error}") from error
    for environment in plan.environments:
        unsigned_trust_of(root, targets, environment)
    out = {"1.root.json": Metadata(root).to_bytes(), "1.targets.json": Metadata(targets).to_bytes()}
    for environment in plan.environments:
        out[f"1.{environment}-revocations.json"] = Metadata(revocation_list(environment, 1, [], now)).to_bytes()
    return out


def revocation_list(environment: str, version: int, entries: Sequence[Mapping[str, Any]], now: datetime) -> Targets:
    """A revocation list, not signed."""
    field = {FIELD: {"environment": environment, "entries": [dict(entry) for entry in entries]}}
    return Targets(version=version, expires=expiry(now), unrecognized_fields=field)


def names(keys: Mapping[str, str]) -> dict[str, str]:
    """Key id to name."""
    return {tuf_key(public).keyid: name for name, public in keys.items()}


def expiry(now: datetime, lifetime: timedelta = LIFETIME) -> datetime:
    """When metadata made now runs out; TUF writes no fractions."""
    return (now + lifetime).replace(microsecond=0)


def _delegated(name: str, keys: Sequence[SSlibKey], threshold: int, paths: list[str]) -> DelegatedRole:
    return DelegatedRole(name, [key.keyid for key in keys], threshold, terminating=True, paths=paths)


def _wrong(path: Path, detail: str) -> Misused:
    return Misused("CONFIGURATION", f"{path}: {detail[:300]}")
