"""Changes of keys as pure functions: from the published root and targets to the next, not signed.

Every change makes root N+1 (signed by the threshold of the old custodians and of the new) and targets N+1, both with a fresh
expiry; an officer's change makes targets only. The rules of ``contracts.release.trust`` are applied before anybody signs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tuf.api.metadata import Metadata, Root, Targets

from contracts.errors import Refused
from contracts.release import rules
from contracts.release.model import FIELD
from contracts.release.standing import Broken, broken_by
from contracts.release.trust import trust_of, unsigned_trust_of
from symphony.trust.plan import build_entry, expiry, names, revocation_list, tuf_key
from symphony.trust.published import Published

CUSTODIAN_ROLES = ("root", "targets")
ONLINE_ROLES = ("snapshot", "timestamp")
PUBLISHED_ROOT = "published-root.json"
"""In a folder of drafts: the newest root that is published."""


@dataclass
class Next:
    """The next root and targets while they are made. ``root_changes`` says whether a new root is needed."""

    published: Published
    root: Root = field(init=False)
    targets: Targets = field(init=False)
    root_changes: bool = False
    relist: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.root, self.targets = copy.deepcopy(self.published.root), copy.deepcopy(self.published.targets)

    def add_custodian(self, name: str, public: str) -> None:
        """One more key for root and targets."""
        self._named_in(self.root, name, public)
        for role in CUSTODIAN_ROLES:
            self._new(public, self.root.roles[role].keyids)
            self.root.add_key(tuf_key(public), role)
        self.root_changes = True

    def remove_custodian(self, who: str) -> None:
        """A custodian's key by name or id, out of root and targets."""
        key_id = self._key_of(self.root, who, self.root.roles["root"].keyids)
        for role in CUSTODIAN_ROLES:
            if key_id in self.root.roles[role].keyids:
                self.root.revoke_key(key_id, role)
        self.root_changes = True

    def custodians_min(self, threshold: int) -> None:
        """How many custodians must sign from now on."""
        for role in CUSTODIAN_ROLES:
            self.root.roles[role].threshold = threshold
        self.root_changes = True

    def add_online(self, role: str, public: str) -> None:
        """One more key for snapshot or timestamp; the old one stays until it is removed."""
        self._new(public, self.root.roles[role].keyids)
        self._named_in(self.root, role, public)
        self.root.add_key(tuf_key(public), role)
        self.root_changes = True

    def remove_online(self, role: str, key_id: str) -> None:
        """An online key by its id, or the beginning of it."""
        self.root.revoke_key(self._key_of(self.root, key_id, self.root.roles[role].keyids), role)
        self.root_changes = True

    def add_gate(self, name: str, public: str) -> None:
        """One more gate key."""
        self._named_in(self.targets, name, public)
        self.targets.unrecognized_fields[FIELD]["gate_keys"].append(
            {"key_id": tuf_key(public).keyid, "public_key": public}
        )

    def remove_gate(self, who: str) -> None:
        """A gate key by name or id."""
        keys = self.targets.unrecognized_fields[FIELD]["gate_keys"]
        key_id = self._key_of(self.targets, who, [key["key_id"] for key in keys])
        self.targets.unrecognized_fields[FIELD]["gate_keys"] = [key for key in keys if key["key_id"] != key_id]

    def build(self, pem: str) -> None:
        """Another build key; bundles that the old one signed need a renewal with it."""
        self.targets.unrecognized_fields[FIELD]["build_key"] = build_entry(pem)

    def add_officer(self, environment: str, name: str, public: str) -> None:
        """One more officer of an environment."""
        for role in self._officer_roles(environment):
            self._delegate(role, name, public)

    def remove_officer(self, environment: str, who: str) -> str:
        """An officer by name or key id; the id."""
        roles = self._officer_roles(environment)
        key_id = self._key_of(self.targets, who, self.targets.get_delegated_role(environment).keyids)
        for role in roles:
            if key_id in self.targets.get_delegated_role(role).keyids:
                self.targets.revoke_key(key_id, role)
        return key_id

    def add_security_officer(self, environment: str, name: str, public: str) -> None:
        """One more security officer of an environment."""
        self._officer_roles(environment)
        self._delegate(f"{environment}-revocations", name, public)

    def remove_security_officer(self, environment: str, who: str) -> None:
        """A security officer; the list in force is to be signed again by one who stays."""
        self._officer_roles(environment)
        role = f"{environment}-revocations"
        key_id = self._key_of(self.targets, who, self.targets.get_delegated_role(role).keyids)
        self.targets.revoke_key(key_id, role)
        self.relist.add(environment)

    def files(self, now: datetime) -> dict[str, bytes]:
        """The drafts by file name, and the newest published root beside them where there is a new one.

        Raises ``NotTrusted RELEASE_*`` when the change breaks a rule, whoever signs it.
        """
        self.targets.version, self.targets.expires = self.published.targets.version + 1, expiry(now)
        if self.root_changes:
            self.root.version, self.root.expires = self.published.root.version + 1, expiry(now)
        self._demand_enough()
        out = {PUBLISHED_ROOT: self.published.roots[-1]}
        if self.root_changes:
            out[f"{self.root.version}.root.json"] = Metadata(self.root).to_bytes()
        out[f"{self.targets.version}.targets.json"] = Metadata(self.targets).to_bytes()
        return out | {f"{version}.{name}.json": data for name, version, data in self._lists(now)}

    def _demand_enough(self) -> None:
        """Every threshold can be met."""
        for name, role in self.root.roles.items():
            if len(role.keyids) < role.threshold:
                raise Refused("REQUEST_INVALID", f"{name}: {len(role.keyids)} keys, and {role.threshold} must sign")
        for environment in self.published.environments:
            trust = unsigned_trust_of(self.root, self.targets, environment)
            if len(trust.officers) <= trust.approvals_min:
                raise Refused("REQUEST_INVALID", f"{environment}: too few officers: a proposer and {trust.approvals_min} more")
            if not trust.security_officers:
                raise Refused("REQUEST_INVALID", f"{environment}: no security officer is left")

    def broken(self, renewed: Mapping[str, bytes] | None = None) -> list[Broken]:
        """The current roles that would not stand any more."""
        before = (self.published.root, self.published.targets)
        relisted = {f"{environment}-revocations" for environment in self.relist}
        current = {name: data for name, data in self.published.roles.items() if name not in relisted}
        return broken_by(before, (self.root, self.targets), current, renewed)

    def _lists(self, now: datetime) -> list[tuple[str, int, bytes]]:
        out = []
        for environment in sorted(self.relist):
            name = f"{environment}-revocations"
            trust = trust_of(self.published.root, self.published.targets_bytes, environment)
            before = rules.verify_revocations(trust, self.published.roles[name], environment)
            made = revocation_list(environment, before.version + 1, before.entries, now)
            out.append((name, made.version, Metadata(made).to_bytes()))
        return out

    def environment(self, name: str) -> str:
        """An environment that the custodians delegate. Raises ``Refused REQUEST_INVALID`` for any other."""
        if name not in self.published.environments:
            raise Refused("REQUEST_INVALID", f"the custodians delegate no environment {name[:32]}")
        return name

    def _officer_roles(self, environment: str) -> tuple[str, str]:
        return self.environment(environment), f"{environment}-emergency"

    def _delegate(self, role: str, name: str, public: str) -> None:
        self._new(public, self.targets.get_delegated_role(role).keyids)
        self._named_in(self.targets, name, public)
        self.targets.add_key(tuf_key(public), role)

    @staticmethod
    def _new(public: str, key_ids: list[str]) -> None:
        if tuf_key(public).keyid in key_ids:
            raise Refused("REQUEST_INVALID", "that key stands there already")

    @staticmethod
    def _named_in(signed: Root | Targets, name: str, public: str) -> None:
        known = signed.unrecognized_fields.setdefault(FIELD, {}).setdefault("names", {})
        known |= names({name: public})

    @staticmethod
    def _key_of(signed: Root | Targets, who: str, key_ids: list[str]) -> str:
        named = names_of(signed)
        found = [key_id for key_id in key_ids if named.get(key_id) == who or (len(who) >= 8 and key_id.startswith(who))]
        if len(found) != 1:
            there = ", ".join(f"{named.get(key_id, '?')} ({key_id[:16]}…)" for key_id in key_ids)
            raise Refused("REQUEST_INVALID", f"{who!r} names {len(found)} keys there, but there are: {there}")
        return found[0]


def names_of(signed: Root | Targets) -> dict[str, str]:
    """Key id to name, as the custodians signed it; for people to read, never to decide by."""
    field = signed.unrecognized_fields.get(FIELD)
    found = field.get("names") if isinstance(field, dict) else None
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
