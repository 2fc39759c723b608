"""``python -m controlplane`` as a process: serves over mTLS, ends cleanly, and says what is wrong with exit 3."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SymphonyError
from symphony.release.client import ControlPlane
from symphony.stack import credentials
from tests.releases.support import ENVIRONMENT, ROOT, World
from tests.support.database import Database

WAIT_S = 20


def config_of(world: World, database: Database) -> dict[str, Any]:
    """A usable configuration, with alice enrolled."""
    now = world.clock.now()
    ca = credentials.make_ca("test", now=now)
    (world.folder / "ca.pem").write_text(ca.pem)
    made = credentials.server_credential(ca, "controlplane", now=now)
    made.write(world.folder / "server.pem", world.folder / "server-key.pem")
    officer = credentials.officer_credential(ca, ENVIRONMENT, "alice", now=now)
    folder = world.folder / "officers" / "alice"
    officer.write(folder / "client.pem", folder / "client-key.pem")
    principals = world.folder / "principals.json"
    principals.write_text(json.dumps(world.ceremony.principals({"alice": officer.sha256}, {})))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return {
        "host": "127.0.0.1", "port": port, "certificate": str(world.folder / "server.pem"),
        "key": str(world.folder / "server-key.pem"), "ca": str(world.folder / "ca.pem"),
        "database_url": database.writer, "keys": str(world.folder / "controlplane" / "keys"),
        "log_origin": "test", "environment": ENVIRONMENT, "principals": str(principals),
    }  # fmt: skip


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait(WAIT_S)


def start(config: dict[str, Any], folder: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The process over a configuration file."""
    path = folder / "controlplane.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "controlplane", "--config", str(path)]
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stderr=errors, text=True)
    started.append(process)
    return process


def test_it_serves_its_officers_and_ends_cleanly(
    world: World, database: Database, started: list[subprocess.Popen[str]]
) -> None:
    config = config_of(world, database)
    process = start(config, world.folder, started)
    url, folder = f"https://127.0.0.1:{config['port']}", world.folder / "officers" / "alice"
    control = ControlPlane.for_folder(url, folder, Path(config["ca"]))
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            assert control.get("/health/ready") == {"status": "ready", "environment": ENVIRONMENT}
            break
        except SymphonyError:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
    assert control.releases(ENVIRONMENT) == []
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) in {0, -signal.SIGTERM}
    assert "Traceback" not in (world.folder / "stderr").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"database_url": None}, "missing ['database_url']"), ({"trust_everybody": True}, "unknown ['trust_everybody']"),
     ({"keys": "/nowhere"}, "no readable private key"), ({"certificate": "/nowhere"}, "I-KEY-03: /nowhere"),
     ({"principals": "/nowhere"}, "/nowhere"),
     ({"database_url": "postgresql://x@127.0.0.1:1/x"}, "the database does not answer")],
)  # fmt: skip
def test_it_refuses_to_start_with_a_sentence(
    world: World, database: Database, started: list[subprocess.Popen[str]], change: dict[str, Any], said: str
) -> None:
    config = {k: v for k, v in {**config_of(world, database), **change}.items() if v is not None}
    process = start(config, world.folder, started)
    assert process.wait(WAIT_S) == 3
    errors = (world.folder / "stderr").read_text()
    assert said in errors
    assert "Traceback" not in errors
