"""Orders that must not be obeyed, and lifts that must not lift: each refused by its own reason code, and nothing changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import orders
from contracts.canonical import canonical_bytes
from contracts.errors import SymphonyError
from contracts.keys import ORDER_TYPE, REQUEST_TYPE, key_id_of, public_hex
from contracts.orders import Signed, Standing
from contracts.release.envelope import countersigned, make_envelope
from contracts.times import SystemClock

KEYS = {name: Ed25519PrivateKey.generate() for name in ("alice", "bruno", "chanda", "dalitso", "mallory")}
ALICE, BRUNO, CHANDA, DALITSO, MALLORY = KEYS.values()
OFFICERS = {key_id_of(key): public_hex(key) for name, key in KEYS.items() if name != "mallory"}
NOW = SystemClock().now()
Envelope = dict[str, Any]


def issued(key: Ed25519PrivateKey = ALICE, **changes: Any) -> Envelope:
    """An order that holds, but for the changes."""
    fields: dict[str, Any] = {
        "environment": "sandbox", "number": 1, "kind": "halt", "scope": {}, "reason": "a test", "now": NOW,
    }  # fmt: skip
    return orders.issued(key, **{**fields, **changes})


def payload_of(envelope: Envelope) -> dict[str, Any]:
    """Its claims."""
    claims: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return claims


def signed_again(change: Callable[[dict[str, Any]], object], key: Ed25519PrivateKey = ALICE) -> Envelope:
    """An order whose claims were changed before its officer signed them."""
    claims = payload_of(issued())
    change(claims)
    return make_envelope(key, ORDER_TYPE, canonical_bytes(claims))


def edited(envelope: Envelope, **claims: Any) -> Envelope:
    """Claims that were changed after the signature."""
    return {**envelope, "payload": base64.b64encode(canonical_bytes(payload_of(envelope) | claims)).decode()}


FORGED: dict[str, tuple[Envelope, str]] = {
    "signed by two": (countersigned(issued(), BRUNO), "ORDER_SIGNATURE"),
    "another officer's signature under this key id": (
        issued() | {"signatures": [issued(BRUNO)["signatures"][0] | {"keyid": key_id_of(ALICE)}]}, "ORDER_SIGNATURE"),
    "in another officer's name": (signed_again(lambda c: c.update(key_id=key_id_of(BRUNO))), "ORDER_SIGNATURE"),
    "a scope widened after the signature": (edited(issued(scope={"participant": "kafue-bank"}), scope={}), "ORDER_SIGNATURE"),
    "a stranger's key": (issued(MALLORY), "OFFICER_UNKNOWN"),
    "another environment's": (issued(environment="production"), "ORDER_SCOPE"),
    "dated ahead": (issued(now=NOW + timedelta(hours=1)), "ORDER_TIME"),
    "no real time": (signed_again(lambda c: c.update(issued_at="2026-02-31T00:00:00.000000Z")), "ORDER_TIME"),
    "of another payload type": (make_envelope(ALICE, REQUEST_TYPE, canonical_bytes(payload_of(issued()))), "ORDER_INVALID"),
    "a scope that nobody knows": (signed_again(lambda c: c.update(scope={"planet": "mars"})), "ORDER_INVALID"),
    "a kind that loosens": (signed_again(lambda c: c.update(kind="resume")), "ORDER_INVALID"),
    "a halt with caps": (signed_again(lambda c: c.update(caps={"payment_minor_max": 1})), "ORDER_INVALID"),
    "a cap of no currency": (
        signed_again(lambda c: c.update(kind="lower_cap", caps={"payment_minor_max": 1})), "ORDER_INVALID"),
    "number nought": (signed_again(lambda c: c.update(number=0)), "ORDER_INVALID"),
    "a number that is a word": (signed_again(lambda c: c.update(number="1")), "ORDER_INVALID"),
    "a field too many": (signed_again(lambda c: c.update(until="tomorrow")), "ORDER_INVALID"),
    "without a reason": (signed_again(lambda c: c.update(reason=" ")), "ORDER_INVALID"),
    "not canonical": (make_envelope(ALICE, ORDER_TYPE, json.dumps(payload_of(issued()), indent=1).encode()), "ORDER_INVALID"),
    "huge": (issued() | {"payload": base64.b64encode(b" " * orders.ENVELOPE_BYTES_MAX).decode()}, "ORDER_INVALID"),
}  # fmt: skip


def verified(envelope: Envelope, **changes: Any) -> Signed:
    """Read and verified as a sidecar does."""
    order = orders.of_envelope(envelope)
    fields: dict[str, Any] = {"environment": "sandbox", "officers": OFFICERS, "listed": None, "now": NOW}
    orders.verify_order(order, **{**fields, **changes})
    return order


def code_of(call: Callable[[], object]) -> str:
    """The reason code of a refusal."""
    with pytest.raises(SymphonyError) as refused:
        call()
    return refused.value.code


@pytest.mark.parametrize("name", list(FORGED))
def test_a_forged_order_is_refused(name: str) -> None:
    envelope, code = FORGED[name]
    assert code_of(lambda: verified(envelope)) == code
    assert verified(issued()).number == 1, "but for that it holds"


@pytest.mark.parametrize("data", [b"", b"[]", b"nothing", b'{"payloadType":[]}', b"{" * 20_000, b'{"a":1,"a":2}'], ids=str)
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    assert code_of(lambda: orders.read(data)) == "ORDER_INVALID"


def test_an_unsigned_order_is_refused() -> None:
    assert code_of(lambda: verified(issued() | {"signatures": []})) == "ORDER_SIGNATURE"


def test_an_officer_who_was_removed_orders_nothing() -> None:
    left = {key_id: material for key_id, material in OFFICERS.items() if key_id != key_id_of(ALICE)}
    assert code_of(lambda: verified(issued(), officers=left)) == "OFFICER_UNKNOWN"


def test_an_officer_whom_the_release_does_not_list_orders_nothing() -> None:
    assert code_of(lambda: verified(issued(), listed=[key_id_of(BRUNO)])) == "ORDER_SIGNER"
    assert verified(issued(), listed=[key_id_of(ALICE)]).number == 1


def test_a_key_that_only_the_release_lists_orders_nothing() -> None:
    """A release narrows the officers, it makes none."""
    assert code_of(lambda: verified(issued(MALLORY), listed=[key_id_of(MALLORY)])) == "OFFICER_UNKNOWN"


def lifting(*keys: Ed25519PrivateKey, of: Envelope | None = None, **changes: Any) -> Signed:
    """A lift of an order, signed by these."""
    envelope = orders.lifting(keys[0], orders.of_envelope(of or issued()), reason="over", now=changes.pop("now", NOW))
    for key in keys[1:]:
        envelope = countersigned(envelope, key)
    return orders.of_envelope(envelope)


def check_lift(lift: Signed, of: Envelope | None = None, **changes: Any) -> tuple[str, ...]:
    """As a sidecar does."""
    fields: dict[str, Any] = {"environment": "sandbox", "officers": OFFICERS, "threshold": 2, "now": NOW}
    return orders.verify_lift(lift, orders.of_envelope(of or issued()), **{**fields, **changes})


SHORT: dict[str, tuple[Ed25519PrivateKey, ...]] = {
    "one officer": (BRUNO,),
    "the same officer twice": (BRUNO, BRUNO),
    "the officer who issued it, and one": (ALICE, BRUNO),
    "a stranger, and one": (BRUNO, MALLORY),
}


@pytest.mark.parametrize("name", list(SHORT))
def test_a_lift_below_the_threshold_is_refused(name: str) -> None:
    assert code_of(lambda: check_lift(lifting(*SHORT[name]))) == "ORDER_LIFT_THRESHOLD"
    assert check_lift(lifting(BRUNO, CHANDA)) == tuple(sorted(map(key_id_of, (BRUNO, CHANDA))))


def test_one_key_under_two_ids_lifts_nothing() -> None:
    twice = OFFICERS | {"f" * 64: public_hex(BRUNO)}
    envelope = orjson.loads(lifting(BRUNO).envelope)
    envelope["signatures"].append(envelope["signatures"][0] | {"keyid": "f" * 64})
    assert code_of(lambda: check_lift(orders.of_envelope(envelope), officers=twice)) == "ORDER_LIFT_THRESHOLD"


def test_the_issuers_key_under_another_id_lifts_nothing() -> None:
    renamed = OFFICERS | {"f" * 64: public_hex(ALICE)}
    envelope = orjson.loads(lifting(ALICE, BRUNO).envelope)
    envelope["signatures"][0]["keyid"] = "f" * 64
    assert code_of(lambda: check_lift(orders.of_envelope(envelope), officers=renamed)) == "ORDER_LIFT_THRESHOLD"


def test_a_signature_that_does_not_hold_is_not_counted() -> None:
    envelope = orjson.loads(lifting(BRUNO, CHANDA).envelope)
    envelope["signatures"][1]["sig"] = envelope["signatures"][0]["sig"]
    assert code_of(lambda: check_lift(orders.of_envelope(envelope))) == "ORDER_LIFT_THRESHOLD"


def test_a_lift_of_another_content_of_the_number_is_refused() -> None:
    lift = lifting(BRUNO, CHANDA, of=issued(reason="another"))
    assert code_of(lambda: check_lift(lift)) == "ORDER_UNKNOWN"
    standing = Standing()
    standing.take(orders.of_envelope(issued()))
    assert code_of(lambda: standing.named_by(lift)) == "ORDER_UNKNOWN"


def test_a_lift_dated_ahead_or_of_another_environment_is_refused() -> None:
    later = lifting(BRUNO, CHANDA, now=NOW + timedelta(hours=1))
    assert code_of(lambda: check_lift(later)) == "ORDER_TIME"
    assert code_of(lambda: check_lift(lifting(BRUNO, CHANDA), environment="staging")) == "ORDER_SCOPE"


def test_a_lifted_order_is_not_brought_back_by_its_replay() -> None:
    standing, order = Standing(), orders.of_envelope(issued())
    standing.take(order)
    standing.lift(lifting(BRUNO, CHANDA))
    assert (standing.take(order), standing.in_force()) == (False, [])


def test_a_flood_of_orders_is_bounded_and_a_distant_number_costs_nothing() -> None:
    standing = Standing()
    far = orders.of_envelope(issued(number=1_000_000))
    standing.take(far)
    assert standing.missing() == list(range(1, 1 + orders.MISSING_SHOWN_MAX))
    standing.orders |= {(n, "0" * 64): far for n in range(1, orders.KEPT_MAX)}
    assert code_of(lambda: standing.take(orders.of_envelope(issued()))) == "ORDER_INVALID"


def test_an_order_never_raises_a_cap() -> None:
    """Rule 6: the lesser holds, whatever the order says."""
    standing = Standing()
    caps = {"payment_minor_max": 2**53 - 1, "daily_minor_max": 5}
    standing.take(orders.of_envelope(issued(kind="lower_cap", scope={"currency": "ZMW"}, caps=caps)))
    release = {"payment_minor_max": 100, "daily_minor_max": 1000, "daily_count_max": 10}
    here = standing.here("reference-rail", "iso20022")
    assert here.lower("kafue-bank", "ZMW", release) == release | {"daily_minor_max": 5}
    assert here.lower("kafue-bank", "USD", release) == release


def test_an_order_for_another_service_or_rail_stops_nothing_here() -> None:
    standing = Standing()
    standing.take(orders.of_envelope(issued(scope={"service": "other"})))
    standing.take(orders.of_envelope(issued(number=2, scope={"rail": "iso8583"})))
    here = standing.here("reference-rail", "iso20022")
    assert (here.numbers, here.stops("kafue-bank", ["transfer"])) == ((), None)
    assert standing.here("other", "x").stops("kafue-bank", ["transfer"]) == "order 1"


@pytest.mark.parametrize("kind", ["return", "reversal", "cancellation_request", "status_request"])
def test_a_halt_stops_transfers_only(kind: str) -> None:
    """Design section 6: returns, reversals and queries go on."""
    standing = Standing()
    standing.take(orders.of_envelope(issued()))
    here = standing.here("reference-rail", "iso20022")
    assert here.stops("kafue-bank", [kind]) is None
    assert here.stops("kafue-bank", [kind, "transfer"]) == "order 1"
