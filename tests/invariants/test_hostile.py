"""Names and answers that want to look green: what a hostile database, check or manifest says is shown as what it is (MIG-14)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import psycopg
import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony.invariants import Manifest, checks, formats, load_manifest
from symphony.invariants import run as runs
from symphony.invariants.checks import OPTIONS, CouldNotRun, Seen, ask
from symphony.invariants.drift import differences
from symphony.invariants.run import Report, check
from tests.invariants.support import entry, manifest_file, one_entry

NAMES = ("x\x1b[2K\rPASS", "a\nPASS INV-001", "\x9b2K", "<!--", "a|b", "`", "\u202egnorw", "\x00")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, manifest: Manifest) -> Report:
    monkeypatch.setattr(runs, "_one", lambda *_words: Seen(9, NAMES))
    return check(manifest, {}, only=frozenset({"INV-005", "INV-014"}))


@pytest.mark.parametrize("form", ["text", *formats.FORMATS])
def test_a_name_cannot_wipe_a_line_or_break_a_report(report: Report, form: str) -> None:
    said = [line for one in report.results for line in formats.lines_of(one)]
    text = formats.FORMATS[form](report) if form != "text" else "\n".join(said)
    assert all(sign == "\n" or sign.isprintable() for sign in text)
    assert "FAIL" in text or "violat" in text or '"error"' in text or "failure" in text
    if form == "junit":
        assert ET.fromstring(text).get("failures") == "2"
    if form == "markdown":
        assert "<!--" not in text
        assert sum(line.startswith("| INV") for line in text.splitlines()) == 2


def test_a_line_of_drift_neither() -> None:
    assert all(line.isprintable() for line in differences((1, "a\x1b[2K\x85b"), (1, "c")))


def test_one_finding_is_not_endless(report: Report, monkeypatch: pytest.MonkeyPatch, manifest: Manifest) -> None:
    monkeypatch.setattr(runs, "_one", lambda *_words: Seen(1, ("x" * 1_000_000,)))
    assert len(check(manifest, {}, only=frozenset({"INV-005"})).results[0].detail[0]) < 3000


@pytest.mark.parametrize(
    "answer",
    [
        "true, ARRAY[]::text[]",
        "NULL::int, ARRAY[]::text[]",
        "1, NULL::text[]",
        "-1, ARRAY[]::text[]",
        "1.5, ARRAY[]::text[]",
    ],
)
def test_an_answer_that_is_none_is_no_pass(
    answer: str, whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = checks._block
    monkeypatch.setattr(
        checks, "_block", lambda f, file, name: f"SELECT {answer}" if file == "x" else real(f, file, name)
    )
    with psycopg.connect(whole["ledger"], options=OPTIONS) as connection, pytest.raises(CouldNotRun):
        ask(connection, "INV-901", "x", tmp_path)


def test_a_null_among_the_violations_is_one(
    whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = checks._block
    monkeypatch.setattr(
        checks, "_block", lambda f, file, name: "SELECT 1, ARRAY[NULL]::text[]" if file == "x" else real(f, file, name)
    )
    with psycopg.connect(whole["ledger"], options=OPTIONS) as connection:
        assert ask(connection, "INV-901", "x", tmp_path).violations


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (manifest_file(entry("INV-901"), entry("INV-901").replace("id: INV-901", 'id: "INV-901\\n"')), Refused),
        (manifest_file(entry("INV-901").replace("aliases: []", 'aliases: ["\\e[2K"]')), Refused),
        (manifest_file(entry("INV-901").replace("title: Some", 'title: "Some\\e[2K"  #')), Refused),
        (manifest_file(entry("INV-901"), more="databases: {1: {migrations: x}}\n"), CannotEvaluate),
    ],
)
def test_a_manifest_of_tricks_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    folder = one_entry(tmp_path)
    (folder / "INVARIANTS_MANIFEST.yml").write_text(text)
    with pytest.raises(error):
        load_manifest(folder)


def test_every_form_says_what_was_not_looked_at(report: Report) -> None:
    partly = Report(report.results, report.skipped, report.exceptions, ("ledger",))
    for form in formats.FORMATS.values():
        assert "ledger" in form(partly)
    assert json.loads(formats.as_sarif(partly))["runs"][0]["properties"]["not_looked_at"] == ["ledger"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing_and_is_no_pass(number: signal.Signals) -> None:
    """The real program, ended while it makes its databases."""
    place = Path(tempfile.mkdtemp(prefix="sy-"))  # short: a socket's path is bounded
    place.chmod(0o711)  # the server runs as nobody
    words = [sys.executable, "-m", "symphony", "invariants", "check", "--only", "INV-014"]
    run = subprocess.Popen(words, env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        limit = time.monotonic() + 60
        while not list(place.glob("symphony-pg-*/server/data/postmaster.pid")) and time.monotonic() < limit:
            time.sleep(0.05)
        run.send_signal(number)
        out, errors = run.communicate(timeout=60)
        assert (run.returncode, errors.strip().splitlines()[-1:]) == (130, [b"stopped"]), (out, errors)
        assert b"Traceback" not in errors
        assert list(place.iterdir()) == []
    finally:
        run.kill()
        run.wait()
        shutil.rmtree(place, ignore_errors=True)
