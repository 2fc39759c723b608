"""Mutation testing of the code that verifies releases: break it in some two thousand places, one at a time; a test must see each.

    make mutants            or  python -m scripts.mutants [--seconds N] [--only rules --only trust] [--report FILE]

``mutmut`` makes the mutants of MODULES in a copy of the checkout under var/mutants; those that change nothing but the wording of
an error's detail are left out (the reason code is never a detail). One process runs the tests for all (scripts/mutants_plugin.py):
for each mutant it forks, and runs the tests that reach the mutated function until one fails. It stops by itself after
``--seconds``; what was not reached then is counted as not killed. Survivors that no test can see stand in scripts/mutants.yml,
each with its reason. Exit 0 from KILLED_MIN on, 1 below it, 3 when it could not be run.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "var" / "mutants"
EQUIVALENT = ROOT / "scripts" / "mutants.yml"
KILLED_MIN = 0.95
SECONDS = 3 * 3600
MUTANT_SECONDS = 60
MODULES = (
    "contracts/release/rules.py", "contracts/release/trust.py", "contracts/release/contents.py", "contracts/release/envelope.py",
    "contracts/release/repository.py", "contracts/release/follower.py", "contracts/opa_bundle.py", "contracts/bundle_archive.py",
)  # fmt: skip
TESTS = (
    "tests/releases/test_edges.py", "tests/releases/test_edges_contents.py", "tests/attacks", "tests/releases/test_refusals.py",
    "tests/releases/test_trust.py", "tests/releases/test_contents.py", "tests/releases/test_production.py",
    "tests/releases/test_follower.py", "tests/releases/test_what_is_in_force.py", "tests/releases/test_revocations.py",
    "tests/policy/test_opa_bundle.py", "tests/policy/test_bundle_archive.py",
)  # fmt: skip
LEFT_OUT = "not peer and not killed and not database and not transport and not running and not published"
"""Tests that need a server, a database or minutes: they prove other things."""
ERRORS = {"NotTrusted": 1, "Refused": 1, "CannotEvaluate": 1, "_not_trusted": 0}
"""Constructors of errors, and how many arguments of each are more than wording."""


class _WithoutWording(ast.NodeTransformer):
    """A function without the details of its errors."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ERRORS:
            node.args, node.keywords = node.args[: ERRORS[name]], []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "detail":
            node.value = ast.Constant(0)
        return node


def _meaning(function: ast.FunctionDef) -> str:
    copy = ast.parse(ast.unparse(function)).body[0]
    assert isinstance(copy, ast.FunctionDef)
    copy = _WithoutWording().visit(copy)
    return ast.dump(ast.Module([*copy.body], [])) + ast.dump(copy.args)


def make(work: Path, modules: tuple[str, ...]) -> tuple[dict[str, str], int]:
    """Write the mutated modules into the copy; ``({mutant: its change}, how many only change wording)``."""
    _copy(work)
    os.chdir(work)  # mutmut reads its configuration from the folder that it stands in
    mutate: Any = importlib.import_module("mutmut.mutation.file_mutation").mutate_file_contents
    found: dict[str, str] = {}
    wording = 0
    for module in modules:
        text = mutate(module, (ROOT / module).read_text("utf-8")).code
        (work / module).write_text(text, "utf-8")
        for name, change in _changes(ast.parse(text)):
            wording += not change
            if change:
                found[f"{module[:-3].replace('/', '.')}.{name}"] = change
    os.chdir(ROOT)
    return found, wording


def _copy(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(git, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, work / name)
    with (work / "pyproject.toml").open("a") as file:
        file.write('\n[tool.mutmut]\nsource_paths = ["contracts"]\n')


def _changes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every mutant of a module: its name and its change as a diff of one or two lines, empty when only wording."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for name, mutant in functions.items():
        stem, mark, number = name.rpartition("__mutmut_")
        if mark and number.isdigit():
            original = functions[f"{stem}__mutmut_orig"]
            same = _meaning(original) == _meaning(mutant)
            yield name, "" if same else _diff(original, mutant)


def _diff(before: ast.FunctionDef, after: ast.FunctionDef) -> str:
    old, new = (ast.unparse(node).splitlines()[1:] for node in (before, after))
    changed = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:2] not in ("--", "++", "@@")]
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed)


def run(work: Path, mutants: Mapping[str, str], seconds: float, tools: Path, tests: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each mutant ended: ``{"end": killed | survived | timeout | no tests | not run, "by": test}``."""
    (work / "mutants.json").write_text(json.dumps({"names": list(mutants), "seconds": seconds, "each": MUTANT_SECONDS}))
    for name in ("contracts", "tests"):
        shutil.rmtree(work / name / "__pycache__", ignore_errors=True)
    temporary = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    command = [
        "nice", "-n", "19", sys.executable, "-P", "-m", "pytest", "-q", "-s", "-p", "no:logging", "-p", "scripts.mutants_plugin",
        "-k", LEFT_OUT,
        "--basetemp", str(temporary / f"symphony-mutants-{os.getpid()}"),
        *[test for test in tests if (work / test).exists()],
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{work}{os.pathsep}{tools}", "MUTANT_UNDER_TEST": ""}
    subprocess.run(command, cwd=work, env=environment, timeout=seconds + 600)
    ends: dict[str, dict[str, Any]] = json.loads((work / "ends.json").read_text())
    return {name: ends.get(name, {"end": "not run"}) for name in mutants}


def equivalents() -> list[dict[str, Any]]:
    """Survivors that no test can see: ``where`` (function), ``change`` (a part of the diff, or several), ``why``."""
    return list(yaml.safe_load(EQUIVALENT.read_text("utf-8"))["equivalent"])


def reason(name: str, change: str, known: list[dict[str, Any]]) -> str | None:
    """Why a mutant is equivalent, if somebody said so."""
    own = [e for e in known if e["where"] == where(name)]
    parts = [(part, str(e["why"])) for e in own for part in ([e["change"]] if isinstance(e["change"], str) else e["change"])]
    return next((why for part, why in parts if part in change), None)


def where(name: str) -> str:
    """``rules.verify_role`` of a mutant's name."""
    module, _, function = name.rpartition("__mutmut_")[0].rpartition(".")
    plain = function.removeprefix("x_") if function.startswith("x_") else function.removeprefix("xǁ").replace("ǁ", ".")
    return f"{module.rpartition('.')[2]}.{plain}"


def report(
    mutants: Mapping[str, str], wording: int, ends: Mapping[str, Mapping[str, Any]], took_s: float
) -> tuple[str, float]:
    """The page, and the share that was killed of those that can be."""
    known = equivalents()
    rows, survivors, excused = [], [], []
    total: Counter[str] = Counter()
    for module in sorted({where(name).split(".")[0] for name in mutants}):
        count: Counter[str] = Counter()
        for name in (name for name in mutants if where(name).split(".")[0] == module):
            end = str(ends[name]["end"])
            why = reason(name, mutants[name], known) if end not in ("killed", "timeout") else None
            count["equivalent" if why else end] += 1
            if why:
                excused.append((where(name), mutants[name], why))
            elif end not in ("killed", "timeout"):
                survivors.append((where(name), mutants[name], end))
        rows.append((module, count))
        total += count
    share = _share(total)
    return "\n".join([*_head(took_s, wording), *_table([*rows, ("all", total)]), *_lists(survivors, excused)]) + "\n", share


def _share(count: Counter[str]) -> float:
    can = sum(count.values()) - count["equivalent"]
    return (count["killed"] + count["timeout"]) / can if can else 0.0


def _head(took_s: float, wording: int) -> list[str]:
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return [
        "# Mutation testing of release verification", "",
        "Written by `make mutants` (`scripts/mutants.py` says the method). A *mutant* is one small change of the code; it is",
        "*killed* when a test fails. *Equivalent*: no test can see it, with the reason below. The share is of those that can",
        "be killed; what was not run counts as not killed.",
        "", f"* commit `{commit}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {took_s / 60:.0f} min at `nice -n 19`, one process",
        f"* left out: {wording} mutants that change only the wording of an error's detail", "",
    ]  # fmt: skip


def _table(rows: list[tuple[str, Counter[str]]]) -> list[str]:
    lines = ["| module | mutants | killed | survived | no test | not run | equivalent | share |", f"|{'---|' * 8}"]
    for name, count in rows:
        cells = (
            f"`{name}`", sum(count.values()), count["killed"] + count["timeout"], count["survived"], count["no tests"],
            count["not run"], count["equivalent"], f"{_share(count):.1%}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _lists(survivors: list[tuple[str, str, str]], excused: list[tuple[str, str, str]]) -> list[str]:
    out = ["## Survivors", "", "| where | change | end |", "|---|---|---|"]
    out += [f"| `{place}` | {_inline(change)} | {end} |" for place, change, end in survivors if end != "not run"]
    grouped: dict[tuple[str, str], list[str]] = {}
    for place, change, why in excused:
        grouped.setdefault((place, why), []).append(change)
    out += ["", "## Equivalent", "", "| where | mutants | why no test can see them |", "|---|---|---|"]
    return out + [f"| `{place}` | {len(changes)} | {why} |" for (place, why), changes in grouped.items()]


def _inline(change: str) -> str:
    return "<br>".join(f"`{line[:140].replace('|', '¦').replace('`', '´')}`" for line in change.splitlines())


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m scripts.mutants")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="stop after so many seconds (default %(default)s)")
    parser.add_argument("--only", action="append", default=[], help="a module by name, such as rules; repeatable")
    parser.add_argument("--tests", action="append", default=[], help="a test file or folder in place of all; repeatable")
    parser.add_argument("--tools", type=Path, default=WORK / "tools", help="where mutmut and libcst are (make mutants)")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "reference" / "mutation.md")
    asked = parser.parse_args()
    sys.path.insert(0, str(asked.tools))
    modules = tuple(module for module in MODULES if not asked.only or Path(module).stem in asked.only)
    try:
        mutants, wording = make(WORK / "checkout", modules)
    except ModuleNotFoundError as error:
        print(f"{error}; next step: make mutants, which installs requirements/mutants.txt", file=sys.stderr)
        return 3
    started = time.monotonic()
    ends = run(WORK / "checkout", mutants, asked.seconds, asked.tools, asked.tests or TESTS)
    (WORK / "ends.json").write_text(json.dumps({name: {**ends[name], "change": mutants[name]} for name in mutants}, indent=1))
    page, share = report(mutants, wording, ends, time.monotonic() - started)
    asked.report.write_text(page, "utf-8")
    print(f"{share:.1%} of those that can be killed; {asked.report}")
    return 0 if share >= KILLED_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
