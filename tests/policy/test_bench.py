"""``symphony policy bench``: both engines are asked, a budget can be broken, and what was not measured is said (issue 5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate
from symphony.cli import main
from symphony.policy import bench
from symphony.policy.opa_server import OpaServer
from symphony.policy.source import Source

FRAME = (Path(__file__).parent / "traps" / "frame.txt").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy of one rule, measured a few times only."""
    monkeypatch.setattr(bench, "BATCHES_MIN", 3)
    (tmp_path / "rule").mkdir()
    (tmp_path / "rule" / "rule.rego").write_text(FRAME + '\nallowed(item) if item.instruction.kind == "transfer"\n')
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """As a user types it."""
    code = main(["policy", "bench", *words, "--seconds", "0.01"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_both_engines_are_measured_beside_a_baseline_and_a_budget_can_be_broken(
    folder: Path, opa: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMPHONY_OPA", str(opa))
    code, out, errors = run(capsys, str(folder), "--baseline", str(folder), "--budget-us", "0.001", "-o", "json")
    found: dict[str, Any] = json.loads(out)
    assert (code, found["over_budget"]) == (9, True)
    assert "over the budget of 0.001 µs" in errors
    assert [(one["policy"], one["engine"], one["batch"]) for one in found["figures"]] == [
        (policy, engine, size) for policy in ("this", "baseline") for engine in ("wasm", "opa") for size in (1, 10, 100)
    ]  # fmt: skip
    assert all(0 < one["p50_us"] <= one["p99_us"] and one["batches"] >= 3 for one in found["figures"])
    assert found["left_out"] == ""


def test_without_opa_only_a_recorded_build_is_measured_and_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMPHONY_OPA", "/nowhere/opa")
    code, out, _ = run(capsys, "--budget-us", "1e12")
    assert code == 0
    assert "its server was not measured" in out
    assert " opa " not in out.partition("no opa")[0]
    code, _, errors = run(capsys, str(folder))
    assert (code, "records no build" in errors) == (3, True)
    code, _, errors = run(capsys, str(folder / "nowhere"))
    assert (code, "is no folder" in errors) == (2, True)


def test_a_server_that_does_not_start_is_no_figure(opa: Path) -> None:
    broken = Source({"rule/rule.rego": b"package symphony.payments\n\nno rule at all {"})
    with pytest.raises(CannotEvaluate, match="did not start"), OpaServer(broken, {}, opa):
        pass
