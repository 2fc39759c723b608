"""The Rego itself: its own tests under a real ``opa``, its style, and what it cannot reach (POL-10, POL-16)."""

from __future__ import annotations

import json
import re

import pytest

from contracts.errors import Refused
from contracts.reasons import REASONS
from symphony.policy.check import check
from symphony.policy.tested import COVERAGE_PERCENT_MIN, run_tests
from symphony.policy_build import POLICIES, rebuild, rego_files
from tests.policy.support import environment

REACHES_OUT = [
    'http.send({"method": "GET", "url": "http://127.0.0.1/"})', "time.now_ns()", 'rand.intn("x", 9)',
    'uuid.rfc4122("x")', "opa.runtime()", 'net.lookup_ip_addr("localhost")', 'io.jwt.decode("a.b.c")',
    "io.jwt.encode_sign({}, {}, {})", 'crypto.x509.parse_certificates("x")', 'sprintf("%d", [1])', "time.clock(1)",
    'time.parse_rfc3339_ns("2026-11-24T00:00:00Z")', 'rego.parse_module("a", "b")', 'yaml.unmarshal("a: 1")',
    'providers.aws.sign_req({}, {}, 1)', 'crypto.sha256("x")', 'json.patch({}, [])', 'graphql.is_valid("a", "b")',
]


def test_the_policys_own_tests_pass_and_reach_its_lines(opa):
    tested = run_tests(opa=opa)
    assert tested.failed == ()
    assert len(tested.passed) >= 35
    assert tested.coverage >= COVERAGE_PERCENT_MIN, tested.uncovered
    assert tested.exit_code == 0


def test_the_policy_passes_every_check(opa):
    report = check(POLICIES, environment(), "the sandbox", opa=opa)
    assert {one.name: one.verdict for one in report.results if one.verdict != "PASS"} == {}, report.document()
    assert len(report.results) == 8
    assert report.exit_code == 0


@pytest.mark.parametrize("call", REACHES_OUT)
def test_a_policy_that_reaches_out_does_not_compile(opa, call):
    source = f"package symphony.payments\n\ndecisions[key] := answer if {{\n\tkey := \"0\"\n\tanswer := {call}\n}}\n"
    with pytest.raises(Refused, match="undefined function") as caught:
        rebuild({"payments/out.rego": source.encode()}, opa)
    assert caught.value.code == "RELEASE_ENGINE"


def test_the_capabilities_name_no_clock_network_randomness_or_environment():
    document = json.loads((POLICIES / "capabilities.json").read_text("utf-8"))
    names = {builtin["name"] for builtin in document["builtins"]}
    outward = r"http|time|rand|uuid|opa|io|crypto|providers|rego|print|trace"
    assert not [name for name in names if re.match(outward, name)]
    assert not [name for name in names if name.startswith("net.") and not name.startswith("net.cidr_")]
    assert document["allow_net"] == []
    assert not [builtin["name"] for builtin in document["builtins"] if builtin.get("nondeterministic")]


def test_the_policy_gives_only_reasons_of_the_closed_list():
    text = b"".join(rego_files().values()).decode()
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text))
    assert codes
    assert {code for code in codes if code not in REASONS or REASONS[code].station != "decide"} == set()
