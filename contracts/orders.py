"""Orders: what one officer signs to tighten at once, and what several sign to lift it (design section 4). Pure.

Rules:

 1. an order or a lift is a DSSE envelope of its own payload type over canonical JSON of its schema, at most
    ``ENVELOPE_BYTES_MAX`` bytes (``ORDER_INVALID``);
 2. an order has exactly one signature, by the key that it names, an officer's whom the custodians list now
    (``ORDER_SIGNATURE``, ``OFFICER_UNKNOWN``); a release may list fewer of them (``order_keys``: ``ORDER_SIGNER``), never others;
 3. it speaks of this environment (``ORDER_SCOPE``) and was not issued in the future (``ORDER_TIME``); an old one counts for ever;
 4. orders are numbered 1, 2, 3 … per environment. One number with two contents is a fork: both are obeyed, each is lifted by
    itself, and it is said (``ORDER_FORKED``). A number that is missing is said, and never waited for: nobody can hold back
    order 5 by withholding order 4;
 5. a scope only narrows: no name in it is every service of the environment; names in it must all match;
 6. ``halt`` stops new transfers and holds what is accepted and unsent; ``freeze`` refuses new payments for good;
    ``lower_cap`` bounds them by the lesser of its caps and the release's: an order never loosens;
 7. a lift names number and digest of one order (``ORDER_UNKNOWN``) and has the signatures of the officers' threshold of distinct
    key material; the key that issued the order does not count: nobody takes back his own order alone or as one of two
    (``ORDER_LIFT_THRESHOLD``). An order that is lifted stays lifted: its replay changes nothing.

Not here: who asks, keeping, evidence (``sidecar.orders``, ``controlplane.orders``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import ORDER_LIFT_TYPE, ORDER_TYPE, key_id_of, verify
from contracts.release.envelope import make_envelope, split_envelope
from contracts.schemas import check
from contracts.times import parse_rfc3339, rfc3339

SCHEMA, LIFT_SCHEMA = "symphony.order/1", "symphony.order_lift/1"
KINDS = ("halt", "freeze", "lower_cap")
SCOPES = ("service", "rail", "participant", "currency")
CAPS = ("payment_minor_max", "daily_minor_max", "daily_count_max")
ENVELOPE_BYTES_MAX = 16 * 1024
SIGNATURES_MAX = 64
CLOCKS_APART_MAX = timedelta(seconds=60)
PAGE_MAX = 100
"""Entries of one answer of a control plane, and of one folder."""
PAGE_BYTES_MAX = PAGE_MAX * ENVELOPE_BYTES_MAX * 2
KEPT_MAX = 10_000
"""Orders that one service keeps; more is a flood by an officer's key, which the custodians remove."""
MISSING_SHOWN_MAX = 20
HALTED_KINDS = frozenset({"transfer"})
"""What a halt stops: returns, reversals and queries go on (design section 6)."""
_SCHEMAS = {ORDER_TYPE: SCHEMA, ORDER_LIFT_TYPE: LIFT_SCHEMA}


@dataclass(frozen=True, slots=True)
class Signed:
    """An order or a lift that was read; nothing of it is trusted until it is verified. ``envelope`` is as it came."""

    envelope: bytes
    payload: bytes
    claims: Mapping[str, Any]
    signatures: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """Of the payload: what a lift and evidence name."""
        return sha256_hex(self.payload)

    @property
    def number(self) -> int:
        """The order's number, of the order that is lifted."""
        return int(self.claims["number"])

    @property
    def is_lift(self) -> bool:
        """Whether it lifts."""
        return bool(self.claims["schema"] == LIFT_SCHEMA)

    @property
    def order_sha256(self) -> str:
        """The digest of the order that it is, or lifts."""
        return str(self.claims["order_sha256"]) if self.is_lift else self.sha256

    @property
    def key(self) -> tuple[int, str]:
        """What one order is known by."""
        return self.number, self.order_sha256


def issued(
    key: Ed25519PrivateKey, *, environment: str, number: int, kind: str, scope: Mapping[str, str], reason: str, now: datetime,
    caps: Mapping[str, int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An officer's envelope. Raises ``Refused ORDER_INVALID`` with the field at fault."""
    claims = {
        "schema": SCHEMA, "environment": environment, "number": number, "kind": kind, "scope": dict(scope), "reason": reason,
        "issued_at": rfc3339(now), "key_id": key_id_of(key), **({"caps": dict(caps)} if caps else {}),
    }  # fmt: skip
    check(SCHEMA, claims, code="ORDER_INVALID")
    return make_envelope(key, ORDER_TYPE, canonical_bytes(claims))


def lifting(key: Ed25519PrivateKey, order: Signed, *, reason: str, now: datetime) -> dict[str, Any]:
    """The first officer's envelope that lifts an order; others add theirs with ``countersigned``."""
    claims = {
        "schema": LIFT_SCHEMA, "environment": order.claims["environment"], "number": order.number,
        "order_sha256": order.sha256, "reason": reason, "made_at": rfc3339(now),
    }  # fmt: skip
    check(LIFT_SCHEMA, claims, code="ORDER_INVALID")
    return make_envelope(key, ORDER_LIFT_TYPE, canonical_bytes(claims))


def read(data: bytes) -> Signed:
    """Rule 1, from the envelope's JSON bytes: an order or a lift. Raises ``NotTrusted ORDER_INVALID``."""
    try:
        envelope = parse_json(data, bytes_max=ENVELOPE_BYTES_MAX)
        kind = envelope.get("payloadType") if isinstance(envelope, dict) else None
        if not isinstance(kind, str) or kind not in _SCHEMAS:
            raise NotTrusted("ORDER_INVALID", "not an envelope of an order or of a lift")
        payload, signatures = split_envelope(envelope, kind, "ORDER_INVALID")
        claims = parse_json(payload)
        check(_SCHEMAS[kind], claims, code="ORDER_INVALID")
        canonical = canonical_bytes(claims)
    except Refused as error:
        raise NotTrusted("ORDER_INVALID", error.detail) from error
    if canonical != payload:
        raise NotTrusted("ORDER_INVALID", "it is not canonical JSON (RFC 8785)")
    if len(signatures) > SIGNATURES_MAX:
        raise NotTrusted("ORDER_INVALID", f"more than {SIGNATURES_MAX} signatures")
    return Signed(data, payload, claims, signatures)


def of_envelope(envelope: Any) -> Signed:
    """The same from a parsed envelope."""
    try:
        return read(orjson.dumps(envelope))
    except orjson.JSONEncodeError as error:
        raise NotTrusted("ORDER_INVALID", "not an envelope of an order or of a lift") from error


def verify_order(
    order: Signed, *, environment: str, officers: Mapping[str, str], listed: Collection[str] | None, now: datetime | None
) -> str:
    """Rules 2 and 3; the signer's key id. ``officers``: key id to public key; ``listed``: ``order_keys`` of the release.

    ``now`` is ``None`` for what was kept: its time was judged when it came.
    """
    if order.is_lift:
        raise NotTrusted("ORDER_INVALID", "a lift where an order belongs")
    key_id = check_signature(order, officers)
    if listed is not None and key_id not in listed:
        raise NotTrusted("ORDER_SIGNER", f"the active release does not list key {key_id[:16]}… for orders")
    _check_place_and_time(order, environment, "issued_at", now)
    return key_id


def check_signature(order: Signed, officers: Mapping[str, str]) -> str:
    """Rule 2 without the release: exactly one signature, by the officer that the order names; the key id."""
    if len(order.signatures) != 1:
        raise NotTrusted("ORDER_SIGNATURE", f"{len(order.signatures)} signatures, not one")
    ((key_id, signature),) = order.signatures
    if key_id not in officers:
        raise NotTrusted("OFFICER_UNKNOWN", f"key {key_id[:16]}… is no officer's of this environment now")
    if key_id != order.claims["key_id"]:
        raise NotTrusted("ORDER_SIGNATURE", "the order names another key than the one that signed it")
    verify(officers[key_id], ORDER_TYPE, order.payload, signature, code="ORDER_SIGNATURE")
    return key_id


def verify_lift(
    lift: Signed, order: Signed, *, environment: str, officers: Mapping[str, str], threshold: int, now: datetime | None
) -> tuple[str, ...]:
    """Rule 7; the key ids that count. ``order`` is the one that it names."""
    if not lift.is_lift or lift.key != order.key:
        raise NotTrusted("ORDER_UNKNOWN", f"it does not lift order {order.number} as it is known here")
    _check_place_and_time(lift, environment, "made_at", now)
    counted = lifters(lift, order, officers)
    if len(counted) < max(threshold, 1):
        raise NotTrusted("ORDER_LIFT_THRESHOLD", f"{len(counted)} of {threshold} signatures, not counting the order's own key")
    return counted


def lifters(lift: Signed, order: Signed, officers: Mapping[str, str]) -> tuple[str, ...]:
    """One key id for each distinct key material of an officer whose signature holds; the issuer's is left out."""
    issuer = str(order.claims["key_id"])
    by_material: dict[str, str] = {}
    for key_id, signature in sorted(lift.signatures, reverse=True):
        material = officers.get(key_id)
        if material is None or key_id == issuer or material == officers.get(issuer) or not _holds(material, lift, signature):
            continue
        by_material[material] = key_id
    return tuple(sorted(by_material.values()))


def check_lift_signature(lift: Signed, material: str, signature: str) -> None:
    """Raise ``NotTrusted ORDER_SIGNATURE`` unless one officer's signature over a lift holds."""
    verify(material, ORDER_LIFT_TYPE, lift.payload, signature, code="ORDER_SIGNATURE")


def _holds(material: str, lift: Signed, signature: str) -> bool:
    try:
        check_lift_signature(lift, material, signature)
    except NotTrusted:
        return False
    return True


def _check_place_and_time(signed: Signed, environment: str, name: str, now: datetime | None) -> None:
    if signed.claims["environment"] != environment:
        raise NotTrusted("ORDER_SCOPE", f"it is for {signed.claims['environment']}, not {environment}")
    try:
        moment = parse_rfc3339(signed.claims[name])
    except ValueError as error:
        raise NotTrusted("ORDER_TIME", f"{name} is no time") from error
    if now is not None and moment > now + CLOCKS_APART_MAX:
        raise NotTrusted("ORDER_TIME", f"{name} {signed.claims[name]} is not yet")


def lowers(order: Signed, caps: Mapping[str, int]) -> bool:
    """Whether a ``lower_cap`` lowers at least one cap and raises none that it names (rule 6, asked where it is issued)."""
    named = order.claims["caps"]
    return all(named[name] <= caps[name] for name in named) and any(named[name] < caps[name] for name in named)


@dataclass(slots=True)
class Standing:
    """Every order known, and which of them are lifted. It only grows. ``broken``: kept ones that do not verify any more."""

    orders: dict[tuple[int, str], Signed] = field(default_factory=dict)
    lifted: set[tuple[int, str]] = field(default_factory=set)
    broken: list[int] = field(default_factory=list)

    def take(self, order: Signed) -> bool:
        """Obey an order that was verified; whether it is new. Raises ``Refused ORDER_INVALID`` above the bound."""
        if order.key in self.orders:
            return False
        if len(self.orders) >= KEPT_MAX:
            raise Refused("ORDER_INVALID", f"{KEPT_MAX} orders are kept already")
        self.orders[order.key] = order
        return True

    def lift(self, lift: Signed) -> bool:
        """Lift an order by a lift that was verified; whether it was in force."""
        new = lift.key not in self.lifted
        self.lifted.add(lift.key)
        return new

    def named_by(self, lift: Signed) -> Signed:
        """The order that a lift names. Raises ``NotTrusted ORDER_UNKNOWN``."""
        order = self.orders.get(lift.key)
        if order is None:
            raise NotTrusted("ORDER_UNKNOWN", f"no order {lift.number} of that content is known here")
        return order

    def in_force(self) -> list[Signed]:
        """What is to be obeyed, by number."""
        return [self.orders[key] for key in sorted(self.orders) if key not in self.lifted]

    def is_forked(self, order: Signed) -> bool:
        """Whether its number is known with another content."""
        return any(number == order.number and sha256 != order.sha256 for number, sha256 in self.orders)

    @property
    def highest(self) -> int:
        """The highest number known; 0 for none."""
        return max((number for number, _ in self.orders), default=0)

    def missing(self) -> list[int]:
        """The first numbers below the highest that are not known: somebody withholds them, or they are on their way."""
        known = {number for number, _ in self.orders}
        return list(islice((n for n in range(1, self.highest) if n not in known), MISSING_SHOWN_MAX))

    def here(self, service: str, rail: str) -> Here:
        """What stands for one service on its rail."""
        mine = [o for o in self.in_force() if _in_scope(o, service=service, rail=rail)]
        halts = [o for o in mine if o.claims["kind"] == "halt"]
        whole = [f"order {o.number}" for o in halts if "participant" not in o.claims["scope"]]
        whole += [f"kept order {number} does not verify" for number in self.broken]
        return Here(
            tuple(o.number for o in mine), whole[0] if whole else None,
            {o.claims["scope"]["participant"]: o.number for o in halts if "participant" in o.claims["scope"]},
            tuple(o for o in mine if o.claims["kind"] == "freeze"), tuple(o for o in mine if o.claims["kind"] == "lower_cap"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Here:
    """What orders mean for one service. ``numbers``: all that are in force here; ``halted``: what halts the whole of it."""

    numbers: tuple[int, ...] = ()
    halted: str | None = None
    halted_participants: Mapping[str, int] = field(default_factory=dict)
    frozen: tuple[Signed, ...] = ()
    lowered: tuple[Signed, ...] = ()

    def stops(self, participant: str, kinds: Iterable[str]) -> str | None:
        """What halts a message of these kinds of payment, if so."""
        if not HALTED_KINDS.intersection(kinds):
            return None
        number = self.halted_participants.get(participant)
        return self.halted or (None if number is None else f"order {number}")

    def freezes(self, participant: str, currency: str) -> int | None:
        """The order by which a new payment is refused for good."""
        found = (o.number for o in self.frozen if _in_scope(o, participant=participant, currency=currency))
        return next(found, None)

    def lower(self, participant: str, currency: str, caps: dict[str, int]) -> dict[str, int]:
        """The lesser of the release's caps and the orders' (rule 6)."""
        for order in self.lowered:
            if _in_scope(order, participant=participant, currency=currency):
                named = order.claims["caps"]
                caps = {name: min(value, named.get(name, value)) for name, value in caps.items()}
        return caps


NO_ORDERS = Here()


def _in_scope(order: Signed, **place: str) -> bool:
    return all(order.claims["scope"].get(name, value) == value for name, value in place.items())


def page(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """``(position, envelope bytes)`` of a control plane's answer, and its last position. Raises ``NotTrusted ORDER_INVALID``."""
    try:
        answer = parse_json(data, bytes_max=PAGE_BYTES_MAX)
        found = [(int(entry["position"]), orjson.dumps(entry["envelope"])) for entry in answer["entries"]]
        last = int(answer["last"])
    except (Refused, KeyError, TypeError, ValueError, orjson.JSONEncodeError) as error:
        raise NotTrusted("ORDER_INVALID", "not a list of orders") from error
    if len(found) > PAGE_MAX:
        raise NotTrusted("ORDER_INVALID", f"more than {PAGE_MAX} orders in one answer")
    return found, last
