"""What the distribution pulls in may be given on: no package under the GPL at run time (docs/dependencies.md)."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

STRONG_COPYLEFT = re.compile(r"(?<![L])A?GPL", re.IGNORECASE)


def licence(name: str) -> str:
    """Every sentence of a package's metadata that names its licence."""
    found = metadata.metadata(name)
    classifiers = [line for line in found.get_all("Classifier", []) if line.startswith("License")]
    return " ".join([found.get("License-Expression", ""), found.get("License", "")[:200], *classifiers])


def locked(path: Path) -> list[str]:
    return re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==", path.read_text(), re.MULTILINE)


def test_no_strong_copyleft_at_run_time(root: Path) -> None:
    names = locked(root / "requirements" / "runtime.txt")
    assert len(names) > 20
    assert [name for name in names if STRONG_COPYLEFT.search(licence(name))] == []


def test_the_check_can_fail() -> None:
    assert STRONG_COPYLEFT.search(licence("pglast"))
    assert not STRONG_COPYLEFT.search(licence("psycopg"))


@pytest.mark.parametrize("name", ["runtime", "dev", "schemas", "go"])
def test_every_locked_package_has_a_hash_and_one_exact_version(root: Path, name: str) -> None:
    text = (root / "requirements" / f"{name}.txt").read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text) if "==" in block]
    assert blocks
    assert [block[:40] for block in blocks if "--hash=sha256:" not in block] == []
