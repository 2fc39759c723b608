"""A report of policy checks as text, JSON, JUnit, SARIF or Markdown (design section 12). Pure: a report in, text out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from symphony.policy.model import ERROR, FAIL, PASS, SKIP, Report, Result

FINDINGS_SHOWN_MAX = 10
MESSAGE_CHARS_MAX = 500


def lines_of(result: Result) -> list[str]:
    """One check as text: a line, and what to change below."""
    figures = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result.figures.items())
    shown = result.findings[:FINDINGS_SHOWN_MAX]
    more = len(result.findings) - len(shown)
    lines = [f"{result.verdict:<5} {result.name:<8} {result.title}" + (f" ({figures})" if figures else "")]
    for one in shown:
        place = f"{one.file}:{one.line}: " if one.line else f"{one.file}: " if one.file else ""
        lines += [f"        {place}{one.text}", f"          change: {one.change}"]
    return [*lines, *([f"        … and {more} more (-o json shows all)"] if more else [])]


def ending(report: Report) -> str:
    """The last line of a text report."""
    count = sum(one.verdict == PASS for one in report.results)
    seconds = sum(one.seconds for one in report.results)
    return f"{count} of {len(report.results)} pass, {seconds:.1f} s; Rego {report.rego_sha256[:16]}…"


def as_json(report: Report) -> str:
    """``symphony.policy_report/1``."""
    return json.dumps(report.document(), indent=2, ensure_ascii=False)


def as_junit(report: Report) -> str:
    """One test case a check; what was not run is skipped, so that nobody takes it for green."""
    verdicts = [one.verdict for one in report.results]
    suite = ET.Element(
        "testsuite", name="policy", tests=str(len(verdicts)), failures=str(verdicts.count(FAIL)),
        errors=str(verdicts.count(ERROR)), skipped=str(verdicts.count(SKIP)),
    )  # fmt: skip
    for one in report.results:
        case = ET.SubElement(suite, "testcase", name=one.name, classname="policy", time=f"{one.seconds:.3f}")
        tag = {FAIL: "failure", ERROR: "error", SKIP: "skipped"}.get(one.verdict)
        if tag:
            ET.SubElement(case, tag, message=_message(one))
    return ET.tostring(suite, encoding="unicode")


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0: a rule a check, a result a finding, with its file and line where it has one."""
    rules = [{"id": one.name, "shortDescription": {"text": one.title}} for one in report.results]
    found = [
        _sarif(one, index)
        for one in report.results
        if one.verdict in {FAIL, ERROR}
        for index in range(len(one.findings))
    ]
    run = {
        "tool": {"driver": {"name": "symphony policy", "rules": rules}},
        "invocations": [{"executionSuccessful": not any(one.verdict == ERROR for one in report.results)}],
        "results": found,
    }  # fmt: skip
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def _sarif(result: Result, index: int) -> dict[str, Any]:
    one = result.findings[index]
    out: dict[str, Any] = {
        "ruleId": result.name, "level": "error", "message": {"text": f"{one.text}. Change: {one.change}"},
    }  # fmt: skip
    if one.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": one.file}}
        out["locations"] = [{"physicalLocation": place | ({"region": {"startLine": one.line}} if one.line else {})}]
    return out


def as_markdown(report: Report) -> str:
    """A table, for a pull request."""
    rows = [f"| {one.name} | {one.verdict} | {one.title} | {_cell(one)} |" for one in report.results]
    return "\n".join(["| check | result | what | findings |", "|---|---|---|---|", *rows, "", ending(report)])


def _message(one: Result) -> str:
    return "; ".join(f"{finding.text} (change: {finding.change})" for finding in one.findings)[:MESSAGE_CHARS_MAX]


def _cell(one: Result) -> str:
    return _message(one).replace("|", "\\|").replace("\n", " ")


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "json": as_json, "junit": as_junit, "sarif": as_sarif, "markdown": as_markdown,
}  # fmt: skip
"""Formats that are written once, at the end; ``text`` is written as results come."""
