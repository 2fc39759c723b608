"""Databases that a test may break."""

from __future__ import annotations

from pathlib import Path

import psycopg

KINDS = ("controlplane", "sidecar", "ledger")


def run(url: str, statement: str) -> None:
    """As the superuser; this is how things are broken on purpose."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


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
