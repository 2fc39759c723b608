"""Run the checks of a manifest. PASS needs every check of the invariant to have seen something and nothing wrong.

Checks that are programs of the checkout (``pytest:``, ``command:``) run only when asked for, drift only where there is a
fresh schema to compare with. A result names what ran of it; an invariant of which nothing ran is not in the results but
among ``skipped``, and no proof or gate result names it. Exceptions are judged on what came of the checks (``exceptions.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date

from contracts.times import Clock, SystemClock
from symphony.invariants import exceptions
from symphony.invariants.checks import CouldNotRun, Seen, Target, run_sql
from symphony.invariants.exceptions import Exemption, Judged
from symphony.invariants.functions import run_function
from symphony.invariants.manifest import Invariant, Manifest
from symphony.invariants.plain import plain
from symphony.invariants.rego import run_rego
from symphony.invariants.repository import end_all, run_command, run_pytest

WORKERS = 4
PASS, FAIL, ERROR, EXCEPTED = "PASS", "FAIL", "ERROR", "EXCEPTED"
EXPIRY = "manifest:exceptions"
"""What ran where nothing else did: the day that stands in an exception that has expired."""
OF_THE_CHECKOUT = ("pytest:", "command:", "rego:")
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
    """All results, in the manifest's order; ``skipped``: chosen, but none of its checks runs here;
    ``exceptions``: all of the manifest, each with what it came to; ``absent``: databases that nobody looked at.
    """

    results: tuple[Result, ...]
    skipped: tuple[Invariant, ...] = field(default=())
    exceptions: tuple[Judged, ...] = field(default=())
    absent: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> list[str]:
        """Ids that hold."""
        return [one.invariant.id for one in self.results if one.result == PASS]

    @property
    def failed(self) -> list[str]:
        """Ids that do not hold, or could not be evaluated; the excepted are among them: who signs or releases sees them red."""
        return [one.invariant.id for one in self.results if one.result != PASS]

    @property
    def excepted(self) -> list[str]:
        """Ids that do not hold, and for which an exception is in force."""
        return [one.invariant.id for one in self.results if one.result == EXCEPTED]

    @property
    def exit_code(self) -> int:
        """3 could not evaluate, 1 violated, 4 nothing ran, else 0, also when excepted (design section 12)."""
        kinds = {one.result for one in self.results}
        if not kinds:
            return 4
        return 3 if ERROR in kinds else 1 if FAIL in kinds else 0


def check(
    manifest: Manifest, urls: Mapping[str, str], *, only: frozenset[str] = frozenset(), severity: str | None = None,
    with_tests: bool = False, reference: Mapping[str, str] | None = None, clock: Clock | None = None,
    begun: Callable[[int], None] = lambda _count: None, done: Callable[[Result], None] = lambda _result: None,
    partial: bool = False,
) -> Report:  # fmt: skip
    """Run what is implemented; ``begun`` is told how many run, ``done`` is called as each ends, in the manifest's order.

    ``urls``: the databases that are checked, by kind; ``reference``: others, just made from the migrations (INV-004);
    ``partial``: ``urls`` may leave some out, and the report says which.
    """
    target = Target(urls, manifest.folder, reference, manifest.databases, partial=partial)
    today = exceptions.today_of((clock or SystemClock()).now())
    wanted = [
        one
        for one in manifest.invariants
        if (not only or {one.id, *one.aliases} & only) and (severity is None or one.severity == severity)
    ]
    chosen = [one for one in wanted if one.status == "implemented"]
    runnable = [one for one in chosen if _due(one, target, with_tests=with_tests)]
    begun(len(runnable))
    raw, results = [], []
    with ThreadPoolExecutor(WORKERS) as pool, _ended_with(pool):
        for result in pool.map(lambda one: _run(one, target, with_tests=with_tests), runnable):
            raw.append(result)
            results.append(with_exceptions(result, manifest.exceptions, today))
            done(results[-1])
    for late in _expired_without_a_check(manifest, [one for one in wanted if one not in runnable], today):
        results.append(late)
        done(late)
    told = {one.invariant for one in results}
    skipped = tuple(one for one in chosen if one not in told)
    absent = tuple(sorted(target.kinds - set(urls)))
    return Report(tuple(results), skipped, judged(manifest.exceptions, raw, today), absent)


@contextmanager
def _ended_with(pool: ThreadPoolExecutor) -> Iterator[None]:
    """Whoever ends the run (Ctrl-C) does not wait for programs that take minutes."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_all()
        raise


def with_exceptions(result: Result, exemptions: Sequence[Exemption], today: date) -> Result:
    """A result with the manifest's exceptions applied: red by an expired one, ``EXCEPTED`` by one in force, an ERROR never."""
    expired = exceptions.expired_details(result.invariant.id, exemptions, today)
    if expired:
        return replace(result, result=ERROR if result.result == ERROR else FAIL, detail=(*expired, *result.detail))
    if result.result == FAIL and exceptions.excuse(result.invariant.id, exemptions, today):
        return replace(result, result=EXCEPTED)
    return result


def judged(exemptions: Sequence[Exemption], raw: Sequence[Result], today: date) -> tuple[Judged, ...]:
    """Each exception with what it came to, by what the checks alone said."""
    said = {one.invariant.id: one.result == PASS for one in raw if one.result != ERROR}
    return tuple(Judged(one, exceptions.state_of(one, said.get(one.invariant), today)) for one in exemptions)


def _expired_without_a_check(manifest: Manifest, silent: Sequence[Invariant], today: date) -> list[Result]:
    """An expired exception is red also where no check of its invariant runs here."""
    found = [(one, exceptions.expired_details(one.id, manifest.exceptions, today)) for one in silent]
    return [Result(one, FAIL, 0, detail, (EXPIRY,)) for one, detail in found if detail]


def _due(invariant: Invariant, target: Target, *, with_tests: bool) -> tuple[str, ...]:
    """What of an invariant runs here; an SQL check names the databases that it looks at here."""
    due = []
    for text in invariant.verified_by:
        kind, _, rest = text.partition(":")
        if kind == "sql" and target.partial:
            file, _, databases = rest.partition(":")
            present = [name for name in target.names_of(databases) if name in target.urls]
            due += [f"sql:{file}:{','.join(present)}"] if present else []
        elif (with_tests or not text.startswith(OF_THE_CHECKOUT)) and (target.reference is not None or text != DRIFT):
            due.append(text)
    return tuple(due)


def _run(invariant: Invariant, target: Target, *, with_tests: bool) -> Result:
    due, seen = _due(invariant, target, with_tests=with_tests), 0
    violations: list[str] = []
    for text in due:
        try:
            found = _one(invariant.id, text, target)
        except CouldNotRun as error:
            return Result(invariant, ERROR, seen, (plain(str(error)),), due)
        except Exception as error:  # noqa: BLE001 - a check that breaks is no pass, and must not hide the others
            return Result(invariant, ERROR, seen, (plain(f"{text} broke: {type(error).__name__}: {error}"),), due)
        seen += found.count
        violations += map(plain, found.violations)
    return Result(invariant, FAIL if violations else PASS, seen, tuple(violations), due)


def _one(identifier: str, text: str, target: Target) -> Seen:
    kind, _, rest = text.partition(":")
    if kind == "sql":
        file, _, databases = rest.partition(":")
        return run_sql(identifier, file, target.names_of(databases), target)
    if kind == "python":
        return run_function(rest, target)
    program = {"pytest": run_pytest, "rego": run_rego}.get(kind, run_command)
    return program(rest, target.root)
