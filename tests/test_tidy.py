"""The house style, as a test (design sections 11 and 14, shared style).

Each rule has a bound or a list of named exceptions; loosening one is a change that a reviewer sees here.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("contracts", "controlplane", "sidecar", "rails", "services", "symphony")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_MEDIAN_MAX = 15
FILE_BYTES_MAX = 1024 * 1024
STUB = re.compile(  # XXX only as a mark in a comment: it is also the branch code of a head office
    r"\b(TODO|FIXME|HACK|NotImplementedError|not implemented|placeholder|for now)\b|#\s*XXX\b", re.IGNORECASE
)
ID = re.compile(r"\b(?:POL|ATT|REC|OUT|BAT|RTE|EVD|INV|MIG|SEC|ADP|PIL|OPS|NEG|NUM)-(?:[A-Z0-9]+-)?\d{2,3}\b")
INDEX = re.compile(
    r"--(?:extra-)?index-url|^\s*registry\s*=\s*[\"']?http|\bGOPROXY=|\"resolved\":\s*\"http", re.MULTILINE
)
WORDS_OF_HOSTS = ("pypi", "files.pythonhosted", "registry.npmjs", "proxy.golang", "sum.golang", "deb.debian")
TEXTS = (".py", ".sql", ".rego", ".md", ".sh", ".toml", ".yml", ".yaml", ".json", ".txt", ".in", ".lock", "Makefile")
OWN = Path(__file__).resolve()
HOSTS = re.compile("|".join(re.escape(f"{word}.org") for word in WORDS_OF_HOSTS))
# Ids that no test of Python can name, each with the reason.
IDS_WITHOUT_TEST: dict[str, str] = {}
IDS_WITHOUT_TEST_MAX = 60  # a report with a bound: it only goes down


@functools.cache
def listed(*suffixes: str) -> tuple[Path, ...]:
    """Files of the checkout that git knows, by suffix; untracked ones that are not ignored count too."""
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT)]
    command = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = [ROOT / name for name in names if name.endswith(suffixes)]
    return tuple(path for path in paths if path.is_file())


def code() -> Iterator[tuple[str, ast.Module, str]]:
    """Every module of a side: its path, tree and text."""
    for path in listed(".py"):
        relative = path.relative_to(ROOT)
        if relative.parts[0] in SIDES:
            text = path.read_text("utf-8")
            yield str(relative), ast.parse(text), text


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree, _ in code():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.lineno} {node.name}", node


def size(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_there_is_something_to_look_at() -> None:
    assert len(list(code())) > 20


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    long = {name: text.count("\n") for name, _, text in code() if text.count("\n") > FILE_LINES_MAX}
    tests = {
        str(path.relative_to(ROOT)): lines
        for path in listed(".py")
        if path.is_relative_to(ROOT / "tests") and (lines := path.read_text("utf-8").count("\n")) > FILE_LINES_MAX
    }
    assert long | tests == {}


def test_no_function_is_longer_than_a_screen() -> None:
    assert [f"{where} {size(node)}" for where, node in functions() if size(node) > FUNCTION_LINES_MAX] == []


def test_most_functions_are_short() -> None:
    sizes = sorted(size(node) for _, node in functions())
    assert sizes[len(sizes) // 2] <= FUNCTION_LINES_MEDIAN_MAX


def public(tree: ast.Module) -> Iterator[ast.AST]:
    """Top-level names, and methods of top-level classes, that do not begin with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    item
                    for item in node.body
                    if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
                )


def overloaded(node: ast.AST) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in getattr(node, "decorator_list", ()))


def test_every_public_name_says_what_it_is() -> None:
    bare = [
        f"{name}:{node.lineno} {node.name}"  # type: ignore[attr-defined]
        for name, tree, _ in code()
        for node in public(tree)
        if not ast.get_docstring(node) and not overloaded(node)  # type: ignore[arg-type]
    ]
    assert bare == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree, text in code() if text.strip() and not ast.get_docstring(tree)] == []


def test_no_word_of_unfinished_work() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in listed(".py", ".sql", ".rego", ".md", ".sh", ".toml", ".yml", ".yaml")
        if path != OWN
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if STUB.search(line)
    ]
    assert found == []


def test_no_index_address_and_no_path_of_this_machine() -> None:
    def at_fault(text: str) -> bool:
        return bool(INDEX.search(text) or HOSTS.search(text)) or f"{ROOT.parent}/" in text

    texts = [path for path in listed(*TEXTS) if path != OWN]
    assert [str(path.relative_to(ROOT)) for path in texts if at_fault(path.read_text("utf-8"))] == []


def test_no_file_is_large_but_the_locks_and_the_built_policy() -> None:
    large = [str(path.relative_to(ROOT)) for path in listed("") if path.stat().st_size > FILE_BYTES_MAX]
    assert [name for name in large if not name.startswith(("requirements/", "policies/build/"))] == []


def test_no_message_and_no_schema_of_others_is_committed(shared_data: Path) -> None:
    """Tests read them from beside the checkout or from an installed package (issue 3)."""
    theirs = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shared_data.rglob("*")
        if path.is_file() and path.stat().st_size > 256
    }
    ours = {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in listed("")}
    del ours["LICENSE"]
    assert [name for name, digest in ours.items() if digest in theirs] == []
    assert [name for name in ours if name.endswith(".xsd")] == []


def test_types_are_not_silenced_without_a_rule_named() -> None:
    silent = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")
    assert [name for name, _, text in code() if silent.search(text)] == []


def test_no_sql_is_put_together_from_strings() -> None:
    """SQL stands in named .sql files; an f-string that begins like a statement is a finding."""
    begins = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|TRUNCATE|CALL)\s")
    found = []
    for name, tree, _ in code():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and node.values:
                first = node.values[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and begins.match(first.value):
                    found.append(f"{name}:{node.lineno}")
    assert found == []


def ids(paths: tuple[Path, ...]) -> set[str]:
    return {found for path in paths for found in ID.findall(path.read_text("utf-8"))}


def test_a_requirement_that_the_code_names_is_named_by_a_test() -> None:
    written = [path for path in listed(".py", ".sql", ".rego") if path.relative_to(ROOT).parts[0] != "docs"]
    tests = tuple(path for path in written if "tests" in path.parts or path.name.endswith("_test.rego"))
    untested = ids(tuple(set(written) - set(tests))) - ids(tests) - set(IDS_WITHOUT_TEST)
    print(f"named in code, in no test ({len(untested)}): {', '.join(sorted(untested))}")
    assert len(untested) <= IDS_WITHOUT_TEST_MAX, sorted(untested)


def test_an_exception_has_a_reason() -> None:
    assert all(IDS_WITHOUT_TEST.values())


def test_no_other_runtime_lives_in_the_core_sec_05() -> None:
    """SEC-05, D13: what has rights on money is Python, its SQL and its data; another language would need rights of its own."""
    allowed = {".py", ".sql", ".json", ".yaml", ".html", ".tmpl", ".typed", ".md", ".txt"}
    core = [path for path in listed("") if path.relative_to(ROOT).parts[0] in SIDES]
    assert len(core) > 100
    assert {path.relative_to(ROOT).as_posix() for path in core if path.suffix not in allowed} == set()
