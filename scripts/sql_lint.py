"""What a migration may not say, found by PostgreSQL's own parser (``pglast``).

Rules, each with its code:

* ``transaction``  INV-002: no top-level BEGIN, COMMIT or their kin;
* ``definer-path`` INV-008: a SECURITY DEFINER function pins ``search_path`` to ``pg_catalog``, its own schema,
  ``pg_temp``, in this order;
* ``dynamic``      INV-009: a SECURITY DEFINER function runs no SQL that it puts together (EXECUTE, FOR … IN EXECUTE,
  RETURN QUERY EXECUTE, OPEN … FOR EXECUTE); what only the owner may call (new partitions) may;
* ``destructive``  MIG-06: no TRUNCATE, no DROP of a table, column, view, function, schema or type while expanding, and no
  ``rename``; a file whose name has ``_contract_`` may, and has a ``contract`` header (MIG-02, MIG-09);
* ``not-null``     MIG-05: an added column is nullable or has a constant default; SET NOT NULL needs a validated CHECK;
* ``rewrite``, ``index``, ``constraint``  MIG-06: nothing that writes, reads or locks a whole table that was there before;
* ``concurrently`` MIG-07: by the marker, alone in its file, as the runner has it (``scripts/sql_shape.py``, all these);
* ``rollback``, ``compatibility``  MIG-03, MIG-13: headers (``scripts/sql_headers.py``);
* ``qualified``    a table, function or type is made in a named schema, never where ``search_path`` happens to point;
* ``sequence``     MIG-01: the files are numbered without a gap (``symphony.migrations.read``).

Not here: what ``squawk`` finds besides, the schema as it is in a running database (the invariants' gates).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pglast import ast, enums, parse_sql
from pglast.parser import ParseError, scan
from pglast.stream import RawStream
from pglast.visitors import Visitor

from contracts.errors import SymphonyError
from scripts.sql_headers import judged
from scripts.sql_shape import History, altered, blocking, name, renamed, transactional
from symphony import migrations

_DESTRUCTIVE = frozenset(
    {
        enums.ObjectType.OBJECT_TABLE,
        enums.ObjectType.OBJECT_SCHEMA,
        enums.ObjectType.OBJECT_TYPE,
        enums.ObjectType.OBJECT_MATVIEW,
        enums.ObjectType.OBJECT_SEQUENCE,
        enums.ObjectType.OBJECT_VIEW,
        enums.ObjectType.OBJECT_FUNCTION,
    }
)


@dataclass(frozen=True)
class Finding:
    """One broken rule: the file, the rule's code, what was found."""

    file: str
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.rule}: {self.detail}"


def lint_text(file: str, text: str, earlier: History | None = None) -> list[Finding]:
    """Every finding in one file's text; ``earlier`` is what the files before it leave, and takes this one in."""
    history = History() if earlier is None else earlier
    statements = parse_sql(text)
    created = {name(node.relation) for node in _of(statements, ast.CreateStmt)}
    found: list[tuple[str, str]] = [*transactional(text, statements), *judged(file, text)]
    for node in (raw.stmt for raw in statements):
        found += [*_transaction(node), *_unqualified(node)]
        found += [*altered(node, created, history), *blocking(node, created, history)]
        if isinstance(node, ast.CreateFunctionStmt):
            found += _function(node)
        if "_contract_" not in file:
            found += [*_destructive(node), *renamed(node)]
    history.add(statements)
    return [Finding(file, rule, detail) for rule, detail in found]


def lint_folder(folder: Path) -> tuple[int, list[Finding]]:
    """The number of files read and every finding in ``folder/<database>/*.sql``; an empty folder is one."""
    files, findings = 0, []
    for database in sorted(path for path in folder.iterdir() if path.is_dir()):
        history = History()
        try:
            for migration in migrations.read(database):
                findings += lint_text(f"{database.name}/{migration.name}.sql", migration.text, history)
                files += 1
        except ParseError as error:
            findings.append(Finding(database.name, "syntax", str(error)))
        except SymphonyError as error:
            findings.append(Finding(database.name, "sequence", error.detail))
    return files, findings


def main(arguments: list[str]) -> int:
    """``python -m scripts.sql_lint FOLDER``: 0 clean, 1 findings, 4 nothing was read (MIG-14)."""
    files, findings = lint_folder(Path(arguments[0] if arguments else "migrations"))
    for finding in findings:
        print(finding)
    print(f"sql_lint: {files} files, {len(findings)} findings")
    return 1 if findings else 0 if files else 4


def _transaction(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.TransactionStmt):
        yield "transaction", RawStream()(node)


def _function(node: Any) -> Iterator[tuple[str, str]]:
    function = ".".join(part.sval for part in node.funcname)
    options = {option.defname: option.arg for option in node.options or () if option.defname != "set"}
    if not _truthy(options.get("security")):
        return
    wanted = ["pg_catalog", function.rpartition(".")[0], "pg_temp"]
    if _search_path(node) != wanted:
        yield "definer-path", f"{function} needs SET search_path = {', '.join(wanted)}"
    if any(map(_executes, options.get("as", ()))):
        yield "dynamic", f"{function} runs SQL that it puts together"


def _truthy(value: Any) -> bool:
    return value is not None and bool(getattr(value, "boolval", getattr(value, "ival", False)))


def _search_path(node: Any) -> list[str] | None:
    for option in node.options or ():
        if option.defname == "set" and option.arg.name == "search_path":
            return [argument.val.sval for argument in option.arg.args or ()]
    return None


def _destructive(node: Any) -> Iterator[tuple[str, str]]:
    kind = type(node).__name__
    if kind == "TruncateStmt":
        yield "destructive", "TRUNCATE"
    if kind == "DropStmt" and node.removeType in _DESTRUCTIVE:
        yield "destructive", RawStream()(node)
    if kind == "AlterTableStmt":
        for command in node.cmds:
            if command.subtype == enums.AlterTableType.AT_DropColumn:
                yield "destructive", f"{name(node.relation)} loses {command.name}"


def _unqualified(node: Any) -> Iterator[tuple[str, str]]:
    kind = type(node).__name__
    if kind == "CreateStmt" and node.relation.schemaname is None:
        yield "qualified", f"table {node.relation.relname}"
    if kind == "CreateFunctionStmt" and len(node.funcname) < 2:
        yield "qualified", f"function {node.funcname[-1].sval}"
    if kind == "ViewStmt" and node.view.schemaname is None:
        yield "qualified", f"view {node.view.relname}"


def _of(statements: Iterable[ast.RawStmt], kind: type[ast.Node]) -> list[Any]:
    """Every node of ``kind`` anywhere in the statements."""
    found: list[Any] = []

    class Collector(Visitor):
        def visit(self, _ancestors: Any, node: ast.Node) -> None:
            if isinstance(node, kind):
                found.append(node)

    Collector()(tuple(statements))
    return found


def _executes(body: Any) -> bool:
    """Whether the word EXECUTE stands in the body, outside strings and comments.

    By token: the parser of PL/pgSQL bodies in ``pglast`` knows no types of schemas of our own.
    """
    return any(token.name == "EXECUTE" for token in scan(body.sval))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
