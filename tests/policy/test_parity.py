"""The committed Wasm and a real OPA give the same decisions on schema-valid inputs (design section 5, POL-10).

One ``opa run --server`` for the module, asked over loopback with whole batches; inputs are generated so that every
rule is met from both sides.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.schemas import check, fast_validator
from sidecar.policy.answers import Decision
from sidecar.policy.engine import WasmEngine, decide
from symphony.policy_build import POLICIES, committed_wasm
from tests.policy.support import AMOUNT_MAX, decision_input, environment

ASK_TIMEOUT_S = 20


class OpaServer:
    """A stock OPA with our Rego; data are put in before each question."""

    def __init__(self, address: str) -> None:
        self.address = address

    def put_environment(self, data: dict[str, Any]) -> None:
        self._send("PUT", "/v1/data/environment", data)

    def decisions(self, items: list[dict[str, Any]]) -> list[tuple[bool, tuple[str, ...]]]:
        answer = self._send("POST", "/v1/data/symphony/payments/decisions", {"input": {"items": items}})
        result = json.loads(answer)["result"]
        assert set(result) == {str(index) for index in range(len(items))}
        return [(result[str(i)]["allow"], tuple(result[str(i)]["reasons"])) for i in range(len(items))]

    def _send(self, method: str, path: str, body: Any) -> bytes:
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as answer:
            return answer.read()


@pytest.fixture(scope="module")
def server(opa: Path) -> Iterator[OpaServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    arguments = ["run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", str(POLICIES)]
    arguments[-1:] = sorted(str(path) for path in POLICIES.rglob("*.rego") if not path.name.endswith("_test.rego"))
    process = subprocess.Popen([str(opa), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(process, address)
        yield OpaServer(address)
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(200):
        assert process.poll() is None, "opa ended at once"
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("opa did not become healthy")


PARTICIPANTS = ["kafue-bank", "mosi-money", "kalambo-finance", "bangweulu-bank", "nobody"]
AGENTS = ["LWGBZMLUXXX", "KFUBZMLUXXX", "OKVBNANXXXX", "LIBEDEFFXXX", "CLR:ZMNCC:123456", "OTHR:é\u2028\"\\x"]
CURRENCIES = ["ZMW", "USD", "JPY", "XAU", "QTZ", "EUR"]
AMOUNTS = [1, 2, 1999999, 2000000, 2000001, 5 * 10**9, 5 * 10**9 + 1, AMOUNT_MAX - 1, AMOUNT_MAX]
DATES = ["2026-11-23", "2026-11-24", "2026-11-28", "2026-11-29", "2026-11-30", "2026-02-30", "2028-02-29", "0000-00-00"]
BUSINESS_DATES = ["2026-11-24", "2026-11-25", "2026-12-30", "2028-02-27"]
amounts = st.sampled_from(AMOUNTS) | st.integers(1, AMOUNT_MAX)
caps = st.fixed_dictionaries({
    "payment_minor_max": st.integers(0, AMOUNT_MAX) | st.sampled_from(AMOUNTS),
    "daily_minor_max": st.just(0), "daily_count_max": st.just(0),
})


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """One schema-valid decision input."""
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
    return decision_input(
        draw(st.sampled_from(PARTICIPANTS)),
        {"business_date": draw(st.sampled_from(BUSINESS_DATES)), "is_business_day": draw(st.booleans()),
         "window_open": draw(st.booleans())},
        amount_minor=draw(amounts), currency=draw(st.sampled_from(CURRENCIES)),
        instructed_agent=draw(st.sampled_from([a for a in AGENTS if "\u2028" not in a])),
        settlement_method=draw(st.sampled_from(["INDA", "INGA", "COVE", "CLRG"])),
        settlement_date=draw(st.none() | st.sampled_from(DATES) | st.dates().map(str)),
        message_type=draw(st.sampled_from(["pacs.008.001.08", "pacs.009.001.08", "pacs.003.001.02"])),
        message_id=draw(text),
    )


@st.composite
def environments(draw: st.DrawFn) -> dict[str, Any]:
    """A sandbox's or a production's environment data."""
    live = draw(st.booleans())
    data = environment(
        settlement_days_ahead_max=draw(st.integers(0, 366)), hours={"enforced": draw(st.booleans())},
        participants=draw(st.lists(st.sampled_from(PARTICIPANTS), unique=True)),
        agents=draw(st.lists(st.sampled_from(AGENTS), unique=True)),
        currencies=draw(st.lists(st.sampled_from(CURRENCIES), unique=True)),
    )
    keys = CURRENCIES if live else [*CURRENCIES, "*"]
    data["caps"] = draw(st.dictionaries(st.sampled_from(keys), caps, max_size=4))
    data["participants"][0]["caps"] = draw(st.dictionaries(st.sampled_from(keys), caps, max_size=3))
    data["environment"] = "production" if live else "sandbox"
    data["wildcards"] = {name: not live and draw(st.booleans()) for name in data["wildcards"]}
    return data


def shown(decisions: list[Decision]) -> list[tuple[bool, tuple[str, ...]]]:
    return [(decision.allow, decision.reasons) for decision in decisions]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(environments(), st.lists(inputs(), min_size=1, max_size=6))
def test_wasm_and_opa_agree_on_generated_inputs(server, data, items):
    for item in items:
        item["environment"] = data["environment"]
    items = [item for item in items if fast_validator("symphony.decision_input/1").is_valid(item)]
    check("symphony.environment/1", data, code="RELEASE_MANIFEST")
    server.put_environment(data)
    engine = WasmEngine(committed_wasm(), {"environment": data})
    assert shown(decide(engine, items, deadline_ms=5000)) == server.decisions(items)


def test_generated_inputs_meet_both_answers_of_every_rule(server):
    """Else the parity above would compare refusals only."""
    data = environment(hours={"enforced": True})
    server.put_environment(data)
    dates = ["2026-11-24", "2026-11-29", "2026-11-30", None]
    items = [decision_input(amount_minor=amount, currency=currency, settlement_date=date)
             for amount, currency, date in product(AMOUNTS, CURRENCIES, dates)]
    answers = server.decisions(items)
    assert shown(decide(WasmEngine(committed_wasm(), {"environment": data}), items, deadline_ms=5000)) == answers
    assert {allow for allow, _ in answers} == {True, False}


@pytest.mark.parametrize("text", ["2026-1e-24", "2026-1.-24", "2026-11-.5", "2026-11-+5", "20e6-11-24", "2026--1-24",
                                  "1_26-11-24", "0x26-11-24", "Infi-11-24", "2026-11-2²", "2026-11-1E"])
def test_wasm_and_opa_agree_on_texts_that_are_no_dates(server, text):
    """Without the schema in front, which would refuse them: OPA's two engines read numbers in different code."""
    data = environment()
    server.put_environment(data)
    items = [decision_input(settlement_date=text), decision_input({}, {"business_date": text}), decision_input()]
    items[1]["participant_id"] = "kafue-bank"
    answers = WasmEngine(committed_wasm(), {"environment": data}).evaluate(items, deadline_ms=5000)
    assert shown(answers) == server.decisions(items)
    assert [answer.allow for answer in answers] == [False, False, True]


def test_the_release_number_and_time_change_no_decision(server):
    data = environment()
    server.put_environment(data)
    first = decision_input()
    second = {**first, "release_number": 7, "decision_time": "2031-01-01T00:00:00.000000Z"}
    engine = WasmEngine(committed_wasm(), {"environment": data})
    assert shown(decide(engine, [first, second], deadline_ms=5000)) == server.decisions([second, first])
