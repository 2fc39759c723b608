"""What an implemented invariant names must be there: enforcers, SQL blocks, functions, tests, programs (MIG-14).

A hook that was renamed away is found when the manifest is read, not when it is needed. Paths of a repository are looked for
in a checkout only (the manifest's folder lies in one that has ``.git`` or ``pyproject.toml``); an installed wheel has none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from contracts.errors import Refused
from symphony import places
from symphony.invariants.checks import SHIPPED
from symphony.invariants.functions import FUNCTIONS
from symphony.invariants.model import Invariant
from symphony.invariants.repository import module_of

ABSENT_SHOWN_MAX = 5


def checkout_of(folder: Path) -> Path | None:
    """The repository that a manifest's folder lies in."""
    root = folder.resolve().parent
    if root == places.installed():
        return None
    found = (root / "pyproject.toml").is_file() or any((place / ".git").exists() for place in (root, *root.parents))
    return root if found else None


def demand(folder: Path, invariants: Iterable[Invariant]) -> None:
    """Raise ``Refused RELEASE_INVARIANT`` that names what is not there."""
    absent = list(faults(folder, invariants))
    if absent:
        more = f" … and {len(absent) - ABSENT_SHOWN_MAX} more" if len(absent) > ABSENT_SHOWN_MAX else ""
        raise Refused(
            "RELEASE_INVARIANT",
            f"not there: {'; '.join(absent[:ABSENT_SHOWN_MAX])}{more}",
            next_step="name what enforces and verifies it now, or set its status to roadmap",
        )


def faults(folder: Path, invariants: Iterable[Invariant]) -> Iterator[str]:
    """Each name of an invariant that names nothing. A roadmap entry may name only enforcers that are there, too."""
    root = checkout_of(folder)
    for one in invariants:
        if root is not None:
            for path in one.enforced_by:
                if not _inside(root, path):
                    yield f"{one.id}: enforced_by {path}"
        for text in one.verified_by:
            if not _verifier_is_there(one.id, text, folder, root):
                yield f"{one.id}: verified_by {text}"


def _inside(root: Path, path: str) -> bool:
    where = (root / path).resolve()
    return where.is_relative_to(root) and where.exists()


def _verifier_is_there(identifier: str, text: str, folder: Path, root: Path | None) -> bool:
    kind, _, rest = text.partition(":")
    if kind == "python":
        return rest in FUNCTIONS
    if kind == "sql":
        return has_block(_sql_file(folder, rest.split(":")[0]), identifier)
    if root is None:
        return True
    if kind == "rego":
        return _inside(root, rest)
    if kind == "command":
        program = rest.split()[0]
        if "/" in program:
            return _inside(root, program)
        return "." not in program or module_of(rest, root) is not None
    file, _, name = rest.partition("::")
    return has_test(root / file, name)


def _sql_file(folder: Path, name: str) -> Path:
    """The manifest's own file of checks, or the one that comes with the tool."""
    own = folder / "checks" / f"{name}.sql"
    return places.folder("invariants") / "checks" / own.name if name in SHIPPED and not own.exists() else own


def has_block(path: Path, identifier: str) -> bool:
    """Whether a file of SQL checks has a block of this name."""
    return path.is_file() and f"-- name: {identifier}" in {
        line.strip() for line in path.read_text("utf-8").splitlines()
    }


def has_test(path: Path, name: str = "") -> bool:
    """Whether a file holds a test function of this name, or any test at all when no name is given."""
    if not path.is_file():
        return False
    tree = _parsed(path.read_text("utf-8"))
    if tree is None:
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    if name:
        return any(isinstance(node, functions) and node.name == name for node in tree.body)
    return any(isinstance(node, functions) and node.name.startswith("test_") for node in ast.walk(tree))


def _parsed(text: str) -> ast.Module | None:
    """``None`` for what is no Python. CPython 3.11 may fail on sound code, and not the second time (gh-106905)."""
    for _ in range(2):
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            return None
        except SystemError:
            continue
    return ast.parse(text)
