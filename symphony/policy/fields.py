"""The fields of a decision input by path, out of its schema, and how a value is changed at one (POL-16).

Pure. Every field of ``symphony.decision_input/1`` is required; of an object that may be null, those of the object are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from contracts.schemas import schema

DECISION_INPUT = "symphony.decision_input/1"
Path = tuple[str, ...]
ABSENT: Any = object()
"""The value of a field that is not there."""


@cache
def whole() -> Mapping[str, Any]:
    """The schema with every reference followed."""
    return _resolved(schema(DECISION_INPUT), DECISION_INPUT)


@cache
def fields() -> Mapping[Path, Mapping[str, Any]]:
    """Every required field by path, with its schema; an object stands before its fields."""
    return dict(_below((), whole()))


def _below(path: Path, node: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for choice in choices(node):
        for name in choice.get("required", ()):
            yield (*path, name), choice["properties"][name]
            yield from _below((*path, name), choice["properties"][name])


def choices(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a node may be: its ``anyOf``, or itself."""
    return list(node.get("anyOf", [node]))


def _resolved(node: Mapping[str, Any], document: str) -> Mapping[str, Any]:
    while "$ref" in node:
        document, node = _home(node, document), _at(node["$ref"], _home(node, document))
    out = dict(node)
    if "anyOf" in node:
        out["anyOf"] = [_resolved(one, document) for one in node["anyOf"]]
    if "properties" in node:
        out["properties"] = {name: _resolved(one, document) for name, one in node["properties"].items()}
    return out


def _home(node: Mapping[str, Any], document: str) -> str:
    target = str(node.get("$ref", ""))
    if not target.startswith("urn:"):
        return document
    _, _, kind, version = target.split("#", maxsplit=1)[0].split(":")
    return f"symphony.{kind}/{version}"


def _at(reference: str, document: str) -> Mapping[str, Any]:
    node: Any = schema(document)
    for step in reference.partition("#")[2].strip("/").split("/"):
        node = node[step] if step else node
    assert isinstance(node, dict)
    return node


def value_at(item: Any, path: Path) -> Any:
    """The value at a path, or ``ABSENT``."""
    for step in path:
        if not isinstance(item, dict) or step not in item:
            return ABSENT
        item = item[step]
    return item


def changed(item: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The item with another value at a path, or without it; what is not on the way is shared with the item."""
    out = dict(item)
    if len(path) > 1:
        child = out.get(path[0])
        out[path[0]] = changed(child if isinstance(child, dict) else {}, path[1:], value)
    elif value is ABSENT:
        out.pop(path[0], None)
    else:
        out[path[0]] = value
    return out
