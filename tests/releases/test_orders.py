"""Orders at the control plane: it records only what a sidecar would obey, in order, each a leaf of the log (PIL-04)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import orders
from contracts.errors import SymphonyError
from contracts.orders import Signed
from contracts.times import SystemClock
from symphony.release import orders as tools
from symphony.release.client import Officer
from symphony.release.orders import Wanted
from tests.releases.running import Running

pytestmark = pytest.mark.needs_schema("controlplane", 6)
NOW = SystemClock().now()


def code_of(call: Callable[[], object]) -> str:
    """The reason code of a refusal."""
    with pytest.raises(SymphonyError) as refused:
        call()
    return refused.value.code


def asked(running: Running, name: str, wanted: Wanted, number: int, **changes: Any) -> str:
    """The reason code with which the control plane refuses an order."""
    envelope = changes.get("envelope") or tools.signed_order(running.world.officer(name), "sandbox", number, wanted, NOW)
    return code_of(lambda: running.control(changes.get("by", name)).post("/v1/orders/sandbox", {"envelope": envelope}))


def test_the_control_plane_records_only_what_a_sidecar_would_obey(running: Running) -> None:
    """Each refusal by its code; what is recorded is a leaf of the log, and served in order with its lift."""
    halt = Wanted("halt", {}, "a test", {})
    assert asked(running, "alice", halt, 1) == "RELEASE_STATE", "nobody to order before a release is active"
    running.release()
    alice, control = running.world.officer("alice"), running.control("alice")
    stranger = tools.signed_order(Officer("mallory", Ed25519PrivateKey.generate()), "sandbox", 1, halt, NOW)
    assert asked(running, "alice", halt, 1, envelope=stranger) == "OFFICER_UNKNOWN"
    assert asked(running, "alice", halt, 1, by="bruno") == "OFFICER_UNKNOWN", "another officer's order is not his to send"
    assert asked(running, "alice", halt, 2) == "ORDER_NUMBER"
    assert asked(running, "alice", Wanted("halt", {"participant": "nobody"}, "r", {}), 1) == "ORDER_SCOPE"
    higher = Wanted("lower_cap", {"currency": "ZMW"}, "r", {"payment_minor_max": 1_000_000})
    assert asked(running, "alice", higher, 1) == "ORDER_NOT_LOWER"
    order = tools.issue(control, alice, "sandbox", halt, NOW)
    again = {"envelope": orjson.loads(order.envelope)}
    assert control.post("/v1/orders/sandbox", again) == {"number": 1, "sha256": order.sha256, "new": False}
    assert asked(running, "bruno", halt, 1) == "ORDER_FORKED"
    assert_lifted_by_two_others(running, order)
    entries, last = orders.page(running.source().fetch("orders/sandbox/0", orders.PAGE_BYTES_MAX))
    assert [(orders.read(data).is_lift, position) for position, data in entries] == [(False, 1), (True, 2)]
    assert (last, orders.page(running.source().fetch("orders/sandbox/2", orders.PAGE_BYTES_MAX))[0]) == (2, [])
    (shown,) = tools.listed(control, "sandbox")
    assert (shown["state"], shown["kind"], shown["actor"]) == ("LIFTED", "halt", "alice")


def assert_lifted_by_two_others(running: Running, order: Signed) -> None:
    """The issuer may sign and does not count; nobody signs twice; nothing lifts what is not there."""

    def lift(name: str, number: int = 1) -> Any:
        return tools.lift(running.control(name), running.world.officer(name), "sandbox", number, "it is over", NOW).answer

    assert code_of(lambda: lift("bruno", 2)) == "ORDER_UNKNOWN"
    assert (lift("alice")["signatures"], lift("bruno")["signatures"]) == (0, 1)
    assert code_of(lambda: lift("bruno")) == "ORDER_LIFT_THRESHOLD"
    other = orders.lifting(running.world.ceremony.officer("dalitso"), order, reason="another reason", now=NOW)
    post = running.control("dalitso").post
    assert code_of(lambda: post("/v1/orders/sandbox/1/lift", {"envelope": other})) == "ORDER_FORKED"
    assert lift("chanda") == {"number": 1, "signatures": 2, "needed": 2, "lifted": True}
    assert code_of(lambda: lift("dalitso")) == "ORDER_LIFTED"
    assert asked(running, "alice", Wanted("halt", {}, "again", {}), 1) == "ORDER_FORKED", "a lifted number is not issued again"
    records = running.control("alice").get("/v1/evidence/records")["records"]
    told = [json.loads(base64.b64decode(leaf["record"])) for leaf in records if leaf["kind"] == "order"]
    assert [(record["action"], record["order_sha256"]) for record in told] == [("issued", order.sha256), ("lifted", order.sha256)]
