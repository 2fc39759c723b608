"""A ledger whose own invariants are broken: refused at start; halted while running: no posting, reads stay (PIL-05)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.ledger.support import HandFollower, MovingClock, Running, Sidecar, posting, release, sealing
from tests.ledger.test_process import document, write

BREAK = "ALTER TABLE ledger.lines DISABLE TRIGGER trg_lines_not_truncated"
MEND = "ALTER TABLE ledger.lines ENABLE TRIGGER trg_lines_not_truncated"


def run(database, statement):
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def broken(database):
    run(database, BREAK)
    yield database
    run(database, MEND)


def started(path, root):
    command = [sys.executable, "-m", "services.ledger", "--config", str(path)]
    return subprocess.run(command, cwd=root, stderr=subprocess.PIPE, text=True, timeout=30)


def test_a_broken_database_is_a_refusal_to_start(broken, certificates, tmp_path, root):
    ended = started(write(tmp_path, document(certificates, broken.writer)), root)
    assert ended.returncode == 3
    assert "ledger: RELEASE_INVARIANT: does not hold here: INV-029: ledger.lines" in ended.stderr
    assert "next: mend" in ended.stderr


def test_a_key_that_others_may_read_is_a_refusal_to_start(database, certificates, tmp_path, root):
    config = document(certificates, database.writer)
    (tmp_path / "key.pem").write_bytes(Path(config["key"]).read_bytes())
    (tmp_path / "key.pem").chmod(0o644)
    ended = started(write(tmp_path, config | {"key": "key.pem"}), root)
    assert ended.returncode == 3
    assert "I-KEY-01" in ended.stderr


def until(client, status):
    deadline = time.monotonic() + 10
    while (answer := client.request("GET", "/health/ready"))[0] != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def test_while_halted_nothing_is_posted_and_reads_stay(database, certificates, connect):
    clock = MovingClock()
    sidecar = Sidecar(clock)
    follower = HandFollower(release([sidecar], clock=clock))
    with Running(database.writer, certificates, follower, clock, runtime_check_interval_s=0.1) as running:
        client, body = connect(running.port), posting()
        until(client, 200)
        run(database, BREAK)
        try:
            assert "INV-029" in str(until(client, 503))
            answer = client.post(body, sidecar.permit(body))
            assert (answer[0], "SERVICE_HALTED" in str(answer)) == (503, True)
            assert client.request("GET", "/v1/postings")[0] == 200
        finally:
            run(database, MEND)
        until(client, 200)
        assert client.post(body, sidecar.permit(body))[0] == 201


def test_a_halted_ledger_tells_what_it_posted_and_posts_and_seals_nothing(database, certificates, connect):
    """PIL-05: "halted" says that surely nothing was posted, so a repeat is answered; the books do not change."""
    clock = MovingClock()
    sidecar = Sidecar(clock)
    follower = HandFollower(release([sidecar], clock=clock))
    with Running(database.writer, certificates, follower, clock, runtime_check_interval_s=0.1) as running:
        client, instruction = connect(running.port), str(uuid4())
        made, other, fresh, seal = posting(instruction), posting(instruction, amount_minor=1251), posting(), sealing(instruction)
        until(client, 200)
        assert client.post(made, sidecar.permit(made))[0] == 201
        books = client.request("GET", "/v1/accounts")
        run(database, BREAK)
        try:
            until(client, 503)
            status, told = client.post(made, sidecar.permit(made, attempt=2))
            assert (status, told["repeated"], told["instruction_id"]) == (200, True, instruction)
            assert client.post(other, sidecar.permit(other, attempt=3))[1]["reason_code"] == "POSTING_CONFLICT"
            assert client.post(fresh, sidecar.permit(fresh))[1]["reason_code"] == "SERVICE_HALTED"
            assert client.post(seal, sidecar.permit(seal, attempt=4))[1]["reason_code"] == "SERVICE_HALTED"
            assert client.request("GET", "/v1/accounts") == books
        finally:
            run(database, MEND)
        until(client, 200)
        assert client.post(fresh, sidecar.permit(fresh))[0] == 201
