"""Writes docs/reference/test-long.md from the JUnit file of ``make test-long``: what ran, on what, and what each test printed.

Usage: python -m scripts.long_report RESULTS.xml     (exit 0; 1 when a test did not pass, 4 when nothing ran)
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference" / "test-long.md"
PRINTED_LINES_MAX = 20


def page(suite: ET.Element, commit: str) -> str:
    """The page of one run; ``suite`` is JUnit's testsuite."""
    head = [
        "# The last long run",
        "",
        "Written by `make test-long`. `SYMPHONY_SEED=N` gives it the order of faults of seed N again, not their moments.",
        "",
        f"* commit: `{commit}`, begun {suite.get('timestamp')}",
        f"* machine: {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "* " + ", ".join(f"{suite.get(one)} {one}" for one in ("tests", "failures", "errors", "skipped")),
        "",
        "| test | seconds | result | what it printed |",
        "|---|---|---|---|",
    ]
    return "\n".join(head + [_row(case) for case in suite.iter("testcase")]) + "\n"


def passed(case: ET.Element) -> bool:
    """Whether a test ran and held."""
    return all(case.find(kind) is None for kind in ("failure", "error", "skipped"))


def _row(case: ET.Element) -> str:
    lines = [line.strip() for line in (case.findtext("system-out") or "").splitlines()]
    said = [line.replace("|", "\\|") for line in lines if line and not line.startswith("---")]
    result = "passed" if passed(case) else "**not passed**"
    name = f"{case.get('classname')}.{case.get('name')}".replace("|", "\\|")
    return f"| `{name}` | {float(case.get('time') or 0):.0f} | {result} | {'; '.join(said[:PRINTED_LINES_MAX])} |"


def main(arguments: list[str]) -> int:
    """Write the page."""
    suite = ET.parse(arguments[0]).getroot().find("testsuite")
    cases = [] if suite is None else list(suite.iter("testcase"))
    if suite is None or not cases:
        print("long_report: nothing ran")
        return 4
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    TARGET.write_text(page(suite, commit.strip()), "utf-8")
    print(f"long_report: {TARGET.relative_to(ROOT)}")
    return 0 if all(map(passed, cases)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
