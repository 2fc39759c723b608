"""A running control plane answers as its published description says, to sensible requests and to hostile ones.

Schemathesis makes requests from the description (in its bounds and out of them) and judges every answer by it: no 500, the
described status, content type and schema. The same judge looks at the answers of a walk over the main addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contracts.canonical import sha256_hex
from controlplane.api.openapi import described, document
from tests.releases.running import Running, _folder_of
from tests.releases.support import ENVIRONMENT, SERVICE

EXAMPLES_MAX = 3
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
WAITS = {("GET", "/tuf/wait")}
"""Answered when something is published: only the walk asks for it."""
OPERATIONS = sorted(described(document()["paths"]) - WAITS)

schema = schemathesis.openapi.from_dict(document())


class Peer(requests.Session):
    """A client with a certificate: an officer by default."""

    def __init__(self, running: Running, name: str = "alice") -> None:
        super().__init__()
        folder = running.world.folder / "services" / name if name == SERVICE else _folder_of(running.world, name)
        self.cert = (str(folder / "client.pem"), str(folder / "client-key.pem"))
        self.verify = str(running.ca)
        self.trust_env = False
        self.url = running.url

    def judged(self, method: str, address: str, status: int, path: str | None = None, **more: Any) -> requests.Response:
        """One request, its status as expected, and its answer as described for the address."""
        answer = self.request(method, self.url + (path or address), timeout=20, **more)
        assert answer.status_code == status, (method, path or address, answer.status_code, answer.content[:300])
        schema[address][method].validate_response(answer)
        return answer


@pytest.fixture(scope="module")
def peers(running: Running) -> Iterator[dict[str, Peer]]:
    """One of each kind of principal, each with a connection that is kept."""
    names = {"officer": "alice", "service": SERVICE, "custodian": "custodian-1", "security_officer": "esnart"}
    made = {kind: Peer(running, name) for kind, name in names.items()}
    yield made
    for peer in made.values():
        peer.close()


def out_of_bounds(operation: Any) -> bool:
    """Whether a request can be out of an operation's bounds: a body, a query, or a path that is not any text."""
    texts = all(parameter.definition["schema"].get("type") == "string" for parameter in operation.path_parameters)
    return bool(operation.body or operation.query or not texts)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["in bounds", "out of bounds"])
def test_no_request_made_from_the_description_gets_an_answer_that_it_does_not_describe(
    peers: dict[str, Peer], mode: GenerationMode
) -> None:
    asked_for: set[tuple[str, str]] = set()
    for method, address in OPERATIONS:
        operation = schema[address][method]
        if mode is GenerationMode.POSITIVE or out_of_bounds(operation):
            asked_for |= ask(peers, operation, mode)
    expected = {one for one in OPERATIONS if mode is GenerationMode.POSITIVE or out_of_bounds(schema[one[1]][one[0]])}
    assert asked_for == expected
    assert len(expected) > 20


def ask(peers: dict[str, Peer], operation: Any, mode: GenerationMode) -> set[tuple[str, str]]:
    """Requests for one operation by one who may ask; what was asked for."""
    kinds = operation.definition.raw.get("x-principals", [])
    peer = next((peers[kind] for kind in kinds if kind in peers), peers["officer"])
    done: set[tuple[str, str]] = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES_MAX, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def asked(case: schemathesis.Case) -> None:
        answer = case.call(base_url=peer.url, session=peer, cert=peer.cert, verify=peer.verify, timeout=20)
        case.validate_response(answer, checks=CHECKS)
        done.add((operation.method.upper(), operation.path))

    asked()
    return done


def test_a_walk_over_the_main_addresses_is_answered_as_described(running: Running, peers: dict[str, Peer]) -> None:
    officer, service = peers["officer"], peers["service"]
    one = "/v1/releases/{environment}/{number}"
    officer.judged("GET", "/health/live", 200)
    officer.judged("GET", "/health/ready", 200)
    assert officer.judged("GET", "/v1/openapi.json", 200).json() == document()
    listed = officer.judged("GET", "/v1/releases/{environment}", 200, f"/v1/releases/{ENVIRONMENT}").json()["releases"]
    assert [release["status"] for release in listed] == ["ACTIVE", "SUPERSEDED"]
    shown = officer.judged("GET", one, 200, f"/v1/releases/{ENVIRONMENT}/2").json()
    assert {event["event"] for event in shown["events"]} == {"PROPOSED", "APPROVAL", "APPROVED", "ACTIVE"}
    target = f"/v1/releases/{ENVIRONMENT}/2/targets/services/{SERVICE}.json"
    content = officer.judged("GET", f"{one}/targets/{{path}}", 200, target).content
    published = f"/tuf/targets/{ENVIRONMENT}/2/services/{sha256_hex(content)}.{SERVICE}.json"
    assert officer.judged("GET", "/tuf/targets/{environment}/{number}/{path}", 200, published).content == content
    officer.judged("GET", "/tuf/metadata/{name}", 200, "/tuf/metadata/timestamp.json")
    officer.judged("GET", "/tuf/wait", 200, "/tuf/wait?snapshot=0&seconds=1")
    bundle = "/bundles/{environment}/policy.tar.gz"
    tag = officer.judged("GET", bundle, 200, f"/bundles/{ENVIRONMENT}/policy.tar.gz").headers["etag"]
    opal = "/bundles/{environment}/bundle.tar.gz"
    assert officer.judged("GET", opal, 200, f"/bundles/{ENVIRONMENT}/bundle.tar.gz").headers["etag"] == tag
    officer.judged("GET", bundle, 304, f"/bundles/{ENVIRONMENT}/policy.tar.gz", headers={"if-none-match": tag})

    report = {"environment": ENVIRONMENT, "service": SERVICE, "instance": "one", "ready": True, "mode": "enforced"}
    service.judged("POST", "/v1/fleet/status", 204, json=report)
    assert officer.judged("GET", "/v1/fleet", 200).json()["services"]
    officer.judged("GET", "/v1/fleet/{environment}/{service}", 200, f"/v1/fleet/{ENVIRONMENT}/{SERVICE}")
    service.judged("POST", "/v1/opa/status", 204, json={"labels": {"id": "one"}})
    decision = {"decision_id": "d", "labels": {"id": "one"}, "timestamp": "2026-11-27T10:00:00Z", "input": {}}
    assert service.judged("POST", "/v1/opa/logs", 200, json=[decision]).json() == {"new": 1}
    assert officer.judged("GET", "/v1/opa/status", 200).json()["servers"]
    assert officer.judged("GET", "/v1/opa/decisions/{service}", 200, f"/v1/opa/decisions/{SERVICE}").json()["decisions"]

    streams = officer.judged("GET", "/v1/evidence/streams", 200).json()["streams"]
    records = officer.judged("GET", "/v1/evidence/records", 200).json()["records"]
    assert streams[0]["last_seq"] == len(records) > 0
    record = f"/v1/evidence/records/{records[0]['stream']}/{records[0]['seq']}"
    officer.judged("GET", "/v1/evidence/records/{stream}/{seq}", 200, record)
    officer.judged("GET", "/v1/evidence/instructions/{instruction_id}", 200, "/v1/evidence/instructions/none")


REFUSED = [
    pytest.param(
        "GET", "/v1/releases/{environment}/{number}", "/v1/releases/sandbox/99", 404, {}, id="no such release"
    ),
    pytest.param("GET", "/v1/releases/{environment}", "/v1/releases/%00", 400, {}, id="what no database holds"),
    pytest.param(
        "GET", "/bundles/{environment}/policy.tar.gz", "/bundles/moon/policy.tar.gz", 404, {}, id="no such environment"
    ),
    pytest.param("POST", "/v1/releases", "/v1/releases", 400, {"data": b"{"}, id="a body that is no JSON"),
    pytest.param("POST", "/v1/fleet/status", "/v1/fleet/status", 403, {"json": {}}, id="an officer for a service"),
    pytest.param("GET", "/v1/log/proof", "/v1/log/proof?index=x", 400, {}, id="no number"),
    pytest.param("GET", "/v1/exports/evidence", "/v1/exports/evidence?from=yesterday", 400, {}, id="no time"),
]


@pytest.mark.parametrize(("method", "address", "path", "status", "more"), REFUSED)
def test_a_refusal_is_the_described_problem_document(
    peers: dict[str, Peer], method: str, address: str, path: str, status: int, more: dict[str, Any]
) -> None:
    answer = peers["officer"].judged(method, address, status, path, **more)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_the_judge_sees_an_answer_that_is_not_as_described(running: Running, peers: dict[str, Peer]) -> None:
    with pytest.raises(BaseExceptionGroup):
        peers["officer"].judged("GET", "/v1/fleet", 200, f"/v1/releases/{ENVIRONMENT}")
