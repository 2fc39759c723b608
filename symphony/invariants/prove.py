"""The mutation run: each guarded thing is broken on a scratch database or checkout, and exactly the named checks turn red.

A database is broken inside a transaction of the superuser, where every SQL check of that database is asked and the
schema text is compared (INV-004), and which is always rolled back. Nothing is shown on a red base: all checks must hold
before anything is broken, and again at the end. Shows NEG-12, NEG-31, NEG-34, and that no check is green by accident.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from contracts.errors import CannotEvaluate, SymphonyError
from symphony.invariants import drift, scratch
from symphony.invariants.checks import CONNECT_TIMEOUT_S, STATEMENT_TIMEOUT_MS, CouldNotRun, Target, ask, sentinel_of
from symphony.invariants.manifest import Manifest
from symphony.invariants.mutations import DRIFT_ID, Mutation, uncovered
from symphony.invariants.run import PASS, check
from symphony.sql import text

LOCK_TIMEOUT_MS = 5_000
OPTIONS = f"-c search_path=pg_catalog -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
KILLED, UNMOVED, SURVIVED, OVERKILL, ERROR = "killed", "unmoved", "survived", "overkill", "error"
AS_NAMED = frozenset({KILLED, UNMOVED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one mutation. ``red``: the ids that turned red; ``error``: why it could not be tried."""

    mutation: Mutation
    red: frozenset[str] = frozenset()
    error: str = ""

    @property
    def missing(self) -> list[str]:
        """Named, and green all the same."""
        return sorted(self.mutation.named - self.red)

    @property
    def extra(self) -> list[str]:
        """Red, and not named."""
        return sorted(self.red - self.mutation.named)

    @property
    def verdict(self) -> str:
        """``killed`` by exactly the named (``unmoved`` where none is), ``survived``, ``overkill`` or ``error``."""
        if self.error:
            return ERROR
        if self.missing or self.extra:
            return SURVIVED if self.missing else OVERKILL
        return KILLED if self.red else UNMOVED


@dataclass(frozen=True, slots=True)
class Proof:
    """All outcomes. ``skipped``: mutations that run tests, not asked for; ``bare``: ids that no mutation names."""

    outcomes: tuple[Outcome, ...]
    skipped: tuple[Mutation, ...]
    bare: tuple[str, ...]
    kills: Mapping[str, int]

    @property
    def not_shown(self) -> list[str]:
        """Ids that only a skipped mutation could have shown."""
        return [identifier for identifier, count in self.kills.items() if not count and identifier not in self.bare]

    @property
    def exit_code(self) -> int:
        """3 something could not be tried, 1 not as named or an id without a mutation, 4 nothing ran, else 0."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        if ERROR in verdicts:
            return 3
        if self.bare or verdicts - AS_NAMED:
            return 1
        return 0 if verdicts else 4


def prove(
    manifest: Manifest, mutations: Sequence[Mutation], urls: Mapping[str, str], *, only: frozenset[str] = frozenset(),
    with_tests: bool = False, done: Callable[[Outcome], None] = lambda _outcome: None,
) -> Proof:  # fmt: skip
    """Try the mutations on databases that were just made and are thrown away. Raises ``CannotEvaluate`` on a red base.

    ``only``: ids of mutations, or of invariants: then the mutations that name them.
    """
    due, skipped = choose(mutations, only=only, with_tests=with_tests)
    if due:
        _demand_green(manifest, urls, "before anything is broken")
    outcomes = list(_each(due, manifest, urls, done)) if due else []
    if due:
        _demand_green(manifest, urls, "after the mutations were undone")
    wanted = [one.id for one in manifest.implemented if not only or one.id in only]
    counted = Counter(identifier for o in outcomes if not o.error for identifier in o.red & o.mutation.named)
    bare = tuple(identifier for identifier in uncovered(manifest, mutations) if identifier in wanted)
    return Proof(tuple(outcomes), tuple(skipped), bare, {identifier: counted[identifier] for identifier in wanted})


def choose(
    mutations: Sequence[Mutation], *, only: frozenset[str], with_tests: bool
) -> tuple[list[Mutation], list[Mutation]]:
    """What is due, and what is not without ``with_tests``. ``only`` as for ``prove``."""
    chosen = [one for one in mutations if not only or one.id in only or one.named & only]
    return [one for one in chosen if with_tests or not one.tests], [
        one for one in chosen if one.tests and not with_tests
    ]


def try_on_database(one: Mutation, url: str, manifest: Manifest, whole: tuple[int, str]) -> Outcome:
    """One mutation inside a transaction, every SQL check of its database, the schema against ``whole``; rolled back."""
    try:
        with _broken(one, url) as connection:
            red = _red(connection, one.database, manifest)
            with connection.transaction():
                drifted = drift.differences(drift.read(connection, own=not manifest.databases), whole)
            return Outcome(one, frozenset(red | {DRIFT_ID} if drifted else red))
    except SymphonyError as error:
        return Outcome(one, error=error.detail)
    except psycopg.Error as error:
        return Outcome(
            one, error=f"the statement could not be run: {error.diag.message_primary or type(error).__name__}"
        )


def sql_checks(manifest: Manifest, database: str) -> list[tuple[str, str]]:
    """``(id, file)`` of every SQL check that looks at a kind of database."""
    found, target = [], Target({}, manifest.folder, databases=manifest.databases)
    for one in manifest.implemented:
        for check_text in one.verified_by:
            what, _, rest = check_text.partition(":")
            file, _, kinds = rest.partition(":")
            if what == "sql" and database in target.names_of(kinds):
                found.append((one.id, file))
    return found


def _each(
    due: Sequence[Mutation], manifest: Manifest, urls: Mapping[str, str], done: Callable[[Outcome], None]
) -> Iterator[Outcome]:
    whole = {kind: drift.live(url, own=not manifest.databases) for kind, url in urls.items()}
    for one in due:
        if one.on_a_database:
            outcome = try_on_database(one, urls[one.database], manifest, whole[one.database])
            done(outcome)
            yield outcome
    files = [one for one in due if not one.on_a_database]
    if files:
        with scratch.checkout(manifest.folder) as copy:
            scratch.demand_green(copy, urls, frozenset[str]().union(*(one.red for one in files if one.tests)))
            for one in files:
                outcome = _try_on_file(one, copy, urls)
                done(outcome)
                yield outcome


def _try_on_file(one: Mutation, copy: scratch.Copy, urls: Mapping[str, str]) -> Outcome:
    try:
        with copy.broken(one):
            return Outcome(one, scratch.red(copy, urls, one))
    except CannotEvaluate as error:
        return Outcome(one, error=error.detail)


@contextmanager
def _broken(one: Mutation, url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, options=OPTIONS) as connection:
        try:
            connection.execute(_statement(one, connection).encode())
            yield connection
        finally:
            connection.rollback()


def _statement(one: Mutation, connection: psycopg.Connection) -> str:
    """The statement to run; a body without the words to replace is an error, so that no mutation becomes void."""
    if one.kind == "sql":
        return one.statement
    row = connection.execute(text("function_definition"), (one.function,)).fetchone()
    definition = None if row is None else row[0]
    if definition is None or one.replace not in definition:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{one.function} has no words {one.replace!r} to replace")
    return str(definition).replace(one.replace, one.with_)


def _red(connection: psycopg.Connection, database: str, manifest: Manifest) -> set[str]:
    """What does not hold: violated, or no longer to be evaluated (its column or table is gone)."""
    red, sentinel = set(), sentinel_of(manifest.databases)
    for identifier, file in sql_checks(manifest, database):
        try:
            with connection.transaction():
                if ask(connection, identifier, file, manifest.folder, sentinel=sentinel).violations:
                    red.add(identifier)
        except (CouldNotRun, psycopg.Error):
            red.add(identifier)
    return red


def _demand_green(manifest: Manifest, urls: Mapping[str, str], when: str) -> None:
    report = check(manifest, urls, reference=urls)
    bad = [f"{one.invariant.id} {one.result}" for one in report.results if one.result != PASS]
    if bad or not report.results:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"{when}: {', '.join(bad) or 'no check runs'}; nothing can be shown on a red base",
            next_step="symphony invariants check",
        )  # fmt: skip
