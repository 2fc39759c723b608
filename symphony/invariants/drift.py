"""The live schema as text, and what it has more or less than one that was just made from the migrations (INV-004, MIG-10).

The text is normalised (``symphony/sql/schema_text.sql``): grants and owners included, partitions left out, so that two
machines agree (EVD-05). There is no committed snapshot: the reference is derived from the migrations when it is needed.
"""

from __future__ import annotations

import psycopg

from contracts.errors import CannotEvaluate
from symphony.invariants.checks import CONNECT_TIMEOUT_S, OPTIONS
from symphony.sql import text


def live(url: str) -> tuple[int, str]:
    """Migration version and schema text of a database. Raises ``CannotEvaluate RELEASE_INVARIANT``."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, options=OPTIONS) as connection:
            return read(connection)
    except psycopg.Error as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"the schema could not be read: {type(error).__name__}") from error


def read(connection: psycopg.Connection) -> tuple[int, str]:
    """The same on one connection, inside its transaction. Raises ``CannotEvaluate`` and ``psycopg.Error``."""
    version = connection.execute(text("ledger_version")).fetchone()
    schema = connection.execute(text("schema_text")).fetchone()
    if version is None or schema is None or not version[0] or not schema[0]:
        raise CannotEvaluate("RELEASE_INVARIANT", "the database holds no migration of ours")
    return int(version[0]), str(schema[0])


def compare(url: str, reference_url: str) -> tuple[int, list[str]]:
    """Lines seen, and what differs: another version is said as that, equal versions line by line."""
    here = live(url)
    return here[1].count("\n") + 1, differences(here, live(reference_url))


def differences(here: tuple[int, str], there: tuple[int, str]) -> list[str]:
    """What one version and schema text has more or less than another. Pure."""
    if here[0] != there[0]:
        return [f"mismatched version: {here[0]} is live, the migrations make {there[0]}"]
    lines, wanted = set(here[1].splitlines()), set(there[1].splitlines())
    more = [f"not of the migrations: {line}" for line in sorted(lines - wanted)]
    return [*more, *(f"gone: {line}" for line in sorted(wanted - lines))]
