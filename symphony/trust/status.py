"""How the custodians' word stands, as a pure function: who signs what, how many keys may still be lost, what runs out when.

* ``may_lose`` of a role: keys that can be lost before its threshold cannot be met; for officers the proposer is not counted.
  Zero is red for people (custodians, officers, security officers): the next loss stops them. Online, gate and build keys are
  machines'; the custodians replace them, so zero is said and is not red.
* Expiry: a warning 30, 7 and 1 days before, a level only where it is at most half of the role's own lifetime (a production
  role lives 30 days); what has run out is red. Snapshot and timestamp are signed again by the control plane: red only when run out.
* Whether each current role stands under what is published (``contracts.release.standing``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tuf.api.metadata import Targets

from contracts.errors import NotTrusted
from contracts.release import rules
from contracts.release.model import FIELD
from contracts.release.standing import broken_by
from contracts.release.trust import parse, unsigned_trust_of
from contracts.times import parse_rfc3339, rfc3339
from symphony.trust.change import names_of
from symphony.trust.published import Published

SCHEMA = "symphony.trust-status/1"
WARN_DAYS = (1, 7, 30)
RED, WARNED = 1, 7


def status(published: Published, now: datetime) -> dict[str, Any]:
    """The document: ``roles``, ``environments``, ``red`` and ``warnings`` (sentences)."""
    roles = list(_custodians(published)) + list(_online(published))
    for environment in published.environments:
        roles += _environment(published, environment)
    roles += _machines(published)
    for role in roles:
        role["warning"] = _warning(role, now)
    broken = broken_by(None, (published.root, published.targets), published.roles)
    return {
        "schema": SCHEMA, "at": rfc3339(now), "root_version": published.root.version,
        "targets_version": published.targets.version, "roles": roles,
        "environments": {name: _officers(published, name) for name in published.environments},
        "red": [line for role in roles for line in _red(role)] + [str(one) for one in broken],
        "warnings": [line for role in roles for line in _warned(role)],
    }  # fmt: skip


def exit_code(document: Mapping[str, Any], *, fail_on_warn: bool) -> int:
    """1 when anything is red, 7 for warnings where they are asked for, else 0."""
    if document["red"]:
        return RED
    return WARNED if fail_on_warn and document["warnings"] else 0


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The document for people."""
    yield f"root {document['root_version']}, targets {document['targets_version']}, at {document['at']}"
    yield f"  {'role':<22} {'version':>7} {'threshold':>9} {'keys':>5} {'may lose':>9}  runs out"
    for role in document["roles"]:
        counts = f"{role['version'] or '-':>7} {role['threshold']:>9} {len(role['keys']):>5} {role['may_lose']:>9}"
        yield f"  {role['name']:<22} {counts}  {(role['expires'] or 'never')[:16]}{_ends_soon(role['warning'])}"
    for environment, officers in document["environments"].items():
        yield f"officers of {environment}: " + ", ".join(f"{one['name']} ({one['key_id'][:16]}…)" for one in officers)
    yield from (f"warning: {line}" for line in document["warnings"])
    yield from (f"red: {line}" for line in document["red"])


def _ends_soon(warning: int | None) -> str:
    return "" if warning is None else "  HAS RUN OUT" if warning == 0 else f"  in less than {warning} days"


def _custodians(published: Published) -> Iterator[dict[str, Any]]:
    root, named = published.root, names_of(published.root)
    for name, version, expires in (
        ("root", root.version, root.expires), ("targets", published.targets.version, published.targets.expires),
    ):  # fmt: skip
        yield _role(name, "people", root.roles[name], named, version, expires)


def _online(published: Published) -> Iterator[dict[str, Any]]:
    named = names_of(published.root)
    for name, signed in (("snapshot", published.snapshot), ("timestamp", published.timestamp)):
        version, expires = (signed.version, signed.expires) if signed else (None, None)
        yield _role(name, "online", published.root.roles[name], named, version, expires)


def _environment(published: Published, environment: str) -> list[dict[str, Any]]:
    named, out = names_of(published.targets), []
    for name in (environment, f"{environment}-emergency", f"{environment}-revocations"):
        delegated = (published.targets.delegations.roles if published.targets.delegations else None) or {}
        if name not in delegated:
            continue
        data = published.roles.get(name)
        signed = parse(data, Targets).signed if data is not None else None
        made = _role(
            name, "people", delegated[name], named, signed.version if signed else None, signed.expires if signed else None
        )
        if not name.endswith("-revocations"):
            made["may_lose"] -= 1  # the proposer's own key counts for nothing
        made["lifetime_s"] = _lifetime(signed)
        out.append(made)
    return out


def _machines(published: Published) -> list[dict[str, Any]]:
    field, named = published.targets.unrecognized_fields[FIELD], names_of(published.targets)
    gate = [{"key_id": key["key_id"], "name": named.get(key["key_id"])} for key in field["gate_keys"]]
    build = [{"key_id": field["build_key"]["key_id"], "name": "build"}]
    return [
        {"name": name, "kind": "machine", "version": None, "threshold": 1, "keys": keys, "may_lose": len(keys) - 1,
         "expires": None, "lifetime_s": None}
        for name, keys in (("gate", gate), ("build", build))
    ]  # fmt: skip


def _role(
    name: str, kind: str, role: Any, named: Mapping[str, str], version: int | None, expires: datetime | None
) -> dict[str, Any]:
    keys = [{"key_id": key_id, "name": named.get(key_id)} for key_id in role.keyids]
    return {
        "name": name, "kind": kind, "version": version, "threshold": role.threshold, "keys": keys,
        "may_lose": len(keys) - role.threshold, "expires": rfc3339(expires) if expires else None, "lifetime_s": None,
    }  # fmt: skip


def _lifetime(signed: Targets | None) -> int | None:
    """How long a release's role lives in all, where its signed part says when it began."""
    try:
        began = parse_rfc3339(signed.unrecognized_fields[FIELD]["not_before"]) if signed else None
    except (KeyError, TypeError, ValueError):
        return None
    return int((signed.expires - began).total_seconds()) if signed and began else None


def _warning(role: Mapping[str, Any], now: datetime) -> int | None:
    """0 when it has run out, else the smallest of 1, 7, 30 days that it is within, else ``None``."""
    if role["expires"] is None:
        return None
    left = parse_rfc3339(role["expires"]) - now
    if left <= timedelta():
        return 0
    if role["kind"] == "online":
        return None
    lifetime = timedelta(seconds=role["lifetime_s"]) if role["lifetime_s"] else None
    levels: Sequence[int] = [days for days in WARN_DAYS if lifetime is None or timedelta(days=days) <= lifetime / 2]
    return next((days for days in levels if left <= timedelta(days=days)), None)


def _red(role: Mapping[str, Any]) -> Iterator[str]:
    if role["may_lose"] < 0:
        yield f"{role['name']}: its threshold of {role['threshold']} cannot be met any more"
    elif role["may_lose"] == 0 and role["kind"] == "people":
        yield f"{role['name']}: no key may be lost; name one more: symphony trust {_more(role['name'])}"
    if role["warning"] == 0:
        yield f"{role['name']}: ran out at {role['expires']}; {_renew(role['name'])}"


def _warned(role: Mapping[str, Any]) -> Iterator[str]:
    if role["warning"]:
        yield f"{role['name']} runs out within {role['warning']} days, at {role['expires']}; {_renew(role['name'])}"


def _more(name: str) -> str:
    if name in {"root", "targets"}:
        return "rotate --add-custodian"
    return "rotate --add-security-officer" if name.endswith("-revocations") else "enrol-officer"


def _renew(name: str) -> str:
    if name in {"root", "targets"}:
        return "symphony trust rotate"
    if name in {"snapshot", "timestamp"}:
        return "the control plane signs it again while it runs"
    return "the security officer signs the next list" if name.endswith("-revocations") else "renew the release"


def _officers(published: Published, environment: str) -> list[dict[str, Any]]:
    named = names_of(published.targets)
    key_ids = published.targets.get_delegated_role(environment).keyids
    out: list[dict[str, Any]] = [{"key_id": key_id, "name": named.get(key_id) or "?"} for key_id in key_ids]
    data = published.roles.get(environment)
    if data is None:
        return out
    try:
        role = rules.read_role(unsigned_trust_of(published.root, published.targets, environment), data, environment)
    except NotTrusted:
        return out  # the red list says why
    for one in out:
        part = "proposed" if one["key_id"] == role.proposer_key_id else None
        one["in_release"] = "approved" if one["key_id"] in role.approver_key_ids else part
    return out
