"""Databases that a test may break, and the ids that turn red."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

from symphony.invariants import Manifest
from symphony.invariants.checks import CouldNotRun, ask

KINDS = ("controlplane", "sidecar", "ledger")
OPTIONS = "-c search_path=pg_catalog"


@dataclass(frozen=True)
class Break:
    """One thing wrong in one database: what is done, and which ids must turn red."""

    kind: str
    statement: str
    red: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind}: {self.statement[:60]}"


def a_break(kind: str, statement: str, *red: str) -> Break:
    return Break(kind, statement, frozenset(red))


def run(url: str, statement: str) -> None:
    """As the superuser; this is how things are broken on purpose."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def sql_checks(manifest: Manifest, kind: str) -> list[tuple[str, str]]:
    """``(id, file)`` of every SQL check that looks at a kind of database."""
    found = []
    for one in manifest.implemented:
        for text in one.verified_by:
            what, _, rest = text.partition(":")
            file, _, kinds = rest.partition(":")
            if what == "sql" and kind in kinds.split(","):
                found.append((one.id, file))
    return found


def red_after(one: Break, url: str, manifest: Manifest) -> set[str]:
    """Break the database inside a transaction, run every SQL check of its kind there, roll back; what did not hold."""
    red = set()
    with psycopg.connect(url, options=OPTIONS) as connection:
        connection.execute(one.statement)
        for identifier, file in sql_checks(manifest, one.kind):
            try:
                with connection.transaction():
                    if ask(connection, identifier, file, manifest.folder).violations:
                        red.add(identifier)
            except (CouldNotRun, psycopg.Error):
                red.add(identifier)
        connection.rollback()
    return red


ENTRY = """  - id: {name}
    aliases: []
    pillar: immutability
    status: implemented
    severity: P0
    title: Something holds
    owners: [team-db]
    sla_days: 7
    enforced_by: [src.py]
    verified_by: ["pytest:tests/test_x.py::test_x"]
    evidence: [evidence/{name}.json]
"""


def entry(name: str, more: str = "") -> str:
    """One entry of a manifest file, as YAML."""
    return ENTRY.format(name=name) + more


def manifest_file(*entries: str, more: str = "") -> str:
    """A whole manifest file; ``more`` is other top-level keys."""
    return "schema: symphony.invariants_manifest/1\n" + more + "invariants:\n" + "".join(entries)


def one_entry(root: Path, more: str = "", top: str = "") -> Path:
    """A small checkout with one implemented invariant, INV-901; its manifest's folder."""
    (root / "pyproject.toml").touch()
    (root / "src.py").touch()
    (root / "tests").mkdir()
    (root / "tests" / "test_x.py").write_text("def test_x(): pass\n")
    folder = root / "invariants"
    folder.mkdir()
    (folder / "INVARIANTS_MANIFEST.yml").write_text(manifest_file(entry("INV-901", more), more=top))
    return folder
