"""The published description is of exactly the addresses that are served, and nothing in it leads nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.routing import Route

from contracts.reasons import REASONS
from controlplane.api import openapi
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.store import Database
from scripts.openapi import TARGET, page

TO_WRITE = """{method} {path} is served and not described.
Write into controlplane/{folder}/openapi.yaml, under `paths:`

  {path}:
    {verb}:
      summary: …
      x-principals: [officer]        # who may ask; leave it out where any certificate of the authority will do
      body: {{type: object, required: [], properties: {{}}}}                                    # of a POST
      responses:
        200: {{type: object, required: [], additionalProperties: false, properties: {{}}}}     # {{}} for no content

then run: python -m scripts.openapi
"""


def served_routes() -> list[Route]:
    """The routes of the application; nothing is connected to."""
    key = Ed25519PrivateKey.generate()
    context = Context(Database("postgresql://nobody@127.0.0.1:1/none"), "sandbox", key, key, key, "test")
    return [route for route in create_app(context).routes if isinstance(route, Route)]


def missing(routes: list[Route], paths: dict[str, Any]) -> list[str]:
    """What is to be written for each route that the description leaves out."""
    out = []
    for route in routes:
        folder = route.endpoint.__module__.split(".")[1]
        for method, path in sorted(openapi.served([route]) - openapi.described(paths)):
            out.append(
                TO_WRITE.format(method=method, path=path, folder=folder.replace("app", "api"), verb=method.lower())
            )
    return out


def test_every_route_is_described_and_every_description_is_served() -> None:
    routes, paths = served_routes(), openapi.document()["paths"]
    assert not missing(routes, paths), "\n".join(missing(routes, paths))
    gone = openapi.described(paths) - openapi.served(routes)
    assert not gone, (
        f"described and not served: take it out of its openapi.yaml, and run python -m scripts.openapi: {gone}"
    )
    assert len(paths) >= 25


def test_what_is_missing_is_said_with_the_file_to_write_it_into() -> None:
    routes, paths = served_routes(), openapi.document()["paths"]
    (said,) = missing(routes, {path: item for path, item in paths.items() if path != "/v1/fleet"})
    assert "controlplane/fleet/openapi.yaml" in said
    assert "  /v1/fleet:\n    get:" in said
    assert yaml.safe_load(said[said.index("  /v1") : said.index("then")])["/v1/fleet"]["get"]["responses"][200]


def test_the_published_document_is_the_one_that_is_served() -> None:
    assert TARGET.read_text("utf-8") == page(), "run: python -m scripts.openapi"


def test_the_reason_codes_are_the_closed_list_and_every_refusal_is_a_problem_document() -> None:
    document = openapi.document()
    assert set(document["components"]["schemas"]["ReasonCode"]["enum"]) == set(REASONS)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation["responses"]["default"]["content"]
            assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}, (
                method,
                path,
            )


def references(value: Any) -> Iterator[str]:
    """Every ``$ref`` in a document."""
    if isinstance(value, dict):
        yield from (found for name, found in value.items() if name == "$ref" and isinstance(found, str))
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    document = openapi.document()
    used = {name.removeprefix("#/components/schemas/") for name in references(document)}
    assert used == set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"/v1/fleet": {}}, "described in another folder"),
        ({"/v1/new/{thing}": {"get": {"summary": "", "responses": {}}}}, "components.parameters"),
    ],
    ids=["an address twice", "an unknown parameter"],
)
def test_a_description_that_cannot_be_meant_is_refused(
    more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = openapi._read

    def with_more(file: Any) -> dict[str, Any]:
        found = read(file)
        return {**found, "paths": {**found["paths"], **more}} if file.parent.name == "exports" else found

    monkeypatch.setattr(openapi, "_read", with_more)
    with pytest.raises(ValueError, match=said):
        openapi.document.__wrapped__()


def test_the_document_is_openapi_of_plain_json() -> None:
    document = openapi.document()
    assert json.loads(json.dumps(document)) == document
    assert document["openapi"] == "3.1.0"
    identifiers = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(identifiers) == len(set(identifiers))
