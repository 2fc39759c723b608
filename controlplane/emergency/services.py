"""An emergency release's way: PROPOSED, SEALED, OPEN, then CLOSED or OVER; and its review (ADR 0013, POL-07).

Rules beside those of ``contracts.release.emergency``, each with a refusal in ``tests/releases/test_breaking_glass.py``:

* each act is an officer's of the emergency role, signed by the key that is enrolled beside his certificate, and kept as it came;
* the approval that reaches the threshold seals it: its role file is published in the same transaction, its bytes are not;
* numbers are sealed in order, and none while another is open; the newest sealed one alone can be opened;
* the second officer signs what the first began, within ``EMERGENCY_OPENING_WITHIN`` of its time; then it is published at once;
* unreviewed after its time, promotions freeze (``demand_reviewed``);
* each step is a leaf of the log in its own transaction.

An attacker who owns this process can withhold an opening, a closing and a review; he can make none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg

from contracts import evidence
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.release import emergency, rules
from contracts.release.emergency import Said, Sealed
from contracts.release.limits import EMERGENCY_OPENERS_MIN, EMERGENCY_OPENING_WITHIN
from contracts.release.trust import Trust
from contracts.times import rfc3339
from controlplane.context import Context
from controlplane.emergency.reading import Kept, one_of, open_now, state_error
from controlplane.evidence.intake import OWN_STREAM
from controlplane.evidence.own import SERVICE
from controlplane.identity import Principal, opened_envelope
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services
from controlplane.trust.signing import RoleFile

ENVELOPE_BYTES_MAX = 16 * 1024
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_SQL = queries("controlplane.emergency")


async def propose(context: Context, principal: Principal, environment: str, metadata: bytes, files: Mapping[str, bytes]) -> Sealed:
    """Record a sealed release on its way. ``files`` by digest. The proposal inside it is the proposer's own word."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await _trust(connection, principal, environment)
        sealed = emergency.read_sealed(trust, metadata, environment)
        if sealed.role.proposer_key_id != principal.key_id:
            raise Refused("ENVELOPE_INVALID", "the proposal names another proposer than the officer who sends it")
        missing = [path for path, target in sealed.role.targets.items() if target.sha256 not in files]
        if missing:
            raise Refused("RELEASE_DIGEST", f"the bytes of {missing[0]} were not sent")
        by_path = {path: files[target.sha256] for path, target in sealed.role.targets.items()}
        proposal = emergency.verify_sealed_contents(trust, sealed, by_path)
        emergency.verify_always(trust, sealed, (), context.clock.now())
        paths = sorted(by_path)
        await _execute(
            connection, "propose", environment, sealed.number, sealed.role.digest, metadata, principal.key_id, principal.name,
            proposal["reason"], paths, [sha256_hex(by_path[path]) for path in paths], [by_path[path] for path in paths],
        )
        about = (environment, sealed.number, sealed.role.digest)
        await _log(context, connection, "PROPOSED", about, [str(principal.key_id)], sha256_hex(by_path["release.json"]))
    return sealed


async def approve(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> str:
    """Record an approval; ``PROPOSED`` or, published with it, ``SEALED``."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await _trust(connection, principal, environment)
        kept, now, key_id = await one_of(connection, environment, number), context.clock.now(), str(principal.key_id)
        wanted = opened_envelope(principal, trust.officers[key_id], envelope, "approve-emergency")
        subject = (environment, number, kept.row["metadata_digest"])
        if (wanted.get("environment"), wanted.get("number"), wanted.get("metadata_digest")) != subject:
            raise Refused("ENVELOPE_INVALID", "the envelope is about another emergency")
        signature = str(wanted.get("signature"))
        if not _SIGNATURE.fullmatch(signature):
            raise NotTrusted("RELEASE_SIGNATURE", "the approval carries no Ed25519 signature")
        if trust.officers[key_id] == trust.officers.get(kept.row["proposer_key_id"]):
            raise Refused("OFFICER_IS_PROPOSER")
        if kept.state(now) != "PROPOSED":
            raise state_error(kept, now, "PROPOSED")
        content = kept.role_file((key_id, signature))
        sealed = emergency.read_sealed(trust, content, environment)
        if key_id not in sealed.role.approver_key_ids or any(one["actor_key_id"] == key_id for one in kept.acts):
            raise NotTrusted("RELEASE_SIGNATURE", "the approval's signature does not hold, or its key counts already")
        await _act(connection, subject, "APPROVED", principal, envelope, signature)
        reached = len(sealed.role.approver_key_ids) >= trust.approvals_min
        files = await _seal(context, connection, principal, subject, envelope, content) if reached else []
        key_ids = list(sealed.role.approver_key_ids) if reached else [key_id]
        await _log(context, connection, "SEALED" if reached else "APPROVED", subject, key_ids, _sha256(envelope))
    if files:
        await trust_services.log_published(context, files)
    return "SEALED" if reached else "PROPOSED"


async def _seal(
    context: Context, connection: Connection, principal: Principal, subject: tuple[str, int, str], envelope: Any, content: bytes
) -> list[RoleFile]:
    """Publish the role file: numbers in their order, and none while another is open."""
    environment, number, _ = subject
    name, newest = emergency.role_name(environment), await trust_services.newest_files(connection)
    if name in newest and newest[name].version >= number:
        raise Refused("EMERGENCY_STATE", f"emergency {newest[name].version} is sealed already; seal the next number")
    standing = await open_now(connection, environment, context.clock.now())
    if standing is not None:
        raise Refused("EMERGENCY_STATE", f"emergency {standing} is open: close it before the next is sealed")
    await _act(connection, subject, "SEALED", principal, envelope)
    return await _publish(context, connection, [RoleFile(name, number, content)])


async def open_(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> dict[str, Any]:
    """Record one officer's signature over an opening; with the second it is published. ``{"state", "signatures", "needed"}``."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await _trust(connection, principal, environment)
        kept, now = await one_of(connection, environment, number), context.clock.now()
        if kept.state(now) != "SEALED":
            raise state_error(kept, now, "SEALED")
        sealed = kept.sealed(trust)
        await _check_may_open(connection, trust, sealed, now)
        said = emergency.read_opening(trust, sealed, envelope, now)
        _check_sender(principal, said)
        await _check_over(connection, environment, said)
        if now - said.at > EMERGENCY_OPENING_WITHIN:
            raise NotTrusted("EMERGENCY_TIME", f"the opening was begun at {said.claims['at']}: begin it again")
        subject = (environment, number, sealed.role.digest)
        await _act(connection, subject, "OPENING", principal, envelope, payload_sha256=said.sha256)
        both = _merged(await one_of(connection, environment, number), said.sha256)
        signers = emergency.signers_of(trust, both)
        answer = {"number": number, "signatures": signers, "needed": EMERGENCY_OPENERS_MIN}
        files: list[RoleFile] = []
        if signers >= EMERGENCY_OPENERS_MIN:
            opening = emergency.verify_opening(trust, sealed, both, now)
            until = (opening.claims["over"], opening.at, sealed.ends_at(opening.at), sealed.review_by(opening.at))
            await _act(connection, subject, "OPENED", principal, both, payload_sha256=opening.sha256, times=until)
            files = await _publish(context, connection, [])
        event = "OPENED" if files else "OPENING"
        key_ids = list(emergency.key_ids_of(both))
        times = {"ends_at": rfc3339(sealed.ends_at(said.at)), "review_by": rfc3339(sealed.review_by(said.at))}
        await _log(context, connection, event, subject, key_ids, said.sha256, **times)
    if files:
        await trust_services.log_published(context, files)
    return {**answer, "state": "OPEN" if files else "SEALED", **times}


async def close(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> str:
    """Record and publish a closing; what is closed already is no error."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await _trust(connection, principal, environment)
        kept, now = await one_of(connection, environment, number), context.clock.now()
        if kept.state(now) == "CLOSED":
            return "CLOSED"
        opened = kept.act("OPENED")
        if opened is None or kept.state(now) != "OPEN":
            raise state_error(kept, now, "OPEN")
        sealed = kept.sealed(trust)
        said = emergency.verify_closing(trust, sealed, opened["payload_sha256"], envelope, now)
        _check_sender(principal, said)
        subject = (environment, number, sealed.role.digest)
        await _act(connection, subject, "CLOSED", principal, envelope, payload_sha256=said.sha256)
        files = await _publish(context, connection, [])
        await _log(context, connection, "CLOSED", subject, list(said.key_ids), said.sha256)
    await trust_services.log_published(context, files)
    return "CLOSED"


async def review(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> dict[str, Any]:
    """Record the review by an officer who neither opened nor closed."""
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await _trust(connection, principal, environment)
        kept, now = await one_of(connection, environment, number), context.clock.now()
        opened = kept.act("OPENED")
        if opened is None:
            raise state_error(kept, now, "OPEN, CLOSED or OVER")
        if kept.act("REVIEWED") is not None:
            return {"number": number, "reviewed": True, "state": kept.state(now)}
        sealed = emergency.read_sealed(trust, kept.role_file(), environment)
        closed = kept.act("CLOSED")
        involved = {*emergency.key_ids_of(kept.envelope("OPENED")), *([closed["actor_key_id"]] if closed else [])}
        known = {key_id: trust.officers.get(key_id, "") for key_id in involved}
        said = emergency.verify_review(trust, sealed, opened["payload_sha256"], envelope, now, involved=known)
        _check_sender(principal, said)
        subject = (environment, number, sealed.role.digest)
        await _act(connection, subject, "REVIEWED", principal, envelope, payload_sha256=said.sha256)
        await _log(context, connection, "REVIEWED", subject, list(said.key_ids), said.sha256)
    return {"number": number, "reviewed": True, "state": kept.state(now)}


async def _trust(connection: Connection, principal: Principal, environment: str) -> Trust:
    trust = emergency.trust_for_emergencies(await trust_services.trust_for(connection, environment), environment)
    if str(principal.key_id) not in trust.officers:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} is no officer of {emergency.role_name(environment)}")
    return trust


async def _check_may_open(connection: Connection, trust: Trust, sealed: Sealed, now: Any) -> None:
    environment = sealed.role.environment
    newest = await trust_services.newest_files(connection)
    if newest[emergency.role_name(environment)].version != sealed.number:
        raise Refused("EMERGENCY_STATE", f"emergency {newest[emergency.role_name(environment)].version} is the newest sealed one")
    name = f"{environment}-revocations"
    entries = rules.verify_revocations(trust, newest[name].content, environment).entries if name in newest else ()
    emergency.verify_always(trust, sealed, entries, now)


async def _check_over(connection: Connection, environment: str, said: Said) -> None:
    active = await (await connection.execute(_SQL["active"], (environment,))).fetchone()
    if active is None or active["number"] != said.claims["over"]:
        number = active["number"] if active else "none"
        raise Refused("EMERGENCY_STATE", f"release {number} is active, not {said.claims['over']}")


def _check_sender(principal: Principal, said: Said) -> None:
    if said.key_ids != (str(principal.key_id),):
        raise Refused("ENVELOPE_INVALID", f"it carries another signature than {principal.name}'s own")


def _merged(kept: Kept, payload_sha256: str) -> dict[str, Any]:
    """The opening with the signatures that were sent over these very bytes."""
    found = [
        orjson.loads(bytes(one["envelope"])) for one in kept.acts
        if one["act"] == "OPENING" and one["payload_sha256"] == payload_sha256
    ]  # fmt: skip
    return {**found[0], "signatures": [signature for one in found for signature in one["signatures"]]}


async def _act(
    connection: Connection, subject: tuple[str, int, str], act: str, principal: Principal, envelope: Any,
    signature: str | None = None, *, payload_sha256: str | None = None, times: Sequence[Any] = (None, None, None, None),
) -> None:  # fmt: skip
    environment, number, _ = subject
    kept = canonical_bytes(envelope)
    if len(kept) > ENVELOPE_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"an envelope over {ENVELOPE_BYTES_MAX} bytes")
    digest = payload_sha256 or sha256_hex(kept)
    await _execute(
        connection, "act", environment, number, act, principal.name, principal.key_id, digest, kept, signature, *times
    )


async def _execute(connection: Connection, name: str, *values: Any) -> None:
    try:
        await connection.execute(_SQL[name], values)
    except (psycopg.errors.RaiseException, psycopg.errors.UniqueViolation) as error:
        raise Refused("EMERGENCY_STATE", (error.diag.message_primary or "its state does not permit this")[:200]) from error


async def _publish(context: Context, connection: Connection, changed: Sequence[RoleFile]) -> list[RoleFile]:
    """A new snapshot, which rings the bell, with what changed in it."""
    files = trust_services.publication(context, await trust_services.newest_files(connection), changed)
    await trust_services.publish(connection, files)
    return files


async def _log(
    context: Context, connection: Connection, event: str, subject: tuple[str, int, str], key_ids: Sequence[str],
    envelope_sha256: str, **times: str,
) -> None:  # fmt: skip
    """The leaf. Call it last: it holds the stream until the transaction ends."""
    locked = await (await connection.execute(_SQL["own_lock"], (context.environment,))).fetchone()
    assert locked is not None
    environment, number, digest = subject
    now = context.clock.now()
    record = evidence.record(
        "emergency", environment=context.environment, service=SERVICE, stream=OWN_STREAM, seq=locked["seq"], recorded_at=now,
        event=event, role=emergency.role_name(environment), number=number, metadata_digest=digest, key_ids=list(key_ids),
        envelope_sha256=envelope_sha256, reason_code=None, **times,
    )  # fmt: skip
    await connection.execute(_SQL["log"], (locked["seq"], record, now))


def _sha256(envelope: Any) -> str:
    return sha256_hex(canonical_bytes(envelope))


