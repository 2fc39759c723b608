"""The setup script: a second run does nothing, a killed one is done again, and a failure says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import setup


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The script with its stamp in a folder of the test, and its steps only noted."""
    done: list[str] = []
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp")
    for name in ("make_venv", "install_lock", "install_schemas", "install_project"):
        monkeypatch.setattr(setup, name, lambda name=name: not done.append(name))
    return done


def test_a_second_run_only_compares(steps: list[str]) -> None:
    assert setup.main() == 0
    assert len(steps) == 4
    assert setup.main() == 0
    assert len(steps) == 4


def test_a_changed_lock_or_interpreter_is_installed_again(steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    setup.main()
    monkeypatch.setattr(setup, "digest", lambda: "another")
    assert setup.main() == 0
    assert len(steps) == 8


def test_a_step_that_fails_leaves_no_stamp(steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "install_schemas", lambda: False)
    assert setup.main() == 3
    assert steps == ["make_venv", "install_lock"]
    assert not setup.STAMP.exists()


def test_an_old_interpreter_is_told_what_to_do(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "PYTHON_MIN", (99, 0))
    assert setup.main() == 3
    assert "next: use 3.11 or newer" in capsys.readouterr().err
    assert steps == []


def test_pip_that_fails_shows_its_last_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    assert not setup.pip("nothing", 1, ["--no-index", "--target", str(tmp_path), "no-such-package-of-ours==0"])
    said = capsys.readouterr().err
    assert "No matching distribution" in said
    assert "next: is a package index reachable?" in said


def test_a_half_made_environment_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "VENV", tmp_path / "venv")
    monkeypatch.setattr(setup, "PYTHON", tmp_path / "venv" / "bin" / "python")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to("/nonexistent/python")
    assert setup.make_venv()
    assert subprocess.run([setup.PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0
