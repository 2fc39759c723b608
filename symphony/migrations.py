"""Forward-only migrations: ``migrations/<database>/NNNN_name.sql``, applied in order, each once.

Rules:

* MIG-01, INV-001, INV-003: what was applied is immutable; the ledger ``symphony_migrations.applied`` holds each file's
  SHA-256, and an edited, renamed or missing applied file is refused before anything is applied;
* INV-002: a file holds no BEGIN, COMMIT, ROLLBACK or SAVEPOINT. The server itself sees to it: a file is run by EXECUTE
  inside a DO block, where PostgreSQL refuses every transaction command, and with it the whole file;
* a file is one transaction together with its ledger row; numbers start at 0001 and have no gap;
* MIG-07: ``CONCURRENTLY`` works only in a file whose first line is ``-- symphony: no-transaction``, which holds one
  statement (the extended protocol takes no more) and runs outside a transaction;
* MIG-08: ``lock_timeout`` and ``statement_timeout`` bound every statement; a held lock fails the deployment.

Not here: what else a migration may say (``scripts/sql_lint.py``, in CI: its parser is under the GPL and stays out of
the distribution), logins (``symphony.stack.logins``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from contracts.errors import CannotEvaluate, NotTrusted, Refused
from symphony.sql import statement, text

NO_TRANSACTION = "-- symphony: no-transaction"
LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 60_000
FILE_BYTES_MAX = 1024 * 1024
_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+$")


@dataclass(frozen=True)
class Migration:
    """One file: its number, its name without ``.sql``, its text and the SHA-256 of its bytes."""

    version: int
    name: str
    sha256: str
    text: LiteralString  # from the checkout or the wheel, never from outside

    @property
    def transactional(self) -> bool:
        """Whether it runs inside a transaction."""
        return not self.text.startswith(NO_TRANSACTION)


@dataclass(frozen=True)
class MigrationState:
    """One migration as the database sees it: ``applied``, ``pending``, ``edited`` or ``missing`` (its file)."""

    version: int
    name: str
    state: str
    applied_at: datetime | None


def read(folder: Path) -> list[Migration]:
    """The folder's migrations in order; ``Refused MIGRATION_REFUSED`` names the first file that breaks a rule."""
    files = sorted(path for path in folder.glob("*.sql"))
    if not files:
        raise Refused("MIGRATION_REFUSED", f"{folder} holds no migration")
    found = [_read_file(path) for path in files]
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise Refused("MIGRATION_REFUSED", f"{migration.name}: the next number is {expected:04}")
    return found


def apply(
    database_url: str,
    folder: Path,
    *,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
) -> list[str]:
    """Apply what is pending, as the database's owner; the names applied, ``[]`` when there was nothing to do."""
    migrations = read(folder)
    done: list[str] = []
    with _connect(database_url, lock_timeout_ms, statement_timeout_ms) as connection, _alone(connection):
        connection.execute(text("ledger_create"))
        for state in _pending(_states(connection, migrations)):
            _apply_one(connection, migrations[state.version - 1])
            done.append(state.name)
    return done


def status(database_url: str, folder: Path) -> list[MigrationState]:
    """Each migration of the folder or the ledger, in order; changes nothing."""
    migrations = read(folder)
    with _connect(database_url, LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS) as connection:
        return _states(connection, migrations)


def verify(database_url: str, folder: Path) -> int:
    """The number applied, when the ledger holds exactly the folder's files; else an error names the first."""
    states = status(database_url, folder)
    pending = _pending(states)
    if pending:
        raise CannotEvaluate("MIGRATION_FAILED", f"{pending[0].name} is not applied")
    return len(states)


def _read_file(path: Path) -> Migration:
    match = _NAME.match(path.stem)
    if match is None:
        raise Refused("MIGRATION_REFUSED", f"{path.name}: a file is named NNNN_lower_case.sql")
    raw = path.read_bytes()
    if len(raw) > FILE_BYTES_MAX:
        raise Refused("MIGRATION_REFUSED", f"{path.name} is larger than {FILE_BYTES_MAX} bytes")
    try:
        migration = Migration(int(match[1]), path.stem, hashlib.sha256(raw).hexdigest(), raw.decode())
    except UnicodeDecodeError as error:
        raise Refused("MIGRATION_REFUSED", f"{path.name} is not UTF-8: {error}") from error
    if all(not line.strip() or line.lstrip().startswith("--") for line in migration.text.splitlines()):
        raise Refused("MIGRATION_REFUSED", f"{path.name} says nothing")
    return migration


@contextmanager
def _connect(url: str, lock_timeout_ms: int, statement_timeout_ms: int) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="symphony-migrate")
    except psycopg.OperationalError as error:
        raise CannotEvaluate("MIGRATION_FAILED", f"the database does not answer: {error}") from error
    with connection:
        connection.execute(text("session_timeouts"), (f"{lock_timeout_ms}ms", f"{statement_timeout_ms}ms"))
        yield connection


@contextmanager
def _alone(connection: psycopg.Connection) -> Iterator[None]:
    try:
        connection.execute(text("ledger_lock"))
    except psycopg.errors.LockNotAvailable as error:
        raise CannotEvaluate("MIGRATION_FAILED", "another runner is at work in this database") from error
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(text("ledger_unlock"))


def _states(connection: psycopg.Connection, migrations: list[Migration]) -> list[MigrationState]:
    row = connection.execute(text("ledger_exists")).fetchone()
    rows = connection.execute(text("ledger_read")).fetchall() if row is not None and row[0] else []
    applied = {version: (name, sha256, applied_at) for version, name, sha256, applied_at in rows}
    states = [_state(migration, applied.pop(migration.version, None)) for migration in migrations]
    states += [MigrationState(version, name, "missing", at) for version, (name, _, at) in applied.items()]
    return states


def _state(migration: Migration, row: tuple[str, str, datetime] | None) -> MigrationState:
    if row is None:
        return MigrationState(migration.version, migration.name, "pending", None)
    same = row[0] == migration.name and row[1] == migration.sha256
    return MigrationState(migration.version, row[0], "applied" if same else "edited", row[2])


def _pending(states: list[MigrationState]) -> list[MigrationState]:
    """The pending ones; ``NotTrusted MIGRATION_EDITED`` when an applied one is not the file that was applied."""
    for state in states:
        if state.state in {"edited", "missing"}:
            raise NotTrusted("MIGRATION_EDITED", f"{state.name}: its file is {state.state}")
    return [state for state in states if state.state == "pending"]


def _apply_one(connection: psycopg.Connection, migration: Migration) -> None:
    row = (migration.version, migration.name, migration.sha256)
    try:
        if migration.transactional:
            with connection.transaction():
                connection.execute(_without_transaction_commands(migration, connection))
                connection.execute(text("ledger_add"), row)
        else:
            connection.execute(sql.SQL(migration.text), prepare=True)
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.rollback()
                raise Refused("MIGRATION_REFUSED", f"{migration.name}: it opens a transaction (INV-002)")
            connection.execute(text("ledger_add"), row)
    except psycopg.errors.FeatureNotSupported as error:
        raise Refused("MIGRATION_REFUSED", f"{migration.name}: {_said(error)} (INV-002)") from error
    except (psycopg.errors.ActiveSqlTransaction, psycopg.errors.SyntaxError) as error:
        raise Refused("MIGRATION_REFUSED", f"{migration.name}: {_said(error)}") from error
    except psycopg.Error as error:
        raise CannotEvaluate("MIGRATION_FAILED", f"{migration.name}: {_said(error)}") from error


def _without_transaction_commands(migration: Migration, connection: psycopg.Connection) -> sql.Composed:
    block = statement("migration_block", body=sql.Literal(migration.text)).as_string(connection)
    return statement("migration_run", block=sql.Literal(block))


def _said(error: psycopg.Error) -> str:
    """The server's own sentence, with the line of the file where it knows one."""
    position, query = error.diag.internal_position, error.diag.internal_query
    where = f" (line {query[: int(position)].count(chr(10)) + 1})" if position and query else ""
    return f"{error.diag.message_primary or error}{where}"
