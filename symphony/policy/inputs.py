"""Schema-valid decision inputs, the same ones each time, around what an environment's data and a policy name.

A text is drawn from those in the data, in the policy and in the samples below that fit the field's schema; a number from
its bounds, from those in the data and next to them. So allow-lists, caps and dates are met from both sides without
knowing what they mean. Half of the inputs are a changed copy of an earlier one, or of one that the caller likes: this is
how what is allowed is found.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from contracts.schemas import schema
from symphony.policy.changes import is_valid
from symphony.policy.fields import Path, changed, choices, fields, whole

SEED = 20261124
BOUNDARY_NUMBERS = (0, 1, 2, 2**31, 2**53 - 2, 2**53 - 1, 2**53, 2**53 + 1, 10**17, 10**18 - 1)
SAMPLE_TEXTS = (
    "2026-01-01", "2026-01-02", "2026-11-24", "2026-11-25", "2025-12-31", "2028-02-29", "9999-12-31",
    "2026-01-01T00:00:00.000000Z", "2026-11-24T10:00:00.000000Z", "UTC", "Africa/Lusaka", "nobody", "iso20022",
    "pacs.008.001.08", "pacs.008.001.13", "pacs.009.001.08", "pacs.003.001.02", "XTS", "ZMW", "ZM", "US", "SHAR",
    "ZZZZZZZZXXX", "CLR:ZMNCC:123456", "0123456789abcdef" * 4, "0f8fad5b-d9cb-469f-a165-70867728950e",
    "900719925474099.31", "123456789012345678", "x", "é\u4e2d \"\\x",
)  # fmt: skip
_CHANGED_FIELDS_MAX = 3
_LATER = 0.5
"""Share of inputs that are an earlier one with a few fields drawn again."""


class Drawn:
    """Draws inputs for one environment's data and a policy's own texts."""

    def __init__(self, environment: Mapping[str, Any], texts: Iterable[str] = (), *, seed: int = SEED) -> None:
        found_texts, found_numbers = set(SAMPLE_TEXTS) | set(texts), set(BOUNDARY_NUMBERS)
        for value in _scalars(environment):
            if isinstance(value, str):
                found_texts |= {value, f"{value}.001.08"}
            else:
                found_numbers |= {value - 1, value, value + 1}
        self._texts, self._numbers = sorted(found_texts), sorted(found_numbers)
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._environment = str(environment.get("environment", "sandbox"))
        self._fitting: dict[int, list[Any]] = {}

    def inputs(self, count: int, liked: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """So many valid inputs; a changed copy is one of ``liked`` rather than of any."""
        out: list[dict[str, Any]] = []
        while len(out) < count:
            earlier = liked or out
            item = self._whole()
            if earlier and self._chance.random() < _LATER:
                item = self._near(self._chance.choice(earlier))
            if is_valid(item):
                out.append(item)
        return out

    def _whole(self) -> dict[str, Any]:
        item: dict[str, Any] = self._draw(whole())
        return {**item, "environment": self._environment}

    def _near(self, item: dict[str, Any]) -> dict[str, Any]:
        for path in self._chance.sample(_leaves(), self._chance.randint(1, _CHANGED_FIELDS_MAX)):
            item = changed(item, path, self._draw(fields()[path]))
        return item

    def _draw(self, node: Mapping[str, Any]) -> Any:
        node = self._chance.choice(choices(node))
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return self._chance.choice(node["enum"])
        kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
        kind = self._chance.choice(kinds)
        if kind == "object":
            return {name: self._draw(child) for name, child in node["properties"].items()}
        if kind == "boolean":
            return self._chance.random() < 0.5
        return None if kind == "null" else self._chance.choice(self._pool(node, kind))

    def _pool(self, node: Mapping[str, Any], kind: str) -> list[Any]:
        held = self._fitting.get(id(node))
        if held is None:
            held = [one for one in (self._numbers if kind == "integer" else self._texts) if _fits(one, node)]
            assert held, f"no sample fits {node}"
            self._fitting[id(node)] = held
        return held


@cache
def _property_names() -> frozenset[str]:
    """Names that the environment's schema gives, as against keys that are data (currencies)."""
    found: set[str] = set()
    nodes: list[Any] = [schema("symphony.environment/1")]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            found |= set(node.get("properties", {}))
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return frozenset(found)


@cache
def _leaves() -> list[Path]:
    return [path for path, node in fields().items() if len(path) <= 2 and "properties" not in node]


def _fits(value: Any, node: Mapping[str, Any]) -> bool:
    if isinstance(value, int):
        return bool(node.get("minimum", value) <= value <= node.get("maximum", value))
    long_enough = node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value))
    return bool(long_enough and re.search(node.get("pattern", ""), value) and "\n" not in value)


def _scalars(value: Any) -> Iterable[str | int]:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key not in _property_names():
                yield str(key)
            yield from _scalars(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _scalars(one)
