"""The table of attacks: what stops each, by which code, and the test that proves it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PAGE = ROOT / "docs" / "reference" / "attacks.md"


@dataclass(frozen=True, slots=True)
class Attack:
    """One row. ``by``: a rule's number (or ``TUF``, ``form``) and the module that holds it; ``test``: file::name."""

    what: str
    by: str
    code: str
    test: str

    @property
    def rule(self) -> str:
        """The number of the rule, or who else stops it."""
        return self.by.split(" ", 1)[0]

    @property
    def module(self) -> str:
        """The module that holds it."""
        return self.by.split(" ", 1)[1]


REGISTERED: list[Attack] = []


def attack(what: str, *, by: str, code: str) -> Callable[[Any], Any]:
    """Register a test as the proof against an attack; the ``attacker`` fixture asserts the code that stands here."""

    def registered(test: Any) -> Any:
        file = test.__module__.rsplit(".", 1)[-1]
        test.attack = Attack(what, by, code, f"tests/attacks/{file}.py::{test.__name__}")
        REGISTERED.append(test.attack)
        return test

    return registered


def rows() -> list[Attack]:
    """Every attack, in the order of files and tests."""
    from tests.attacks.elsewhere import ELSEWHERE

    for file in sorted(FOLDER.glob("test_*.py")):
        importlib.import_module(f"tests.attacks.{file.stem}")
    own = {found.test: found for found in REGISTERED}
    return [*sorted(own.values(), key=lambda row: row.test.split("::")[0]), *ELSEWHERE]  # in a file as it stands there


def page() -> str:
    """docs/reference/attacks.md."""
    found = rows()
    head = (FOLDER / "page.md").read_text("utf-8").replace("COUNT", str(len(found)))
    lines = ["| attack | stopped by | code | test |", "|---|---|---|---|"]
    for row in found:
        file, name = row.test.split("::")
        stopped = f"{row.rule}, `{row.module}`"
        code = f"`{row.code}`" if row.code else "no effect"
        lines.append(f"| {row.what} | {stopped} | {code} | [{name}](../../{file}) |")
    return head.replace("TABLE", "\n".join(lines))
