"""A report as text, JSON, JUnit, SARIF or Markdown (design section 12). Pure: a report in, a string out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from symphony.invariants.manifest import Invariant
from symphony.invariants.run import DRIFT, ERROR, FAIL, PASS, Report, Result

FINDINGS_SHOWN_MAX = 10
MESSAGE_CHARS_MAX = 500
MANIFEST = "invariants/INVARIANTS_MANIFEST.yml"


def lines_of(result: Result) -> list[str]:
    """One result as text: a line, and its findings below."""
    one, findings = result.invariant, result.detail[:FINDINGS_SHOWN_MAX]
    more = len(result.detail) - len(findings)
    return [
        f"{result.result:<5} {one.id:<14} {one.severity} {one.title} ({result.seen} seen)",
        *(f"        {line}" for line in findings),
        *([f"        … and {more} more (-o json shows all)"] if more else []),
    ]


def summary(report: Report) -> str:
    """The last line of a text report."""
    text = f"{len(report.passed)} of {len(report.results)} hold"
    for option in sorted({needs(one) for one in report.skipped}):
        text += f"; not run without {option}: {', '.join(one.id for one in report.skipped if needs(one) == option)}"
    return text if report.results else f"nothing was tested: {text}"


def needs(skipped: Invariant) -> str:
    """The option without which a skipped invariant is not run."""
    return "--dir" if DRIFT in skipped.verified_by else "--with-tests"


def as_json(report: Report) -> str:
    """A list with one object a result."""
    return json.dumps([_object(result) for result in report.results], indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """One test case an invariant; what was not run is skipped, so that nobody takes it for green."""
    cases = len(report.results) + len(report.skipped)
    suite = ET.Element(
        "testsuite", name="invariants", tests=str(cases), failures=_count(report, FAIL), errors=_count(report, ERROR),
        skipped=str(len(report.skipped)),
    )  # fmt: skip
    for result in report.results:
        case = ET.SubElement(suite, "testcase", name=result.invariant.id, classname="invariants")
        if result.result != PASS:
            ET.SubElement(case, "failure" if result.result == FAIL else "error", message=_message(result))
    for one in report.skipped:
        case = ET.SubElement(suite, "testcase", name=one.id, classname="invariants")
        ET.SubElement(case, "skipped", message=f"not run without {needs(one)}")
    return ET.tostring(suite, encoding="unicode")


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0: a rule an invariant, a result for each that does not hold or could not be evaluated."""
    rules = [
        {"id": r.invariant.id, "shortDescription": {"text": r.invariant.title}, "properties": {"severity": r.invariant.severity}}
        for r in report.results
    ]  # fmt: skip
    found = [
        {
            "ruleId": r.invariant.id,
            "level": "error",
            "message": {"text": _message(r)},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": MANIFEST}}}],
        }
        for r in report.results
        if r.result != PASS
    ]
    run = {
        "tool": {"driver": {"name": "symphony invariants", "rules": rules}},
        "invocations": [{"executionSuccessful": report.exit_code in {0, 1}}],
        "results": found,
    }
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def as_markdown(report: Report) -> str:
    """A table, for a pull request."""
    rows = [
        f"| {r.invariant.id} | {r.result} | {r.invariant.severity} | {r.invariant.title} | {_cell(r)} |"
        for r in report.results
    ]
    return "\n".join(
        ["| id | result | severity | invariant | findings |", "|---|---|---|---|---|", *rows, "", summary(report)]
    )


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "json": as_json, "junit": as_junit, "sarif": as_sarif, "markdown": as_markdown,
}  # fmt: skip
"""Formats that are written once, at the end; ``text`` is written as results come."""


def _object(result: Result) -> dict[str, Any]:
    return {
        "id": result.invariant.id, "result": result.result, "severity": result.invariant.severity, "seen": result.seen,
        "detail": list(result.detail), "ran": list(result.ran),
    }  # fmt: skip


def _count(report: Report, kind: str) -> str:
    return str(sum(result.result == kind for result in report.results))


def _message(result: Result) -> str:
    return "; ".join(result.detail)[:MESSAGE_CHARS_MAX]


def _cell(result: Result) -> str:
    return _message(result).replace("|", "\\|").replace("\n", " ")
