"""JSON Schemas (2020-12) by id, with validators: ``jsonschema`` to explain, ``jsonschema_rs`` where it is hot.

A test holds the two to the same answers (design section 14).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from contracts.errors import Refused


@cache
def schema(schema_id: str) -> dict[str, Any]:
    """The schema ``symphony.<name>/<version>``; ``KeyError`` when there is none."""
    return _all()[schema_id]


@cache
def _all() -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".schema.json"):
            document = json.loads(entry.read_text("utf-8"))
            out[_name(document["$id"])] = document
    return out


def _name(schema_id: str) -> str:
    """``urn:symphony:instruction:1`` → ``symphony.instruction/1``, the name that documents carry."""
    _, _, kind, version = schema_id.split(":")
    return f"symphony.{kind}/{version}"


@cache
def _explaining(schema_id: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in _all().values()
    )
    return Draft202012Validator(schema(schema_id), registry=registry)


@cache
def fast_validator(schema_id: str) -> jsonschema_rs.Validator:
    """A compiled validator for hot paths: ``.is_valid(value)``."""
    registry = jsonschema_rs.Registry([(document["$id"], document) for document in _all().values()])
    return jsonschema_rs.Draft202012Validator(schema(schema_id), registry=registry)


def check(schema_id: str, value: Any, *, code: str) -> None:
    """Raise ``Refused(code)`` that names the first field at fault, unless the value fits the schema."""
    if _surely_fits(schema_id, value):
        return
    errors = sorted(_explaining(schema_id).iter_errors(value), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        path = "/".join(map(str, errors[0].absolute_path)) or "(document)"
        raise Refused(code, f"{schema_id}: {path}: {errors[0].message[:200]}")


def _surely_fits(schema_id: str, value: Any) -> bool:
    """By the compiled validator, a hundred times cheaper; what it refuses or cannot read is the explaining one's to judge."""
    try:
        return fast_validator(schema_id).is_valid(value)
    except (ValueError, TypeError):
        return False
