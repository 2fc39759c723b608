"""Local configuration holds addresses, paths and credentials only; failpoints are for the sandbox; exit codes (design 12, 13)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate
from sidecar import __main__ as program
from sidecar import config, failpoints
from sidecar.store import Fenced

SHIPPER: dict[str, Any] = {
    "environment": "sandbox", "service": "s", "stream": "s-a", "database_url": "u", "evidence_key": "k", "control_plane_url": "c",
    "ca": "a", "certificate": "b", "key": "d",
}  # fmt: skip


def written(folder: Path, document: object) -> Path:
    """A configuration file."""
    path = folder / "c.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_configuration_is_read_with_its_defaults(tmp_path: Path) -> None:
    read = config.load(written(tmp_path, SHIPPER), config.ShipperConfig)
    assert (read.stream, read.batch_size_max, read.failpoints) == ("s-a", 500, None)


@pytest.mark.parametrize(
    "document",
    [
        {**SHIPPER, "token_lifetime_s_max": 9999},
        {name: value for name, value in SHIPPER.items() if name != "key"},
        {**SHIPPER, "batch_size_max": "many"},
        {**SHIPPER, "environment": "production"},
        {**SHIPPER, "environment": "staging"},
        "{",
        "[]",
        json.dumps(SHIPPER) + " " * 70_000,
    ],
    ids=["a field that could loosen", "one missing", "another type", "production", "staging", "no JSON", "no object", "too large"],
)
def test_anything_else_is_a_refusal_to_start(tmp_path: Path, document: object) -> None:
    """Design section 12, NEG-23: never a default in its place."""
    with pytest.raises(CannotEvaluate) as caught:
        config.load(written(tmp_path, document), config.ShipperConfig)
    assert caught.value.code == "CONFIGURATION"


def test_a_file_that_is_not_there_is_a_refusal_to_start_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sidecar", "writer", "--config", str(tmp_path / "none.json")])
    assert program.main() == program.COULD_NOT_START
    assert "next: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [ExceptionGroup("tasks", [Fenced("over")]), ExceptionGroup("tasks", [ExceptionGroup("more", [ValueError(), Fenced("over")])])],
    ids=["alone", "deeper"],
)
def test_a_fenced_writer_ends_with_its_own_code(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A supervisor must not start it again into a race of epochs."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(program, "_run", fails)
    monkeypatch.setattr(sys, "argv", ["sidecar", "writer", "--config", "x"])
    assert program.main() == program.FENCED


def test_a_writer_that_is_fenced_while_it_starts_ends_with_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at once: the second epoch is taken between the first one's begin and its first event."""

    def fails(*_: object) -> None:
        raise Fenced("over")

    monkeypatch.setattr(program, "_run", fails)
    monkeypatch.setattr(sys, "argv", ["sidecar", "writer", "--config", "x"])
    assert program.main() == program.FENCED


def test_any_other_error_of_a_task_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ExceptionGroup("tasks", [ValueError("a defect")])

    monkeypatch.setattr(program, "_run", fails)
    monkeypatch.setattr(sys, "argv", ["sidecar", "writer", "--config", "x"])
    with pytest.raises(ExceptionGroup):
        program.main()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm(None, environment="sandbox")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_failpoints_outside_the_sandbox_are_a_refusal_to_start(tmp_path: Path, environment: str) -> None:
    with pytest.raises(ValueError, match="sandbox"):
        failpoints.arm(tmp_path, environment=environment)
    failpoints.arm(None, environment=environment)


def test_a_point_without_its_file_does_nothing_and_an_unknown_one_is_a_defect(tmp_path: Path) -> None:
    failpoints.failpoint("no such point")  # disarmed: one comparison
    failpoints.arm(tmp_path, environment="sandbox")
    for name in failpoints.POINTS:
        failpoints.failpoint(name)
    with pytest.raises(AssertionError):
        failpoints.failpoint("no such point")


def test_a_point_with_its_file_stops_the_process_there_once(tmp_path: Path) -> None:
    """It does less, never more: nothing after the point has run when it is killed."""
    (tmp_path / "dispatch.sent").touch()
    code = (
        "import sys; from pathlib import Path; from sidecar import failpoints as f;"
        "f.arm(Path(sys.argv[1]), environment='sandbox'); f.failpoint('dispatch.sent'); Path(sys.argv[1], 'after').touch()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2]) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["dispatch.sent.hit"]
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == 0
    assert (tmp_path / "after").exists()
