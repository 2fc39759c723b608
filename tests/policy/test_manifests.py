"""The committed manifests and environment templates fit their schemas and each other."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest

from contracts.calendar import business_context
from contracts.errors import Refused
from contracts.schemas import check
from contracts.times import SystemClock
from sidecar.policy.engine import decide
from symphony.iso4217 import currencies, names
from tests.policy.support import AMOUNT_MAX, ROOT, decision_input, engine

SETS = {
    "manifests": ("manifests", "examples/environments/sandbox.template.json"),
    "wide": ("examples/wide", "examples/wide/environment.template.json"),
}
BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}[A-Z0-9]{3}")


def load(path: str):
    return json.loads((ROOT / path).read_text("utf-8"))


@pytest.fixture(params=SETS)
def chosen(request):
    """(sidecar's manifest, ledger's manifest, environment data)."""
    folder, data = SETS[request.param]
    return load(f"{folder}/reference-rail.json"), load(f"{folder}/core-ledger.json"), load(data)


def test_they_fit_their_schemas(chosen):
    rail, ledger, data = chosen
    check("symphony.service/1", rail, code="RELEASE_MANIFEST")
    check("symphony.service/1", ledger, code="RELEASE_MANIFEST")
    check("symphony.environment/1", data, code="RELEASE_MANIFEST")


def test_they_fit_each_other(chosen):
    rail, ledger, data = chosen
    sidecar = rail["sidecar"]
    assert sidecar["permit"]["audience"] == ledger["audience"]
    assert rail["audience"] != ledger["audience"]
    assert business_context(sidecar, data["calendars"], SystemClock().now())["timezone"] == sidecar["timezone"]
    for participant in data["participants"]:
        assert set(participant["message_types"]) <= set(sidecar["rail"]["message_types"])
        assert set(participant["agents"]) <= {*data["agents"], "*"}
    assert set(data["permitted"]["participants"]) <= {participant["id"] for participant in data["participants"]}
    assert set(data["permitted"]["agents"]) <= set(data["agents"])
    assert set(data["permitted"]["currencies"]) <= {code for code, one in data["currencies"].items() if one["money"]}


def test_ids_and_clients_name_one_participant(chosen):
    data = chosen[2]
    ids = [participant["id"] for participant in data["participants"]]
    clients = [client for participant in data["participants"] for client in participant["clients"]]
    agents = [agent for participant in data["participants"] for agent in participant["agents"]]
    for listed in (ids, clients, agents):
        assert len(listed) == len(set(listed))


def test_a_batch_of_one_payment_at_its_cap_may_be_dispatched(chosen):
    rail, _, data = chosen
    tables = [data["caps"], *(participant.get("caps", {}) for participant in data["participants"])]
    largest = max(cap["payment_minor_max"] for table in tables for cap in table.values())
    assert largest <= rail["sidecar"]["batch_money"]["value_minor_max"]


def test_templates_carry_no_keys_and_the_whole_currency_table(chosen):
    data = chosen[2]
    assert data["currencies"] == currencies()
    for part in ("issuers", "certificate_authorities", "permit_keys", "evidence_keys", "log_keys"):
        assert data[part] == []


def test_the_demo_runs_at_any_hour(chosen):
    assert chosen[2]["permitted"]["hours"] == {"enforced": False}


def test_agents_have_the_form_of_a_bic(chosen):
    assert all(BIC.fullmatch(agent) for agent in chosen[2]["agents"])


def test_holidays_are_real_dates_in_order_of_this_year_and_the_next(chosen):
    holidays = chosen[2]["calendars"]["zambia"]["holidays"]
    assert holidays == sorted(set(holidays))
    assert {date.fromisoformat(day).year for day in holidays} == {2026, 2027}
    assert {"2026-10-24", "2026-04-03", "2027-03-26"} <= set(holidays)


def test_every_permitted_currency_has_a_cap():
    data = load(SETS["manifests"][1])
    assert set(data["permitted"]["currencies"]) == set(data["caps"])


def test_the_wide_release_admits_anything_that_is_money():
    data = load(SETS["wide"][1])
    items = [
        decision_input("wide", currency=currency, amount_minor=AMOUNT_MAX, instructed_agent=agent,
                       settlement_method=method, settlement_date=day)
        for currency, agent, method, day in [
            ("ZMW", "LIBEDEFFXXX", "COVE", "1999-12-31"), ("JPY", "OTHR:somebody", "INDA", "2099-01-01"),
            ("CLF", "CLR:ZMNCC:1", "CLRG", None),
        ]
    ]
    gold = decision_input("wide", currency="XAU")
    decisions = decide(engine(data), [*items, gold], deadline_ms=1000)
    assert [decision.reasons for decision in decisions] == [(), (), (), ("NOT_ALLOWED_CURRENCY",)]


@pytest.mark.parametrize("name", ["staging", "production"])
def test_wildcards_are_refused_outside_the_sandbox(name):
    data = load(SETS["wide"][1])
    with pytest.raises(Refused):
        check("symphony.environment/1", {**data, "environment": name}, code="RELEASE_WILDCARD")
    item = {**decision_input("wide"), "environment": name}
    assert not decide(engine({**data, "environment": name}), [item], deadline_ms=1000)[0].allow


def test_the_sandbox_refuses_whom_the_story_needs_refused():
    data = load(SETS["manifests"][1])
    cases = {
        "NOT_ALLOWED_PARTICIPANT": decision_input("kalambo-finance"),
        "NOT_ALLOWED_AGENT": decision_input(instructed_agent="OKVBNANXXXX"),
        "CAP_PAYMENT_VALUE": decision_input("mosi-money", amount_minor=2_000_001),
        "NOT_ALLOWED_CURRENCY": decision_input(currency="SEK"),
    }
    decisions = decide(engine(data), list(cases.values()), deadline_ms=1000)
    assert [decision.reasons[0] for decision in decisions] == list(cases)
    suspended = decide(engine(data), [decision_input("bangweulu-bank")], deadline_ms=1000)
    assert suspended[0].reasons == ("NOT_ALLOWED_PARTICIPANT",)


def test_the_currency_table_is_iso_4217():
    table = currencies()
    assert len(table) == 178
    exponents = {"ZMW": 2, "USD": 2, "JPY": 0, "UGX": 0, "RWF": 0, "KWD": 3, "TND": 3, "CLF": 4, "UYW": 4, "ISK": 0}
    assert {code: table[code] for code in exponents} == {
        code: {"exponent": exponent, "money": True} for code, exponent in exponents.items()
    }
    no_money = {code for code, one in table.items() if not one["money"]}
    assert {"XAU", "XAG", "XPD", "XPT", "XTS", "XDR"} <= no_money
    assert all(code.startswith("X") for code in no_money)
    assert set(names()) == set(table)
