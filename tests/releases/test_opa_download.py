"""A real ``opa run`` fetches the active bundle from the control plane over mTLS, verifies it and activates it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.release.ceremony import build_key_id, public_pem
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE

WAIT_S = 20


def configuration(running: Running, public_key_pem: str) -> dict[str, Any]:
    """OPA's own configuration: our address, a client certificate, the build key; nothing else of ours."""
    folder = running.world.folder / "services" / SERVICE
    key_id = build_key_id(running.world.ceremony.build)
    tls = {"cert": str(folder / "client.pem"), "private_key": str(folder / "client-key.pem")}
    return {
        "services": [{
            "name": "symphony", "url": running.url, "credentials": {"client_tls": tls},
            "tls": {"ca_cert": str(running.ca)},
        }],
        "keys": {key_id: {"algorithm": "ES256", "key": public_key_pem}},
        "bundles": {"payments": {
            "service": "symphony", "resource": f"bundles/{ENVIRONMENT}/policy.tar.gz",
            "signing": {"keyid": key_id, "scope": "symphony"},
            "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1},
        }},
    }  # fmt: skip


@pytest.fixture
def opa_server(opa: Path, running: Running) -> Iterator[Any]:
    """Starts ``opa run`` over a configuration; ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(public_key_pem: str) -> str:
        path = running.world.folder / "opa.json"
        path.write_text(json.dumps(configuration(running, public_key_pem)))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [str(opa), "run", "--server", "--addr", address, "--skip-version-check", "-c", str(path)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return f"http://{address}"

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def is_activated(url: str, wait_s: float) -> bool:
    """Whether every bundle is activated within the time."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health?bundles", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def test_a_stock_opa_activates_what_the_officers_promoted(running: Running, opa_server: Any) -> None:
    running.release()
    url = opa_server(public_pem(running.world.ceremony.build))
    assert is_activated(url, WAIT_S)
    question = urllib.request.Request(
        f"{url}/v1/data/symphony/payments/decisions", b'{"input": {"items": []}}', {"content-type": "application/json"}
    )
    with urllib.request.urlopen(question, timeout=5) as answer:
        assert json.loads(answer.read())["result"] == {}


def test_a_stock_opa_refuses_a_bundle_by_another_key(running: Running, opa_server: Any) -> None:
    from symphony.stack.credentials import new_key

    running.release()
    assert not is_activated(opa_server(public_pem(new_key())), 4)
