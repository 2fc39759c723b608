"""What becomes of one recorded decision under a candidate: the sidecar's own answer, and nothing silently dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.policy.answers import Decision, denied
from sidecar.policy.engine import decide
from symphony.impact import model
from symphony.impact.model import Counts
from symphony.impact.replay import Candidate, Replayer, Row
from symphony.policy_build import rebuild
from tests.impact.support import AMOUNT_MAX, CAP_NOW, CAP_THEN, OWN_AGENT, Payment, candidate
from tests.policy.support import MISBEHAVING

HOUR = 498_700
KAFUE = ("kafue-bank", "iso20022", "ZMW", HOUR)


def row(one: Payment) -> Row:
    code = None if one.allowed else one.code or "CAP_PAYMENT_VALUE"
    detail = "" if one.allowed else code if one.detail is None else one.detail
    agent = one.agent or OWN_AGENT[one.participant]
    return one.allowed, code, detail, one.participant, "iso20022", one.amount, one.currency, agent, HOUR, one.input


def counted(*payments: Payment, by: Candidate | None = None) -> Counts:
    counts = Counts()
    Replayer(by or candidate()).count([row(one) for one in payments], counts)
    assert counts.recorded == len(payments)
    assert accounted(counts) == len(payments), "each is in exactly one of the three"
    return counts


def accounted(counts: Counts) -> int:
    figures = model.figures(counts)
    return sum(total[0] for name in ("replayed", "not_replayed", "before_policy") for total in figures[name].values())


def changes(counts: Counts) -> dict[tuple[str, str, str], list[int]]:
    return {key[:3]: total for key, total in counts.whys.items()}


def asides(counts: Counts) -> dict[tuple[str, str, str], list[int]]:
    return dict(counts.asides)


@pytest.mark.parametrize(
    ("frozen", "why"),
    [
        pytest.param(None, "erased", id="erased"),
        pytest.param(b"", "erased", id="empty"),
        pytest.param(b"{", "unreadable", id="no JSON"),
        pytest.param(b"\xff\xfe", "unreadable", id="no UTF-8"),
        pytest.param(b"[]", "unreadable", id="no object"),
        pytest.param(b'{"schema": "symphony.decision_input/1", "instruction": 1}', "unreadable", id="no instruction"),
        pytest.param(orjson.dumps(Payment().document(schema="symphony.decision_input/2")), "other_schema", id="other version"),
        pytest.param(orjson.dumps(Payment(amount=7).document()), "not_its_own", id="another amount"),
        pytest.param(orjson.dumps(Payment(currency="USD").document()), "not_its_own", id="another currency"),
        pytest.param(orjson.dumps(Payment("luangwa-bank").document()), "not_its_own", id="another participant"),
    ],
)
def test_what_cannot_be_replayed_is_counted_and_valued(frozen: bytes | None, why: str) -> None:
    counts = counted(Payment(amount=100, frozen=frozen), Payment(amount=5))
    assert asides(counts) == {("not_replayed", why, "ZMW"): [1, 100]}
    assert dict(counts.cells) == {("replayed", KAFUE): [1, 5]}


def test_what_was_refused_before_the_policy_was_asked_has_no_input_to_replay() -> None:
    counts = counted(*(Payment(allowed=False, code=code, frozen=None) for code in ("SCHEMA_INVALID", "AMOUNT_INVALID", "INPUT_INVALID")))
    assert {key[:2] for key in asides(counts)} == {
        ("before_policy", "SCHEMA_INVALID"), ("before_policy", "AMOUNT_INVALID"), ("before_policy", "INPUT_INVALID"),
    }  # fmt: skip


def test_an_erased_refusal_of_the_policy_is_not_taken_for_one_before_it() -> None:
    assert asides(counted(Payment(allowed=False, code="OUTSIDE_HOURS", frozen=None))) == {("not_replayed", "erased", "ZMW"): [1, 100]}


def test_an_agent_whom_the_candidate_assigns_cannot_be_replayed_and_another_stays_refused() -> None:
    stranger = Payment(allowed=False, code="AGENT_MISMATCH", frozen=None, agent="DRKBZAJJXXX")
    assert asides(counted(stranger)) == {("before_policy", "AGENT_MISMATCH", "ZMW"): [1, 100]}
    own = Payment(allowed=False, code="AGENT_MISMATCH", frozen=None)
    assert asides(counted(own)) == {("not_replayed", "agent_assigned", "ZMW"): [1, 100]}


def test_flips_are_valued_by_currency_and_currencies_are_never_added() -> None:
    counts = counted(
        Payment(amount=CAP_NOW + 1), Payment(amount=CAP_NOW), Payment("mosi-money", "USD", CAP_THEN),
        Payment(amount=CAP_THEN + 1, allowed=False), by=candidate(CAP_NOW),
    )  # fmt: skip
    why = ("allow_to_deny", "ALLOW", "CAP_PAYMENT_VALUE")
    assert dict(counts.whys) == {(*why, "ZMW"): [1, CAP_NOW + 1], (*why, "USD"): [1, CAP_THEN]}
    assert model.figures(counts)["flipped"] == {"ZMW": [1, CAP_NOW + 1], "USD": [1, CAP_THEN]}


def test_sums_pass_what_a_bigint_and_a_float_hold_exactly() -> None:
    counts = counted(*[Payment(amount=AMOUNT_MAX, allowed=False)] * 2000, by=candidate(AMOUNT_MAX))
    assert model.figures(counts)["deny_to_allow"] == {"ZMW": [2000, 2000 * AMOUNT_MAX]}
    report = model.document(subject(), counts)
    assert report["totals"]["deny_to_allow"]["ZMW"]["value_minor"] == str(2000 * AMOUNT_MAX)


@pytest.mark.parametrize(
    ("code", "detail", "changed"),
    [
        pytest.param("CAP_PAYMENT_VALUE", "CAP_PAYMENT_VALUE", 0, id="the same reason"),
        pytest.param("CAP_PAYMENT_VALUE", "", 0, id="by fixed code"),
        pytest.param("CAP_PAYMENT_VALUE", "CAP_PAYMENT_VALUE,OUTSIDE_HOURS", 1, id="one reason less"),
        pytest.param("NOT_ALLOWED_CURRENCY", "NOT_ALLOWED_CURRENCY", 1, id="another"),
        pytest.param("DUPLICATE_TRANSACTION", "", 1, id="the candidate refuses a duplicate first"),
    ],
)
def test_other_reasons_are_a_change_of_their_own(code: str, detail: str, changed: int) -> None:
    counts = counted(Payment(amount=CAP_THEN + 1, allowed=False, code=code, detail=detail))
    assert [key[0] for key in changes(counts)] == ["reasons_changed"] * changed


@pytest.mark.parametrize("code", ["DUPLICATE_TRANSACTION", "CAP_DAILY_VALUE", "CAP_DAILY_COUNT"])
def test_what_the_record_refused_stays_refused_though_the_candidate_allows_it(code: str) -> None:
    counts = counted(Payment(allowed=False, code=code, detail=""))
    assert not counts.whys
    assert asides(counts) == {("kept_by_record", code, "ZMW"): [1, 100]}


def test_a_lower_daily_cap_is_said_by_the_frozen_usage_and_is_no_flip() -> None:
    payments = [Payment(amount=100, usage=900), Payment(amount=100, usage=901)]
    counts = counted(*payments, by=candidate(daily=1000))
    assert not counts.whys
    assert asides(counts) == {("daily_caps", "CAP_DAILY_VALUE", "ZMW"): [1, 100]}


def test_fixed_code_refuses_under_the_candidate_too() -> None:
    gone = candidate(participants=[])
    assert list(changes(counted(Payment(), by=gone))) == [("allow_to_deny", "ALLOW", "AGENT_MISMATCH")]


@pytest.fixture(scope="module")
def by_purpose(opa: Path) -> Callable[[str], Counts]:
    """One allowed payment, under a policy whose answer is chosen by the payment's purpose."""
    extra = b"""
decision(purpose) := object.union(yes, {"obligations": {"routes": ["primary", "second"]}}) if purpose == "ROUTES"

decision(purpose) := object.union(yes, {"obligations": {"hold": true}}) if purpose == "HOLD"
"""
    wasm = rebuild({"payments/decisions.rego": MISBEHAVING + extra}, opa)

    def one(purpose: str) -> Counts:
        document: dict[str, Any] = Payment().document()
        document["instruction"]["purpose"] = purpose
        return counted(Payment(frozen=orjson.dumps(document)), by=Candidate(wasm, candidate().environment))

    return one


@pytest.mark.parametrize(
    ("purpose", "change", "now"),
    [
        pytest.param("HOLD", "allow_to_deny", "SECOND_APPROVAL_REQUIRED", id="an obligation that cannot be met"),
        pytest.param("ROUTES", "obligations_changed", "ALLOW", id="other routes"),
        pytest.param("TEXT", "allow_to_deny", "POLICY_ERROR", id="an answer that cannot be read"),
        pytest.param("UNDEFINED", "allow_to_deny", "POLICY_UNDEFINED", id="no answer"),
    ],
)
def test_what_the_sidecar_makes_of_an_answer_is_what_is_counted(
    by_purpose: Callable[[str], Counts], purpose: str, change: str, now: str
) -> None:
    assert list(changes(by_purpose(purpose))) == [(change, "ALLOW", now)]
    assert not changes(by_purpose("GOOD"))


def test_a_pause_of_the_machine_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    from symphony.impact import replay

    asked: list[int] = []

    def paused_once(engine: Any, items: list[dict[str, Any]], *, deadline_ms: int) -> list[Decision]:
        asked.append(len(items))
        return [denied("POLICY_ERROR")] * len(items) if len(asked) == 1 else decide(engine, items, deadline_ms=deadline_ms)

    monkeypatch.setattr(replay, "decide", paused_once)
    assert not counted(Payment(), Payment(amount=2)).whys
    assert asked == [2, 1, 1]


def subject() -> model.Subject:
    from datetime import UTC, datetime

    moment = datetime(2026, 11, 24, tzinfo=UTC)
    return model.Subject("sandbox", "0" * 64, "1" * 64, moment, moment, 7)


def test_a_table_that_is_cut_says_how_much_and_the_totals_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "ROWS_MAX", 1)
    counts = counted(Payment(amount=CAP_THEN), Payment("mosi-money", amount=CAP_THEN), by=candidate(CAP_NOW))
    report = model.document(subject(), counts)
    assert (len(report["hours"]), report["hours_left_out"], report["participants_left_out"]) == (1, 1, 1)
    assert report["totals"]["allow_to_deny"]["ZMW"] == {"count": 2, "value_minor": str(2 * CAP_THEN)}
