"""Programs of a repository as checks: bounded in time and output, ended whole, fed nothing (MIG-14)."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from symphony.invariants import repository
from symphony.invariants.checks import CouldNotRun
from symphony.invariants.repository import end_all, run_command, run_pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def script(root: Path, body: str) -> str:
    path = root / "check.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return "./check.sh"


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_one_that_takes_too_long_ends_with_all_that_it_started(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "TIMEOUT_S", 0.5)
    with pytest.raises(CouldNotRun, match="not done after"):
        run_command(script(root, "sleep 60 & echo $! > child; wait"), root)
    child = int((root / "child").read_text())
    limit = time.monotonic() + 5
    while not gone(child) and time.monotonic() < limit:
        time.sleep(0.02)
    assert gone(child)


def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up(root: Path) -> None:
    began = time.monotonic()
    assert run_command(script(root, "sleep 60 & exit 0"), root).count == 1
    assert time.monotonic() - began < 30


def test_much_output_is_read_to_a_bound_and_nothing_is_read_from_us(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "OUTPUT_BYTES_MAX", 1000)
    seen = run_command(script(root, "cat; head -c 50000000 /dev/zero | tr '\\0' x; exit 1"), root)
    assert sum(map(len, seen.violations)) == 1000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_one_that_is_killed_could_not_be_evaluated(root: Path, number: signal.Signals) -> None:
    with pytest.raises(CouldNotRun, match=f"exit -{int(number)}"):
        run_command(script(root, f"kill -{int(number)} $$"), root)


def test_a_shells_options_for_pytest_leave_no_test_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "test_ours.py").write_text("def test_good(): pass\ndef test_bad(): assert False\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k good")
    assert run_pytest("test_ours.py", root).violations


def test_who_ends_the_run_does_not_wait(root: Path) -> None:
    line, caught = script(root, "sleep 60"), []

    def work() -> None:
        try:
            run_command(line, root)
        except CouldNotRun as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not repository._RUNNING:
        time.sleep(0.01)
    end_all()
    thread.join(10)
    assert not thread.is_alive()
    assert caught, "a program that was ended is no pass"
