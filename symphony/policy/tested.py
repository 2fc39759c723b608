"""The Rego tests of a policy, run by a real ``opa test``; coverage counts the governing Rego only (POL-16).

Exit codes (design section 12): 0 pass, 1 a test failed, 3 could not evaluate (``CannotEvaluate``), 4 no test ran, 8
coverage too low.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from symphony.opa import find_opa, run
from symphony.policy.model import COVERAGE_TOO_LOW, NOTHING_TESTED, VIOLATED, Finding, Result, failed, passed
from symphony.policy_build import POLICIES, capabilities

COVERAGE_PERCENT_MIN = 95.0
"""Percent of the governing Rego's lines that the tests must reach."""

TITLE = "its tests pass and reach its lines"


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
        return 0 if self.coverage >= COVERAGE_PERCENT_MIN else COVERAGE_TOO_LOW


def run_tests(folder: Path = POLICIES, opa: Path | None = None) -> Tested:
    """Run the Rego tests below a folder. Raises ``CannotEvaluate`` without an ``opa``, or for Rego it cannot read."""
    program = opa or find_opa()
    results: list[dict[str, Any]] = _json(program, [*_test(), "."], folder)
    tests = [(f"{one['package'].removeprefix('data.')}.{one['name']}", bool(_failed(one))) for one in results or []]
    passed = tuple(sorted(name for name, failed in tests if not failed))
    failed = tuple(sorted(name for name, failed in tests if failed))
    if failed or not passed:
        return Tested(passed, failed, 0.0, ())
    covered, uncovered = _coverage(_json(program, [*_test(), "--coverage", "."], folder))
    return Tested(passed, failed, covered, uncovered)


def as_result(tested: Tested) -> Result:
    """The check of a policy's tests."""
    figures = {"tests": len(tested.passed) + len(tested.failed), "coverage_percent": round(tested.coverage, 1)}
    code = tested.exit_code
    if code == VIOLATED:
        found = [Finding(f"{name} failed", "mend the rule or the test") for name in tested.failed]
    elif code == NOTHING_TESTED:
        found = [Finding("no test ran", "write rules test_… in files *_test.rego")]
    else:
        found = [Finding(f"{place} is reached by no test", "add a test", *_split(place)) for place in tested.uncovered]
        percent = f"coverage {tested.coverage:.1f} %, at least {COVERAGE_PERCENT_MIN:.0f} %"
        found.insert(0, Finding(percent, "add tests for the lines named below"))
    return failed("tests", TITLE, found, code, **figures) if code else passed("tests", TITLE, **figures)


def _split(place: str) -> tuple[str, int]:
    name, _, row = place.rpartition(":")
    return name, int(row)


def _test() -> list[str]:
    return ["test", "--format", "json", "--capabilities", str(capabilities())]


def _failed(result: dict[str, Any]) -> bool:
    """Skipped (``todo_``) and erred tests did not pass either."""
    return any(result.get(key) for key in ("fail", "error", "skip"))


def _coverage(report: dict[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Percent of lines over all governing files, and the places that no test reached."""
    files = {name: file for name, file in report["files"].items() if not name.endswith("_test.rego")}
    covered = sum(_lines(file.get("covered")) for file in files.values())
    missed = sum(_lines(file.get("not_covered")) for file in files.values())
    places = tuple(
        f"{name}:{span['start']['row']}"
        for name, file in sorted(files.items())
        for span in file.get("not_covered") or ()
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
