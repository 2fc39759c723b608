"""Which part of an environment's data a policy can see, by OPA's own syntax tree: what else changes cannot change a decision.

Every reference into ``data`` is looked at, imports and ``with`` included. Where one stops short of a constant name under
``data.environment``, the policy can see all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from symphony.opa import run
from symphony.policy.source import Source

ROOT = "environment"
ALWAYS = {"environment"}
"""What payments are drawn by: their environment's name."""


def seen(source: Source, environment: Mapping[str, Any], opa: Path) -> dict[str, Any]:
    """The fields of ``environment`` that the governing Rego can see. ``CannotEvaluate RELEASE_POLICY`` when OPA gives no tree."""
    names = set(ALWAYS)
    with Source(source.governing).folder() as place:
        for name in sorted(source.governing):
            for reference in _references(_tree(place / name, opa)):
                if reference[:1] == ["symphony"]:
                    continue
                if len(reference) < 2 or reference[0] != ROOT or reference[1] is None:
                    return dict(environment)
                names.add(str(reference[1]))
    return {name: value for name, value in environment.items() if name in names}


def _tree(path: Path, opa: Path) -> Any:
    done = run(opa, ["parse", "--format", "json", str(path)], path.parent)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        text = (done.stderr or done.stdout).strip()[:300]
        raise CannotEvaluate("RELEASE_POLICY", f"opa parse: {text}", next_step="mend what opa names") from error


def _references(node: Any) -> Iterator[list[str | None]]:
    """What follows ``data`` in each reference; ``None`` for what is no constant."""
    if isinstance(node, list):
        for one in node:
            yield from _references(one)
    elif isinstance(node, dict):
        kind, value = node.get("type"), node.get("value")
        if kind == "var" and value == "data":
            yield []  # as a value of its own
        elif kind == "ref" and isinstance(value, list) and value[0].get("value") == "data":
            yield [part["value"] if part["type"] == "string" else None for part in value[1:]]
            yield from _references(value[1:])
        else:
            for name, one in node.items():
                if name != "package":
                    yield from _references(one)
