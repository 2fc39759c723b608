"""SQL lint, part two: what would stop the running version, or the table's users (MIG-05, MIG-06, MIG-07).

Only what is done to a table that was there before the file counts; a table made in the same file has no users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums
from pglast.stream import RawStream

from symphony.migrations import NO_TRANSACTION

Found = Iterator[tuple[str, str]]
_T, _C, _O = enums.AlterTableType, enums.ConstrType, enums.ObjectType
_REWRITES = {
    _T.AT_AlterColumnType: "another type", _T.AT_SetLogged: "LOGGED", _T.AT_SetUnLogged: "UNLOGGED",
    _T.AT_SetAccessMethod: "another access method", _T.AT_SetTableSpace: "another tablespace",
}  # fmt: skip
_RENAMES = frozenset(
    {_O.OBJECT_TABLE, _O.OBJECT_COLUMN, _O.OBJECT_VIEW, _O.OBJECT_FUNCTION, _O.OBJECT_TYPE, _O.OBJECT_SCHEMA}
)
_SCANS = frozenset({_C.CONSTR_CHECK, _C.CONSTR_FOREIGN, _C.CONSTR_NOTNULL})
_BUILDS = frozenset({_C.CONSTR_PRIMARY, _C.CONSTR_UNIQUE, _C.CONSTR_EXCLUSION})


@dataclass
class History:
    """What earlier files of the same database leave: CHECKs that a column is not null, and partitioned tables."""

    checks: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)
    partitioned: set[str] = field(default_factory=set)

    def not_null(self, table: str, column: str) -> bool:
        """Whether a validated CHECK (column IS NOT NULL) stands."""
        return any(key[0] == table and value == (column, True) for key, value in self.checks.items())

    def add(self, statements: tuple[ast.RawStmt, ...]) -> None:
        """Take one file's statements in, after it was judged."""
        for raw in statements:
            if isinstance(raw.stmt, ast.CreateStmt) and raw.stmt.partspec is not None:
                self.partitioned.add(name(raw.stmt.relation))
            if isinstance(raw.stmt, ast.AlterTableStmt):
                for command in raw.stmt.cmds or ():
                    self._command(name(raw.stmt.relation), command)

    def _command(self, table: str, command: Any) -> None:
        if command.subtype == _T.AT_AddConstraint and (column := _column_of(command.def_)) and command.def_.conname:
            self.checks[table, command.def_.conname] = (column, not command.def_.skip_validation)
        if command.subtype == _T.AT_ValidateConstraint and (table, command.name) in self.checks:
            self.checks[table, command.name] = (self.checks[table, command.name][0], True)
        if command.subtype == _T.AT_DropConstraint:
            self.checks.pop((table, command.name), None)


def name(relation: Any) -> str:
    """``schema.table`` of a relation."""
    return f"{relation.schemaname}.{relation.relname}"


def altered(node: Any, created: set[str], earlier: History) -> Found:
    """ALTER TABLE on a table that has users."""
    if not isinstance(node, ast.AlterTableStmt) or name(node.relation) in created:
        return
    table = name(node.relation)
    for command in node.cmds or ():
        if command.subtype == _T.AT_AddColumn:
            yield from _column(table, command.def_)
        if command.subtype == _T.AT_SetNotNull and not earlier.not_null(table, command.name):
            yield (
                "not-null",
                f"{table}.{command.name}: an earlier file validates CHECK ({command.name} IS NOT NULL) first",
            )
        if command.subtype in _REWRITES:
            yield (
                "rewrite",
                f"{table} gets {_REWRITES[command.subtype]}: every row is written again; use a shadow table",
            )
        if command.subtype == _T.AT_AddConstraint:
            yield from _constraint(table, command.def_)


def blocking(node: Any, created: set[str], earlier: History) -> Found:
    """Indexes and maintenance that lock out a table's users."""
    if isinstance(node, ast.IndexStmt) and not node.concurrent and name(node.relation) not in created:
        relation: Any = node.relation
        only = not relation.inh and name(relation) in earlier.partitioned  # ON ONLY a partitioned table builds nothing
        if not only:
            yield "index", f"{node.idxname or 'an index'} on {name(node.relation)}: build it CONCURRENTLY"
    if isinstance(node, ast.DropStmt) and node.removeType == _O.OBJECT_INDEX and not node.concurrent:
        yield "index", f"{RawStream()(node)}: CONCURRENTLY"
    if isinstance(node, ast.ReindexStmt) and not _concurrent(node):
        yield "index", f"{RawStream()(node)}: CONCURRENTLY"
    if type(node).__name__ in {"ClusterStmt", "RepackStmt"}:
        yield "rewrite", RawStream()(node)


def renamed(node: Any) -> Found:
    """What old code calls by its name keeps it while expanding."""
    if isinstance(node, ast.RenameStmt) and node.renameType in _RENAMES:
        yield "rename", RawStream()(node)
    if isinstance(node, ast.AlterObjectSchemaStmt):
        yield "rename", RawStream()(node)


def transactional(text: str, statements: tuple[ast.RawStmt, ...]) -> Found:
    """MIG-07: as the runner: CONCURRENTLY only by the marker on the first line, and then one statement."""
    marked = text.startswith(NO_TRANSACTION)
    if marked and len(statements) != 1:
        yield "concurrently", f"a file with {NO_TRANSACTION} holds one statement, not {len(statements)}"
    if not marked and any(_concurrent(raw.stmt) for raw in statements):
        yield "concurrently", f"CONCURRENTLY needs {NO_TRANSACTION} as the first line"


def _concurrent(node: Any) -> bool:
    if isinstance(node, ast.IndexStmt | ast.DropStmt):
        return bool(node.concurrent)
    if isinstance(node, ast.ReindexStmt):
        return any(option.defname == "concurrently" for option in node.params or ())
    if isinstance(node, ast.AlterTableStmt):
        return any(c.subtype == _T.AT_DetachPartition and c.def_.concurrent for c in node.cmds or ())
    return False


def _column(table: str, column: Any) -> Found:
    kinds = {constraint.contype: constraint for constraint in column.constraints or ()}
    where, default = f"{table}.{column.colname}", kinds.get(_C.CONSTR_DEFAULT)
    if default is not None and not _constant(default.raw_expr):
        yield "rewrite", f"{where} has a default that is not constant: every row is written again"
    if _C.CONSTR_NOTNULL in kinds and (default is None or _null(default.raw_expr)):
        yield "not-null", f"{where} needs a constant default"
    if {_C.CONSTR_GENERATED, _C.CONSTR_IDENTITY} & set(kinds):
        yield "rewrite", f"{where} is computed for every row"
    for kind in sorted((_SCANS | _BUILDS) & set(kinds) - {_C.CONSTR_NOTNULL}):
        yield "constraint", f"{where}: {kind.name} is added apart, NOT VALID or USING INDEX"


def _constraint(table: str, constraint: Any) -> Found:
    label = f"{table}: {constraint.conname or 'a constraint'}"
    if constraint.contype in _SCANS and not constraint.skip_validation:
        yield "constraint", f"{label} reads every row under a lock: NOT VALID, then VALIDATE in the next file"
    if constraint.contype in _BUILDS and not constraint.indexname:
        yield "constraint", f"{label} builds an index under a lock: build it CONCURRENTLY, then USING INDEX"


def _column_of(constraint: Any) -> str | None:
    """The column of CHECK (column IS NOT NULL)."""
    test = constraint.raw_expr if constraint.contype == _C.CONSTR_CHECK else None
    if isinstance(test, ast.NullTest) and test.nulltesttype == enums.NullTestType.IS_NOT_NULL:
        column: Any = test.arg
        return str(column.fields[-1].sval) if type(column).__name__ == "ColumnRef" else None
    return None


def _constant(value: Any) -> bool:
    if isinstance(value, ast.TypeCast):
        return _constant(value.arg)
    if isinstance(value, ast.A_Expr):
        return value.lexpr is None and _constant(value.rexpr)
    return isinstance(value, ast.A_Const)


def _null(value: Any) -> bool:
    return _null(value.arg) if isinstance(value, ast.TypeCast) else bool(getattr(value, "isnull", False))
