"""The live schema as text, and what it has more or less than one that was just made from the migrations (INV-004, MIG-10).

The text is normalised (``symphony/sql/schema_text.sql``): grants and owners included, partitions left out, so that two
machines agree (EVD-05). There is no committed snapshot: the reference is derived from the migrations when it is needed.
A repository with a migration tool of its own has no version that we could read: its databases are of version 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import psycopg

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate
from symphony.invariants.checks import CONNECT_TIMEOUT_S, OPTIONS
from symphony.invariants.plain import plain
from symphony.sql import text

SAME, DRIFT, MISMATCH, ERROR = "same", "drift", "mismatched version", "could not be evaluated"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one database: versions and hashes as they are and as the migrations make them; what differs."""

    kind: str
    outcome: str
    version: int = 0
    expected_version: int = 0
    sha256: str = ""
    expected_sha256: str = ""
    lines: int = 0
    differences: list[str] = field(default_factory=list)


def judge(kind: str, url: str, reference_url: str, *, own: bool = True) -> Verdict:
    """MIG-10: the version first, another one is no drift; then line by line. What stops it is the outcome ``ERROR``.

    ``own``: whether the databases have the ledger of Symphony's runner.
    """
    try:
        here, there = live(url, own=own), live(reference_url, own=own)
    except CannotEvaluate as error:
        return Verdict(kind, ERROR, differences=[error.detail])
    hashes = sha256_hex(here[1].encode()), sha256_hex(there[1].encode())
    outcome = MISMATCH if here[0] != there[0] else DRIFT if here[1] != there[1] else SAME
    return Verdict(kind, outcome, here[0], there[0], *hashes, here[1].count("\n") + 1, differences(here, there))


def live(url: str, *, own: bool = True) -> tuple[int, str]:
    """Migration version and schema text of a database. Raises ``CannotEvaluate RELEASE_INVARIANT``."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, options=OPTIONS) as connection:
            return read(connection, own=own)
    except psycopg.Error as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"the schema could not be read: {type(error).__name__}") from error


def read(connection: psycopg.Connection, *, own: bool = True) -> tuple[int, str]:
    """The same on one connection, inside its transaction. Raises ``CannotEvaluate`` and ``psycopg.Error``."""
    version = connection.execute(text("ledger_version")).fetchone() if own else None
    schema = connection.execute(text("schema_text")).fetchone()
    if schema is None or not schema[0] or (own and (version is None or not version[0])):
        raise CannotEvaluate("RELEASE_INVARIANT", "the database holds no migration of ours")
    return int(version[0]) if version else 0, str(schema[0])


def compare(url: str, reference_url: str, *, own: bool = True) -> tuple[int, list[str]]:
    """Lines seen, and what differs: another version is said as that, equal versions line by line."""
    verdict = judge("", url, reference_url, own=own)
    if verdict.outcome == ERROR:
        raise CannotEvaluate("RELEASE_INVARIANT", verdict.differences[0])
    return verdict.lines, verdict.differences


def differences(here: tuple[int, str], there: tuple[int, str]) -> list[str]:
    """What one version and schema text has more or less than another; a line's number of times counts too. Pure."""
    if here[0] != there[0]:
        return [f"mismatched version: {here[0]} is live, the migrations make {there[0]}"]
    lines, wanted = Counter(here[1].split("\n")), Counter(there[1].split("\n"))
    more = [plain(f"not of the migrations: {line}") for line in sorted((lines - wanted).elements())]
    return [*more, *(plain(f"gone: {line}") for line in sorted((wanted - lines).elements()))]
