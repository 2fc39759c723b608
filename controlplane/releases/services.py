"""A release's way: PROPOSED, APPROVED, ACTIVE, SUPERSEDED (design section 4, POL-07, D5).

Rules, each with a refusal in ``tests/releases/test_workflow.py``:

* every change is asked for by an officer of the environment's role, in an envelope by his own key, which is kept;
* a proposal is checked by the same rules as in a sidecar, and is the proposer's own;
* nobody approves his own proposal; one key material counts once; a signature over other bytes is refused;
* a promotion needs the threshold, the next number, the release's own times and no freeze; it is one transaction with its metadata,
  one at a time (advisory lock), judged by the unique index on the active row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from tuf.api.metadata import Metadata, Signature

from contracts.canonical import sha256_hex
from contracts.errors import NotTrusted, Refused, SymphonyError
from contracts.release import rules
from contracts.release.build import check_build, named
from contracts.release.contents import Contents, verify_contents
from contracts.release.impact import IMPACT, verify_impact
from contracts.release.model import Role
from contracts.release.trust import Trust
from controlplane.context import Context
from controlplane.identity import Principal, opened_envelope
from controlplane.releases import freezing
from controlplane.releases.refusing import keeps_refusals
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services
from controlplane.trust.signing import RoleFile

_SQL = queries("controlplane.releases")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Ask:
    """An officer's request for one release: who, over which envelope."""

    principal: Principal
    envelope: dict[str, Any]
    environment: str
    number: int

    @property
    def kept(self) -> bytes:
        """The envelope as it is kept."""
        return orjson.dumps(self.envelope)


async def propose(context: Context, principal: Principal, body: Mapping[str, Any], files: Mapping[str, bytes]) -> Role:
    """Record a proposal. ``files`` by digest; ``body`` has ``envelope``, ``environment`` and ``metadata`` (bytes)."""
    environment, metadata = str(body["environment"]), bytes(body["metadata"])
    async with context.pool.transaction() as connection:
        trust = await trust_services.trust_for(connection, environment)
    role = rules.read_role(trust, metadata, environment)
    ask = Ask(principal, body["envelope"], environment, role.number)
    wanted = _opened(trust, ask, "propose", role.digest)
    if role.proposer_key_id != principal.key_id:
        raise Refused("ENVELOPE_INVALID", "the proposal names another proposer than the officer who sends it")
    by_path = _by_path(role, files)
    contents = verify_contents(trust, role, by_path)
    if wanted.get("reason") != contents.proposal["reason"]:
        raise Refused("ENVELOPE_INVALID", "the envelope and the proposal give different reasons")
    if context.clock.now() >= role.activate_before:
        raise Refused("RELEASE_LATE", f"activate_before is {role.activate_before.isoformat()}")
    by_path |= _impact(contents.proposal, role, files)
    by_path |= _build(trust, contents, role, files)
    await _record_proposal(context, ask, role, _without_signatures(metadata), contents.proposal["reason"], by_path)
    return role


async def _record_proposal(
    context: Context, ask: Ask, role: Role, metadata: bytes, reason: str, files: Mapping[str, bytes]
) -> None:
    paths = sorted(files)
    values = (
        ask.environment, role.number, role.targets["policy.wasm"].sha256, role.digest, metadata,
        ask.principal.key_id, ask.principal.name, reason, ask.kept,
        paths, [sha256_hex(files[path]) for path in paths], [files[path] for path in paths],
    )  # fmt: skip
    await _changed(context, "propose", values)


@keeps_refusals("approve")
async def approve(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> str:
    """Record an approval; the status after it. Raises ``OFFICER_IS_PROPOSER``, ``RELEASE_SIGNATURE``, …"""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await trust_services.trust_for(connection, environment)
        row = await row_of(connection, environment, number)
        wanted = _opened(trust, Ask(principal, envelope, environment, number), "approve", row["metadata_digest"])
        key_id, signature = str(principal.key_id), str(wanted.get("signature"))
        if not _SIGNATURE.fullmatch(signature):
            raise NotTrusted("RELEASE_SIGNATURE", "the approval carries no Ed25519 signature")
        if trust.officers[key_id] == trust.officers.get(row["proposer_key_id"]):
            raise Refused("OFFICER_IS_PROPOSER")
        before = await _signatures(connection, environment, number)
        if key_id in before:
            raise Refused("RELEASE_STATE", f"{principal.name} has approved release {number} already")
        role = rules.read_role(trust, _signed(row["metadata"], {**before, key_id: signature}), environment)
        if key_id not in role.approver_key_ids:
            raise NotTrusted("RELEASE_SIGNATURE", "the approval's signature does not hold, or its key counts already")
        reached = len(role.approver_key_ids) >= trust.approvals_min
        kept = orjson.dumps(envelope)
        values = (environment, number, key_id, signature, principal.name, kept, reached)
        await execute(connection, "approve", values)
    return "APPROVED" if reached else "PROPOSED"


@keeps_refusals("promote")
async def promote(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> Role:
    """Activate an approved release: its role file, snapshot and timestamp and the status in one transaction (D5)."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await trust_services.trust_for(connection, environment)
        ask = Ask(principal, envelope, environment, number)
        role, file = await promotable(context, connection, trust, ask)
        await freezing.demand_unfrozen(context, connection, environment)
        newest = await trust_services.newest_files(connection)
        files = trust_services.publication(context, newest, [file])
        await activate(connection, ask, files)
    await trust_services.log_published(context, files)
    return role


async def promotable(context: Context, connection: Connection, trust: Trust, ask: Ask) -> tuple[Role, RoleFile]:
    """The role file of an approved release that an officer asks to publish, by every rule; the caller holds the lock."""
    row = await row_of(connection, ask.environment, ask.number)
    _opened(trust, ask, "promote", row["metadata_digest"])
    if row["status"] != "APPROVED":
        raise Refused("RELEASE_STATE", f"release {ask.number} is {row['status']}")
    content = _signed(row["metadata"], await _signatures(connection, ask.environment, ask.number))
    role = rules.verify_role(trust, content, ask.environment)
    await _check_promotion(context, connection, trust, role)
    return role, RoleFile(ask.environment, ask.number, content)


async def activate(connection: Connection, ask: Ask, files: Sequence[RoleFile]) -> None:
    """Publish role files, the release's own among them or written before, and make the release the active one."""
    principal = ask.principal
    values = (ask.environment, ask.number, principal.name, principal.key_id, ask.kept, *trust_services.columns(files))
    await execute(connection, "activate", values)


async def _check_promotion(context: Context, connection: Connection, trust: Trust, role: Role) -> None:
    active = await (await connection.execute(_SQL["active"], (role.environment,))).fetchone()
    if active is not None and active["number"] >= role.number:
        raise Refused("RELEASE_STATE", f"release {active['number']} is active")
    rules.check_may_activate(role, None, 1, context.clock.now())
    newest = await trust_services.newest_files(connection)
    name = f"{role.environment}-revocations"
    if name not in newest:
        raise Refused("RELEASE_STATE", "no revocation list is published")
    entries = rules.verify_revocations(trust, newest[name].content, role.environment).entries
    rules.check_always(trust, role, entries, context.clock.now())


async def listed(context: Context, environment: str) -> list[dict[str, Any]]:
    """The releases of an environment, newest first."""
    return [dict(row) for row in await context.pool.fetch(_SQL["list"], environment)]


async def shown(context: Context, environment: str, number: int) -> dict[str, Any]:
    """One release with its metadata, approvals, targets and events. Raises ``Refused NOT_FOUND``."""
    async with context.pool.transaction() as connection:
        row = await row_of(connection, environment, number)
        out = dict(row)
        for name in ("approvals", "targets", "events"):
            out[name] = await (await connection.execute(_SQL[name], (environment, number))).fetchall()
    return out


async def target(context: Context, environment: str, number: int, path: str) -> bytes:
    """A target of any release, for officers who are to approve it. Raises ``Refused NOT_FOUND``."""
    rows = await context.pool.fetch(_SQL["target"], environment, number, path)
    if not rows:
        raise Refused("NOT_FOUND", "no such target")
    return bytes(rows[0]["content"])


async def published_target(context: Context, environment: str, number: int, path: str) -> bytes:
    """A target of a published release by its consistent-snapshot name (``…/<sha256>.<name>``)."""
    folder, _, name = path.rpartition("/")
    digest, _, plain = name.partition(".")
    relative = f"{folder}/{plain}" if folder else plain

    async def load() -> bytes | None:
        rows = await context.pool.fetch(_SQL["published_target"], environment, number, relative, digest)
        return bytes(rows[0]["content"]) if rows else None

    content = await context.served.get(("target", environment, number, path), load)
    if content is None:
        raise Refused("NOT_FOUND", "no such target")
    return content


async def active_bundle_digest(context: Context, environment: str) -> str | None:
    """Digest of the active release's OPA bundle."""
    rows = await context.pool.fetch(_SQL["active_bundle_digest"], environment)
    return str(rows[0]["sha256"]) if rows else None


async def active_bundle(context: Context, environment: str) -> tuple[str, bytes] | None:
    """Digest and bytes of the active release's OPA bundle."""
    rows = await context.pool.fetch(_SQL["active_bundle"], environment)
    return (rows[0]["sha256"], bytes(rows[0]["content"])) if rows else None


def _opened(trust: Trust, ask: Ask, action: str, digest: str) -> dict[str, Any]:
    key_id = str(ask.principal.key_id)
    if key_id not in trust.officers:
        raise Refused("OFFICER_UNKNOWN", f"{ask.principal.name} is no officer of {ask.environment}")
    wanted = opened_envelope(ask.principal, trust.officers[key_id], ask.envelope, action)
    subject = (wanted.get("environment"), wanted.get("number"), wanted.get("metadata_digest"))
    if subject != (ask.environment, ask.number, digest):
        raise Refused("ENVELOPE_INVALID", "the envelope is about another release")
    return wanted


def _by_path(role: Role, files: Mapping[str, bytes]) -> dict[str, bytes]:
    missing = [path for path, target in role.targets.items() if target.sha256 not in files]
    if missing:
        raise Refused("RELEASE_DIGEST", f"the bytes of {missing[0]} were not sent")
    return {path: files[target.sha256] for path, target in role.targets.items()}


def _impact(proposal: Mapping[str, Any], role: Role, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The impact report that the proposal names, kept beside its targets; nothing where it names none."""
    digest = proposal.get("impact_sha256")
    if digest is None:
        return {}
    if digest not in files:
        raise Refused("RELEASE_DIGEST", f"the bytes of {IMPACT} were not sent")
    verify_impact(proposal, role, files[digest])
    return {IMPACT: files[digest]}


def _build(trust: Trust, contents: Contents, role: Role, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """SBOM and provenance that the proposal names, kept beside its targets (ATT-19); nothing where it names none."""
    kept = {name: files[digest] for name, digest in named(contents.proposal).items() if digest in files}
    check_build(trust, role, contents, kept)
    return kept


def _without_signatures(metadata: bytes) -> bytes:
    return _signed(metadata, {})


def _signed(metadata: bytes, signatures: Mapping[str, str]) -> bytes:
    role: Metadata[Any] = Metadata.from_bytes(bytes(metadata))
    role.signatures = {key_id: Signature(key_id, sig) for key_id, sig in signatures.items()}
    return role.to_bytes()


async def _signatures(connection: Connection, environment: str, number: int) -> dict[str, str]:
    rows = await (await connection.execute(_SQL["approvals"], (environment, number))).fetchall()
    return {row["key_id"]: row["signature"] for row in rows}


async def row_of(connection: Connection, environment: str, number: int) -> dict[str, Any]:
    """A release's row. Raises ``Refused NOT_FOUND``."""
    row = await (await connection.execute(_SQL["one"], (environment, number))).fetchone()
    if row is None:
        raise Refused("NOT_FOUND", f"there is no release {number} of {environment[:32]}")
    return row


async def _changed(context: Context, name: str, values: tuple[Any, ...]) -> None:
    async with context.pool.transaction() as connection:
        await execute(connection, name, values)


async def execute(connection: Connection, name: str, values: tuple[Any, ...]) -> None:
    """One changing statement; what the database refuses by a release's state is ``RELEASE_STATE``."""
    try:
        await connection.execute(_SQL[name], values)
    except (psycopg.errors.RaiseException, psycopg.errors.UniqueViolation) as error:
        raise _state(error) from error


def _state(error: psycopg.Error) -> SymphonyError:
    return Refused("RELEASE_STATE", error.diag.message_primary or "the release's state does not permit this")
