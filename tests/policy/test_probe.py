"""The fail-open probe catches each trap, and passes honest policies (POL-16; design section 5).

A trap or an honest policy is one file ``allowed(item)``; ``traps/frame.txt`` makes decisions of it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.policy import check as policy_check
from symphony.policy.changes import changes_of, is_valid, pairs, single
from symphony.policy.compiled import plan_of
from symphony.policy.fields import ABSENT, changed, fields, value_at
from symphony.policy.inputs import Drawn
from symphony.policy.model import FAIL, NOTHING_TESTED, PASS
from symphony.policy.probe import Probed, probe
from symphony.policy.reads import Reads
from symphony.policy.source import Source
from symphony.policy.wasm import Policy, load
from symphony.policy_build import committed_wasm, rebuild, rego_files
from tests.policy.support import ROOT, decision_input, environment

HERE = Path(__file__).resolve().parent
TRAPS = sorted((HERE / "traps").glob("*.rego"))
HONEST = sorted((HERE / "honest").glob("*.rego"))
WIDE = ROOT / "examples" / "wide" / "environment.template.json"


def source_of(rego: str) -> Source:
    return Source({"frame.rego": (HERE / "traps" / "frame.txt").read_bytes(), "rule.rego": rego.encode()})


@cache
def probed(rego: str, opa: Path) -> tuple[Reads, Probed]:
    source = source_of(rego)
    reads = plan_of(source, opa)
    policy = load(rebuild(source.files, opa), environment())
    return reads, probe(policy, environment(), reads)


def rule(body: str) -> str:
    return f"package symphony.payments\n\n{body}\n"


def read_by(body: str, opa: Path) -> set[str]:
    return {"/".join(path) for path in plan_of(source_of(rule(body)), opa).paths}


def test_there_are_traps_and_honest_ones():
    assert len(TRAPS) >= 13
    assert len(HONEST) >= 6


@pytest.mark.parametrize("path", TRAPS, ids=lambda path: path.stem)
def test_a_trap_is_caught(opa, path):
    _, found = probed(path.read_text(), opa)
    result = policy_check.judged(found)
    assert result.verdict == FAIL, result
    assert result.code == 1
    assert all("is allowed" in one.text and one.change for one in result.findings)


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_an_honest_policy_passes(opa, path):
    _, found = probed(path.read_text(), opa)
    result = policy_check.judged(found)
    assert result.verdict == PASS, result.findings
    assert result.figures["probes"] > 100


def test_a_trap_of_two_is_caught_by_pairs_only(opa):
    _, found = probed((HERE / "traps" / "two_at_once.rego").read_text(), opa)
    assert all(" and " in text for text in found.allowed)


def test_a_finding_names_field_and_change(opa):
    _, found = probed((HERE / "traps" / "null_is_less.rego").read_text(), opa)
    assert found.allowed["instruction/amount_minor null"] > 0
    assert "instruction/amount_minor removed" not in found.allowed


@pytest.mark.parametrize("data", [None, json.loads(WIDE.read_text())], ids=["sandbox", "wide"])
def test_our_own_policy_passes(opa, data):
    reads = plan_of(Source(rego_files()), opa)
    found = probe(load(committed_wasm(), data or environment()), data or environment(), reads)
    assert policy_check.judged(found).verdict == PASS, found.allowed
    assert found.bases_allowed >= 5
    assert found.singles > 3000
    assert found.pairs > 3000


@pytest.mark.parametrize("body", ['allowed(item) if item.instruction.kind == "none"', "allowed(_) if false"])
def test_a_policy_that_allows_nothing_was_not_tested(opa, body):
    _, found = probed(rule(body), opa)
    assert policy_check.judged(found).code == NOTHING_TESTED


def test_a_policy_that_allows_spoiled_payments_only_is_caught(opa):
    _, found = probed(rule("allowed(item) if item.instruction.amount_minor < 0"), opa)
    assert found.bases_allowed == 0
    assert policy_check.judged(found).verdict == FAIL


def test_a_policy_that_reads_nothing_was_not_tested(opa):
    _, found = probed(rule("allowed(_) := true"), opa)
    assert policy_check.judged(found).code == NOTHING_TESTED


OWN = {
    "environment", "participant_id", "rail", "rail/business_date", "rail/is_business_day", "rail/window_open",
    "instruction", "instruction/message_type", "instruction/amount_minor", "instruction/currency",
    "instruction/instructed_agent", "instruction/settlement_method", "instruction/settlement_date",
}


def test_what_our_own_policy_reads(opa):
    reads = plan_of(Source(rego_files()), opa)
    assert {"/".join(path) for path in reads.paths} == OWN
    assert not reads.unknown


@pytest.mark.parametrize(("body", "expected"), [
    ('allowed(item) if item.instruction.kind == "transfer"', {"instruction", "instruction/kind"}),
    ('allowed(item) if item["rail"]["name"] == "x"', {"rail", "rail/name"}),
    ('allowed(item) if object.get(item.rail, "name", "") == "x"', {"rail", "rail/name"}),
    ("allowed(item) if helper(item.rail)\n\nhelper(rail) if rail.window_open == true", {"rail", "rail/window_open"}),
    ('allowed(item) if {\n\tbox := {"a": item.rail}\n\tbox.a.name == "x"\n}', {"rail", "rail/name"}),
    ('allowed(item) if [item.rail][0].name == "x"', {"rail", "rail/name"}),
])
def test_what_is_read_by_a_constant_name_is_that_field(opa, body, expected):
    assert read_by(body, opa) == expected


@pytest.mark.parametrize("body", [
    "allowed(item) if {\n\tsome name in data.environment.names\n\titem.rail[name] == true\n}",
    "allowed(item) if {\n\tsome value in item.rail\n\tvalue == true\n}", "allowed(item) if count(item.rail) == 6",
    'allowed(item) if json.marshal(item.rail) != ""', 'allowed(item) if item.rail == {"name": "x"}',
    'allowed(item) if object.union(item.rail, {"x": 1}).name == "x"',
    'allowed(item) if {\n\twalk(item.rail, [path, _])\n\tpath == ["name"]\n}',
])
def test_what_is_read_otherwise_is_every_field_below(opa, body):
    assert {path for path in read_by(body, opa) if path.startswith("rail")} == {
        "rail", "rail/name", "rail/timezone", "rail/business_date", "rail/is_business_day", "rail/local_minute",
        "rail/window_open",
    }


def test_a_field_that_no_payment_has_is_named(opa):
    reads = plan_of(source_of(rule("allowed(item) if not item.instruction.blocked")), opa)
    assert reads.unknown == {("instruction", "blocked")}


def test_every_field_of_the_schema_is_known():
    assert len(fields()) == 58
    assert ("instruction", "header", "business_message_id") in fields()
    assert ("instruction", "instructed_amount", "text") in fields()


def test_drawn_inputs_are_valid_repeatable_and_meet_the_bounds():
    data = environment()
    one, two = Drawn(data).inputs(400), Drawn(data).inputs(400)
    assert one == two
    assert all(map(is_valid, one))
    amounts = {item["instruction"]["amount_minor"] for item in one}
    assert {2**53 - 1, 2**53 - 2} <= amounts
    assert {2**53, 2**53 + 1, 10**18 - 1} & {item["release_number"] for item in Drawn(data).inputs(2000)}
    assert any(item["instruction"]["header"] for item in one)


def test_every_probe_is_refused_by_the_schema_and_spoils_what_it_says():
    base = decision_input()
    for one in single([base], sorted(fields())):
        assert not is_valid(one.item)
        ((path, _),) = one.spoiled
        now, then = value_at(one.item, path), value_at(base, path)
        assert now is ABSENT or json.dumps(now) != json.dumps(then)
    assert is_valid(base)


def test_each_kind_of_change_is_made():
    kinds = {name.split(":")[0] for name, _ in changes_of([1])}
    assert {"removed", "null", "retyped", "empty text", "empty object", "huge", "negative", "doubled"} <= kinds
    names = [name for name, _ in changes_of(5)]
    assert len(names) == len(set(names))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(fields())), st.sampled_from(sorted(fields())), st.data())
def test_no_two_changes_open_our_own_policy(one, two, data):
    """Hypothesis beside the probe's own pairs: any two fields, read or not, both spoiled."""
    item = decision_input()
    spoils = [(path, value) for path in (one, two) if "/".join(path) in OWN for _, value in changes_of(value_at(item, path))]
    for path, value in data.draw(st.lists(st.sampled_from(spoils), max_size=2)) if spoils else ():
        before, item = item, changed(item, path, value) if value is not ABSENT else changed(item, path, ABSENT)
        item = item if not is_valid(changed(decision_input(), path, value)) else before
    if not is_valid(item):
        assert not _own().decisions([item])[0].allow


@cache
def _own() -> Policy:
    return Policy(committed_wasm(), environment(), seconds_max=600)


def test_pairs_are_the_same_each_time():
    bases = [decision_input()]
    first = [one.spoiled for one in pairs(bases, sorted(fields()), 50, 1)]
    assert first == [one.spoiled for one in pairs(bases, sorted(fields()), 50, 1)]
    assert len(first) > 30
