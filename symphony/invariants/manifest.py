"""The manifest: YAML, safe loading only, duplicate keys refused, no field but the schema's, no id or alias twice.

The files, tests and checks that it names exist (``existence.py``), and its exceptions are timeboxed (``exceptions.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.errors import Refused
from symphony import places
from symphony.invariants import documents, exceptions, existence
from symphony.invariants.databases import Database
from symphony.invariants.model import Invariant, Manifest

__all__ = ["Invariant", "Manifest", "load_manifest", "release_form"]


def load_manifest(folder: Path | None = None) -> Manifest:
    """Read a folder's manifest and what it includes (the repo's own without one).

    Raises ``CannotEvaluate RELEASE_INVARIANT`` for one that cannot be read, ``Refused RELEASE_INVARIANT`` for one that breaks
    a rule.
    """
    place = folder or places.folder("invariants")
    read = documents.read_all(place)
    found = tuple(_invariant(entry) for _, document in read for entry in document["invariants"])
    odd = sorted({repr(text) for one in found for text in _lines(one) if not text.isprintable()})
    if odd:
        raise Refused("RELEASE_INVARIANT", f"{', '.join(odd)[:160]}: signs that do not print", next_step="write it on one line")
    names = [name for one in found for name in (one.id, *one.aliases)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        names_of_files = ", ".join(name for name, _ in read)
        raise Refused("RELEASE_INVARIANT", f"{names_of_files}: {sorted(twice)} stand twice", next_step=documents.NEXT)
    manifest = Manifest(place, found, files=tuple(place / name for name, _ in read))
    existence.demand(place, found)
    main = read[0][1]
    _demand_looked_at(main.get("databases", {}), found)
    return replace(
        manifest, exceptions=_exceptions(manifest, read), structural=tuple(main.get("structural", ())),
        databases={name: _database(name, entry) for name, entry in main.get("databases", {}).items()},
    )  # fmt: skip


def release_form(manifest: Manifest) -> dict[str, Any]:
    """``invariants.json`` of a release: what officers approve; parameters, never code to run."""
    return {
        "schema": "symphony.invariants/1",
        "invariants": [
            {"id": one.id, "status": one.status, "severity": one.severity, "title": one.title, "sla_days": one.sla_days}
            for one in manifest.invariants
        ],
    }


def _lines(one: Invariant) -> tuple[str, ...]:
    """What is one line each; a pattern's end would let a line end through."""
    return (one.id, one.title, *one.aliases, *one.owners, *one.enforced_by, *one.verified_by, *one.evidence)


def _invariant(entry: dict[str, Any]) -> Invariant:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Invariant(**fields)


def _demand_looked_at(databases: Iterable[str], invariants: Iterable[Invariant]) -> None:
    """A database that no check looks at is a gap that nobody sees."""
    named = {
        name
        for one in invariants
        for text in one.verified_by
        if text.startswith("sql:")
        for name in text.rpartition(":")[2].split(",")
    }
    bare = [] if "*" in named else sorted(set(databases) - named)
    if bare:
        raise Refused(
            "RELEASE_INVARIANT", f"no check looks at the database {', '.join(bare)}",
            next_step="name it in a verified_by, as in sql:all-databases:*",
        )  # fmt: skip


def _database(name: str, entry: dict[str, Any]) -> Database:
    return Database(name, **{**entry, "roles": tuple(entry.get("roles", ()))})


def _exceptions(manifest: Manifest, read: list[tuple[str, dict[str, Any]]]) -> tuple[exceptions.Exemption, ...]:
    found = []
    for name, document in read:
        for entry in document.get("exceptions", []):
            try:
                identifier = manifest.get(entry["invariant"]).id
            except Refused as error:
                raise Refused(
                    "RELEASE_INVARIANT", f"{name}: exception for {entry['invariant']}: {error.detail}"
                ) from error
            found.append(exceptions.read({**entry, "invariant": identifier}))
    return tuple(found)
