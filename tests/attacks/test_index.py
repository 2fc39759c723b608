"""The page of attacks, the tests and the codes are one: every row has its test, every test its row, each code is asserted."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections import Counter

import pytest

from contracts.reasons import REASONS
from contracts.release import emergency, rules, trust
from tests.attacks.elsewhere import ELSEWHERE
from tests.attacks.index import FOLDER, PAGE, ROOT, Attack, page, rows

WITHOUT_ROW = {"tests/attacks/test_bundle.py::test_a_bundle_by_hand_that_is_right_is_taken"}
HELPERS = ("refused",)
"""Functions of a test file that assert the code for its tests."""

# What the issue asks for by name, and words of the row that answers it.
ASKED = {
    "forged targets with online keys": "targets forged with the online keys",
    "threshold met only by counting the proposer": "threshold met only by counting the proposer",
    "same officer twice under two key ids": "same officer twice under two key ids",
    "one key in two roles": "one key in two roles",
    "removed officer's key": "a removed officer's key",
    "expired": "an expired release",
    "not-yet-valid": "a release before its time",
    "past its activate_before": "past its activate_before",
    "withdrawn": "a withdrawn release",
    "replayed": "replayed under a fresh snapshot",
    "forked": "a fork: the number in force with another digest",
    "other releases to other sidecars": "other releases to other sidecars",
    "frozen": "a freeze: the timestamp is not renewed",
    "mix-and-match snapshot": "mix and match",
    "endless data": "endless data",
    "slow server": "a slow server",
    "wrong environment": "another environment's role",
    "wrong service": "no manifest of this service",
    "a revocation list that forgets an entry": "a revocation list that forgets an entry",
    "or names an officer's key": "names an officer's",
    "a compiled Wasm that is not what the Rego says": "a Wasm compiled from another Rego",
    "clock jumps": "the clock jumps back",
    "edited cache on disk": "TUF's own cache edited",
    "crash between download and swap": "killed at any write between download and swap",
    "disk full": "a disk that is full",
    "a persisted copy edited": "a persisted copy that was edited",
    "a persisted copy cut short": "a persisted copy that was cut short",
    "the whole database rewritten": "the database rewritten",
    "an unsigned order": "an unsigned order",
    "an unsigned, replayed or lifted order": "an order lifted by too few officers",
    "no keyid": "without a key id",
    "unknown kid": "an unknown kid",
    "overridden kid": "an overridden kid",
    "alg none": "alg: none",
    "HS256": "HS256",
    "wrong scope": "the wrong scope",
    "not in the list": "not in the signed list",
    "listed file absent": "a listed file that is absent",
    "duplicate tar entries": "duplicate entries",
    "./a": "./a or /a beside a",
    "._x": "._a.rego",
    "symlinks": "a link in the tar",
    "path traversal": "climbs out",
    "case clashes": "differ by case",
    "zip bombs": "a zip bomb",
    "target in top-level targets": "listed in the top-level targets",
    "a role that delegates further": "delegates to a key of the attacker's",
    "rolled back with an empty cache": "whose cache is empty",
    "a proposer merely claimed": "merely claim",
}


def functions(file: str) -> dict[str, ast.FunctionDef]:
    """The functions of a test file by name."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_is_what_the_tests_say() -> None:
    """Else: python -m tests.attacks."""
    assert PAGE.read_text("utf-8") == page()


def test_every_test_has_a_row_and_every_row_a_test() -> None:
    named = Counter(row.test for row in rows())
    assert [test for test, count in named.items() if count > 1] == []
    own = {
        f"tests/attacks/{file.name}::{name}"
        for file in FOLDER.glob("test_*.py") if file.name != "test_index.py"
        for name in functions(f"tests/attacks/{file.name}") if name.startswith("test_")
    }  # fmt: skip
    assert own - WITHOUT_ROW == {test for test in named if test.startswith("tests/attacks/")}
    others = [row.test.split("::") for row in ELSEWHERE]
    assert [f"{file}::{name}" for file, name in others if name not in functions(file)] == []


def test_every_code_is_of_the_closed_list_and_only_attacks_without_effect_have_none() -> None:
    assert {row.code for row in rows()} - set(REASONS) == {""}
    assert sum(row.code == "" for row in rows()) == 7


def test_every_attack_ends_in_an_assertion_of_its_own_code() -> None:
    """The fixture refuses a test that never asked; in other folders the code stands in the test or in its file's helper."""
    for row in ELSEWHERE:
        file, name = row.test.split("::")
        found = functions(file)
        texts = [ast.get_source_segment((ROOT / file).read_text("utf-8"), found[part]) or "" for part in (name, *HELPERS) if part in found]
        assert any(row.code in text for text in texts), row.test


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.test.split("::")[1])
def test_who_stops_it_is_a_module_that_lists_the_rule(row: Attack) -> None:
    assert importlib.util.find_spec(row.module) is not None
    if row.rule not in ("TUF", "form"):
        listing = "\n".join(inspect.getdoc(module) or "" for module in (rules, trust, emergency))
        listed = re.findall(r"^ ?(E?\d+)\. ", listing, re.MULTILINE)
        assert row.rule in listed


@pytest.mark.parametrize("asked", ASKED)
def test_every_attack_that_was_asked_for_is_there(asked: str) -> None:
    assert any(ASKED[asked] in row.what for row in rows()), ASKED[asked]
