"""``symphony invariants drift`` (MIG-10, MIG-11, INV-004, NEG-15): what is drift, what is not, and that somebody hears of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.errors import CannotEvaluate
from symphony.commands import drift as command
from symphony.invariants import drift, notify, proofs
from symphony.stack.gate import fresh_urls
from tests.invariants.support import run
from tests.support.database import TestPostgres

MARK = "DELETE FROM symphony_migrations.applied WHERE version = (SELECT max(version) FROM symphony_migrations.applied)"


@pytest.fixture(scope="module")
def reference() -> Iterator[Mapping[str, str]]:
    with fresh_urls() as urls:
        yield urls


@pytest.fixture
def known(reference: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The command compares with one cluster for the whole file: it makes one a run, which takes seconds."""

    def judged(watched: command.Watched) -> list[drift.Verdict]:
        return [drift.judge(kind, url, reference[kind]) for kind, url in watched.urls.items()]

    monkeypatch.setattr(command, "_judged", judged)
    return reference


class Bell:
    """A loopback server that keeps what it is sent, and answers the statuses that it is told, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.heard: list[Any] = []
        bell, left = self, list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bell.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> Bell:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def asked(*words: str) -> Result:
    return CliRunner().invoke(command.command, words)


@pytest.mark.parametrize("kind", ["controlplane", "sidecar", "ledger"])
def test_equal_databases_of_different_clusters_have_one_hash(
    postgres: TestPostgres, reference: Mapping[str, str], kind: str
) -> None:
    """EVD-05: names of databases and clusters, partitions and the order of grants do not count."""
    verdict = drift.judge(kind, postgres.new_database(kind).admin, reference[kind])
    assert (verdict.outcome, verdict.differences) == (drift.SAME, [])
    assert verdict.sha256 == verdict.expected_sha256
    assert verdict.lines > 20


@pytest.mark.parametrize(
    ("kind", "statement", "word"),
    [
        ("sidecar", "ALTER TABLE symphony.seen_jti ADD COLUMN note text", "column symphony.seen_jti.note"),
        ("sidecar", "GRANT SELECT ON symphony.seen_jti TO symphony_reader", "grant symphony.seen_jti SELECT"),
        ("ledger", "ALTER TABLE ledger.lines OWNER TO symphony_ledger", "owner ledger.lines symphony_ledger"),
        ("ledger", "ALTER TABLE ledger.refusals DISABLE TRIGGER trg_refusals_append_only", "enabled D"),
        ("sidecar", "DROP INDEX symphony.ix_pending_due", "gone: index"),
        ("ledger", "CREATE SCHEMA elsewhere", "owner schema elsewhere"),
        ("ledger", "ALTER TABLE ledger.lines ENABLE ROW LEVEL SECURITY", "row security"),
        ("ledger", "CREATE FUNCTION ledger.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ledger.e()", "event trigger e"),
        ("controlplane", "ALTER TABLE symphony.tuf_targets ALTER COLUMN stored_at DROP NOT NULL", "column symphony.tuf_targets.stored_at"),
    ],
)  # fmt: skip
def test_what_is_altered_outside_migrations_is_drift_neg_15(
    postgres: TestPostgres, reference: Mapping[str, str], kind: str, statement: str, word: str
) -> None:
    database = postgres.new_database(kind)
    run(database.admin, statement)
    verdict = drift.judge(kind, database.admin, reference[kind])
    assert verdict.outcome == drift.DRIFT
    assert verdict.version == verdict.expected_version
    assert verdict.sha256 != verdict.expected_sha256
    assert word in "\n".join(verdict.differences)


def test_another_version_is_no_drift_mig_10(postgres: TestPostgres, known: Mapping[str, str]) -> None:
    database = postgres.new_database("ledger")
    run(database.admin, MARK)
    answer = asked("--database-url", f"ledger={database.admin}", "-o", "json")
    said = json.loads(answer.output)["databases"][0]
    assert (answer.exit_code, said["outcome"], said["version"]) == (3, drift.MISMATCH, said["expected_version"] - 1)
    assert drift.judge("ledger", known["ledger"], database.admin).outcome == drift.MISMATCH, "a newer one neither"


@pytest.mark.usefixtures("known")
def test_a_failure_leaves_a_proof_and_is_heard_mig_11(postgres: TestPostgres, tmp_path: Path) -> None:
    database = postgres.new_database("ledger")
    url, newest = f"ledger={database.admin}", len(list((postgres.migrations / "ledger").glob("*.sql")))
    with Bell(500) as bell:
        assert asked("--database-url", url, "--notify", bell.url, "--evidence", str(tmp_path)).exit_code == 0
        assert (bell.heard, list(tmp_path.iterdir())) == ([], []), "nothing is wrong, nobody is woken"
        run(database.admin, "ALTER TABLE ledger.accounts ADD COLUMN note text")
        answer = asked("--database-url", url, "--notify", bell.url, "--evidence", str(tmp_path))
    assert answer.exit_code == 1, answer.output
    assert len(bell.heard) == 2, "the first try was answered 500"
    said = bell.heard[1]["databases"][0]
    assert (said["outcome"], said["version"], said["expected_version"]) == ("drift", newest, newest)
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", bell.heard[1]["commit"])
    assert len({said["sha256"], said["expected_sha256"]}) == 2
    for word in (
        f"version {newest}, expected {newest}",
        said["sha256"],
        said["expected_sha256"],
        bell.heard[1]["commit"],
        "accounts.note",
    ):
        assert word in answer.output
    proof = json.loads(next(tmp_path.glob("*/INV-004.json")).read_text())
    proofs.validate(proof)
    assert (proof["result"], proof["db_schema_sha256"]) == ("FAIL", {"ledger": said["sha256"]})
    assert "note" in str(proof["proof"]["findings"])


@pytest.mark.usefixtures("known")
def test_nobody_notified_is_an_error_too_mig_11(postgres: TestPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PAUSE_S", 0.0)
    monkeypatch.setattr(command, "notify", lambda target, document: notify.notify(target, document, pause_s=0.0))
    database = postgres.new_database("ledger")
    run(database.admin, "CREATE SCHEMA elsewhere")
    with Bell(*[503] * 9) as bell:
        answer = asked("--database-url", f"ledger={database.admin}", "--notify", bell.url)
    assert (answer.exit_code, len(bell.heard)) == (3, notify.TRIES)
    assert "nobody was notified at 127.0.0.1: it answers 503" in answer.output


@pytest.mark.parametrize("target", ["false", "/nonexistent/program", "", "'", "http://127.0.0.1:1/"])
def test_a_target_that_does_not_take_it(target: str) -> None:
    with pytest.raises(CannotEvaluate, match="nobody was notified"):
        notify.notify(target, {}, pause_s=0.0)


def test_a_command_gets_it_on_its_input(tmp_path: Path) -> None:
    notify.notify(f"tee {tmp_path / 'heard'}", {"exit": 1})
    assert json.loads((tmp_path / "heard").read_text()) == {"exit": 1}


@pytest.mark.usefixtures("known")
def test_a_database_that_does_not_answer_could_not_be_evaluated(tmp_path: Path) -> None:
    answer = asked("--database-url", "ledger=postgresql://x:secretword@127.0.0.1:1/none", "--evidence", str(tmp_path))
    assert (answer.exit_code, drift.ERROR in answer.output) == (3, True)
    assert "no proof was written" in answer.output
    assert "secretword" not in answer.output


def test_a_reference_that_cannot_be_made_is_said_and_heard_mig_14(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise CannotEvaluate("MIGRATION_FAILED", "no space left")

    monkeypatch.setattr("symphony.stack.gate.fresh_urls", broken)
    with Bell() as bell:
        answer = asked("--database-url", "ledger=postgresql://127.0.0.1:1/x", "--notify", bell.url)
    assert (answer.exit_code, bell.heard[0]["databases"][0]["outcome"]) == (3, drift.ERROR)
    assert "no space left" in answer.output


@pytest.mark.usefixtures("known")
def test_a_database_that_is_not_ours_could_not_be_evaluated(postgres: TestPostgres) -> None:
    assert asked("--database-url", f"ledger={postgres.empty_database('ledger').admin}").exit_code == 3


@pytest.mark.parametrize(
    "words",
    [(), ("--dir", ".", "--database-url", "ledger=x"), ("--database-url", "ledger"), ("--database-url", "other=x"),
     ("--database-url", "ledger=x", "--database-url", "ledger=y"), ("--database-url", "ledger=x", "--every", "soon"),
     ("--database-url", "ledger=x", "--every", "0m")],
)  # fmt: skip
def test_misuse_is_exit_2(words: tuple[str, ...]) -> None:
    assert asked(*words).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_watch_runs_again_and_again_and_ends_cleanly_mig_11(
    postgres: TestPostgres, root: Path, number: signal.Signals
) -> None:
    """The real program: it makes its reference itself, each time, and leaves none behind."""
    database = postgres.new_database("ledger")
    words = [
        sys.executable,
        "-u",
        "-m",
        "symphony",
        "invariants",
        "drift",
        "--database-url",
        f"ledger={database.admin}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [*words, "--every", "1s"], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        try:
            seen = [watch.stdout.readline() for _ in range(10)]
            watch.send_signal(number)
            rest, _ = watch.communicate(timeout=30)
        finally:
            watch.kill()  # no effect on one that has ended; one that hangs is no reason to hang, too
    assert watch.returncode == 0
    assert seen.count("ledger: same\n") >= 2, seen
    assert "Traceback" not in rest


def test_a_signal_at_any_moment_of_the_pause_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that the handler takes while the pause holds it would hang for ever, once in a thousand."""
    monkeypatch.setattr(command, "STOP_LOOK_S", 0.001)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        for n in range(300):
            stop = command.Stop()
            signal.signal(signal.SIGUSR1, stop.ask)
            sender = threading.Timer(1e-6 * (1 + n % 100), os.kill, (os.getpid(), signal.SIGUSR1))
            sender.start()
            stop.wait(30)
            sender.join()
            assert stop.asked
    finally:
        signal.signal(signal.SIGUSR1, before)
