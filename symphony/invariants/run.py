"""Run the checks of a manifest. PASS needs every check of the invariant to have seen something and nothing wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from symphony.invariants.checks import CouldNotRun, Seen, Target, run_function, run_sql
from symphony.invariants.manifest import Invariant, Manifest

WORKERS = 4
PYTEST_TIMEOUT_S = 300
PASS, FAIL, ERROR = "PASS", "FAIL", "ERROR"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one invariant. ``detail``: the violations, or why it could not be evaluated."""

    invariant: Invariant
    result: str
    seen: int
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All results, in the manifest's order."""

    results: tuple[Result, ...]
    skipped: tuple[Invariant, ...] = field(default=())

    @property
    def passed(self) -> list[str]:
        """Ids that hold."""
        return [one.invariant.id for one in self.results if one.result == PASS]

    @property
    def failed(self) -> list[str]:
        """Ids that do not hold, or could not be evaluated."""
        return [one.invariant.id for one in self.results if one.result != PASS]

    @property
    def exit_code(self) -> int:
        """1 violated, 3 could not evaluate, 4 nothing ran, else 0 (design section 12)."""
        kinds = {one.result for one in self.results}
        if not kinds:
            return 4
        return 3 if ERROR in kinds else 1 if FAIL in kinds else 0


def check(
    manifest: Manifest, urls: Mapping[str, str], *, only: frozenset[str] = frozenset(), severity: str | None = None,
    with_tests: bool = False, done: Callable[[Result], None] = lambda _result: None,
) -> Report:  # fmt: skip
    """Run what is implemented; ``done`` is called as each ends. ``pytest:`` checks run only ``with_tests``."""
    target = Target(urls, manifest.folder)
    chosen = [
        one
        for one in manifest.implemented
        if (not only or {one.id, *one.aliases} & only) and (severity is None or one.severity == severity)
    ]
    runnable = [one for one in chosen if with_tests or not _only_tests(one)]
    with ThreadPoolExecutor(WORKERS) as pool:
        results = []
        for result in pool.map(lambda one: _run(one, target, with_tests=with_tests), runnable):
            done(result)
            results.append(result)
    return Report(tuple(results), tuple(one for one in chosen if one not in runnable))


def _only_tests(invariant: Invariant) -> bool:
    return all(check.startswith("pytest:") for check in invariant.verified_by)


def _run(invariant: Invariant, target: Target, *, with_tests: bool) -> Result:
    seen = 0
    violations: list[str] = []
    try:
        for text in invariant.verified_by:
            if text.startswith("pytest:") and not with_tests:
                continue
            found = _one(invariant.id, text, target)
            seen += found.count
            violations += found.violations
    except CouldNotRun as error:
        return Result(invariant, ERROR, seen, (str(error),))
    return Result(invariant, FAIL if violations else PASS, seen, tuple(violations))


def _one(identifier: str, text: str, target: Target) -> Seen:
    kind, _, rest = text.partition(":")
    if kind == "sql":
        file, _, databases = rest.partition(":")
        return run_sql(identifier, file, databases.split(","), target)
    if kind == "python":
        return run_function(rest, target)
    return _pytest(rest, target.folder.parent)


def _pytest(node: str, root: Path) -> Seen:
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", node]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PYTEST_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CouldNotRun(f"{node}: {error}") from error
    if done.returncode not in {0, 1} or (done.returncode == 0 and " passed" not in done.stdout):
        raise CouldNotRun(f"{node}: pytest ended with {done.returncode} and ran nothing that counts")
    last = done.stdout.strip().splitlines()[-1]
    return Seen(1, () if done.returncode == 0 and "skipped" not in last else (f"{node}: {last}",))
