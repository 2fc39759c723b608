"""The key ceremony of a development stack: keys once, then root, targets and empty revocation lists signed with them.

    DIR/custodians/<custodian-1..3>/key.pem        2 of 3 sign root and targets
    DIR/officers/<alice, bruno, chanda, dalitso>/key.pem     2 approvals, the proposer's not counted
    DIR/security/<esnart, faith>/key.pem           one of them signs revocation lists
    DIR/gate/key.pem  DIR/build/key.pem (P-256)    gate results, OPA bundles
    DIR/controlplane/keys/{snapshot,timestamp,log}.pem       online
    DIR/trust/{1.root.json, targets.json, <env>-revocations.json}

Outside development the custodians sign on their own machines; what they sign is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from contracts.keys import key_id_of, load_private_key, new_private_key, public_hex, signer_of
from contracts.times import rfc3339
from symphony.stack.credentials import key_pem, load_key, new_key, write_private
from symphony.trust.plan import LIFETIME, Office, Plan, pem_of, revocation_list, root_of_plan, targets_of_plan

CUSTODIANS = ("custodian-1", "custodian-2", "custodian-3")
OFFICERS = ("alice", "bruno", "chanda", "dalitso")
SECURITY_OFFICER = "esnart"
SECURITY_OFFICERS = (SECURITY_OFFICER, "faith")  # either may sign a list; with one, its loss would stop every revocation
CUSTODIANS_MIN = 2
APPROVALS_MIN = 2
ONLINE = ("snapshot", "timestamp", "log")
TRUST_LIFETIME = LIFETIME


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
        return self.security(SECURITY_OFFICER)

    def security(self, name: str) -> Ed25519PrivateKey:
        """A security officer's key."""
        return load_private_key(self.folder / "security" / name / "key.pem")

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

    @property
    def plan(self) -> Plan:
        """Who holds which key, as the custodians sign it."""
        office = Office(OFFICERS, APPROVALS_MIN, SECURITY_OFFICERS)
        return Plan(
            custodians={name: public_hex(self.custodian(name)) for name in CUSTODIANS}, custodians_min=CUSTODIANS_MIN,
            officers={name: public_hex(self.officer(name)) for name in OFFICERS},
            security_officers={name: public_hex(self.security(name)) for name in SECURITY_OFFICERS},
            gate={"gate": public_hex(self.gate)}, build_pem=public_pem(self.build),
            online={name: public_hex(self.online(name)) for name in ("snapshot", "timestamp")},
            environments=dict.fromkeys(self.environments, office), lifetime=TRUST_LIFETIME,
        )  # fmt: skip

    def root(self, now: datetime, *, version: int = 1) -> bytes:
        """A root, signed by the custodians."""
        return _signed(root_of_plan(self.plan, version=version, now=now), self._signing_custodians)

    def targets(self, now: datetime, *, version: int = 1) -> bytes:
        """The custodians' targets: gate keys, build key, and the delegations of every environment."""
        return _signed(targets_of_plan(self.plan, version=version, now=now), self._signing_custodians)

    @property
    def _signing_custodians(self) -> list[Ed25519PrivateKey]:
        return [self.custodian(name) for name in CUSTODIANS[:CUSTODIANS_MIN]]

    def revocations(self, environment: str, version: int, entries: Sequence[Mapping[str, Any]], now: datetime) -> bytes:
        """A revocation list, signed by the security officer."""
        return signed_revocations(self.security_officer, environment, version, entries, now)

    def _ed25519_paths(self) -> list[Path]:
        people = [("custodians", name) for name in CUSTODIANS] + [("officers", name) for name in OFFICERS]
        people += [("security", name) for name in SECURITY_OFFICERS]
        paths = [self.folder / kind / name / "key.pem" for kind, name in people]
        paths.append(self.folder / "gate" / "key.pem")
        return paths + [self.folder / "controlplane" / "keys" / f"{name}.pem" for name in ONLINE]


def signed_revocations(
    key: Ed25519PrivateKey, environment: str, version: int, entries: Sequence[Mapping[str, Any]], now: datetime
) -> bytes:
    """A revocation list signed by a security officer's key."""
    return _signed(revocation_list(environment, version, entries, now), [key])


def revocation(kind: str, identifier: str, reason: str, now: datetime, until: datetime | None = None) -> dict[str, Any]:
    """One entry of a revocation list."""
    end = rfc3339(until) if until else None
    return {"kind": kind, "id": identifier, "reason": reason, "revoked_at": rfc3339(now), "until": end}


def build_key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """The TUF key id of the build key."""
    return str(SSlibKey.from_crypto(key.public_key()).keyid)


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half as PEM."""
    return pem_of(key.public_key())


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
