"""Mutations: what is broken on purpose, and which invariants must then turn red (``invariants/mutations/*.yml``).

Three kinds: ``sql`` is a statement in one database, ``function`` replaces words in the body of a database's function,
``file`` replaces words in a file (or renames, removes or adds one) of a scratch copy of the checkout. The set that must turn
red is named beforehand and may be empty. ``drift``: whether INV-004 must see it; judged apart from the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from contracts.errors import CannotEvaluate, Refused
from symphony import places
from symphony.invariants.checks import Target
from symphony.invariants.documents import Loader
from symphony.invariants.functions import transaction_word
from symphony.invariants.manifest import Manifest

FOLDER, SCHEMA = "mutations", "mutations.schema.json"
FILES_MAX = 50
FILE_BYTES_MAX = 256 * 1024
DRIFT_ID = "INV-004"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One thing broken on purpose. ``red``: the ids that must turn red, without INV-004 (that is ``drift``)."""

    id: str
    title: str
    kind: str
    red: frozenset[str]
    database: str = ""
    statement: str = ""
    function: str = ""
    path: str = ""
    replace: str = ""
    with_: str = ""
    rename: str = ""
    remove: bool = False
    add: str = ""
    drift: bool = False
    tests: bool = False

    def __str__(self) -> str:
        return self.id

    @property
    def on_a_database(self) -> bool:
        """Whether it is done, and undone, inside a transaction of a scratch database."""
        return self.kind in {"sql", "function"}

    @property
    def named(self) -> frozenset[str]:
        """Every id that it must turn red, drift included."""
        return self.red | {DRIFT_ID} if self.drift else self.red


def load_mutations(manifest: Manifest) -> tuple[Mutation, ...]:
    """All mutations beside a manifest. Raises ``CannotEvaluate`` or ``Refused RELEASE_INVARIANT``."""
    paths = sorted((manifest.folder / FOLDER).glob("*.yml"))
    if not paths or len(paths) > FILES_MAX:
        raise CannotEvaluate(
            "RELEASE_INVARIANT",
            f"{manifest.folder / FOLDER} holds {len(paths)} files of mutations",
            next_step="use a checkout",
        )
    found = tuple(mutation for path in paths for mutation in _read(path))
    _demand_sound(found, manifest)
    return found


def uncovered(manifest: Manifest, mutations: Iterable[Mutation]) -> list[str]:
    """Implemented invariants that no mutation names."""
    named = {identifier for mutation in mutations for identifier in mutation.named}
    return [one.id for one in manifest.implemented if one.id not in named]


def _read(path: Path) -> Iterator[Mutation]:
    try:
        data = path.read_bytes()
        if len(data) > FILE_BYTES_MAX:
            raise CannotEvaluate("RELEASE_INVARIANT", f"{path.name} is larger than {FILE_BYTES_MAX} bytes")
        document = yaml.load(data, Loader=Loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{path}: {error}", next_step="mend the file") from error
    schema = json.loads((places.folder("invariants") / SCHEMA).read_text("utf-8"))
    fault = best_match(Draft202012Validator(schema).iter_errors(document))
    if fault is not None:
        where = "/".join(map(str, fault.absolute_path)) or "(document)"
        raise Refused("RELEASE_INVARIANT", f"{path.name}: {where}: {fault.message[:160]}")
    for entry in document["mutations"]:
        yield _mutation(entry)


def _mutation(entry: dict[str, Any]) -> Mutation:
    fields = {"with_" if name == "with" else name: value for name, value in entry.items()}
    return Mutation(**{**fields, "red": frozenset(entry["red"])})


def _demand_sound(mutations: tuple[Mutation, ...], manifest: Manifest) -> None:
    """Ids stand once, red ids are implemented ones, and no statement can leave its transaction."""
    implemented = {one.id for one in manifest.implemented} - {DRIFT_ID}
    kinds = Target({}, manifest.folder, databases=manifest.databases).kinds
    seen: set[str] = set()
    for one in mutations:
        if one.on_a_database and one.database not in kinds:
            raise Refused("RELEASE_INVARIANT", f"{one.id}: there is no database {one.database}: {', '.join(sorted(kinds))}")
        if one.id in seen:
            raise Refused("RELEASE_INVARIANT", f"the mutation {one.id} stands twice")
        seen.add(one.id)
        unknown = sorted(one.red - implemented)
        if unknown:
            raise Refused(
                "RELEASE_INVARIANT",
                f"{one.id}: {', '.join(unknown)} is no implemented invariant (drift: is for {DRIFT_ID})",
            )
        word = transaction_word(one.statement)
        if word is not None:
            raise Refused("RELEASE_INVARIANT", f"{one.id}: {word} would leave the transaction that is rolled back")
