"""The benchmarks of the policy and of an activation write every figure; both engines agree before they are measured (issue 5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import activation, large, policy
from contracts import schemas
from symphony.policy import bench
from symphony.policy.source import Source
from symphony.policy_build import rebuild, rego_files

ENTRIES = 300


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, opa: Path) -> None:
    """No figure of these is read."""
    monkeypatch.setenv("SYMPHONY_OPA", str(opa))
    monkeypatch.setattr(bench, "BATCHES_MIN", 2)


def test_the_large_policy_has_its_500_lines_and_50000_entries_that_fit_their_schema() -> None:
    data = large.environment()
    assert large.count_lines(large.source()) in range(large.LINES - 6, large.LINES + 1)
    assert len(data["participants"]) + len(data["agents"]) >= large.ENTRIES
    schemas.check("symphony.environment/1", data, code="REQUEST_INVALID")
    assert len(set(data["agents"])) == len(data["agents"])


def test_both_policies_are_measured_in_both_engines(tmp_path: Path) -> None:
    output = tmp_path / "policy.json"
    arguments = ["--seconds", "0", "--seconds-max", "0.1", "--entries", str(ENTRIES), "--output", str(output)]
    policy.main(arguments, lambda _line: None)
    found = json.loads(output.read_text())["policies"]
    assert list(found) == ["payments", "large"]
    for one in found.values():
        assert [(row["engine"], row["batch"]) for row in one["figures"]] == [(e, b) for e in ("wasm", "opa") for b in (1, 10, 100)]
        assert all(0 < row["p50_us"] <= row["p99_us"] and row["batches"] >= 2 for row in one["figures"])
        assert 0 < one["allowed"] < one["compared"] == 100
        assert all(one["load_s"][engine] > 0 for engine in ("wasm", "opa"))
        assert all(value > 0 for ratios in one["ratios"].values() for value in (ratios["p50"], ratios["p99"]))


def test_engines_that_differ_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Wasm is of other Rego than the server has."""
    files = rego_files()
    other = files | {"payments/caps.rego": files["payments/caps.rego"].replace(b"amount_minor <=", b"amount_minor >")}
    monkeypatch.setattr(policy, "rebuild", lambda _files: rebuild(other))
    with pytest.raises(RuntimeError, match="the engines differ"):
        policy.measured(Source(files), large.environment(ENTRIES), 0, 0.1)


def test_decisions_go_on_while_a_release_is_activated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "ROUNDS_ALONE", 1)
    monkeypatch.setattr(activation, "EVERY_S", 0.005)
    monkeypatch.setattr(activation, "DECISIONS_BESIDE", 5)
    monkeypatch.setattr(activation, "PAUSE_S", 0.0)
    output = tmp_path / "activation.json"
    arguments = ["--rounds", "1", "--seconds", "0.1", "--entries", str(ENTRIES), "--output", str(output)]
    activation.main(arguments, lambda _line: None)
    found = json.loads(output.read_text())
    assert found["bundle_bytes"] == sum(found["bytes"].values())
    assert found["activation_s"] > 0
    assert found["alone_s"]["all"] > 0
    assert 0 < found["holds"]["second_ms"] <= found["holds"]["longest_ms"] <= found["holds"]["cpu_ms"]
    assert all(found[phase]["decisions"] > 0 < found[phase]["p50_ms"] <= found[phase]["max_ms"] for phase in activation.PHASES)
    assert all(found["beside_verifying"][name]["p90_ms"] > 0 for name in ("ours", "default"))
    assert {"during_over_quiet", "default_over_during"} == set(found["ratios"])
