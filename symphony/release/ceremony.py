"""The key ceremony of a development stack: keys once, then root, targets and empty revocation lists signed with them.

    DIR/custodians/<custodian-1..3>/key.pem        2 of 3 sign root and targets
    DIR/officers/<alice, bruno, chanda, dalitso>/key.pem     2 approvals, the proposer's not counted
    DIR/security/<esnart>/key.pem                  signs revocation lists
    DIR/gate/key.pem  DIR/build/key.pem (P-256)    gate results, OPA bundles
    DIR/controlplane/keys/{snapshot,timestamp,log}.pem       online
    DIR/trust/{1.root.json, targets.json, <env>-revocations.json}

Outside development the custodians sign on their own machines; what they sign is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Key, Metadata, Role, Root, Targets

from contracts.keys import key_id_of, load_private_key, new_private_key, public_hex, signer_of
from contracts.release.model import FIELD
from contracts.release.trust import revocations_paths, role_paths
from contracts.times import rfc3339
from symphony.stack.credentials import key_pem, load_key, new_key, write_private

CUSTODIANS = ("custodian-1", "custodian-2", "custodian-3")
OFFICERS = ("alice", "bruno", "chanda", "dalitso")
SECURITY_OFFICER = "esnart"
CUSTODIANS_MIN = 2
APPROVALS_MIN = 2
ONLINE = ("snapshot", "timestamp", "log")
TRUST_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Ceremony:
    """The keys of a stack folder. ``Ceremony(folder).make_keys()``, then ``sign_trust``."""

    folder: Path
    environments: Sequence[str] = ("sandbox",)

    def make_keys(self) -> None:
        """Make what is missing; a key that is there is kept."""
        for path in self._ed25519_paths():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                new_private_key(path)
        if not self.build_path.exists():
            self.build_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self.build_path, key_pem(new_key()))

    def custodian(self, name: str) -> Ed25519PrivateKey:
        """A custodian's key."""
        return load_private_key(self.folder / "custodians" / name / "key.pem")

    def officer(self, name: str) -> Ed25519PrivateKey:
        """An officer's key."""
        return load_private_key(self.folder / "officers" / name / "key.pem")

    @property
    def security_officer(self) -> Ed25519PrivateKey:
        """The security officer's key."""
        return load_private_key(self.folder / "security" / SECURITY_OFFICER / "key.pem")

    @property
    def gate(self) -> Ed25519PrivateKey:
        """The gate key."""
        return load_private_key(self.folder / "gate" / "key.pem")

    @property
    def build_path(self) -> Path:
        """Where the build key lies."""
        return self.folder / "build" / "key.pem"

    @property
    def build(self) -> ec.EllipticCurvePrivateKey:
        """The build key (ES256)."""
        return load_key(self.build_path)

    def online(self, name: str) -> Ed25519PrivateKey:
        """An online key: ``snapshot``, ``timestamp`` or ``log``."""
        return load_private_key(self.folder / "controlplane" / "keys" / f"{name}.pem")

    @property
    def root_path(self) -> Path:
        """The root that services pin."""
        return self.folder / "trust" / "1.root.json"

    def principals(self, fingerprints: Mapping[str, str], services: Mapping[str, str]) -> dict[str, Any]:
        """The control plane's list of who may ask. ``fingerprints``: SHA-256 (hex) of the client certificate of each
        officer and of the security officer by name; ``services``: likewise by service name.
        """
        people = {name: ("officer", self.officer(name)) for name in OFFICERS}
        people[SECURITY_OFFICER] = ("security_officer", self.security_officer)
        people[CUSTODIANS[0]] = ("custodian", self.custodian(CUSTODIANS[0]))
        entries: list[dict[str, Any]] = [
            {"sha256": sha256, "kind": people[name][0], "name": name, "key_id": key_id_of(people[name][1])}
            for name, sha256 in fingerprints.items()
        ]
        entries += [{"sha256": s, "kind": "service", "name": name, "key_id": None} for name, s in services.items()]
        return {"principals": entries}

    def sign_trust(self, now: datetime) -> dict[str, bytes]:
        """Root, targets and empty revocation lists, signed and written to ``DIR/trust``; kept when they are there."""
        folder = self.folder / "trust"
        folder.mkdir(parents=True, exist_ok=True)
        made = {"1.root.json": self.root, "targets.json": self.targets}
        out: dict[str, bytes] = {}
        for name, make in made.items():
            out[name] = _kept(folder / name) or _written(folder / name, make(now))
        for environment in self.environments:
            name = f"{environment}-revocations.json"
            out[name] = _kept(folder / name) or _written(folder / name, self.revocations(environment, 1, [], now))
        return out

    def root(self, now: datetime, *, version: int = 1) -> bytes:
        """A root, signed by the custodians."""
        root = Root(version=version, expires=_expiry(now), consistent_snapshot=True)
        custodians = [self.custodian(name) for name in CUSTODIANS]
        for role in ("root", "targets"):
            for key in custodians:
                root.add_key(_public(key), role)
            root.roles[role] = Role(root.roles[role].keyids, CUSTODIANS_MIN)
        root.add_key(_public(self.online("snapshot")), "snapshot")
        root.add_key(_public(self.online("timestamp")), "timestamp")
        return _signed(root, custodians[:CUSTODIANS_MIN])

    def targets(self, now: datetime, *, version: int = 1) -> bytes:
        """The custodians' targets: gate keys, build key, and the delegations of every environment."""
        officers = [_public(self.officer(name)) for name in OFFICERS]
        security = _public(self.security_officer)
        roles: dict[str, DelegatedRole] = {}
        for environment in self.environments:
            for name in (environment, f"{environment}-emergency"):
                roles[name] = _delegated(name, officers, APPROVALS_MIN, role_paths(name))
            name = f"{environment}-revocations"
            roles[name] = _delegated(name, [security], 1, revocations_paths(environment))
        keys: dict[str, Key] = {key.keyid: key for key in (*officers, security)}
        named = {
            "gate_keys": [{"key_id": key_id_of(self.gate), "public_key": public_hex(self.gate)}],
            "build_key": {"key_id": build_key_id(self.build), "public_key_pem": public_pem(self.build)},
        }
        signed = Targets(
            version=version,
            expires=_expiry(now),
            delegations=Delegations(keys, roles),
            unrecognized_fields={FIELD: named},
        )
        return _signed(signed, [self.custodian(name) for name in CUSTODIANS[:CUSTODIANS_MIN]])

    def revocations(self, environment: str, version: int, entries: Sequence[Mapping[str, Any]], now: datetime) -> bytes:
        """A revocation list, signed by the security officer."""
        return signed_revocations(self.security_officer, environment, version, entries, now)

    def _ed25519_paths(self) -> list[Path]:
        people = [("custodians", name) for name in CUSTODIANS] + [("officers", name) for name in OFFICERS]
        people.append(("security", SECURITY_OFFICER))
        paths = [self.folder / kind / name / "key.pem" for kind, name in people]
        paths.append(self.folder / "gate" / "key.pem")
        return paths + [self.folder / "controlplane" / "keys" / f"{name}.pem" for name in ONLINE]


def signed_revocations(
    key: Ed25519PrivateKey, environment: str, version: int, entries: Sequence[Mapping[str, Any]], now: datetime
) -> bytes:
    """A revocation list signed by a security officer's key."""
    field = {FIELD: {"environment": environment, "entries": [dict(entry) for entry in entries]}}
    return _signed(Targets(version=version, expires=_expiry(now), unrecognized_fields=field), [key])


def revocation(kind: str, identifier: str, reason: str, now: datetime, until: datetime | None = None) -> dict[str, Any]:
    """One entry of a revocation list."""
    end = rfc3339(until) if until else None
    return {"kind": kind, "id": identifier, "reason": reason, "revoked_at": rfc3339(now), "until": end}


def build_key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """The TUF key id of the build key."""
    return str(SSlibKey.from_crypto(key.public_key()).keyid)


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def _public(key: Ed25519PrivateKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.public_key())


def _delegated(name: str, keys: Sequence[SSlibKey], threshold: int, paths: list[str]) -> DelegatedRole:
    return DelegatedRole(name, [key.keyid for key in keys], threshold, terminating=True, paths=paths)


def _expiry(now: datetime) -> datetime:
    return (now + TRUST_LIFETIME).replace(microsecond=0)


def _signed(role: Root | Targets, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    metadata: Metadata[Any] = Metadata(role)
    for key in keys:
        metadata.sign(signer_of(key), append=True)
    return metadata.to_bytes()


def _kept(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _written(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    return data
