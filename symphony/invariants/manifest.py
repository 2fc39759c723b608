"""The manifest: YAML, safe loading only, duplicate keys refused, no field but the schema's, no id or alias twice.

That the files, tests and checks it names exist is held by a test (an installed wheel has no checkout beside it).
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from contracts.errors import CannotEvaluate, Refused
from symphony import places

MANIFEST = "INVARIANTS_MANIFEST.yml"
MANIFEST_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Invariant:
    """One entry. ``verified_by`` is empty for what is on the roadmap."""

    id: str
    pillar: str
    status: str
    severity: str
    title: str
    owners: tuple[str, ...]
    sla_days: int
    aliases: tuple[str, ...] = ()
    enforced_by: tuple[str, ...] = ()
    verified_by: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All invariants of a repository, and its folder."""

    folder: Path
    invariants: tuple[Invariant, ...]

    @property
    def implemented(self) -> tuple[Invariant, ...]:
        """Those whose checks run."""
        return tuple(one for one in self.invariants if one.status == "implemented")

    def get(self, identifier: str) -> Invariant:
        """By id or alias. Raises ``Refused NOT_FOUND``."""
        for one in self.invariants:
            if identifier in (one.id, *one.aliases):
                return one
        raise Refused("NOT_FOUND", f"no invariant {identifier}", next_step="symphony invariants list")


class _Loader(yaml.SafeLoader):
    """Safe, and a key stands once."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if len(set(keys)) != len(keys):
        raise yaml.constructor.ConstructorError(None, None, f"a key stands twice in {keys}", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_manifest(folder: Path | None = None) -> Manifest:
    """Read a folder's manifest (the repo's own without one). Raises ``CannotEvaluate`` or ``Refused RELEASE_INVARIANT``."""
    place = folder or places.folder("invariants")
    path = place / MANIFEST
    try:
        data = path.read_bytes()
        document = yaml.load(data[: MANIFEST_BYTES_MAX + 1], Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{path}: {error}", next_step="mend the manifest") from error
    schema = json.loads((places.folder("invariants") / "manifest.schema.json").read_text())
    faults = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: list(map(str, e.absolute_path)))
    if faults:
        where = "/".join(map(str, faults[0].absolute_path)) or "(document)"
        raise Refused("RELEASE_INVARIANT", f"{path.name}: {where}: {faults[0].message[:160]}")
    found = tuple(_invariant(entry) for entry in document["invariants"])
    names = [name for one in found for name in (one.id, *one.aliases)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise Refused("RELEASE_INVARIANT", f"{path.name}: {sorted(twice)} stand twice")
    return Manifest(place, found)


def release_form(manifest: Manifest) -> dict[str, Any]:
    """``invariants.json`` of a release: what officers approve; parameters, never code to run."""
    return {
        "schema": "symphony.invariants/1",
        "invariants": [
            {"id": one.id, "status": one.status, "severity": one.severity, "title": one.title, "sla_days": one.sla_days}
            for one in manifest.invariants
        ],
    }


def _invariant(entry: dict[str, Any]) -> Invariant:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Invariant(**fields)
