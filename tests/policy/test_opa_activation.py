"""A stock OPA takes our bundle with its signature verified, answers as the Wasm does, and refuses a tampered one."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contracts import opa_bundle
from contracts.bundle_archive import pack, unpack
from contracts.canonical import sha256_hex
from symphony.policy_build import rego_digest, rego_files
from tests.policy.support import decision_input, engine, environment
from tests.policy.test_opa_bundle import pem

KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
KEY_ID = sha256_hex(b"the build key of this test")
WAIT_S = 15


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return opa_bundle.build(rego_files(), rego_digest(), KEY, KEY_ID)


@pytest.fixture
def running():
    """Starts ``opa run --server``; ends what it started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(opa: Path, *arguments: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [str(opa), "run", "--server", "--addr", address, "--skip-version-check", "--log-level", "error"]
        started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return address

    start.started = started  # type: ignore[attr-defined]
    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def fetched(address: str, path: str, body: object = None) -> dict | None:
    """The JSON answer, or ``None`` while there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, method="PUT" if "/environment" in path else None)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or b"{}")
    except (urllib.error.URLError, OSError):
        return None


def wait_for(address: str, path: str) -> dict:
    for _ in range(WAIT_S * 10):
        answer = fetched(address, path)
        if answer is not None:
            return answer
        time.sleep(0.1)
    pytest.fail(f"opa gave no answer at {path}")


def configuration(folder: Path, bundle: bytes, key: ec.EllipticCurvePublicKey, scope: str = "symphony") -> list[str]:
    """A configuration that loads the bundle from a file with its signature verified."""
    (folder / "policy.tar.gz").write_bytes(bundle)
    config = {
        "bundles": {"symphony": {
            "resource": f"file://{folder / 'policy.tar.gz'}", "signing": {"keyid": KEY_ID, "scope": scope},
        }},
        "keys": {KEY_ID: {"algorithm": "ES256", "key": pem(key)}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return ["--config-file", str(folder / "config.json")]


def test_opa_activates_the_bundle_and_answers_as_the_wasm_does(opa, running, bundle, tmp_path):
    address = running(opa, *configuration(tmp_path, bundle, KEY.public_key()))
    wait_for(address, "/health?bundles")
    assert fetched(address, "/v1/data/environment", environment()) is not None
    items = [decision_input(), decision_input(amount_minor=2**53 - 1), decision_input("nobody")]
    answer = fetched(address, "/v1/data/symphony/payments/decisions", {"input": {"items": items}})
    expected = engine().evaluate(items, deadline_ms=1000)
    assert answer is not None
    assert [tuple(answer["result"][str(i)]["reasons"]) for i in range(3)] == [one.reasons for one in expected]
    manifest = fetched(address, "/v1/data/system/bundles/symphony/manifest")
    assert manifest is not None
    assert manifest["result"]["revision"] == rego_digest()


def tampered(bundle: bytes) -> bytes:
    files = unpack(bundle)
    name = "payments/caps.rego"
    return pack({**files, name: files[name].replace(b"amount_minor <= cap", b"amount_minor >= cap")})


@pytest.mark.parametrize("what", ["a tampered file", "another key", "another scope"])
def test_opa_does_not_activate(opa, running, bundle, tmp_path, what):
    """The same configuration refuses what does not verify: so the activation above had verified."""
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key() if what == "another key" else KEY.public_key()
    held = tampered(bundle) if what == "a tampered file" else bundle
    scope = "other" if what == "another scope" else "symphony"
    address = running(opa, *configuration(tmp_path, held, key, scope))
    wait_for(address, "/health")
    time.sleep(1)
    assert fetched(address, "/health?bundles") is None
    assert fetched(address, "/v1/data/symphony/payments/checks") == {}


def test_opa_run_with_a_bundle_file_verifies_and_ends_where_it_does_not(opa, running, bundle, tmp_path):
    (tmp_path / "pub.pem").write_text(pem(KEY.public_key()))
    arguments = ["--verification-key", str(tmp_path / "pub.pem"), "--verification-key-id", KEY_ID,
                 "--signing-alg", "ES256", "--scope", "symphony"]  # fmt: skip
    (tmp_path / "good.tar.gz").write_bytes(bundle)
    address = running(opa, "--bundle", str(tmp_path / "good.tar.gz"), *arguments)
    wait_for(address, "/health")
    checks = fetched(address, "/v1/data/symphony/payments/checks")
    assert checks is not None
    assert "CAP_PAYMENT_VALUE" in checks["result"]
    (tmp_path / "bad.tar.gz").write_bytes(tampered(bundle))
    running(opa, "--bundle", str(tmp_path / "bad.tar.gz"), *arguments)
    assert running.started[-1].wait(WAIT_S) != 0
