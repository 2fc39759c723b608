"""Recorded decisions out of a sidecar's database: the reading login, a role for decision inputs only, one snapshot.

Every connection is read-only and repeatable read; the first exports its snapshot and the others take it, so that several
processes count the same rows. Rows come by a server-side cursor, ``FETCH_ROWS`` at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from contracts.errors import CannotEvaluate
from contracts.named_sql import queries
from symphony.impact.replay import Row

ROLE = "symphony_replay"
STATEMENT_TIMEOUT_MS = 120_000
FETCH_ROWS = 2_000
"""About 3 MB."""
SLICE_ROWS = 20_000
"""What is read by one question: at least a minute, so a busy one may be larger."""
DAYS_MAX = 366

_SQL = queries("symphony.impact")
_PLANS = ("enable_hashjoin", "enable_mergejoin")
"""Off: a slice is a small part of the payloads, which statistics that are old do not say."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the window, and how many decisions it holds."""

    since: datetime
    until: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Window:
    """What is counted: the last days until ``until`` (the database's clock), as of one snapshot."""

    since: datetime
    until: datetime
    days: int
    snapshot: str
    slices: tuple[Slice, ...]

    @property
    def rows(self) -> int:
        """How many decisions were recorded in it."""
        return sum(one.rows for one in self.slices)


@contextmanager
def connected(url: str, snapshot: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A reading connection, of a snapshot where one is named. ``CannotEvaluate STORE_UNAVAILABLE`` when it cannot be had."""
    try:
        with psycopg.connect(url, connect_timeout=5, options=_options()) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if snapshot is not None:
                connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ROLE)))
            yield connection
    except psycopg.Error as error:
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CannotEvaluate(
            "STORE_UNAVAILABLE", f"recorded decisions cannot be read: {text}",
            next_step="bring the sidecar's database up and to the newest migration: symphony up",
        ) from error  # fmt: skip


def _options() -> str:
    plans = " ".join(f"-c {name}=off" for name in _PLANS)
    return f"-c statement_timeout={STATEMENT_TIMEOUT_MS} {plans}"


def window(connection: psycopg.Connection[Any], days: int) -> Window:
    """The last ``days`` days, cut into slices. The connection's transaction must stay open while the snapshot is used."""
    row = connection.execute(_SQL["moment"]).fetchone()
    assert row is not None
    until, snapshot = row
    since = until - timedelta(days=days)
    minutes = connection.execute(_SQL["minutes"], {"since": since, "until": until}).fetchall()
    return Window(since, until, days, snapshot, tuple(_slices(minutes, since, until)))


def _slices(minutes: list[tuple[datetime, int]], since: datetime, until: datetime) -> Iterator[Slice]:
    begin, held = since, 0
    for minute, count in minutes:
        if held and held + count > SLICE_ROWS:
            yield Slice(begin, minute, held)
            begin, held = minute, 0
        held += count
    if held:
        yield Slice(begin, until, held)


def rows(connection: psycopg.Connection[Any], part: Slice) -> Iterator[list[Row]]:
    """The recorded decisions of a slice, ``FETCH_ROWS`` at a time."""
    with connection.cursor(name="recorded") as cursor:
        cursor.execute(_SQL["recorded"], {"since": part.since, "until": part.until}, binary=True)
        while found := cursor.fetchmany(FETCH_ROWS):
            yield found


def newest(connection: psycopg.Connection[Any], chosen: Window, count: int, batch: int) -> Iterator[list[tuple[str, bytes]]]:
    """Instruction ids and frozen inputs (empty where there is none) of at most so many decisions, ``batch`` at a time."""
    values = {"since": chosen.since, "until": chosen.until, "count": count}
    with connection.cursor(name="newest") as cursor:
        cursor.execute(_SQL["newest"], values, binary=True)
        while found := cursor.fetchmany(batch):
            yield [(str(identifier), bytes(frozen or b"")) for identifier, frozen in found]
