"""Which fields of a payment a policy reads: OPA's own plan of the policy, followed through every function (POL-16).

``opa build -t plan`` gives the intermediate form from which OPA also makes the Wasm. It is walked in order, and each
local variable is given the paths of the input that may be in it, again until no function receives or gives more:

* a constant key of a path gives the longer path: that field is read;
* where an object of the input is used as a whole (compared, counted, iterated, indexed by what is not constant, given
  to a builtin), everything below it is read;
* a value put into an object, array or set keeps its path, and is in one more box; each step takes it out of one;
* a block ends where a statement may be undefined, at a ``break`` and at its end; what follows gets what may be held at
  any of them (variables are used again by other rules of a name, so the order counts).
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from symphony.policy.fields import Path, fields

INPUT_LOCAL = 0
ITEM = ("items", "*")
_TESTS_OF_TYPE = ("is_",)
_ROUNDS_IN_A_LOOP = 2
_BOXES_OF_A_BUILTIN = 3
"""A builtin may give what it was given inside arrays and objects of its own (``object.union``, ``array.concat``)."""

_MAY_BE_UNDEFINED = ("Dot", "Equal", "NotEqual", "Call", "Is", "Len", "Not", "Scan", "With")
Values = frozenset[tuple[int, Path]]
"""(in how many boxes, path) of everything of the input that may be in a variable."""

Held = dict[int, Values]
NOTHING: Values = frozenset()


@dataclass(frozen=True, slots=True)
class Reads:
    """``paths`` of a payment that the policy reads; ``unknown`` ones that no payment can have (its schema has none)."""

    paths: frozenset[Path]
    unknown: frozenset[Path]
    strings: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    strings: list[str]
    functions: dict[str, dict[str, Any]]
    entered: dict[tuple[str, int], Values] = field(default_factory=lambda: defaultdict(frozenset))
    given: dict[str, Values] = field(default_factory=lambda: defaultdict(frozenset))
    read: set[Path] = field(default_factory=set)
    unknown: set[Path] = field(default_factory=set)

    def size(self) -> int:
        return sum(map(len, self.entered.values())) + sum(map(len, self.given.values())) + len(self.read)


def reads_of(plan: bytes) -> Reads:
    """The fields that a policy reads, from its ``plan.json``."""
    document = json.loads(plan)
    strings = [str(one["value"]) for one in document["static"].get("strings") or []]
    functions = {one["name"]: one for one in (document.get("funcs") or {}).get("funcs") or []}
    state, before = _Plan(strings, functions), -1
    while before != state.size():
        before = state.size()
        for one in [*document["plans"]["plans"], *functions.values()]:
            held: Held = {number: state.entered[(one["name"], number)] for number in one.get("params", ())}
            held[INPUT_LOCAL] = held.get(INPUT_LOCAL, NOTHING) | {(0, ())}
            _Walk(state, one["name"]).blocks(one["blocks"], held, {})
    return Reads(frozenset(path for path in state.read if path in fields()), frozenset(state.unknown), tuple(strings))


class _Walk:
    """One function, statement by statement."""

    def __init__(self, state: _Plan, function: str) -> None:
        self._state = state
        self._function = function

    def blocks(self, blocks: Any, held: Held, outer: dict[int, Held]) -> Held:
        """Blocks, one after the other: what may be held after them. ``outer`` gets what leaves further blocks."""
        for block in blocks or ():
            ends: dict[int, Held] = {}
            self._block((block or {}).get("stmts") or (), dict(held), ends)
            held = ends.pop(0, {})
            for level, other in ends.items():
                _join(outer, level - 1, other)
        return held

    def _block(self, statements: Any, held: Held, ends: dict[int, Held]) -> None:
        for one in statements:
            kind, statement = one["type"], one["stmt"]
            if kind.startswith(_MAY_BE_UNDEFINED):
                _join(ends, 0, held)
            if kind == "BreakStmt":
                _join(ends, statement["index"], held)
                return
            held = self._statement(kind, statement, held, ends)
        _join(ends, 0, held)

    def _statement(self, kind: str, one: dict[str, Any], held: Held, ends: dict[int, Held]) -> Held:
        if kind == "ScanStmt":
            values = self._dot(_of(one["source"], held), None)
            for _ in range(_ROUNDS_IN_A_LOOP):
                inside = {**held, one["value"]: values, one["key"]: NOTHING}
                held = _joined(held, self.blocks([one["block"]], inside, ends))
            return held
        if kind in {"BlockStmt", "NotStmt"}:
            return self.blocks(one.get("blocks") or [one["block"]], held, ends)
        if kind == "WithStmt":
            within = _of(one["local"], held)
            inside = {**held, one["local"]: within | _of(one["value"], held)}
            return {**self.blocks([one["block"]], inside, ends), one["local"]: within}
        self._simple(kind, one, held)
        return held

    def _simple(self, kind: str, one: dict[str, Any], held: Held) -> None:
        if kind == "DotStmt":
            held[one["target"]] = self._dot(_of(one["source"], held), self._constant(one["key"]))
        elif kind in {"CallStmt", "CallDynamicStmt"}:
            held[one["result"]] = self._call(one, [_of(argument, held) for argument in one["args"]])
        elif kind == "ReturnLocalStmt":
            self._state.given[self._function] |= _of(one["source"], held)
        elif kind in {"EqualStmt", "NotEqualStmt"}:
            # a comparison with false or true is how OPA asks whether a value is there
            if not any(isinstance(one[side], dict) and one[side]["type"] == "bool" for side in "ab"):
                self._whole(_of(one["a"], held) | _of(one["b"], held))
        else:
            self._data(kind, one, held)

    def _data(self, kind: str, one: dict[str, Any], held: Held) -> None:
        if kind in {"ObjectInsertStmt", "ObjectInsertOnceStmt", "ArrayAppendStmt", "SetAddStmt"}:
            box = next(one[name] for name in ("object", "array", "set") if name in one)
            held[box] = _of(box, held) | {(boxes + 1, path) for boxes, path in _of(one["value"], held)}
        elif kind == "ObjectMergeStmt":
            held[one["target"]] = _of(one["a"], held) | _of(one["b"], held)
        elif kind == "LenStmt":
            self._whole(_of(one["source"], held))
            held[one["target"]] = NOTHING
        elif kind == "AssignVarOnceStmt":
            held[one["target"]] = _of(one["target"], held) | _of(one["source"], held)
        elif isinstance(one.get("target"), int):
            held[one["target"]] = _of(one.get("source"), held)

    def _constant(self, operand: Any) -> str | None:
        if isinstance(operand, dict) and operand["type"] == "string_index":
            return self._state.strings[operand["value"]]
        return None

    def _call(self, one: dict[str, Any], arguments: list[Values]) -> Values:
        name = one.get("func")
        if name is None:  # a rule chosen at run time: any function of so many arguments
            called = [other for other in self._state.functions.values() if len(other["params"]) == len(arguments)]
            return frozenset().union(*(self._enter(other, arguments) for other in called))
        if name in self._state.functions:
            return self._enter(self._state.functions[name], arguments)
        if name == "object.get" and (key := self._constant(one["args"][1])) is not None:
            return self._dot(arguments[0], key) | arguments[2]
        values = frozenset().union(*arguments)
        if not name.startswith(_TESTS_OF_TYPE):
            self._whole(values)
        return frozenset((boxes, path) for _, path in values for boxes in range(_BOXES_OF_A_BUILTIN + 1))

    def _enter(self, called: dict[str, Any], arguments: list[Values]) -> Values:
        for parameter, values in zip(called["params"], arguments, strict=False):
            self._state.entered[(called["name"], parameter)] |= values
        return self._state.given[called["name"]]

    def _dot(self, values: Values, key: str | None) -> Values:
        """What a step into each value may give; ``None`` is a key that is not constant."""
        out: set[tuple[int, Path]] = set()
        boxed = {path for boxes, path in values if boxes}
        for boxes, path in values:
            if boxes:
                out.add((boxes - 1, path))
            elif path == () and key in {"items", None}:
                out.add((0, ("items",)))
            elif path == ("items",):
                out.add((0, ITEM))
            elif path[:2] == ITEM:
                out |= self._step(path, key, sure=path not in boxed)
        return frozenset(out)

    def _step(self, path: Path, key: str | None, *, sure: bool) -> set[tuple[int, Path]]:
        within = path[2:]
        if key is None:
            self._whole(frozenset({(0, path)}))
            below = [one for one in fields() if one[: len(within)] == within and len(one) == len(within) + 1]
            return {(0, (*ITEM, *one)) for one in below}
        longer = (*within, key)
        if longer in fields():
            self._state.read |= {longer[:length] for length in range(1, len(longer) + 1)}
            return {(0, (*ITEM, *longer))}
        if sure:
            self._state.unknown.add(longer)
        return set()

    def _whole(self, values: Values) -> None:
        """Everything below these paths is read."""
        for _, path in values:
            if path[:2] == ITEM:
                within = path[2:]
                self._state.read |= {one for one in fields() if one[: len(within)] == within}


def _joined(one: Held, other: Held) -> Held:
    return {local: one.get(local, NOTHING) | other.get(local, NOTHING) for local in one.keys() | other.keys()}


def _join(ends: dict[int, Held], level: int, held: Held) -> None:
    ends[level] = _joined(ends[level], held) if level in ends else dict(held)


def _of(operand: Any, held: Held) -> Values:
    if isinstance(operand, int) and not isinstance(operand, bool):
        return held.get(operand, NOTHING)
    local = operand["value"] if isinstance(operand, dict) and operand.get("type") == "local" else None
    return NOTHING if local is None else held.get(local, NOTHING)
