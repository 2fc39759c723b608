"""The YAML files of a manifest: the main one and those that it includes, each safe to load and held to the schema.

Services that come later add their own files. An included file has ``schema``, ``invariants`` and maybe ``exceptions``; it
includes nothing itself, and it lies in the manifest's folder or below, also when a link is followed.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from contracts.errors import CannotEvaluate, Refused
from symphony import places

MANIFEST = "INVARIANTS_MANIFEST.yml"
MANIFEST_BYTES_MAX = 1024 * 1024
NEXT = "mend it; every field: docs/reference/invariants-manifest.md"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class Loader(yaml.SafeLoader):
    """Safe, a key stands once, and a date stays the text that it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own table, as it wants it
        first: [(tag, pattern) for tag, pattern in entries if tag != _TIMESTAMP]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if not all(isinstance(key, str) for key in keys):
        raise yaml.constructor.ConstructorError(None, None, f"a key that is no text in {keys}"[:200], node.start_mark)
    if len(set(keys)) != len(keys):
        raise yaml.constructor.ConstructorError(None, None, f"a key stands twice in {keys}", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_all(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and document of the main file and of every included one, in order. Raises ``CannotEvaluate`` or ``Refused``."""
    schema = Draft202012Validator(json.loads((places.folder("invariants") / "manifest.schema.json").read_text()))
    main = _read(folder / MANIFEST, MANIFEST, schema)
    found = [(MANIFEST, main)]
    for name in main.get("include", []):
        document = _read(_included(folder, name), name, schema)
        more = sorted({"include", "databases", "structural"} & set(document))
        if more:
            raise Refused("RELEASE_INVARIANT", f"{name}: an included file has no {more[0]}: that is the main one's", next_step=NEXT)
        found.append((name, document))
    return found


def _included(folder: Path, name: str) -> Path:
    """The path of an included file. Raises ``Refused RELEASE_INVARIANT`` for one that is not there or lies outside."""
    pure = PurePosixPath(name)
    path = folder / pure
    if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(folder.resolve()):
        raise Refused("RELEASE_INVARIANT", f"include: {name} is not in the manifest's folder or below", next_step=NEXT)
    if not path.is_file():
        raise Refused(
            "RELEASE_INVARIANT", f"include: {name} is not there", next_step="add it, or leave it out of include"
        )
    return path


def _read(path: Path, name: str, schema: Draft202012Validator) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        if len(data) > MANIFEST_BYTES_MAX:
            raise Refused("RELEASE_INVARIANT", f"{name}: over {MANIFEST_BYTES_MAX} bytes")
        document = yaml.load(data, Loader=Loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{path}: {error}", next_step="mend the manifest") from error
    faults = sorted(schema.iter_errors(document), key=lambda fault: list(map(str, fault.absolute_path)))
    if faults:
        where = "/".join(map(str, faults[0].absolute_path)) or "(document)"
        said = "is empty" if document is None else f"{where}: {faults[0].message[:160]}"
        raise Refused("RELEASE_INVARIANT", f"{name}: {said}", next_step=NEXT)
    return dict(document)
