"""Reading a stack's databases for reports: each under its own reading login and role, never the hot path's (EVD-13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from contracts.errors import CannotEvaluate
from contracts.named_sql import queries
from symphony.stack import prepare
from symphony.stack.layout import Layout

READERS: dict[str, tuple[str, LiteralString]] = {
    "controlplane": ("cp_reader", "symphony_control_reader"),
    "sidecar": ("sc_reader", "symphony_reader"),
    "ledger": ("ld_reader", "symphony_ledger_reader"),
}
STATEMENT_TIMEOUT_MS = 120_000


def reader_url(layout: Layout, kind: str) -> str:
    """One database of the stack, under its reading login."""
    return prepare.database_url(layout, prepare.database(layout), kind, READERS[kind][0])


@contextmanager
def reader(layout: Layout, kind: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A read-only, repeatable-read connection to one database of the stack, rows as dictionaries.

    Raises ``CannotEvaluate`` when it does not answer: a report never takes an unreachable database for an empty one.
    """
    _, role = READERS[kind]
    options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
    try:
        connection = psycopg.connect(reader_url(layout, kind), row_factory=dict_row, connect_timeout=5, options=options)
    except psycopg.Error as error:
        raise CannotEvaluate(
            "STORE_UNAVAILABLE", f"the {kind} database does not answer", next_step=f"symphony up --dir {layout.folder}"
        ) from error
    with connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        yield connection


def named(name: str) -> LiteralString:
    """A statement of ``symphony/stack/queries.sql``."""
    return queries("symphony.stack")[name]
