"""``symphony policy check`` and ``symphony policy test``: what an officer runs before he proposes (POL-05, POL-16).

``check``: the Rego compiles strictly under ``policies/capabilities.json``, is formatted, and the committed
``policy.wasm`` is what it compiles to. ``run_tests``: a real ``opa test``; coverage counts the governing Rego only.

Exit codes (design section 12): 0 pass, 1 violated, 3 could not evaluate (``CannotEvaluate``), 4 nothing was tested,
8 coverage too low.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, Refused
from symphony.opa import find_opa, run
from symphony.policy_build import POLICIES, rebuild, recorded_pair, rego_digest

COVERAGE_MIN = 95.0
"""Percent of the governing Rego's lines that the tests must reach."""

PASS, VIOLATED, NOTHING_TESTED, COVERAGE_TOO_LOW = 0, 1, 4, 8


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a policy, one sentence each; nothing is wrong when there is none."""

    findings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 or 1."""
        return VIOLATED if self.findings else PASS


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of ``opa test``: names of tests by result, percent of the governing Rego's lines reached."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    coverage: float
    uncovered: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, 1, 4 or 8."""
        if self.failed:
            return VIOLATED
        if not self.passed:
            return NOTHING_TESTED
        return PASS if self.coverage >= COVERAGE_MIN else COVERAGE_TOO_LOW


def check(folder: Path = POLICIES, opa: Path | None = None) -> Findings:
    """Hold a policies folder to be releasable. Raises ``CannotEvaluate`` without an ``opa``."""
    program = opa or find_opa()
    capabilities = str(POLICIES / "capabilities.json")
    findings: list[str] = []
    strict = run(program, ["check", "--strict", "--capabilities", capabilities, "."], folder)
    if strict.returncode != 0:
        findings.append((strict.stderr or strict.stdout).strip()[:2000])
    unformatted = run(program, ["fmt", "--list", "."], folder)
    findings += [f"{name} is not formatted: opa fmt -w" for name in unformatted.stdout.split()]
    if not findings:
        findings += _unlike_the_record(folder, program)
    return Findings(tuple(findings))


def _unlike_the_record(folder: Path, opa: Path) -> list[str]:
    try:
        built = sha256_hex(rebuild(folder, opa))
        committed = sha256_hex((folder / "build" / "policy.wasm").read_bytes())
        recorded = recorded_pair(folder)
    except (Refused, OSError) as error:
        return [f"{error}"]
    findings = []
    if built != committed:
        findings.append("build/policy.wasm is not what the Rego compiles to: symphony policy build")
    if (rego_digest(folder), built) != (recorded.rego_sha256, recorded.wasm_sha256):
        findings.append("BUILD.json does not record this Rego and Wasm: symphony policy build")
    return findings


def run_tests(folder: Path = POLICIES, opa: Path | None = None) -> Tested:
    """Run the Rego tests below a folder. Raises ``CannotEvaluate`` without an ``opa``, or for Rego it cannot read."""
    program = opa or find_opa()
    results = _json(program, ["test", "--format", "json", "."], folder)
    tests = [(f"{one['package'].removeprefix('data.')}.{one['name']}", bool(_failed(one))) for one in results]
    passed = tuple(sorted(name for name, failed in tests if not failed))
    failed = tuple(sorted(name for name, failed in tests if failed))
    if failed or not passed:
        return Tested(passed, failed, 0.0, ())
    covered, uncovered = _coverage(_json(program, ["test", "--format", "json", "--coverage", "."], folder))
    return Tested(passed, failed, covered, uncovered)


def _failed(result: dict[str, Any]) -> bool:
    """Skipped (``todo_``) and erred tests did not pass either."""
    return any(result.get(key) for key in ("fail", "error", "skip"))


def _coverage(report: dict[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Percent of lines over all governing files, and the places that no test reached."""
    files = {name: file for name, file in report["files"].items() if not name.endswith("_test.rego")}
    covered = sum(_lines(file.get("covered")) for file in files.values())
    missed = sum(_lines(file.get("not_covered")) for file in files.values())
    places = tuple(
        f"{name}:{span['start']['row']}" for name, file in sorted(files.items()) for span in file.get("not_covered") or ()
    )
    return (100.0 * covered / (covered + missed) if covered + missed else 0.0), places


def _lines(spans: list[dict[str, dict[str, int]]] | None) -> int:
    return sum(span["end"]["row"] - span["start"]["row"] + 1 for span in spans or ())


def _json(opa: Path, arguments: list[str], folder: Path) -> Any:
    done = run(opa, arguments, folder)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        text = (done.stderr or done.stdout).strip()[:2000]
        raise CannotEvaluate("RELEASE_ENGINE", f"opa {arguments[0]} gave no result: {text}") from error
