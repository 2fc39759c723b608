"""Orders: taken from one officer, lifted by the threshold (PIL-04). The rules are ``contracts.orders``; beside them:

* the sender's certificate and the signature are one officer's; the number is the one after the last (``ORDER_NUMBER``), the same
  bytes again are no error, other bytes under a number that is taken are ``ORDER_FORKED``;
* it names what the active release knows (``ORDER_SCOPE``), and a cap that it lowers is lower (``ORDER_NOT_LOWER``);
* a lift on its way is what its first officer wrote; each further one signs the same bytes, once;
* an order and a complete lift are a leaf of the log in the transaction that records them.

An attacker who owns this process can withhold an order or a lift; he can make neither.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
import psycopg

from contracts import evidence, orders
from contracts.caps import ANY, cap_of
from contracts.errors import NotTrusted, Refused
from contracts.keys import ORDER_LIFT_TYPE
from contracts.orders import Signed
from contracts.release.trust import Trust
from controlplane.context import Context
from controlplane.evidence.intake import OWN_STREAM
from controlplane.evidence.own import SERVICE
from controlplane.identity import Principal
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services

_SQL = queries("controlplane.orders")


async def issue(context: Context, principal: Principal, environment: str, envelope: Any) -> dict[str, Any]:
    """Record an order: ``{"number", "sha256", "new"}``."""
    order = orders.of_envelope(envelope)
    async with context.pool.transaction() as connection:
        await connection.execute(_SQL["lock"])
        trust = await trust_services.trust_for(connection, environment)
        documents = await _documents(connection, environment)
        listed = documents["environment.json"].get("order_keys")
        key_id = orders.verify_order(
            order, environment=environment, officers=trust.officers, listed=listed, now=context.clock.now()
        )
        _check_sender(principal, key_id)
        answer = {"number": order.number, "sha256": order.sha256}
        if await _is_known(connection, order, environment):
            return {**answer, "new": False}
        _check_scope(order, documents)
        await _record(context, connection, order, principal, {"action": "issued", "key_ids": [key_id]}, order)
    return {**answer, "new": True}


async def lift(context: Context, principal: Principal, environment: str, number: int, envelope: Any) -> dict[str, Any]:
    """Record one officer's signature over the lift of an order: ``{"number", "lifted", "signatures", "needed"}``."""
    signed = orders.of_envelope(envelope)
    async with context.pool.transaction() as connection:
        await connection.execute(_SQL["lock"])
        trust = await trust_services.trust_for(connection, environment)
        order = await _order(connection, environment, number)
        if not signed.is_lift or signed.key != order.key:
            raise NotTrusted("ORDER_UNKNOWN", f"it does not lift order {number} of {environment}")
        if await _one(connection, environment, number, is_lift=True) is not None:
            raise Refused("ORDER_LIFTED", f"order {number}")
        await _add_signature(connection, principal, environment, trust, signed)
        both = await _collected(connection, environment, number)
        assert both is not None
        counted = orders.lifters(both, order, trust.officers)
        answer = {"number": number, "signatures": len(counted), "needed": trust.approvals_min}
        if len(counted) < trust.approvals_min:
            return {**answer, "lifted": False}
        now = context.clock.now()
        orders.verify_lift(
            both, order, environment=environment, officers=trust.officers, threshold=trust.approvals_min, now=now
        )
        fields = {"action": "lifted", "key_ids": list(counted)}
        await _record(context, connection, both, principal, fields, order)
    return {**answer, "lifted": True}


async def after(context: Context, environment: str, position: int) -> dict[str, Any]:
    """The entries after a position, as sidecars read them (``contracts.orders.page``)."""
    async with context.pool.transaction() as connection:
        rows = await (await connection.execute(_SQL["after"], (environment, position, orders.PAGE_MAX))).fetchall()
        last = await (await connection.execute(_SQL["last"], (environment,))).fetchone()
    assert last is not None
    entries = [{"position": row["position"], "envelope": orjson.loads(bytes(row["envelope"]))} for row in rows]
    return {"entries": entries, "last": last["last"]}


async def listed(context: Context, environment: str) -> list[dict[str, Any]]:
    """Every order with what became of it, by number."""
    out: dict[int, dict[str, Any]] = {}
    for row in await context.pool.fetch(_SQL["all"], environment):
        if row["is_lift"]:
            out[row["number"]] |= {"state": "LIFTED", "lifted_at": row["recorded_at"]}
        else:
            out[row["number"]] = {"state": "IN_FORCE", "actor": row["actor"], **_shown(row)}
    return list(out.values())


async def shown(context: Context, environment: str, number: int) -> dict[str, Any]:
    """One order with its envelope and the lift on its way, to be checked by whoever signs next."""
    async with context.pool.transaction() as connection:
        order = await _order(connection, environment, number)
        done = await _one(connection, environment, number, is_lift=True)
        collected = await _collected(connection, environment, number)
    return {
        "number": number, "state": "LIFTED" if done is not None else "IN_FORCE", "envelope": orjson.loads(order.envelope),
        "lift": orjson.loads(collected.envelope) if collected is not None else None,
    }  # fmt: skip


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    claims = orders.read(bytes(row["envelope"])).claims
    return {name: claims[name] for name in claims if name not in {"schema", "environment"}} | {"sha256": row["order_sha256"]}


def _check_sender(principal: Principal, key_id: str) -> None:
    if key_id != principal.key_id:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} sends what another officer signed")


async def _is_known(connection: Connection, order: Signed, environment: str) -> bool:
    """Whether these bytes are recorded. Raises ``ORDER_FORKED`` or ``ORDER_NUMBER``."""
    found = await _one(connection, environment, order.number, is_lift=False)
    if found is not None:
        if found.sha256 != order.sha256:
            raise NotTrusted("ORDER_FORKED", f"order {order.number} is recorded with another content")
        return True
    highest = await (await connection.execute(_SQL["highest"], (environment,))).fetchone()
    assert highest is not None
    if order.number != highest["number"] + 1:
        raise Refused("ORDER_NUMBER", f"the next order is {highest['number'] + 1}, not {order.number}")
    return False


def _check_scope(order: Signed, documents: dict[str, dict[str, Any]]) -> None:
    data, scope = documents["environment.json"], order.claims["scope"]
    manifests = [value for path, value in documents.items() if path.startswith("services/")]
    participants = {entry["id"]: entry for entry in data["participants"]}
    known = {
        "service": {manifest["service"] for manifest in manifests},
        "rail": {manifest["sidecar"]["rail"]["name"] for manifest in manifests if "sidecar" in manifest},
        "participant": set(participants), "currency": set(data["currencies"]),
    }  # fmt: skip
    for name, value in scope.items():
        if value not in known[name]:
            raise Refused("ORDER_SCOPE", f"the active release knows no {name} {value}")
    if order.claims["kind"] != "lower_cap":
        return
    concerned = [participants[scope["participant"]]] if "participant" in scope else list(participants.values())
    caps = [cap for entry in concerned if (cap := cap_of(data, entry, scope["currency"])) is not None]
    if not any(orders.lowers(order, cap) for cap in caps):
        raise Refused("ORDER_NOT_LOWER", f"no cap of {scope['currency']} would be lower (looked at {ANY} and {len(caps)} caps)")


async def _documents(connection: Connection, environment: str) -> dict[str, dict[str, Any]]:
    rows = await (await connection.execute(_SQL["documents"], (environment,))).fetchall()
    if not rows:
        raise Refused("RELEASE_STATE", f"no release of {environment[:32]} is active, so there is nobody to order")
    return {row["path"]: orjson.loads(bytes(row["content"])) for row in rows}


async def _one(connection: Connection, environment: str, number: int, *, is_lift: bool) -> Signed | None:
    row = await (await connection.execute(_SQL["one"], (environment, number, is_lift))).fetchone()
    return None if row is None else orders.read(bytes(row["envelope"]))


async def _order(connection: Connection, environment: str, number: int) -> Signed:
    order = await _one(connection, environment, number, is_lift=False)
    if order is None:
        raise Refused("ORDER_UNKNOWN", f"there is no order {number} of {environment[:32]}")
    return order


async def _add_signature(
    connection: Connection, principal: Principal, environment: str, trust: Trust, signed: Signed
) -> None:
    if len(signed.signatures) != 1:
        raise NotTrusted("ORDER_SIGNATURE", f"{len(signed.signatures)} signatures, not the sender's one")
    ((key_id, signature),) = signed.signatures
    _check_sender(principal, key_id)
    if key_id not in trust.officers:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} is no officer of {environment}")
    orders.check_lift_signature(signed, trust.officers[key_id], signature)
    values = (environment, signed.number, signed.payload, key_id, signature, principal.name)
    try:
        await connection.execute(_SQL["sign"], values)
    except psycopg.errors.RaiseException as error:
        raise Refused("ORDER_FORKED", error.diag.message_primary or "another lift is on its way") from error
    except psycopg.errors.UniqueViolation as error:
        raise Refused("ORDER_LIFT_THRESHOLD", f"{principal.name} has signed this lift already") from error


async def _collected(connection: Connection, environment: str, number: int) -> Signed | None:
    """The lift on its way with the signatures that it has."""
    rows = await (await connection.execute(_SQL["signatures"], (environment, number))).fetchall()
    if not rows:
        return None
    envelope = {
        "payload": base64.b64encode(bytes(rows[0]["payload"])).decode(), "payloadType": ORDER_LIFT_TYPE,
        "signatures": [
            {"keyid": row["key_id"], "sig": base64.b64encode(bytes.fromhex(row["signature"])).decode()} for row in rows
        ],
    }  # fmt: skip
    return orders.of_envelope(envelope)


async def _record(
    context: Context, connection: Connection, signed: Signed, principal: Principal, fields: dict[str, Any], order: Signed
) -> None:
    """The journal's row and the log's leaf, in the caller's transaction."""
    locked = await (await connection.execute(_SQL["own_lock"], (context.environment,))).fetchone()
    assert locked is not None
    now, claims = context.clock.now(), order.claims
    record = evidence.record(
        "order", environment=context.environment, service=SERVICE, stream=OWN_STREAM, seq=locked["seq"], recorded_at=now,
        number=order.number, order_sha256=order.sha256, order_kind=claims["kind"], scope=claims["scope"], reason_code=None,
        **fields,
    )  # fmt: skip
    values = (
        claims["environment"], order.number, signed.is_lift, order.sha256, signed.envelope, principal.name, locked["seq"],
        record, now,
    )  # fmt: skip
    await connection.execute(_SQL["record"], values)
