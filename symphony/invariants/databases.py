"""Databases that a repository's manifest names, and fresh ones made from its migrations.

``databases:`` of a manifest names each database by a short word and says how a fresh one is made: plain SQL files, in the
natural order of their names, each run by ``psql`` as it stands; or a command of the repository's own migration tool, with
``DATABASE_URL`` in its environment. A file or command that fails is "could not be evaluated", never a pass (MIG-14).
A manifest without ``databases:`` is Symphony's own: three databases and the runner of ``symphony.migrations``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from contracts.errors import CannotEvaluate, Refused
from symphony.sql import statement, text

FILES_MAX = 10_000
FILE_TIMEOUT_S = 120
COMMAND_TIMEOUT_S = 600
SAID_CHARS_MAX = 400
_DIGITS = re.compile(r"(\d+)")
_PG_FIELDS = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
              "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Database:
    """One entry of ``databases:``. ``migrations`` is a folder of the repository, ``files`` a glob in it.

    ``apply``: a command line of the repository's own tool instead (no shell); ``roles``: cluster-wide NOLOGIN roles that the
    migrations expect to find; ``lint_after``: a file name, after which the blocking-DDL lint begins (older ones are applied
    everywhere and cannot be mended).
    """

    name: str
    migrations: str
    files: str = "*.sql"
    apply: str | None = None
    roles: tuple[str, ...] = ()
    lint_after: str | None = None


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which ``2_x`` comes before ``10_x``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name) if part]


def files_of(database: Database, root: Path) -> list[Path]:
    """The migration files in their order; a tool of the repository's own may have none in SQL.

    Raises ``CannotEvaluate RELEASE_INVARIANT`` where there is none, or too many.
    """
    folder = root / database.migrations
    found = sorted((p for p in folder.glob(database.files) if p.is_file()), key=lambda p: natural(str(p.relative_to(folder))))
    if database.apply is not None and not found:
        return []
    if not found or len(found) > FILES_MAX:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"{len(found)} files match {database.files} in {folder}",
            next_step=f"mend migrations and files of the database {database.name} in the manifest",
        )  # fmt: skip
    return found


def linted(database: Database, root: Path) -> list[Path]:
    """The files that the lint looks at. Raises ``CannotEvaluate`` for a ``lint_after`` that is no file's name."""
    files = files_of(database, root)
    if database.lint_after is None:
        return files
    names = [path.relative_to(root / database.migrations).as_posix() for path in files]
    if database.lint_after not in names:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"{database.name}: lint_after names no migration: {database.lint_after}",
            next_step="name one of the files as it stands below the folder",
        )  # fmt: skip
    return files[names.index(database.lint_after) + 1 :]


@contextmanager
def fresh(databases: Mapping[str, Database], root: Path, *, server_url: str | None = None,
          done: Callable[[str], None] = lambda _name: None) -> Iterator[dict[str, str]]:  # fmt: skip
    """URLs by name of databases just made from the migrations, gone afterwards.

    On a temporary server of our own, or on ``server_url`` (a superuser's) where the migrations need what ours has not.
    """
    if server_url is not None:
        with _made(databases, root, lambda name: _of_server(server_url, name), shutil.which("psql"), done) as urls:
            yield urls
        return
    from symphony.stack.postgres import temporary_cluster

    cluster = temporary_cluster()
    try:
        cluster.start()
        program = str(cluster.home.program("psql"))
        with _made(databases, root, cluster.admin_url, program, done) as urls:
            yield urls
    finally:
        cluster.destroy()


@contextmanager
def _made(databases: Mapping[str, Database], root: Path, url_of: Callable[[str], str], psql: str | None,
          done: Callable[[str], None]) -> Iterator[dict[str, str]]:  # fmt: skip
    urls: dict[str, str] = {}
    made: list[str] = []
    try:
        for name, database in databases.items():
            place = f"symphony_scratch_{name}_{os.getpid()}"
            with _connected(url_of("postgres")) as connection:
                _create(connection, place, database.roles)
            made.append(place)
            urls[name] = url_of(place)
            apply(database, root, urls[name], psql)
            done(name)
        yield urls
    finally:
        with _connected(url_of("postgres")) as connection:
            for place in made:
                connection.execute(statement("database_drop", database=sql.Identifier(place)))


def apply(database: Database, root: Path, url: str, psql: str | None) -> None:
    """Make the schema in an empty database. Raises ``CannotEvaluate`` naming the file, or the command, and what it said."""
    environment = {**os.environ, **_environment(url), "DATABASE_URL": url}
    if database.apply is not None:
        _run(shlex.split(database.apply), root, environment, database.apply, COMMAND_TIMEOUT_S)
        return
    if psql is None:
        raise CannotEvaluate("RELEASE_INVARIANT", "there is no psql on PATH", next_step="install PostgreSQL's client programs")
    for path in files_of(database, root):
        words = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(path)]
        _run(words, root, environment, str(path.relative_to(root)), FILE_TIMEOUT_S)


def _run(words: list[str], root: Path, environment: Mapping[str, str], what: str, timeout_s: int) -> None:
    try:
        done = subprocess.run(
            words, cwd=root, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{what}: {type(error).__name__}: {error}"[:SAID_CHARS_MAX]) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-SAID_CHARS_MAX:]
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"{what} does not run on an empty database: {said}",
            next_step="mend it; where it needs an extension or a version that the embedded server has not, name a throwaway "
            "server with --server-url; where it needs its own tool, name that in the manifest with apply",
        )  # fmt: skip


def _environment(url: str) -> dict[str, str]:
    """The connection in libpq's variables: a password never stands on a command line."""
    fields = conninfo_to_dict(url)
    return {name: str(fields[field]) for field, name in _PG_FIELDS.items() if fields.get(field) is not None}


def _of_server(server_url: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(server_url, dbname=name)


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"the server for scratch databases does not answer: {error}") from error
    with connection:
        yield connection


def _create(connection: psycopg.Connection, place: str, roles: tuple[str, ...]) -> None:
    for role in roles:
        row = connection.execute(text("login_exists"), (role,)).fetchone()
        if row is None or not row[0]:
            connection.execute(statement("scratch_role", role=sql.Identifier(role)))
    row = connection.execute(text("database_exists"), (place,)).fetchone()
    if row is not None and row[0]:
        raise Refused("RELEASE_INVARIANT", f"the server has a database {place} already", next_step="remove it, or try again")
    connection.execute(statement("database_plain", database=sql.Identifier(place)))
