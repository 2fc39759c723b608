"""The API's description (OpenAPI 3.1), put together from ``controlplane/<folder>/openapi.yaml`` beside each folder's routes.

What need not be written in a folder's file, because it is the same everywhere:

* an operation's id and tag, and its path parameters (``components.parameters`` of ``api/openapi.yaml``, by name);
* ``body:`` is the schema of a JSON request body; a response is a schema of a JSON answer, ``{content: <media type>}`` for bytes,
  ``{}`` for none;
* ``default:`` is the problem document, whose reason codes are the closed list; ``problem:`` adds members to it for one status.

``python -m scripts.openapi`` writes docs/reference/openapi/controlplane.json; tests/openapi holds it to the routes and the
answers of a running server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from starlette.routing import BaseRoute, Route

from contracts.problem import CONTENT_TYPE
from contracts.reasons import REASONS

_CONTROLPLANE = Path(__file__).resolve().parent.parent
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


@cache
def document() -> dict[str, Any]:
    """The whole document. ``ValueError`` for an address or a schema that two folders describe."""
    shared = _read(_CONTROLPLANE / "api" / "openapi.yaml")
    paths, components = shared.pop("paths"), shared.pop("components")
    schemas = {"ReasonCode": {"enum": sorted(REASONS)}, "Problem": _problem(), **components["schemas"]}
    tagged = {path: (item, "api") for path, item in paths.items()}
    for file in sorted(_CONTROLPLANE.glob("*/openapi.yaml")):
        if file.parent.name != "api":
            folder = _read(file)
            _merge(tagged, {path: (item, file.parent.name) for path, item in folder["paths"].items()}, file)
            _merge(schemas, folder.get("schemas", {}), file)
    made = {path: _path_item(path, item, tag, components["parameters"]) for path, (item, tag) in sorted(tagged.items())}
    return {
        **shared,
        "paths": made,
        "components": {"securitySchemes": components["securitySchemes"], "schemas": schemas},
    }


def described(paths: dict[str, Any]) -> set[tuple[str, str]]:
    """``(METHOD, address)`` of every operation of a document's paths."""
    return {(method.upper(), path) for path, item in paths.items() for method in item}


def served(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    """``(METHOD, address)`` of every route, as OpenAPI writes addresses; HEAD goes with GET."""
    return {
        (method, _PARAMETER.sub(r"{\1}", route.path))
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


def _read(file: Path) -> dict[str, Any]:
    value = yaml.safe_load(file.read_text("utf-8"))
    assert isinstance(value, dict), file
    return value


def _merge(into: dict[str, Any], more: dict[str, Any], file: Path) -> None:
    twice = sorted(set(into) & set(more))
    if twice:
        raise ValueError(f"{file}: {twice[0]} is described in another folder too")
    into.update(more)


def _path_item(path: str, item: dict[str, Any], tag: str, known: dict[str, Any]) -> dict[str, Any]:
    names = _PARAMETER.findall(path)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{path}: describe {unknown[0]} under components.parameters of controlplane/api/openapi.yaml")
    parameters = [{"in": "path", "name": name, "required": True, **known[name]} for name in names]
    return {method: _operation(method, path, dict(said), tag, parameters) for method, said in item.items()}


def _operation(
    method: str, path: str, said: dict[str, Any], tag: str, parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    body = said.pop("body", None)
    said["operationId"] = "_".join([method, *re.findall(r"\w+", path)])
    said["tags"] = [tag]
    said["parameters"] = parameters + said.get("parameters", [])
    said["responses"] = {str(status): _response(status, answer) for status, answer in said["responses"].items()}
    said["responses"]["default"] = {
        "description": "Refused, or not to be had.",
        "content": {CONTENT_TYPE: {"schema": _PROBLEM}},
    }
    if body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return said


def _response(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if not answer:
        return {"description": "Not modified." if status == 304 else "Done."}
    if "problem" in answer:
        schema = {"allOf": [_PROBLEM, answer["problem"]]}
        return {"description": "Refused.", "content": {CONTENT_TYPE: {"schema": schema}}}
    if "content" in answer:
        return {"description": "The bytes.", "content": {answer["content"]: {}}}
    return {
        "description": answer.get("description", "The answer."),
        "content": {"application/json": {"schema": answer}},
    }


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    members = {
        "type": {"type": "string", "pattern": "^urn:symphony:reason:[A-Z0-9_]+$"}, "title": text,
        "status": {"type": "integer", "minimum": 400, "maximum": 599}, "detail": text,
        "reason_code": {"$ref": "#/components/schemas/ReasonCode"}, "iso_reason": {"type": "string", "pattern": "^[A-Z0-9]{4}$"},
        "next_step": text, "retryable": {"type": "boolean"}, "correlation_id": text,
    }  # fmt: skip
    return {
        "description": "RFC 9457, with a reason code of the closed list (docs/reference/reason-codes.md).",
        "type": "object",
        "required": list(members),
        "properties": members,
    }
