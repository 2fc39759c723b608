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
            version = connection.execute(text("ledger_version")).fetchone()
            schema = connection.execute(text("schema_text")).fetchone()
    except psycopg.Error as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"the schema could not be read: {type(error).__name__}") from error
    if version is None or schema is None or not version[0] or not schema[0]:
        raise CannotEvaluate("RELEASE_INVARIANT", "the database holds no migration of ours")
    return int(version[0]), str(schema[0])


def compare(url: str, reference_url: str) -> tuple[int, list[str]]:
    """Lines seen, and what differs: another version is said as that, equal versions line by line."""
    version, schema = live(url)
    wanted_version, wanted = live(reference_url)
    if version != wanted_version:
        return schema.count("\n") + 1, [f"mismatched version: {version} is live, the migrations make {wanted_version}"]
    here, there = set(schema.splitlines()), set(wanted.splitlines())
    more = [f"not of the migrations: {line}" for line in sorted(here - there)]
    return len(here), [*more, *(f"gone: {line}" for line in sorted(there - here))]
