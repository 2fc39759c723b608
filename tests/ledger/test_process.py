"""The process: configuration that is refused, starting without a control plane, stopping, reporting."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.errors import CannotEvaluate
from contracts.runtime_invariants import Finding
from contracts.tls import server_context
from services.ledger import reporting
from services.ledger.config import Config, load
from services.ledger.reporting import FleetReporter
from services.ledger.server import Ledger
from tests.ledger.support import HandFollower, MovingClock, Sidecar, posting, release


def document(certificates, database_url="postgresql://x", **changes):
    certificate, key = certificates.issue("process", ExtendedKeyUsageOID.SERVER_AUTH)
    source = {"url": "https://127.0.0.1:1/tuf", "ca": str(certificates.ca), "certificate": str(certificate),
              "key": str(key), "root": str(certificates.ca), "folder": "held"}  # fmt: skip
    return {"host": "127.0.0.1", "port": 0, "certificate": str(certificate), "key": str(key),
            "ca": str(certificates.ca),
            "database_url": database_url, "environment": "sandbox", "service": "core-ledger", "release": source,
            "release_poll_ms": 200} | changes  # fmt: skip


def write(folder: Path, value) -> Path:
    path = folder / "ledger.json"
    path.write_text(json.dumps(value))
    return path


def test_a_configuration_is_read_and_relative_paths_are_from_its_folder(certificates, tmp_path):
    config = load(write(tmp_path, document(certificates, clients=["AB" * 32])))
    assert isinstance(config, Config)
    assert config.release.folder == tmp_path / "held"
    assert (config.service, config.release_poll_ms, config.clients) == ("core-ledger", 200, ("ab" * 32,))
    assert "postgresql" not in repr(config)


@pytest.mark.parametrize("changes", [
    {"permit_keys": []}, {"clock_skew_s": 60}, {"audience": "x"}, {"environment": "test"}, {"port": 70000},
    {"release_poll_ms": 1}, {"certificate": 5}, {"release": None}, {"release": {"url": "x"}},
    {"release": {"url": "u", "ca": "", "certificate": "", "key": "", "root": "", "folder": "", "insecure": True}},
])
def test_a_field_that_is_unknown_or_could_loosen_is_a_refusal_to_start(certificates, tmp_path, changes):
    with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
        load(write(tmp_path, document(certificates, **changes)))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"'])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
        load(path)


def start(path, root):
    return subprocess.Popen(
        [sys.executable, "-m", "services.ledger", "--config", str(path)], cwd=root, stderr=subprocess.PIPE, text=True
    )


def test_it_starts_alone_refuses_everything_and_stops_cleanly(database, certificates, connect, tmp_path, root):
    process = start(write(tmp_path, document(certificates, database.writer)), root)
    try:
        port = next(int(line.split()[-1]) for line in process.stderr if "listening on port" in line)
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        client, body = connect(port), posting()
        status, answer = client.post(body, Sidecar(MovingClock()).permit(body))
        assert (status, answer["reason_code"]) == (503, "NO_ACTIVE_RELEASE")
        assert client.request("GET", "/health/live")[0] == 200
        assert client.request("GET", "/health/ready")[0] == 503
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        drain.join(5)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_it_says_what_to_do_and_exits_3_when_it_cannot_start(certificates, tmp_path, root):
    path = write(tmp_path, document(certificates, ca="absent.pem"))
    process = start(path, root)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "CONFIGURATION" in said
    assert "next:" in said
    assert "Traceback" not in said


@pytest.fixture
def control_plane(certificates):
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    issued = certificates.issue("control-plane", ExtendedKeyUsageOID.SERVER_AUTH)
    server.socket = server_context(*issued, certificates.ca).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], received
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_status_is_reported_when_it_changes_and_at_an_interval(control_plane, client_tls, monkeypatch):
    port, received = control_plane
    clock = MovingClock()
    held = release([Sidecar(clock)], 3, clock, lease_expires_at=clock.now() + timedelta(seconds=60))
    reporter = FleetReporter(
        f"https://127.0.0.1:{port}/tuf", client_tls, environment="sandbox", service="core-ledger", clock=clock
    )

    async def steps():
        await reporter(None, None)
        await reporter(held, None)
        await reporter(held, None)
        await reporter(held, (4, "RELEASE_SIGNATURE"))
        monkeypatch.setattr(reporting, "REPORT_INTERVAL_S", 0.0)
        clock.advance(61)
        await reporter(held, None)

    asyncio.run(steps())
    assert {path for path, _ in received} == {"/v1/fleet/status"}
    active = {"number": 3, "metadata_digest": f"{3:064x}"}
    said = [(body["active"], body["refused"], body["ready"]) for _, body in received]
    assert said == [
        (None, None, False), (active, None, True), (active, {"number": 4, "code": "RELEASE_SIGNATURE", "permanent": True}, True),
        (active, None, False),
    ]  # fmt: skip
    assert set(received[0][1]) == {
        "environment", "service", "instance", "active", "refused", "ready", "mode", "delivered", "lease_expires_at",
    }  # fmt: skip


def test_a_halted_ledger_reports_itself_halted_and_not_ready(control_plane, client_tls, certificates, tmp_path):
    """PIL-05: the fleet shows what is so; the ledger itself gives its reporter the word."""
    port, received = control_plane
    clock = MovingClock()
    held = release([Sidecar(clock)], clock=clock)
    reporter = FleetReporter(
        f"https://127.0.0.1:{port}", client_tls, environment="sandbox", service="core-ledger", clock=clock
    )
    settings = load(write(tmp_path, document(certificates)))
    ledger = Ledger(settings, follower=HandFollower(held), clock=clock, report=reporter)
    for broken in ((), (Finding("INV-029", "P0", ("ledger.lines",)),)):
        ledger.watch.broken = broken
        asyncio.run(reporter(held, None))
    assert [(body["ready"], body["mode"]) for _, body in received] == [(True, "enforced"), (False, "halted")]


def test_a_control_plane_that_is_down_stops_nothing(client_tls):
    clock = MovingClock()
    reporter = FleetReporter("https://127.0.0.1:1", client_tls, environment="sandbox", service="s", clock=clock)
    asyncio.run(reporter(None, None))
    with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
        FleetReporter("http://127.0.0.1:1", client_tls, environment="sandbox", service="s", clock=clock)
