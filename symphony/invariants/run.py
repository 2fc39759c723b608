"""Run the checks of a manifest. PASS needs every check of the invariant to have seen something and nothing wrong.

Checks that are programs of the checkout (``pytest:``, ``command:``) run only when asked for, drift only where there is a
fresh schema to compare with. A result names what ran of it; an invariant of which nothing ran is not in the results but
among ``skipped``, and no proof or gate result names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from symphony.invariants.checks import CouldNotRun, Seen, Target, run_sql
from symphony.invariants.functions import run_function
from symphony.invariants.manifest import Invariant, Manifest
from symphony.invariants.repository import run_pytest, run_script

WORKERS = 4
PASS, FAIL, ERROR = "PASS", "FAIL", "ERROR"
OF_THE_CHECKOUT = ("pytest:", "command:")
DRIFT = "python:no_drift"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one invariant. ``detail``: the violations, or why it could not be evaluated; ``ran``: of ``verified_by``."""

    invariant: Invariant
    result: str
    seen: int
    detail: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All results, in the manifest's order; ``skipped``: chosen, but none of its checks runs here."""

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
        """3 could not evaluate, 1 violated, 4 nothing ran, else 0 (design section 12)."""
        kinds = {one.result for one in self.results}
        if not kinds:
            return 4
        return 3 if ERROR in kinds else 1 if FAIL in kinds else 0


def check(
    manifest: Manifest, urls: Mapping[str, str], *, only: frozenset[str] = frozenset(), severity: str | None = None,
    with_tests: bool = False, reference: Mapping[str, str] | None = None, done: Callable[[Result], None] = lambda _result: None,
) -> Report:  # fmt: skip
    """Run what is implemented; ``done`` is called as each ends, in the manifest's order.

    ``urls``: the databases that are checked, by kind; ``reference``: others, just made from the migrations (INV-004).
    """
    target = Target(urls, manifest.folder, reference)
    chosen = [
        one
        for one in manifest.implemented
        if (not only or {one.id, *one.aliases} & only) and (severity is None or one.severity == severity)
    ]
    runnable = [one for one in chosen if _due(one, target, with_tests=with_tests)]
    results = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for result in pool.map(lambda one: _run(one, target, with_tests=with_tests), runnable):
            done(result)
            results.append(result)
    return Report(tuple(results), tuple(one for one in chosen if one not in runnable))


def _due(invariant: Invariant, target: Target, *, with_tests: bool) -> tuple[str, ...]:
    return tuple(
        text
        for text in invariant.verified_by
        if (with_tests or not text.startswith(OF_THE_CHECKOUT)) and (target.reference is not None or text != DRIFT)
    )


def _run(invariant: Invariant, target: Target, *, with_tests: bool) -> Result:
    due, seen = _due(invariant, target, with_tests=with_tests), 0
    violations: list[str] = []
    for text in due:
        try:
            found = _one(invariant.id, text, target)
        except CouldNotRun as error:
            return Result(invariant, ERROR, seen, (str(error),), due)
        except Exception as error:  # noqa: BLE001 - a check that breaks is no pass, and must not hide the others
            return Result(invariant, ERROR, seen, (f"{text} broke: {type(error).__name__}: {error}",), due)
        seen += found.count
        violations += found.violations
    return Result(invariant, FAIL if violations else PASS, seen, tuple(violations), due)


def _one(identifier: str, text: str, target: Target) -> Seen:
    kind, _, rest = text.partition(":")
    if kind == "sql":
        file, _, databases = rest.partition(":")
        return run_sql(identifier, file, databases.split(","), target)
    if kind == "python":
        return run_function(rest, target)
    root = target.folder.parent
    return run_pytest(rest, root) if kind == "pytest" else run_script(rest, root)
