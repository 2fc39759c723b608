"""A stock ``opa run --server`` on our releases: long poll, signature, status and decision logs, over mTLS (POL-06)."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import opa_bundle
from contracts.bundle_archive import pack, unpack
from contracts.canonical import digest_of, sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted
from controlplane.releases import bundles, services
from symphony import opa_config
from symphony.policy_build import rego_files
from symphony.release.ceremony import build_key_id
from tests.policy.support import decision_input, environment
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE, World, environment_data

WAIT_S = 30
ADDRESS = f"/bundles/{ENVIRONMENT}/policy.tar.gz"
QUESTION = {"items": [decision_input(), decision_input("nobody")]}


def client_of(running: Running) -> opa_config.Client:
    """The service's way to the control plane."""
    folder = running.world.folder / "services" / SERVICE
    return opa_config.Client(running.url, running.ca, folder / "client.pem", folder / "client-key.pem")


def release_again(running: Running, revision: str) -> None:
    """A release whose bundle has the same Rego and another revision, so other bytes."""
    build = running.world.ceremony.build
    files = running.world.files()
    files["policy.tar.gz"] = opa_bundle.build(rego_files(), revision, build, build_key_id(build))
    running.release(files=files)


@pytest.fixture
def opa_server(opa: Path, running: Running) -> Iterator[str]:
    """A stock OPA with the configuration that we print, and reports as often as it can."""
    made = opa_config.configuration(client_of(running), ENVIRONMENT, SERVICE, running.world.root)
    made["decision_logs"]["reporting"] |= {"min_delay_seconds": 1, "max_delay_seconds": 1}
    config, mask = running.world.folder / "opa.json", running.world.folder / "mask.rego"
    config.write_text(json.dumps(made))
    mask.write_text(opa_config.MASK)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(opa), "run", "--server", "--addr", address, "--skip-version-check", "-c", str(config), str(mask)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://{address}"
    process.terminate()
    process.wait(10)


def told(url: str, path: str, body: Any, method: str = "POST") -> Any:
    """The OPA's answer."""
    content = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/data/{path}", json.dumps(body).encode(), content, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read() or b"{}")


def verdicts(url: str) -> list[bool]:
    """The OPA's verdicts on ``QUESTION``."""
    result = told(url, "symphony/payments/decisions", {"input": QUESTION})["result"]
    return [result[index]["allow"] for index in ("0", "1")]


def until(what: Callable[[], Any]) -> Any:
    """What comes, once it is there."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come")


def server_with(running: Running, **wanted: str) -> Any:
    """The server in the officers' view that reports these fields."""
    found = running.control("alice").get("/v1/opa/status")
    for server in found["servers"]:
        if all(server[name] == value for name, value in wanted.items()):
            return {"desired_revision": found["desired_revision"], **server}
    return None


def test_a_stock_opa_follows_releases_and_refuses_a_tampered_one_and_all_of_it_is_reported(
    running: Running, opa_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_again(running, "first")
    server = until(lambda: server_with(running, active_revision="first"))
    assert (server["service"], server["environment"], server["desired_revision"]) == (SERVICE, ENVIRONMENT, "first")
    assert server["version"] == "1.22.2"

    told(opa_server, "environment", environment(), "PUT")
    assert verdicts(opa_server) == [True, False]
    listed = until(lambda: running.control("alice").get(f"/v1/opa/decisions/{SERVICE}")["decisions"])
    decision = listed[0]
    assert decision["input_sha256"] == digest_of(QUESTION)
    assert (decision["input_masked"], decision["allowed"], decision["denied"], decision["failed"]) == (
        True,
        1,
        1,
        False,
    )
    assert (decision["path"], decision["revision"]) == ("symphony/payments/decisions", "first")
    assert decision["instance"] == server["instance"]

    release_again(running, "second")
    until(lambda: server_with(running, active_revision="second"))

    tampered = tampered_bundle(running)

    async def digest(*_: Any) -> str:
        return sha256_hex(tampered)

    async def content(*_: Any) -> tuple[str, bytes]:
        return sha256_hex(tampered), tampered

    monkeypatch.setattr(services, "active_bundle_digest", digest)
    monkeypatch.setattr(services, "active_bundle", content)
    server = until(lambda: server_with(running, bundle_code="bundle_error"))
    assert server["active_revision"] == "second"
    assert "digest mismatch" in server["bundle_message"] or "verification" in server["bundle_message"]
    assert verdicts(opa_server) == [True, False]


def tampered_bundle(running: Running) -> bytes:
    """The active bundle with one rule more, its signature unchanged."""
    files = unpack(running.control("alice").get_bytes(ADDRESS))
    name = next(name for name in files if name.endswith(".rego"))
    return pack({**files, name: files[name] + b"\n# changed\n"})


def test_configuration_and_data_are_made_only_of_what_the_custodians_and_officers_signed(running: Running) -> None:
    made = opa_config.configuration(client_of(running), ENVIRONMENT, SERVICE, running.world.root)
    (key_id,) = made["keys"]
    assert key_id == build_key_id(running.world.ceremony.build)
    assert made["bundles"]["symphony"]["signing"] == {"keyid": key_id, "scope": "symphony"}
    assert "PRIVATE" not in json.dumps(made)
    stranger = World(running.world.folder / "stranger")
    folder, root = running.world.folder / "kept", running.world.root
    with pytest.raises(CannotEvaluate):
        opa_config.environment_data(client_of(running), ENVIRONMENT, SERVICE, root, folder)
    running.release(cap_minor=77)
    for _ in range(2):
        data = opa_config.environment_data(client_of(running), ENVIRONMENT, SERVICE, root, folder)
        assert data == environment_data(77)
    with pytest.raises(NotTrusted, match="RELEASE_"):
        opa_config.environment_data(client_of(running), ENVIRONMENT, SERVICE, stranger.root, folder.with_name("other"))
    with pytest.raises(NotTrusted, match="RELEASE_"):
        opa_config.configuration(client_of(running), ENVIRONMENT, SERVICE, stranger.root)


def got(running: Running, **headers: str) -> tuple[int, Any]:
    """One request for the bundle: status and headers."""
    port = int(running.url.rsplit(":", 1)[1])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=running.service_context(), timeout=WAIT_S)
    connection.request("GET", ADDRESS, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.headers


def test_a_long_poll_ends_with_the_next_release_and_a_304_after_its_time(running: Running) -> None:
    release_again(running, "first")
    status, headers = got(running, Prefer="modes=snapshot,delta")
    first = headers["etag"]
    assert (status, headers["content-type"]) == (200, "application/vnd.openpolicyagent.bundles")
    assert got(running, if_none_match=first)[0] == 304
    assert got(running, if_none_match=first, Prefer="modes=snapshot,delta;wait=1")[0] == 304

    promotion = threading.Timer(0.5, release_again, (running, "second"))
    promotion.start()
    status, headers = got(running, if_none_match=first, Prefer=f"modes=snapshot,delta;wait={WAIT_S}")
    promotion.join()
    assert status == 200
    assert headers["etag"] != first
    superseded = f"{headers['etag']}, {first}"
    assert got(running, if_none_match=superseded)[0] == 304
    assert got(running, if_none_match=f"{first}, {headers['etag']}")[0] == 200


def test_who_would_wait_beyond_the_bound_is_told_to_come_later(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_again(running, "first")
    etag = got(running)[1]["etag"]
    monkeypatch.setattr(bundles, "WAITERS_MAX", 0)
    assert got(running, if_none_match=etag, Prefer="wait=30")[0] == 503
    assert got(running, if_none_match=etag)[0] == 304


def test_the_mask_is_rego_that_opa_takes(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "mask.rego").write_text(opa_config.MASK)
    checked = subprocess.run([str(opa), "check", "--strict", str(tmp_path)], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
