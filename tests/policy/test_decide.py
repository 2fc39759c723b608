"""``decide``: exactly one answer for each item, whatever its neighbours do (POL-12, POL-16; findings)."""

from __future__ import annotations

import time

import pytest

from sidecar.policy.answers import Decision, read_answers
from sidecar.policy.engine import decide
from sidecar.policy.errors import PolicyFailed
from tests.policy.support import asked, decision_input, engine, misbehaving

ALLOW = Decision(allow=True, reasons=(), obligations={})
ANSWER = b'{"allow": false, "reasons": [], "obligations": {"routes": [], "hold": false, "second_approval": false}}'
PLACES = {"first": 0, "middle": 2, "last": 4}


def shown(decisions):
    """``ALLOW`` or the first reason, by index."""
    return ["ALLOW" if decision.allow else decision.reasons[0] for decision in decisions]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("purpose", "reason"), [
    ("UNDEFINED", "POLICY_UNDEFINED"), ("CONFLICT", "POLICY_ERROR"), ("SLOW", "POLICY_ERROR"),
    ("TEXT", "POLICY_ERROR"), ("BOTH", "POLICY_ERROR"), ("MADE_UP", "POLICY_ERROR"),
])
def test_one_bad_item_costs_only_itself_wherever_it_stands(opa, place, purpose, reason):
    purposes, expected = ["GOOD", "BAD", "GOOD", "BAD", "GOOD"], ["ALLOW", "POLICY_DENIED"] * 2 + ["ALLOW"]
    purposes[PLACES[place]], expected[PLACES[place]] = purpose, reason
    assert shown(decide(misbehaving(opa), asked(*purposes), deadline_ms=400)) == expected


@pytest.mark.parametrize("place", PLACES)
def test_an_item_that_does_not_fit_its_schema_never_reaches_the_policy(place):
    seen: list[int] = []

    class Counting:
        def evaluate(self, items, *, deadline_ms):
            seen.append(len(items))
            return [ALLOW] * len(items)

    items = [decision_input() for _ in range(5)]
    del items[PLACES[place]]["instruction"]["currency"]
    expected = ["ALLOW"] * 5
    expected[PLACES[place]] = "INPUT_INVALID"
    assert shown(decide(Counting(), items, deadline_ms=100)) == expected
    assert seen == [4]


@pytest.mark.parametrize("item", [
    {}, None, [], "x", 7, {"schema": "symphony.decision_input/1"}, decision_input(amount_minor="10"),
    decision_input(amount_minor=1.5), decision_input(amount_minor=2**53), decision_input(amount_minor=10**40),
    {**decision_input(), "more": 1}, {1: 2}, object(), decision_input(amount_minor=float("nan")),
])
def test_what_is_no_decision_input_is_denied(item):
    good = decision_input()
    assert shown(decide(engine(), [good, item, good], deadline_ms=1000)) == ["ALLOW", "INPUT_INVALID", "ALLOW"]


def test_text_that_has_no_utf8_form_is_denied_alone():
    good, lone = decision_input(), decision_input(message_id="\ud800")
    assert shown(decide(engine(), [good, lone, good], deadline_ms=1000)) == ["ALLOW", "POLICY_ERROR", "ALLOW"]


def test_no_items_no_decisions():
    assert decide(engine(), [], deadline_ms=100) == []


def test_many_slow_items_cannot_take_more_than_their_share_of_time(opa):
    begun = time.monotonic()
    decisions = decide(misbehaving(opa), asked(*["SLOW"] * 60), deadline_ms=200)
    assert shown(decisions) == ["POLICY_ERROR"] * 60
    assert time.monotonic() - begun < 20


def test_an_engine_that_always_fails_denies_everything():
    class Broken:
        def evaluate(self, items, *, deadline_ms):
            raise PolicyFailed("broken")

    assert shown(decide(Broken(), asked("GOOD", "GOOD"), deadline_ms=50)) == ["POLICY_ERROR"] * 2


@pytest.mark.parametrize("raw", [
    b"", b"[]x", b"{}", b'[{"result": []}]', b'[{"result": {}}, {"result": {}}]', b'[{"other": {}}]',
    b'[{"result": {"0": null}}]', b'[{"result": {"1": %s}}]' % ANSWER, b'[{"result": {"0": %s, "00": 1}}]' % ANSWER,
    b'[{"result": {"0": %s}}, 1]' % ANSWER, b"\xff",
])
def test_bytes_that_are_not_one_answer_an_item_are_no_answer(raw):
    with pytest.raises(PolicyFailed):
        read_answers(raw, 1)


@pytest.mark.parametrize("raw", [b"[]", b'[{"result": {}}]'])
def test_an_empty_result_denies_every_item(raw):
    assert shown(read_answers(raw, 3)) == ["POLICY_UNDEFINED"] * 3
