"""The checks that run: SQL against live schemas, and functions by name.

A check answers how many things it saw and which of them break the invariant. Seeing nothing is an error, never a pass; so
is a database that does not answer (EVD-07, MIG-14, NEG-32).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.named_sql import parse
from contracts.schemas import check as check_schema
from symphony import migrations, places

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
_TRANSACTION_WORD = re.compile(
    r"^\s*(begin|commit|rollback|savepoint|start\s+transaction)\b\s*(work|transaction)?\s*;", re.IGNORECASE | re.MULTILINE
)
_BODY = re.compile(r"\$([a-z_]*)\$.*?\$\1\$", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check looked at, and what of it breaks the invariant."""

    count: int
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What is checked: database URLs by kind (an owner's or the superuser's), the checkout's invariants folder."""

    urls: Mapping[str, str]
    folder: Path


class CouldNotRun(Exception):
    """The check could not be evaluated: neither PASS nor FAIL."""


def run_sql(identifier: str, file: str, kinds: list[str], target: Target) -> Seen:
    """A named block of ``checks/<file>.sql`` in each database. Raises ``CouldNotRun``."""
    path = target.folder / "checks" / f"{file}.sql"
    try:
        statement = parse(path.read_text("utf-8"), path.name)[identifier]
    except (OSError, KeyError) as error:
        raise CouldNotRun(f"{path.name} has no block {identifier}") from error
    count, violations = 0, []
    for kind in kinds:
        if kind not in target.urls:
            raise CouldNotRun(f"no {kind} database to look at")
        seen, bad = _ask(target.urls[kind], statement, kind)
        if not seen:
            raise CouldNotRun(f"nothing was seen in the {kind} database")
        count += seen
        violations += [f"{kind}: {what}" for what in bad]
    return Seen(count, tuple(sorted(violations)))


def _ask(url: str, statement: Any, kind: str) -> tuple[int, list[str]]:
    try:
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on"
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, options=options) as connection:
            row = connection.execute(statement).fetchone()
    except psycopg.Error as error:
        raise CouldNotRun(f"the {kind} database does not answer: {type(error).__name__}") from error
    if row is None:
        raise CouldNotRun(f"the {kind} database gave no answer")
    return int(row[0]), list(row[1])


def migrations_as_applied(target: Target) -> Seen:
    """INV-001, INV-003: what is applied is exactly what the files say, byte for byte."""
    count, violations = 0, []
    for kind, url in target.urls.items():
        try:
            count += migrations.verify(url, places.folder("migrations") / kind)
        except CannotEvaluate as error:
            raise CouldNotRun(str(error)) from error
        except SymphonyError as error:
            count += 1
            violations.append(f"{kind}: {error}")
    return Seen(count, tuple(violations))


def no_transaction_words(_target: Target) -> Seen:
    """INV-002: no migration begins or ends a transaction of its own (the server refuses them too, ADR 0002)."""
    files = sorted(places.folder("migrations").glob("*/*.sql"))
    bad = []
    for path in files:
        plain = _BODY.sub("$body$", _COMMENT.sub(" ", path.read_text("utf-8")))
        if _TRANSACTION_WORD.search(plain):
            bad.append(f"{path.parent.name}/{path.name}")
    return Seen(len(files), tuple(bad))


def retry_ceiling(_target: Target) -> Seen:
    """INV-015: every sidecar's manifest names a finite ceiling, and the schema refuses one without."""
    paths = sorted(places.folder("manifests").glob("*.json"))
    sidecars = [m for m in (json.loads(path.read_text()) for path in paths) if m.get("kind") == "sidecar"]
    bad = []
    for manifest in sidecars:
        check_schema("symphony.service/1", manifest, code="RELEASE_MANIFEST")
        for change in ({"attempts_max": 0}, {"attempts_max": 10**9}, None):
            broken = json.loads(json.dumps(manifest))
            broken["sidecar"]["retry"] = {} if change is None else {**broken["sidecar"]["retry"], **change}
            if _fits(broken):
                bad.append(f"{manifest['service']}: a retry part of {change} is taken")
    return Seen(len(sidecars), tuple(bad))


def _fits(manifest: dict[str, Any]) -> bool:
    try:
        check_schema("symphony.service/1", manifest, code="RELEASE_MANIFEST")
    except SymphonyError:
        return False
    return True


def unsigned_ingress_refused(_target: Target) -> Seen:
    """INV-028: station 1 of this code refuses a request without certificate, token or signature, and takes a right one."""
    from symphony.invariants.ingress import cases

    seen, bad = 0, []
    for name, expected, answer in cases():
        seen += 1
        got = getattr(answer, "code", "VERIFIED")
        if got != expected:
            bad.append(f"{name}: {got}, not {expected}")
    return Seen(seen, tuple(bad))


FUNCTIONS: Mapping[str, Callable[[Target], Seen]] = {
    function.__name__: function
    for function in (migrations_as_applied, no_transaction_words, retry_ceiling, unsigned_ingress_refused)
}
"""What ``python:<name>`` may name; a manifest cannot name any other code."""


def run_function(name: str, target: Target) -> Seen:
    """A function by name. Raises ``CouldNotRun`` for an unknown one and for any error of ours."""
    if name not in FUNCTIONS:
        raise CouldNotRun(f"no check function {name}")
    try:
        seen = FUNCTIONS[name](target)
    except (SymphonyError, OSError, ValueError) as error:
        raise CouldNotRun(f"{name}: {error}") from error
    if not seen.count:
        raise CouldNotRun(f"{name} saw nothing")
    return seen
