"""Orders in a sidecar over its real database: obeyed at once, kept across restarts, lifted by the threshold (PIL-04)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import orjson
import pytest

from contracts import orders
from contracts.errors import NotTrusted, SymphonyError
from contracts.release import Custodians
from contracts.release.envelope import countersigned
from contracts.times import SystemClock
from rails.sdk import SubmitItem, SubmitResult
from sidecar import writer as writers
from sidecar.dispatch.dispatcher import Dispatcher
from sidecar.events import Events
from sidecar.orders import Asked, Orders
from sidecar.store import StoreUnavailable
from tests.releases.support import World
from tests.sidecar import support
from tests.sidecar import test_flow_writer as whole
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, LUANGWA, handed, payment

pytestmark = pytest.mark.needs_schema("sidecar", 9)
SANDBOX = {"environment": "sandbox", "reason": "a test"}


@cache
def world() -> World:
    """Custodians and officers, made once."""
    return World(Path(mkdtemp()) / "stack")


@cache
def word() -> Custodians:
    """The custodians' word on them."""
    return Custodians.of(world().root, [], world().trust["targets.json"], "sandbox")


def order(number: int, kind: str = "halt", *, by: str = "alice", caps: dict[str, int] | None = None, **scope: str) -> dict[str, Any]:
    """An order's envelope."""
    key, now = world().ceremony.officer(by), SystemClock().now()
    return orders.issued(key, number=number, kind=kind, scope=scope, caps=caps, now=now, **SANDBOX)


def lift(of: dict[str, Any], *names: str) -> dict[str, Any]:
    """A lift of it, signed by these."""
    first, *more = [world().ceremony.officer(name) for name in names]
    envelope = orders.lifting(first, orders.of_envelope(of), reason="it is over", now=SystemClock().now())
    for key in more:
        envelope = countersigned(envelope, key)
    return envelope


async def obeying(stage: Stage, **asked: Any) -> Orders:
    """The orders of a writer that has just begun, on what its database keeps."""
    await stage.begin()
    clock = SystemClock()
    events = Events(stage.store, environment="sandbox", service=support.SERVICE, clock=clock)
    release = asked.get("release") or support.release()
    made = Orders(
        stage.store, events, Asked(asked.get("custodians", word), lambda: release), environment="sandbox",
        service=support.SERVICE, clock=clock,
    )  # fmt: skip
    await made.start(world().ceremony.root_path)
    return made


async def take(made: Orders, *envelopes: dict[str, Any]) -> list[str]:
    """What became of each."""
    return [str((await made.take(orjson.dumps(envelope)))["outcome"]) for envelope in envelopes]


async def refusal(made: Orders, envelope: dict[str, Any]) -> str:
    """The reason code."""
    with pytest.raises(SymphonyError) as refused:
        await made.take(orjson.dumps(envelope))
    return refused.value.code


async def test_an_order_stands_until_it_is_lifted_and_both_outlive_a_restart(stage: Stage) -> None:
    """Verified again from the pinned root alone at each start; each change is evidence once, however often it is served."""
    halt, other = order(1), order(2, "freeze", currency="USD")
    made = await obeying(stage)
    assert await take(made, halt, halt, other) == ["obeyed", "known", "obeyed"]
    assert made.here().halted == "order 1"
    again = await obeying(stage)
    assert (again.here().halted, again.here().numbers) == ("order 1", (1, 2))
    assert await take(again, halt) == ["known"]
    done = lift(halt, "bruno", "chanda")
    assert await take(again, done, done, halt) == ["lifted", "known", "known"], "its replay brings nothing back"
    third = await obeying(stage)
    assert (third.here().halted, third.here().numbers) == (None, (2,))
    told = [(record["action"], record["number"], record["reason_code"]) for record in stage.evidence("order")]
    assert told == [("obeyed", 1, None), ("obeyed", 2, None), ("lifted", 1, None)]
    officers = {world().officer(name).key_id for name in ("bruno", "chanda")}
    assert set(stage.evidence("order")[-1]["key_ids"]) == officers


async def test_a_lift_below_the_threshold_or_of_an_unknown_order_changes_nothing(stage: Stage) -> None:
    """The issuer's own signature does not count, and nobody counts twice; a refusal is evidence once."""
    halt = order(1)
    made = await obeying(stage)
    assert await refusal(made, lift(halt, "bruno", "chanda")) == "ORDER_UNKNOWN"
    await take(made, halt)
    for names in (("alice", "bruno"), ("bruno", "bruno"), ("bruno",)):
        assert await refusal(made, lift(halt, *names)) == "ORDER_LIFT_THRESHOLD", names
    same = lift(halt, "bruno")
    assert await refusal(made, same) == await refusal(made, same) == "ORDER_LIFT_THRESHOLD"
    assert (await obeying(stage)).here().halted == "order 1"
    codes = [record["reason_code"] for record in stage.evidence("order") if record["action"] == "refused"]
    assert codes == ["ORDER_UNKNOWN", *["ORDER_LIFT_THRESHOLD"] * 4]


async def test_a_fork_is_obeyed_twice_and_lifted_twice_and_a_missing_number_is_said(stage: Stage) -> None:
    """Nobody holds back an order by withholding the one before it, or by showing another of its number."""
    one, fork, third = order(1, participant=KAFUE), order(1, participant=LUANGWA, by="bruno"), order(3)
    made = await obeying(stage)
    await take(made, third, one, fork)
    assert set(made.here().halted_participants) == {KAFUE, LUANGWA}
    told = [(record["number"], record["reason_code"], record["missing"]) for record in stage.evidence("order")]
    assert told == [(3, "ORDER_NUMBER", [1, 2]), (1, "ORDER_NUMBER", [2]), (1, "ORDER_FORKED", [2])]
    await take(made, lift(one, "bruno", "chanda"))
    assert set(made.here().halted_participants) == {LUANGWA}
    assert await refusal(made, lift(fork, "bruno", "chanda")) == "ORDER_LIFT_THRESHOLD", "bruno issued the other one"
    await take(made, lift(fork, "alice", "chanda"))
    assert set((await obeying(stage)).here().halted_participants) == set()


async def test_a_kept_order_that_was_edited_halts_the_service_and_an_edited_lift_lifts_nothing(stage: Stage) -> None:
    """An intruder in the database can tighten, never loosen."""
    freeze = order(1, "freeze", currency="USD")
    made = await obeying(stage)
    await take(made, freeze, lift(freeze, "bruno", "chanda"))
    stage.sql("SET session_replication_role = replica; UPDATE symphony.orders SET envelope = convert_to(replace(convert_from(envelope,"
              " 'UTF8'), '\"signatures\":[', '\"signatures\":[ '), 'UTF8'), targets = '{}' WHERE is_lift;"
              "RESET session_replication_role")  # fmt: skip
    assert (await obeying(stage)).here().numbers == (1,)
    stage.sql("SET session_replication_role = replica; UPDATE symphony.orders SET targets = '{}' WHERE NOT is_lift;"
              "RESET session_replication_role")  # fmt: skip
    assert (await obeying(stage)).here().halted == "kept order 1 does not verify"


async def test_an_order_is_obeyed_before_it_is_durable_and_kept_once_the_store_is_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is never too early; a lift, which loosens, waits for the store."""
    halt = order(1)
    made = await obeying(stage)
    inner = stage.store.transaction

    @asynccontextmanager
    async def away(role: str) -> AsyncIterator[Any]:
        if role:
            raise StoreUnavailable("away")
        yield

    monkeypatch.setattr(stage.store, "transaction", away)
    assert await take(made, halt) == ["obeyed"]
    assert made.here().halted == "order 1"
    assert await refusal(made, lift(halt, "bruno", "chanda")) == "STORE_UNAVAILABLE"
    assert made.here().halted == "order 1"
    monkeypatch.setattr(stage.store, "transaction", inner)
    assert await take(made, lift(halt, "bruno", "chanda")) == ["lifted"]
    assert [record["action"] for record in stage.evidence("order")] == ["obeyed", "lifted"]


async def test_an_officer_who_was_removed_orders_nothing_new_and_what_he_ordered_stands(stage: Stage) -> None:
    """Also one whom the release does not list; the custodians' word of that time is kept with the order."""
    made = await obeying(stage)
    await take(made, order(1))
    gone = {key: value for key, value in word().trust.officers.items() if key != world().officer("alice").key_id}
    later = replace(word(), trust=replace(word().trust, officers=gone))
    only_bruno = support.environment_data() | {"order_keys": [world().officer("bruno").key_id]}
    made = await obeying(stage, custodians=lambda: later, release=support.release(data=only_bruno))
    assert made.here().halted == "order 1"
    assert await refusal(made, order(2)) == "OFFICER_UNKNOWN"
    assert await refusal(made, order(2, by="chanda")) == "ORDER_SIGNER"
    assert await take(made, order(2, by="bruno")) == ["obeyed"]


class Source:
    """A control plane's journal: pages by position."""

    def __init__(self, *envelopes: Any) -> None:
        self.entries = [{"position": n, "envelope": one} for n, one in enumerate(envelopes, 1)]
        self.asked: list[str] = []

    def fetch(self, path: str, length_max: int) -> bytes:
        """See ``ReleaseSource``."""
        self.asked.append(path)
        after = int(path.rpartition("/")[2])
        data = orjson.dumps({"entries": [e for e in self.entries if e["position"] > after][:100], "last": len(self.entries)})
        assert len(data) < length_max
        return data


async def test_what_is_refused_holds_up_nothing_and_is_asked_for_again(stage: Stage) -> None:
    """The custodians' word may be on its way; another control plane begins at the first place again."""
    halt, stranger = order(1), order(2, participant=KAFUE)
    word_now = [replace(word(), trust=replace(word().trust, officers={}))]
    made = await obeying(stage, custodians=lambda: word_now[0])
    source: Any = Source(halt, stranger)
    await made.round(source)
    assert made.here().numbers == ()
    word_now[0] = word()
    await made.round(source)
    await made.round(source)
    assert made.here().numbers == (1, 2)
    assert source.asked == ["orders/sandbox/0", "orders/sandbox/0", "orders/sandbox/2"]
    restored: Any = Source(order(3))
    await made.round(restored)
    assert made.here().numbers == (1, 2, 3)
    with pytest.raises(NotTrusted, match="ORDER_INVALID"):
        await made.round(type("Odd", (), {"fetch": lambda *_: b'{"entries":[]}'})())


async def test_a_freeze_refuses_for_good_and_a_lower_cap_is_the_lesser_one(stage: Stage) -> None:
    """Both are recorded refusals; a cap above the release's changes nothing; another participant is not touched."""
    made = await obeying(stage)
    stage.recorder._orders = made.here
    caps = {"payment_minor_max": 500, "daily_count_max": 2**40}
    await take(made, order(1, "freeze", participant=LUANGWA), order(2, "lower_cap", currency="ZMW", caps=caps))
    ours, theirs, higher = await stage.record(
        handed(payment(amount=500)), handed(payment(by=LUANGWA, to=KAFUE, amount=500), by=LUANGWA), handed(payment(amount=501))
    )
    assert [(e.decision, e.reason_code) for a in (ours, theirs, higher) for e in a.entries] == [
        ("ALLOW", None), ("REFUSED", "ORDER_FROZEN"), ("REFUSED", "CAP_PAYMENT_VALUE"),
    ]  # fmt: skip
    await take(made, order(3, "lower_cap", participant=KAFUE, currency="ZMW", caps={"daily_count_max": 1}))
    (answer,) = await stage.record(handed(payment(amount=1)))
    assert answer.entries[0].reason_code == "CAP_DAILY_COUNT"


class Given(whole.Given):
    """Releases by hand, under our custodians."""

    def custodians(self) -> Custodians:
        """Their word."""
        return word()


def under_our_custodians(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer pins our root, and follows releases by hand."""
    monkeypatch.setattr(writers, "Following", Given)
    import msgspec

    inner = whole.config

    def config(*arguments: Any) -> Any:
        made = inner(*arguments)
        return msgspec.structs.replace(made, release=msgspec.structs.replace(made.release, root=str(world().ceremony.root_path)))

    monkeypatch.setattr(whole, "config", config)


async def test_a_halted_service_takes_and_sends_nothing_new_and_completes_what_was_sent(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIL-04: also after a restart; queries go on; the refused key is free; after the lift each payment is posted once."""
    under_our_custodians(monkeypatch)
    stage.rail.gate, reached, inner = asyncio.Event(), asyncio.Event(), stage.rail.submit
    halt, key = order(1), "key-canary-halted"

    async def submit(items: list[SubmitItem], *, timeout_ms: int) -> list[SubmitResult]:
        reached.set()
        return await inner(items, timeout_ms=timeout_ms)

    monkeypatch.setattr(stage.rail, "submit", submit)
    async with await whole.adapter(tmp_path, stage.rail), whole.running(stage, tmp_path) as one:
        (sent,) = await one.record(handed(payment()))
        await reached.wait()  # on its way, and held at the rail
        await take(one.writer._orders, halt)
        assert await one.record(handed(payment("p1"), key=key)) == ["ORDER_HALTED"]
        stage.rail.gate.set()
        assert not isinstance(sent, str)
        identifier = sent.entries[0].instruction_id
        await whole.until(lambda: stage.state(identifier) == "SUCCEEDED")
        params = {"instruction_id": identifier, "participant_id": KAFUE}
        assert (await one.client.call("status", params, timeout_s=5))["instruction"]["state"] == "SUCCEEDED"
        assert (await one.client.call("state", {}, timeout_s=5))["orders"] == [1]
    async with await whole.adapter(tmp_path, stage.rail), whole.running(stage, tmp_path, "b") as two:
        assert await two.record(handed(payment("p1"), key=key)) == ["ORDER_HALTED"]
        await take(two.writer._orders, lift(halt, "bruno", "dalitso"))
        (taken,) = await two.record(handed(payment("p1"), key=key))
        assert not isinstance(taken, str)
        await whole.until(lambda: stage.state(taken.entries[0].instruction_id) == "SUCCEEDED")
    assert stage.rail.posts.total() == 2


async def test_what_a_halted_participant_has_waiting_is_held_and_others_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is claimed; one that was claimed when the order came is surely not sent, and waits as any other."""
    made = await obeying(stage)
    stage.dispatcher._held = lambda: made.here().halted_participants
    (ours,) = await stage.accept(payment())
    (theirs,) = await stage.accept(payment(by=LUANGWA, to=KAFUE), by=LUANGWA)
    halt = order(1, participant=KAFUE)
    await take(made, halt)
    assert await stage.dispatch() == 1
    assert set(stage.rail.posted) == {theirs}
    await take(made, lift(halt, "bruno", "chanda"))
    inner = Dispatcher._write_dispatching

    async def halted_meanwhile(self: Dispatcher, *arguments: Any) -> None:
        await inner(self, *arguments)
        made._standing.take(orders.of_envelope(order(2, participant=KAFUE)))
        made._said()

    monkeypatch.setattr(Dispatcher, "_write_dispatching", halted_meanwhile)
    await stage.dispatch()
    assert [state for _, state in stage.attempts(ours)] == ["DISPATCHING", "RETRYABLE"]
    assert ours not in stage.rail.posted
