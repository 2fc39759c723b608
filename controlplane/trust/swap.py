"""A change of the custodians' word, with what must change at the same time, as one transaction (design section 4).

Rules, each with a refusal in ``tests/trust/test_swap.py``:

* roots follow the published one; targets stand under the newest root by every rule of ``contracts.release.trust``, also when
  only the root is new; neither is expired when it comes;
* root names this server's online keys;
* every current role that stood still stands (``contracts.release.standing``), else ``TRUST_BREAKS_RELEASE`` and nothing is
  published; a renewal or a revocation list that comes with the change takes the place of the current one;
* a renewal is an approved release, held to every rule under the *new* word, asked for by an officer that it still names; while
  promotions are frozen it must have the active release's own bytes;
* a certificate is enrolled only for a key that the new word names.

Not here: rotation of who may call (a custodian's or the operator's certificate; what counts are the signatures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from tuf.api.metadata import Root, Targets

from contracts.errors import NotTrusted, Refused
from contracts.release import rules
from contracts.release.standing import SIGNED_TARGETS, broken_by, is_standing
from contracts.release.trust import ENVIRONMENTS, Trust, parse, trust_of
from controlplane.context import Context
from controlplane.identity import Principal
from controlplane.releases import freezing
from controlplane.releases import services as release_services
from controlplane.releases.services import Ask
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services
from controlplane.trust.signing import RoleFile

RENEWALS_MAX, PRINCIPALS_MAX = 8, 64
_SQL, _RELEASES = queries("controlplane.identity"), queries("controlplane.releases")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Change:
    """What custodians publish together. ``revocations`` by environment; ``renewals``: ``{environment, number, envelope}``;
    ``principals``: ``{sha256, kind, name, key_id}``.
    """

    roots: Sequence[bytes]
    targets: bytes
    revocations: Mapping[str, bytes] = field(default_factory=dict)
    renewals: Sequence[Mapping[str, Any]] = ()
    principals: Sequence[Mapping[str, Any]] = ()


async def publish_trust(context: Context, change: Change) -> dict[str, int]:
    """Publish a change as one transaction; the version of each role written. What is published already is no error.

    Raises ``NotTrusted RELEASE_*`` when a rule does not hold, ``Refused TRUST_BREAKS_RELEASE`` with every current role that
    would no longer stand, ``CannotEvaluate CONFIGURATION`` when root does not name this server's online keys.
    """
    async with context.pool.transaction() as connection:
        await services.lock(connection)
        newest = await services.newest_files(connection)
        root_files = services.new_roots(newest.get("root"), list(change.roots))
        root_file = root_files[-1] if root_files else newest["root"]
        root = parse(root_file.content, Root).signed
        services.check_online_keys(context, root)
        targets_file = services.targets_file(root, change.targets, newest.get("targets"))
        targets = parse(change.targets, Targets).signed
        if context.clock.now() >= min(root.expires, targets.expires):
            raise NotTrusted("RELEASE_EXPIRED", "root or targets has run out already")
        lists = _revocations(root, change, newest)
        renewals = await _renewals(context, connection, root, change)
        files = [*lists, *(file for _, file in renewals)]
        await _demand_standing(connection, newest, (root, targets), {file.role: file for file in files})
        await _enrol(connection, root, targets, change.principals)
        if not services.is_same(newest.get("targets"), change.targets):
            files.insert(0, targets_file)
        if not files and not root_files:
            return {"root": root.version, "targets": targets.version}
        written = [*root_files, *services.publication(context, {**newest, "root": root_file}, files)]
        await _write(connection, [ask for ask, _ in renewals], written)
    await services.log_published(context, written)
    return {file.role: file.version for file in written}


async def _write(connection: Connection, asks: list[Ask], files: list[RoleFile]) -> None:
    if not asks:
        await services.publish(connection, files)
    for number, ask in enumerate(asks):
        await release_services.activate(connection, ask, files if number == 0 else [])


def _revocations(root: Root, change: Change, newest: Mapping[str, RoleFile]) -> list[RoleFile]:
    """The next lists, each with every entry of the one before; the same version again is refused."""
    out = []
    for environment, data in change.revocations.items():
        trust, name = trust_of(root, change.targets, environment), f"{environment}-revocations"
        made = rules.verify_revocations(trust, data, environment)
        if (published := newest.get(name)) is not None:
            old = trust_of(parse(newest["root"].content, Root).signed, newest["targets"].content, environment)
            before = rules.verify_revocations(old, published.content, environment)
            made = rules.verify_revocations(trust, data, environment, before)
            if made.version <= before.version:
                raise NotTrusted("RELEASE_ROLLBACK", f"list {made.version} after {before.version}")
        out.append(RoleFile(name, made.version, data))
    return out


async def _renewals(
    context: Context, connection: Connection, root: Root, change: Change
) -> list[tuple[Ask, RoleFile]]:
    out = []
    for wanted in change.renewals:
        environment, number = wanted.get("environment"), wanted.get("number")
        if not isinstance(environment, str) or type(number) is not int or not 1 <= number < 2**53:
            raise Refused("REQUEST_INVALID", "renewals: each has environment, number and envelope")
        trust = trust_of(root, change.targets, environment)
        ask = Ask(await _officer(connection, trust, wanted), wanted["envelope"], environment, number)
        role, file = await release_services.promotable(context, connection, trust, ask)
        await freezing.demand_unfrozen_or_renewal(context, connection, role)
        out.append((ask, file))
    return out


async def _officer(connection: Connection, trust: Trust, wanted: Mapping[str, Any]) -> Principal:
    """Who signed the envelope of a renewal: the officer enrolled with its key."""
    try:
        key_id = str(wanted["envelope"]["signatures"][0]["keyid"])
    except (KeyError, TypeError, IndexError) as error:
        raise Refused("ENVELOPE_INVALID", "a renewal needs the envelope of the officer who asks for it") from error
    rows = await (await connection.execute(_SQL["officer_by_key"], (key_id,))).fetchall()
    if key_id not in trust.officers or not rows:
        raise Refused("OFFICER_UNKNOWN", "the renewal is asked for by a key that the new trust does not name")
    return Principal(**rows[0])


async def _demand_standing(
    connection: Connection, newest: Mapping[str, RoleFile], after: tuple[Root, Targets], renewed: Mapping[str, RoleFile]
) -> None:
    if "root" not in newest or "targets" not in newest:
        return
    before = (parse(newest["root"].content, Root).signed, parse(newest["targets"].content, Targets).signed)
    current = {name: file.content for name, file in newest.items() if is_standing(name)}
    files = {name: await _signed_targets(connection, file) for name, file in {**newest, **renewed}.items() if name in ENVIRONMENTS}
    broken = broken_by(before, after, current, {name: file.content for name, file in renewed.items()}, files)
    if broken:
        raise Refused("TRUST_BREAKS_RELEASE", "; ".join(map(str, broken)))


async def _signed_targets(connection: Connection, file: RoleFile) -> dict[str, bytes]:
    out: dict[str, bytes] = {}
    for path in SIGNED_TARGETS:
        row = await (await connection.execute(_RELEASES["target"], (file.role, file.version, path))).fetchone()
        if row is not None:
            out[path] = bytes(row["content"])
    return out


async def _enrol(
    connection: Connection, root: Root, targets: Targets, principals: Sequence[Mapping[str, Any]]
) -> None:
    named = keys_by_kind(root, targets)
    for entry in principals:
        values = tuple(str(entry.get(name)) for name in ("sha256", "kind", "name", "key_id"))
        sha256, kind, name, key_id = values
        if not _SHA256.fullmatch(sha256) or not _NAME.fullmatch(name) or key_id not in named.get(kind, ()):
            raise Refused("REQUEST_INVALID", f"principals: {name[:32]} as {kind[:32]}: no such key in the new trust")
        try:
            async with connection.transaction():
                await connection.execute(_SQL["enrol"], values)
        except psycopg.errors.UniqueViolation as error:
            raise Refused("REQUEST_INVALID", f"principals: {name}'s certificate is enrolled as another") from error


def keys_by_kind(root: Root, targets: Targets) -> dict[str, set[str]]:
    """The key ids of people that the custodians' word names, by the kind of principal."""
    out: dict[str, set[str]] = {"custodian": {k for role in ("root", "targets") for k in root.roles[role].keyids}}
    for name, role in ((targets.delegations.roles if targets.delegations else None) or {}).items():
        kind = "security_officer" if name.endswith("-revocations") else "officer"
        out.setdefault(kind, set()).update(role.keyids)
    return out
