"""Publishing: one transaction under one lock, versions that only rise, snapshot and timestamp signed with it.

The custodians' files are checked by the same rules as in a sidecar (``contracts.release.trust``) before they are
published; an attacker who owns this process skips that, and every sidecar refuses what he serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from tuf.api.metadata import Root, Targets

from contracts.errors import CannotEvaluate, NotTrusted, Refused
from contracts.keys import key_id_of
from contracts.release import rules
from contracts.release.trust import ENVIRONMENTS, Trust, parse, root_of, trust_of
from controlplane.context import Context
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust.signing import RoleFile, is_due, next_snapshot, next_timestamp

_SQL = queries("controlplane.trust")
_RESIGN_AFTER_SHARE = 12
"""A timestamp is signed again when a twelfth of its lifetime is used; a snapshot when half of it is."""


async def newest_files(connection: Connection) -> dict[str, RoleFile]:
    """The newest version of every role."""
    rows = await (await connection.execute(_SQL["newest"])).fetchall()
    return {row["role"]: RoleFile(row["role"], row["version"], bytes(row["content"])) for row in rows}


async def lock(connection: Connection) -> None:
    """Hold the repository until the end of the transaction: one publication at a time."""
    await connection.execute(_SQL["lock"])


async def trust_for(connection: Connection, environment: str) -> Trust:
    """What the published custodians' metadata says for an environment. Raises ``Refused RELEASE_STATE`` when none."""
    files = await newest_files(connection)
    if environment not in ENVIRONMENTS or "root" not in files or "targets" not in files:
        raise Refused("RELEASE_STATE", f"no custodians' metadata is published for {environment[:32]}")
    return trust_of(parse(files["root"].content, Root).signed, files["targets"].content, environment)


def publication(context: Context, newest: dict[str, RoleFile], changed: Sequence[RoleFile]) -> list[RoleFile]:
    """The changed files with the snapshot and timestamp that they need. Raises while halted."""
    context.demand_open()
    now = context.clock.now()
    snapshot = next_snapshot(newest, changed, context.snapshot_key, now + context.snapshot_lifetime)
    timestamp = next_timestamp(
        newest.get("timestamp"), snapshot, context.timestamp_key, now + context.timestamp_lifetime
    )
    return [*changed, snapshot, timestamp]


async def publish(connection: Connection, files: Sequence[RoleFile]) -> None:
    """Write role files; the caller holds the lock."""
    await connection.execute(_SQL["publish"], columns(files))


def columns(files: Sequence[RoleFile]) -> tuple[list[str], list[int], list[bytes]]:
    """Role files as three arrays."""
    return [f.role for f in files], [f.version for f in files], [f.content for f in files]


async def log_published(context: Context, files: Sequence[RoleFile]) -> None:
    """Tell who waits, and the evidence log, of new role versions. Called after the commit."""
    context.news.publish()
    if context.log_release_metadata is not None:
        for file in files:
            await context.log_release_metadata(file.role, file.version, file.sha256)


def new_roots(published: RoleFile | None, roots: list[bytes]) -> list[RoleFile]:
    """Of roots, oldest first, those that follow the published one. Raises ``NotTrusted RELEASE_*``."""
    parsed = [(parse(data, Root).signed.version, data) for data in roots]
    if published is None:
        if not parsed:
            raise Refused("REQUEST_INVALID", "the first publication needs a root")
        root_of(parsed[0][1], [data for _, data in parsed[1:]])
        return [RoleFile("root", version, data) for version, data in parsed]
    new = [(version, data) for version, data in parsed if version > published.version]
    root_of(published.content, [data for _, data in new])
    if any(version == published.version and data != published.content for version, data in parsed):
        raise NotTrusted("RELEASE_FORKED", f"root {published.version} is published with other bytes")
    return [RoleFile("root", version, data) for version, data in new]


def check_online_keys(context: Context, root: Root) -> None:
    """Raise ``CannotEvaluate CONFIGURATION`` when a root does not name this server's online keys."""
    for role, key in (("snapshot", context.snapshot_key), ("timestamp", context.timestamp_key)):
        if key_id_of(key) not in root.roles[role].keyids:
            raise CannotEvaluate("CONFIGURATION", f"root does not name this server's {role} key")


def is_same(published: RoleFile | None, data: bytes) -> bool:
    """Whether these bytes are published already."""
    return published is not None and published.content == data


def targets_file(root: Root, data: bytes, published: RoleFile | None) -> RoleFile:
    """The targets file by every rule of ``contracts.release.trust`` under a root, also when it is published already."""
    signed = parse(data, Targets).signed
    if published is not None and not is_same(published, data) and signed.version <= published.version:
        raise NotTrusted("RELEASE_ROLLBACK", f"targets {signed.version} after {published.version}")
    delegated = [name for name in (signed.delegations.roles or {} if signed.delegations else {}) if "-" not in name]
    for environment in delegated:
        trust_of(root, data, environment)
    if not delegated:
        raise NotTrusted("RELEASE_SHAPE", "targets delegates no environment")
    return RoleFile("targets", signed.version, data)


async def publish_revocations(context: Context, environment: str, data: bytes) -> int:
    """A revocation list signed by the security officer; it must contain every entry of the one before."""
    name = f"{environment}-revocations"
    async with context.pool.transaction() as connection:
        await lock(connection)
        trust = await trust_for(connection, environment)
        newest = await newest_files(connection)
        if is_same(newest.get(name), data):
            return newest[name].version
        before = newest.get(name)
        accepted = rules.verify_revocations(trust, before.content, environment) if before else None
        revocations = rules.verify_revocations(trust, data, environment, accepted)
        if before is not None and revocations.version <= before.version:
            raise NotTrusted("RELEASE_ROLLBACK", f"list {revocations.version} after {before.version}")
        files = publication(context, newest, [RoleFile(name, revocations.version, data)])
        await publish(connection, files)
    await log_published(context, files)
    return revocations.version


async def keep_fresh(context: Context) -> None:
    """Sign the timestamp (and the snapshot) again where it is due; nothing to do before the first publication."""
    context.demand_open()
    now = context.clock.now()
    left_min = context.timestamp_lifetime * (_RESIGN_AFTER_SHARE - 1) / _RESIGN_AFTER_SHARE
    async with context.pool.transaction() as connection:
        rows = await (await connection.execute(_SQL["newest_of"], ("timestamp",))).fetchall()
        if not rows or not is_due(RoleFile("timestamp", 0, bytes(rows[0]["content"])), now, left_min):
            return
        await lock(connection)
        newest = await newest_files(connection)
        context.demand_open()  # a halt may have come while this waited for the lock
        files = _renewal(context, newest, now)
        await publish(connection, files)
    await log_published(context, files)


def _renewal(context: Context, newest: dict[str, RoleFile], now: datetime) -> list[RoleFile]:
    if is_due(newest["snapshot"], now, context.snapshot_lifetime / 2):
        return publication(context, newest, [])
    expires = now + context.timestamp_lifetime
    return [next_timestamp(newest["timestamp"], newest["snapshot"], context.timestamp_key, expires)]


async def freshness_loop(context: Context) -> None:
    """Keep timestamp and snapshot fresh for ever."""
    pause_s = min(30.0, context.timestamp_lifetime.total_seconds() / (2 * _RESIGN_AFTER_SHARE))
    while True:
        await keep_fresh(context)
        await asyncio.sleep(pause_s)


async def log_all(context: Context) -> None:
    """At start: what was published before a crash could tell the log is told again."""
    if context.log_release_metadata is None:
        return
    for row in await context.pool.fetch(_SQL["to_log"]):
        await context.log_release_metadata(row["role"], row["version"], row["sha256"])


async def served_file(context: Context, name: str) -> bytes | None:
    """A metadata file by its TUF name: ``timestamp.json``, ``<version>.<role>.json``."""
    stem = name.removesuffix(".json")
    if stem == "timestamp":
        return await _content(context, "newest_of", stem)
    version, _, role = stem.partition(".")
    if not (version.isascii() and version.isdigit() and len(version) <= 12):
        return None
    return await context.served.get(
        ("metadata", role, int(version)), lambda: _content(context, "version_of", role, int(version))
    )


async def _content(context: Context, query: str, *parameters: object) -> bytes | None:
    rows = await context.pool.fetch(_SQL[query], *parameters)
    return bytes(rows[0]["content"]) if rows else None


async def newest_snapshot(context: Context) -> int:
    """The newest snapshot's version, 0 before the first publication."""
    rows = await context.pool.fetch(_SQL["newest_snapshot"])
    return int(rows[0]["version"])
