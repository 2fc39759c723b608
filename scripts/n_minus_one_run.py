"""Run a list of tests in a folder of its own, and judge them without mercy: skipped is failed, absent is an error (MIG-14)."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path("invariants/N_MINUS_1_TESTS")
NEEDS = "needs schema "
"""How a skip by ``needs_schema`` begins (tests/support/needs_schema.py)."""
SECONDS_MAX = 900


class CouldNotRun(Exception):
    """It could not be judged: neither passed nor failed."""


@dataclass(frozen=True)
class Selection:
    """Paths to run, and nodes among them that are left out, each with its reason; some of the old release's own run only."""

    paths: tuple[str, ...]
    left_out: dict[str, str]
    left_out_of_old: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How many passed; which failed, why; which said that they need a newer schema."""

    passed: int
    failed: tuple[str, ...]
    needs_newer: tuple[str, ...]
    left_out: dict[str, str]

    def document(self) -> dict[str, object]:
        """For the report."""
        return {
            "passed": self.passed, "failed": list(self.failed), "needs_newer": list(self.needs_newer),
            "left_out": self.left_out,
        }  # fmt: skip

    def lines(self, direction: str) -> Iterator[str]:
        """For people."""
        counts = f"{self.passed} passed, {len(self.failed)} failed, {len(self.needs_newer)} need a newer schema"
        yield f"n_minus_one: {direction}: {counts}"
        yield from (f"  failed: {name}" for name in self.failed)
        yield from (f"  {name}" for name in self.needs_newer)


def selection(folder: Path, *, needed: bool = True) -> Selection:
    """The folder's list: a path a line, ``- node: reason`` for what is left out, ``- old node: reason`` for what the
    old release's own tests get wrong. Raises ``CouldNotRun``.
    """
    path = folder / TESTS
    if not path.is_file():
        if needed:
            raise CouldNotRun(f"{TESTS} is not there")
        return Selection((), {})
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    said = [line for line in lines if line and not line.startswith("#")]
    left_out: dict[str, str] = {}
    of_old: dict[str, str] = {}
    for line in said:
        if line.startswith("- "):
            node, colon, reason = line[2:].partition(": ")
            if not colon or not reason.strip():
                raise CouldNotRun(f"{TESTS}: {node} is left out without a reason")
            chosen = of_old if node.startswith("old ") else left_out
            chosen[node.removeprefix("old ").strip()] = reason.strip()
    return Selection(tuple(line for line in said if not line.startswith("- ")), left_out, of_old)


def run_tests(folder: Path, chosen: Selection, *, marked: bool, workers: int = 2) -> Outcome:
    """Run the selection with the folder's own code. ``marked``: a skip by ``needs_schema`` is listed, not failed."""
    absent = [path for path in chosen.paths if not (folder / path).exists()]
    if absent:
        raise CouldNotRun(f"{', '.join(absent)} of {TESTS} are not there")
    if not chosen.paths:
        return Outcome(0, (), (), chosen.left_out)
    results = folder / "var" / "n1.xml"
    results.parent.mkdir(exist_ok=True)
    tail = _pytest(folder, chosen, results, marked=marked, workers=workers)
    if not results.is_file():
        raise CouldNotRun(f"pytest ended without a result: {tail}")
    return _judged(results, chosen, marked=marked)


def _pytest(folder: Path, chosen: Selection, results: Path, *, marked: bool, workers: int) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not long",
        "-p",
        "no:cacheprovider",
        f"--junitxml={results}",
    ]
    command += ["-o", "junit_family=xunit1", "--basetemp", str(folder.parent / f"{folder.name}-pt")]
    command += ["-n", str(workers), "--dist", "loadfile"] if workers else []
    command += [word for node in chosen.left_out for word in ("--deselect", node)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SYMPHONY_N1"))}
    environment = {**kept, "PYTHONPATH": str(folder), "SYMPHONY_CI": "1", **({"SYMPHONY_N1": "1"} if marked else {})}
    try:
        done = subprocess.run(
            [*command, *chosen.paths], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired as error:
        raise CouldNotRun(f"the tests took longer than {SECONDS_MAX} s") from error
    return " ".join((done.stdout + done.stderr).split()[-30:])


def _judged(results: Path, chosen: Selection, *, marked: bool) -> Outcome:
    """From the JUnit file. A path of which no test was seen is an error: it was listed to be run."""
    passed, failed, newer, seen = 0, [], [], set()
    for case in ET.parse(results).getroot().iter("testcase"):
        name = f"{case.get('file') or case.get('classname')}::{case.get('name')}"
        seen.add(case.get("file") or "")
        fault = next((part for kind in ("failure", "error", "skipped") if (part := case.find(kind)) is not None), None)
        said = "" if fault is None else (fault.get("message") or "").split("\n")[0][:200]
        if fault is None:
            passed += 1
        elif marked and fault.tag == "skipped" and said.startswith(NEEDS):
            newer.append(f"{name}: {said}")
        else:
            failed.append(f"{name}: {fault.tag}: {said}")
    silent = [path for path in chosen.paths if not any(_under(file, path) for file in seen)]
    if silent and passed and not failed:
        raise CouldNotRun(f"no test of {', '.join(silent)} was run")
    return Outcome(passed, tuple(failed), tuple(newer), chosen.left_out)


def _under(file: str, path: str) -> bool:
    return file == path or file.startswith(f"{path.rstrip('/')}/")
