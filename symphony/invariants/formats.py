"""A report as text, JSON, JUnit, SARIF or Markdown (design section 12). Pure: a report in, a string out.

Every form lists every exception of the manifest with what it came to, and shows the findings of what is excepted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from xml.etree import ElementTree as ET

from symphony.invariants.exceptions import IN_FORCE
from symphony.invariants.manifest import Invariant
from symphony.invariants.run import DRIFT, ERROR, EXCEPTED, FAIL, PASS, Report, Result

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
    if report.excepted:
        text += f"; excepted: {', '.join(report.excepted)}"
    for option in sorted({needs(one) for one in report.skipped}):
        text += f"; not run without {option}: {', '.join(one.id for one in report.skipped if needs(one) == option)}"
    text += f"; not looked at: {', '.join(report.absent)}" if report.absent else ""
    return text if report.results else f"nothing was tested: {text}"


def ending(report: Report) -> str:
    """What a text report says after its results: the exceptions, and the last line."""
    return "\n".join([*(one.line() for one in report.exceptions), summary(report)])


def needs(skipped: Invariant) -> str:
    """The option without which a skipped invariant is not run."""
    if DRIFT in skipped.verified_by:
        return "--dir or --database-url"
    return "its database" if any(text.startswith("sql:") for text in skipped.verified_by) else "--with-tests"


def as_json(report: Report) -> str:
    """An object: ``results``, ``exceptions``, ``skipped`` (each with the option that runs it)."""
    document = {
        "results": [_object(result) for result in report.results],
        "exceptions": [one.document() for one in report.exceptions],
        "skipped": [{"id": one.id, "needs": needs(one)} for one in report.skipped],
        "not_looked_at": list(report.absent),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """One test case an invariant; what was not run, or is excepted, is skipped, so that nobody takes it for green."""
    cases = len(report.results) + len(report.skipped)
    suite = ET.Element(
        "testsuite", name="invariants", tests=str(cases), failures=_count(report, FAIL), errors=_count(report, ERROR),
        skipped=str(len(report.skipped) + len(report.excepted)),
    )  # fmt: skip
    if report.exceptions or report.absent:
        properties = ET.SubElement(suite, "properties")
        for one in report.exceptions:
            ET.SubElement(properties, "property", name=f"exception:{one.exemption.invariant}", value=one.line())
        for name in report.absent:
            ET.SubElement(properties, "property", name="not_looked_at", value=name)
    for result in report.results:
        case = ET.SubElement(suite, "testcase", name=result.invariant.id, classname="invariants")
        if result.result != PASS:
            message = _message(result) if result.result != EXCEPTED else f"excepted: {_message(result)}"
            ET.SubElement(case, JUNIT_TAGS[result.result], message=message)
    for skipped in report.skipped:
        case = ET.SubElement(suite, "testcase", name=skipped.id, classname="invariants")
        ET.SubElement(case, "skipped", message=f"not run without {needs(skipped)}")
    return ET.tostring(suite, encoding="unicode")


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0: a rule an invariant, a result for each that does not hold or could not be evaluated.

    What is excepted is a warning that carries its exception as an accepted suppression.
    """
    rules = [
        {"id": r.invariant.id, "shortDescription": {"text": r.invariant.title}, "properties": {"severity": r.invariant.severity}}
        for r in report.results
    ]  # fmt: skip
    found = [_sarif_result(r, report) for r in report.results if r.result != PASS]
    run = {
        "tool": {"driver": {"name": "symphony invariants", "rules": rules}},
        "invocations": [{"executionSuccessful": report.exit_code in {0, 1}}],
        "results": found, "properties": {
            "exceptions": [one.document() for one in report.exceptions], "not_looked_at": list(report.absent),
            "skipped": [{"id": one.id, "needs": needs(one)} for one in report.skipped],
        },
    }  # fmt: skip
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def as_markdown(report: Report) -> str:
    """A table, for a pull request, and one of the exceptions."""
    rows = [
        f"| {r.invariant.id} | {r.result} | {r.invariant.severity} | {_escaped(r.invariant.title)} | {_cell(r)} |"
        for r in report.results
    ]
    table = ["| id | result | severity | invariant | findings |", "|---|---|---|---|---|", *rows, ""]
    return "\n".join([*table, *_exceptions_table(report), summary(report)])


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "json": as_json, "junit": as_junit, "sarif": as_sarif, "markdown": as_markdown,
}  # fmt: skip
"""Formats that are written once, at the end; ``text`` is written as results come."""


JUNIT_TAGS: Mapping[str, str] = {FAIL: "failure", ERROR: "error", EXCEPTED: "skipped"}


def _sarif_result(result: Result, report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": result.invariant.id,
        "level": "warning" if result.result == EXCEPTED else "error",
        "message": {"text": _message(result)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": MANIFEST}}}],
    }
    if result.result == EXCEPTED:
        found["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": one.line()}
            for one in report.exceptions
            if one.exemption.invariant == result.invariant.id and one.state == IN_FORCE
        ]
    return found


def _exceptions_table(report: Report) -> list[str]:
    rows = [
        f"| {one.exemption.invariant} | {one.state} | {one.exemption.expires} | {_escaped(one.line())} |"
        for one in report.exceptions
    ]
    return ["| exception | state | until | why |", "|---|---|---|---|", *rows, ""] if rows else []


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
    return _escaped(_message(result))


def _escaped(text: str) -> str:
    """No cell's text can be a tag, a comment that hides the rest of the table, or another cell."""
    return escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`").replace("\n", " ")
