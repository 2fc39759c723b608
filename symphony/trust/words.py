"""Root and targets in words: what a custodian reads before he signs, and what a change changes."""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api.metadata import Root, Targets

from contracts.release.model import FIELD
from symphony.trust.change import CUSTODIAN_ROLES, ONLINE_ROLES, names_of


def said(root: Root, targets: Targets) -> list[str]:
    """Who holds which key and how many must sign, a sentence each."""
    return [*_root(root), *_targets(targets)]


def difference(before: tuple[Root, Targets], after: tuple[Root, Targets]) -> list[str]:
    """What a change takes away and adds."""
    old, new = said(*before), said(*after)
    return [f"- {line}" for line in old if line not in new] + [f"+ {line}" for line in new if line not in old]


def _root(root: Root) -> Iterator[str]:
    named = names_of(root)
    yield f"root {root.version}, until {root.expires.date()}"
    for role in CUSTODIAN_ROLES:
        yield f"{role}: {root.roles[role].threshold} of {len(root.roles[role].keyids)} custodians sign"
    yield from (f"custodian {_key(key_id, named)}" for key_id in root.roles["root"].keyids)
    for role in ONLINE_ROLES:
        yield from (f"{role} key {_key(key_id, named)}" for key_id in root.roles[role].keyids)


def _targets(targets: Targets) -> Iterator[str]:
    named, field = names_of(targets), targets.unrecognized_fields[FIELD]
    yield f"targets {targets.version}, until {targets.expires.date()}"
    yield from (f"gate key {_key(key['key_id'], named)}" for key in field["gate_keys"])
    yield f"build key {field['build_key']['key_id'][:16]}…"
    for name, role in ((targets.delegations.roles if targets.delegations else None) or {}).items():
        person = "security officer" if name.endswith("-revocations") else "officer"
        yield f"{name}: {role.threshold} of {len(role.keyids)} {person}s sign"
        yield from (f"{person} {_key(key_id, named)} of {name}" for key_id in role.keyids)


def _key(key_id: str, named: dict[str, str]) -> str:
    return f"{named.get(key_id, '?')} ({key_id[:16]}…)"
