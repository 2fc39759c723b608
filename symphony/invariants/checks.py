"""What a check is, and the checks that are SQL against live schemas.

A check answers how many things it saw and which of them break the invariant. Seeing nothing is an error, never a pass; so
is a database that does not answer, or that holds no migration of ours (EVD-07, MIG-14, NEG-32).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from contracts.named_sql import parse
from symphony import places
from symphony.invariants.databases import Database, files_of
from symphony.sql import statement

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
SHIPPED = ("common", "all-databases")
"""Files of checks that come with the tool; a repository may have its own of the same name."""
OPTIONS = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on -c search_path=pg_catalog"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check looked at, and what of it breaks the invariant."""

    count: int
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What is checked: database URLs by kind (an owner's or the superuser's), the checkout's invariants folder.

    ``reference``: databases just made from the migrations, where what is checked is not that itself (INV-004).
    ``databases``: those that the manifest names; none are Symphony's own three. ``partial``: ``urls`` may leave some out.
    """

    urls: Mapping[str, str]
    folder: Path
    reference: Mapping[str, str] | None = None
    databases: Mapping[str, Database] = field(default_factory=dict)
    partial: bool = False

    @property
    def root(self) -> Path:
        """The repository, or what an installed wheel has in its place."""
        return self.folder.parent

    @property
    def kinds(self) -> frozenset[str]:
        """Every database that there is to look at, by name."""
        own = {path.name for path in (self.root / "migrations").glob("*/")} if not self.databases else set()
        return frozenset(self.databases) | own

    def names_of(self, databases: str) -> list[str]:
        """The databases that an SQL check names: ``app,hub``, or ``*`` for every one."""
        return sorted(self.kinds) if databases == "*" else databases.split(",")

    def migration_files(self) -> list[Path]:
        """Every migration of every database. Raises ``CannotEvaluate``."""
        if not self.databases:
            return sorted((self.root / "migrations").glob("*/*.sql"))
        return [path for one in self.databases.values() for path in files_of(one, self.root)]


class CouldNotRun(Exception):
    """The check could not be evaluated: neither PASS nor FAIL."""


def run_sql(identifier: str, file: str, kinds: list[str], target: Target) -> Seen:
    """A named block of ``checks/<file>.sql`` in each database. Raises ``CouldNotRun``."""
    count, violations = 0, []
    for kind in kinds:
        if kind not in target.urls:
            raise CouldNotRun(f"no {kind} database to look at")
        try:
            with psycopg.connect(target.urls[kind], connect_timeout=CONNECT_TIMEOUT_S, options=OPTIONS) as connection:
                found = ask(connection, identifier, file, target.folder, sentinel=sentinel_of(target.databases))
        except psycopg.OperationalError as error:
            raise CouldNotRun(f"the {kind} database does not answer: {type(error).__name__}") from error
        except psycopg.Error as error:
            raise CouldNotRun(f"the {kind} database: {error.diag.message_primary or type(error).__name__}") from error
        except CouldNotRun as error:
            raise CouldNotRun(f"the {kind} database: {error}") from error
        count += found.count
        violations += [f"{kind}: {what}" for what in found.violations]
    return Seen(count, tuple(sorted(violations)))


def sentinel_of(databases: Mapping[str, Database]) -> str:
    """The block that says whether a database can be judged at all: Symphony's own has its ledger, others any table."""
    return "anything" if databases else "sentinel"


def ask(connection: psycopg.Connection, identifier: str, file: str, folder: Path, *, sentinel: str = "sentinel") -> Seen:
    """A named block on one connection. Raises ``CouldNotRun``, also where nothing was seen, and ``psycopg.Error``.

    ``sentinel``: the block that says whether this is a database that can be judged at all.
    """
    ours = connection.execute(_block(folder, "common", sentinel)).fetchone()
    if ours is None or ours[0] is not True:
        raise CouldNotRun("it holds no migration of ours" if sentinel == "sentinel" else "it holds no table")
    common, check = _block(folder, "common", "common"), _block(folder, file, identifier)
    row = connection.execute(statement("invariant_check", common=sql.SQL(common), check=sql.SQL(check))).fetchone()
    if row is None or len(row) != 2 or type(row[0]) is not int or not isinstance(row[1], list):
        raise CouldNotRun("the check's answer is not (seen, violations)")
    if row[0] < 1:
        raise CouldNotRun("nothing was seen in it")
    return Seen(row[0], tuple(str(what) for what in row[1]))


def _block(folder: Path, file: str, name: str) -> LiteralString:
    path = folder / "checks" / f"{file}.sql"
    if file in SHIPPED and not path.exists():
        path = places.folder("invariants") / "checks" / path.name
    try:
        return parse(path.read_text("utf-8"), path.name)[name]
    except (OSError, KeyError) as error:
        raise CouldNotRun(f"{path.name} has no block {name}") from error
