"""Checks that are functions of ours; ``python:<name>`` may name one of ``FUNCTIONS`` and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.schemas import check as check_schema
from symphony import migrations, places
from symphony.invariants import drift, lint
from symphony.invariants.checks import CouldNotRun, Seen, Target
from symphony.invariants.databases import linted

_TRANSACTION = re.compile(
    r"(?:^|;)\s*(begin(?!\s+atomic)|start\s+transaction|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b[^;]*",
    re.IGNORECASE,
)
_NO_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|\$([a-z_]*)\$.*?\$\1\$|'(?:[^']|'')*'", re.DOTALL | re.IGNORECASE)


def migrations_as_applied(target: Target) -> Seen:
    """INV-001, INV-003: what is applied is exactly what the files say, byte for byte."""
    if target.databases:
        raise CouldNotRun("it asks the ledger of Symphony's own runner, which these databases have not")
    count, violations = 0, []
    for kind, url in _all_kinds(target).items():
        try:
            count += migrations.verify(url, target.root / "migrations" / kind)
        except CannotEvaluate as error:
            raise CouldNotRun(f"{kind}: {error}") from error
        except SymphonyError as error:
            count += 1
            violations.append(f"{kind}: {error}")
    return Seen(count, tuple(violations))


def no_transaction_words(target: Target) -> Seen:
    """INV-002: no migration begins or ends a transaction of its own (our runner's server refuses them too, ADR 0002)."""
    files = target.migration_files()
    bad = [(path, transaction_word(_sql_of(path, target))) for path in files]
    return Seen(len(files), tuple(f"{path.relative_to(target.root)}: {word.upper()}" for path, word in bad if word))


def blocking_ddl(target: Target) -> Seen:
    """INV-DDL-01: nothing that blocks or breaks a running service, in the files after the database's ``lint_after``.

    Older files are seen and not judged: they are applied everywhere, and an applied file is never edited (INV-001).
    """
    every = target.migration_files()
    for path in every:
        _sql_of(path, target)
    judged = [path for one in target.databases.values() for path in linted(one, target.root)]
    found = lint.blocking_ddl(judged if target.databases else every, target.root)
    return Seen(len(every), found.violations)


def _sql_of(path: Path, target: Target) -> str:
    """The text of a migration in SQL. Raises ``CouldNotRun`` for one that only its own tool can read, or in another encoding."""
    name = path.relative_to(target.root)
    tool = next((one.apply for one in target.databases.values() if path.is_relative_to(target.root / one.migrations)), None)
    if tool is not None and path.suffix != ".sql":
        raise CouldNotRun(f"{name} is no SQL: only {tool.split()[0]} can read it; take the invariant out, or set it to roadmap")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CouldNotRun(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def transaction_word(text: str) -> str | None:
    """The first transaction command of a script, outside comments, strings and bodies."""
    found = _TRANSACTION.search(_NO_CODE.sub(" x ", text).strip())
    return found[1] if found else None


def no_drift(target: Target) -> Seen:
    """INV-004: each live schema is line for line what the migrations make, and of their version (MIG-10, NEG-15)."""
    if target.reference is None:
        raise CouldNotRun("there is no fresh schema to compare with")
    count, violations = 0, []
    for kind, url in _all_kinds(target).items():
        seen, bad = drift.compare(url, target.reference[kind], own=not target.databases)
        count += seen
        violations += [f"{kind}: {what}" for what in bad]
    return Seen(count, tuple(violations))


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
    from symphony.invariants.ingress import unsigned

    return _expected(unsigned())


def revocations_fail_closed(_target: Target) -> Seen:
    """INV-TRUST-001: station 1 refuses what is revoked, and everything when its revocations are old, absent or of the future."""
    from symphony.invariants.ingress import revoked

    return _expected(revoked())


def _expected(cases: list[tuple[str, str, str]]) -> Seen:
    return Seen(len(cases), tuple(f"{name}: {got}, not {wanted}" for name, wanted, got in cases if got != wanted))


def _all_kinds(target: Target) -> Mapping[str, str]:
    missing = target.kinds - set(target.urls)
    if missing and not target.partial:
        raise CouldNotRun(f"no {', '.join(sorted(missing))} database to look at")
    return target.urls


FUNCTIONS: Mapping[str, Callable[[Target], Seen]] = {
    function.__name__: function
    for function in (
        migrations_as_applied, no_transaction_words, blocking_ddl, no_drift, retry_ceiling, unsigned_ingress_refused,
        revocations_fail_closed,
    )
}  # fmt: skip
"""What ``python:<name>`` may name; a manifest cannot name any other code."""


def run_function(name: str, target: Target) -> Seen:
    """A function by name. Raises ``CouldNotRun`` for an unknown one and for whatever stops it."""
    if name not in FUNCTIONS:
        raise CouldNotRun(f"no check function {name}")
    try:
        seen = FUNCTIONS[name](target)
    except (SymphonyError, psycopg.Error, OSError, ValueError, LookupError, AssertionError) as error:
        raise CouldNotRun(f"{name}: {error}") from error
    if not seen.count:
        raise CouldNotRun(f"{name} saw nothing")
    return seen
