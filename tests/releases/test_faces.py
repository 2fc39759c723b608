"""Other faces of the control plane: fleet, OPA bundle, trust, problem documents, freshness."""

from __future__ import annotations

import asyncio
import http.client
from datetime import timedelta
from typing import Any

import orjson
import pytest
from tuf.api.metadata import Metadata

from contracts import opa_bundle
from contracts.canonical import sha256_hex
from contracts.errors import SymphonyError
from controlplane.trust import services as trust_services
from symphony.release.ceremony import build_key_id, public_pem
from symphony.release.client import ControlPlane
from symphony.release.revoke import publish_trust
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE, World

STATUS: dict[str, Any] = {
    "environment": ENVIRONMENT, "service": SERVICE, "instance": "one", "ready": True, "mode": "enforced",
    "active": {"number": 1, "metadata_digest": "ab" * 32}, "refused": None,
}  # fmt: skip


def test_the_fleet_shows_desired_and_active(running: Running) -> None:
    made = running.release()
    service = ControlPlane(running.url, running.service_context())
    service.post("/v1/fleet/status", {**STATUS, "active": None, "ready": False})
    service.post("/v1/fleet/status", {**STATUS, "active": {"number": 1, "metadata_digest": made.digest}})
    service.post("/v1/fleet/status", {**STATUS, "active": {"number": 1, "metadata_digest": made.digest}})
    (row,) = running.control("alice").get("/v1/fleet")["services"]
    assert (row["desired_number"], row["active_number"], row["ready"]) == (1, 1, True)
    assert row["active_digest"] == row["desired_digest"] == made.digest
    refused = {"number": 2, "code": "RELEASE_SIGNATURE"}
    service.post("/v1/fleet/status", {**STATUS, "refused": refused})
    events = running.control("alice").get(f"/v1/fleet/{ENVIRONMENT}/{SERVICE}")["events"]
    assert [event["refused_code"] for event in events] == ["RELEASE_SIGNATURE", None, None]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"service": "core-ledger"}, "OFFICER_UNKNOWN"), ({"environment": "moon"}, "REQUEST_INVALID"),
     ({"ready": 1}, "REQUEST_INVALID"), ({"instance": ""}, "REQUEST_INVALID"),
     ({"refused": {"number": 2, "code": "NO_SUCH"}}, "REQUEST_INVALID"),
     ({"active": {"number": -1}}, "REQUEST_INVALID"),
     ({"active": {"number": True, "metadata_digest": "x"}}, "REQUEST_INVALID")],
)  # fmt: skip
def test_a_service_speaks_for_itself_and_in_shape(running: Running, changes: dict[str, Any], code: str) -> None:
    service = ControlPlane(running.url, running.service_context())
    with pytest.raises(SymphonyError) as error:
        service.post("/v1/fleet/status", {**STATUS, **changes})
    assert error.value.code == code


def test_a_stock_opa_gets_the_active_bundle_once(running: Running, world: World) -> None:
    address = f"/bundles/{ENVIRONMENT}/policy.tar.gz"
    with pytest.raises(SymphonyError, match="NOT_FOUND"):
        running.control("alice").get_bytes(address)
    made = running.release()
    bundle = running.control("alice").get_bytes(address)
    assert bundle == made.files["policy.tar.gz"]
    opa_bundle.verify(bundle, public_pem(world.ceremony.build), build_key_id(world.ceremony.build))
    status, headers, _ = raw(running, "GET", address, {"if-none-match": f'"{sha256_hex(bundle)}"'})
    assert (status, headers["etag"]) == (304, f'"{sha256_hex(bundle)}"')


def test_errors_are_problem_documents(running: Running) -> None:
    for method, path, expected in (("GET", "/nowhere", 404), ("PUT", "/v1/fleet", 405), ("POST", "/v1/releases", 400)):
        status, headers, body = raw(running, method, path, {}, who="alice")
        problem = orjson.loads(body)
        assert (status, headers["content-type"], problem["status"]) == (expected, "application/problem+json", expected)
        assert problem["reason_code"]


def test_an_answer_to_a_certificate_that_nobody_enrolled(running: Running, world: World) -> None:
    from contracts.tls import client_context
    from symphony.stack import credentials

    other = world.folder / "stranger"
    other.mkdir()
    stranger = credentials.make_ca("stranger", now=world.clock.now())
    made = credentials.officer_credential(stranger, ENVIRONMENT, "mallory", now=world.clock.now())
    made.write(other / "client.pem", other / "client-key.pem")
    control = ControlPlane(running.url, client_context(other / "client.pem", other / "client-key.pem", running.ca))
    with pytest.raises(SymphonyError) as error:
        control.get("/v1/fleet")
    assert error.value.code == "RELEASE_UNREACHABLE"


def test_a_certificate_that_ran_out_on_a_held_connection(running: Running, world: World) -> None:
    world.clock.moved += timedelta(days=366)
    with pytest.raises(SymphonyError) as error:
        running.control("alice").get("/v1/fleet")
    assert error.value.code == "CERTIFICATE_EXPIRED"


def test_the_custodians_word_is_published_once_and_only_forward(running: Running, world: World) -> None:
    control = running.control("custodian-1")
    before = len(running.logged)
    publish_trust(control, [world.root], world.trust["targets.json"])
    assert len(running.logged) == before
    second_root = world.ceremony.root(world.clock.now(), version=2)
    second = world.ceremony.targets(world.clock.now(), version=2)
    publish_trust(control, [world.root, second_root], second)
    for roots, targets, code in (
        ([world.ceremony.root(world.clock.now() + timedelta(days=1), version=2)], second, "RELEASE_FORKED"),
        ([], world.trust["targets.json"], "RELEASE_ROLLBACK"),
    ):
        with pytest.raises(SymphonyError) as error:
            publish_trust(control, roots, targets)
        assert error.value.code == code, error.value


def test_the_timestamp_is_signed_again_before_it_runs_out(running: Running, world: World) -> None:
    running.release()
    before = timestamp_of(running)
    asyncio.run_coroutine_threadsafe(trust_services.keep_fresh(running.context), running.loop).result(10)
    assert timestamp_of(running).version == before.version
    world.clock.moved += running.context.timestamp_lifetime / 2
    asyncio.run_coroutine_threadsafe(trust_services.keep_fresh(running.context), running.loop).result(10)
    after = timestamp_of(running)
    assert after.version > before.version
    assert after.expires > before.expires
    world.clock.moved += running.context.snapshot_lifetime
    asyncio.run_coroutine_threadsafe(trust_services.keep_fresh(running.context), running.loop).result(10)
    assert timestamp_of(running).snapshot_meta.version > after.snapshot_meta.version


def timestamp_of(running: Running) -> Any:
    """The signed part of the timestamp that is served."""
    context = running.service_context()
    connection = http.client.HTTPSConnection("127.0.0.1", int(running.url.rsplit(":", 1)[1]), context=context)
    connection.request("GET", "/tuf/metadata/timestamp.json")
    content = connection.getresponse().read()
    connection.close()
    return Metadata.from_bytes(content).signed


def raw(running: Running, method: str, path: str, headers: dict[str, str], who: str = "") -> tuple[int, Any, bytes]:
    """One request without our client."""
    from contracts.tls import client_context

    folder = running.world.folder / "officers" / (who or "bruno")
    context = client_context(folder / "client.pem", folder / "client-key.pem", running.ca)
    connection = http.client.HTTPSConnection("127.0.0.1", int(running.url.rsplit(":", 1)[1]), context=context)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body
