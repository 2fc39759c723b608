"""Who may import whom (design section 11): read from the source, so that an unused module cannot hide a crossing."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "contracts": set(),
    "rails": {"contracts"},
    "controlplane": {"contracts"},
    "sidecar": {"contracts", "rails.sdk"},
    "services": {"contracts", "rails.sdk"},
    "symphony": {"contracts", "controlplane", "sidecar", "rails", "services"},
}
RUNTIME_NEVER = {"pytest", "hypothesis", "fastapi", "jwt", "psycopg_pool", "pglast", "setuptools"}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that the file names, and whether by an absolute name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module, node.level == 0
            yield from ((f"{module}.{alias.name}", node.level == 0) for alias in node.names)


def allowed(side: str, module: str) -> bool:
    top, _, _ = module.partition(".")
    if top not in MAY_IMPORT or top == side:
        return True
    return any(
        module == may or module.startswith(f"{may}.") or may.startswith(f"{module}.") for may in MAY_IMPORT[side]
    )


@pytest.mark.parametrize("side", list(MAY_IMPORT))
def test_a_side_imports_only_what_it_may(side: str) -> None:
    files = list((ROOT / side).rglob("*.py"))
    assert files, f"{side} has no code"
    crossings = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in files
        for module, absolute in imports(path)
        if absolute and not allowed(side, module)
    ]
    assert crossings == []


@pytest.mark.parametrize(
    ("side", "module"),
    [("contracts", "symphony.cli"), ("sidecar", "controlplane.app"), ("controlplane", "rails.sdk"),
     ("sidecar", "rails.iso20022.adapter"), ("rails", "sidecar.app"), ("services", "symphony.migrations")],
)  # fmt: skip
def test_the_rule_can_fail(side: str, module: str) -> None:
    assert not allowed(side, module)


def test_nothing_that_runs_needs_a_tool_of_development() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {module}"
        for side in MAY_IMPORT
        for path in (ROOT / side).rglob("*.py")
        for module, absolute in imports(path)
        if absolute and module.partition(".")[0] in RUNTIME_NEVER
    ]
    assert found == []


def test_every_package_folder_is_a_package() -> None:
    missing = [
        str(path.parent.relative_to(ROOT))
        for side in MAY_IMPORT
        for path in (ROOT / side).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert sorted(set(missing)) == []


def test_the_import_linter_knows_every_side() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert set(config["root_packages"]) == set(MAY_IMPORT)
    ruled = {side for contract in config["contracts"] for side in contract["source_modules"]}
    assert ruled == set(MAY_IMPORT) - {"symphony"}
