"""The command line as a user meets it: exit codes, one sentence and a next step, clean ends, stacks side by side."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from symphony.stack import prepare
from symphony.stack.layout import Layout
from tests.e2e.support import ROOT, Stack, guarded, left_behind, message, symphony, until

NOBODY = "00000000-0000-7000-8000-000000000000"


def assert_said(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The exit code, the words, and never a stack trace."""
    everything = done.stdout + done.stderr
    assert done.returncode == code, everything
    assert "Traceback" not in everything
    for word in words:
        assert word in everything


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",), ("submit",), ("submit", "/nowhere.xml"), ("submit", str(ROOT)), ("payment", "show"), ("payment", "show", "x"),
        ("release", "approve", "0", "--as", "alice"), ("release", "approve", "x", "--as", "alice"), ("release", "propose"),
        ("up", "--manifests", "/nowhere"), ("reconcile", "-o", "xml"), ("evidence", "export"), ("evidence", "verify"),
        ("release", "rollback", "--as", "alice", "--reason", "x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_usage_error_exits_2(arguments: tuple[str, ...]) -> None:
    assert_said(symphony(*arguments), 2, "Usage:")


def test_help_and_version() -> None:
    for arguments in (("--help",), ("-h",), ("release", "--help"), ("--version",), ("up", "--help")):
        assert_said(symphony(*arguments), 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",), ("fleet",), ("reconcile",), ("payment", "show", NOBODY), ("release", "list"), ("release", "show", "1"),
        ("release", "status"),
        ("release", "promote", "1", "--as", "alice"), ("submit", str(ROOT / "README.md")), ("evidence", "export", "--out", "/tmp/never"),
        ("down",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_that_is_no_stack(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert_said(symphony(*arguments, "--dir", str(tmp_path / "nothing")), 3, "is not a stack", "next: symphony up")


def test_what_is_not_there_is_one_sentence_and_a_next_step(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "one.xml"
    file.write_bytes(message())
    assert_said(stack.symphony("submit", str(file), "--participant", "nobody", code=None), 2, "no participant nobody", "kafue-bank")
    assert_said(stack.symphony("payment", "show", NOBODY, code=None), 1, f"no instruction {NOBODY}", "next:")
    assert_said(stack.symphony("release", "show", "99", code=None), 1, "NOT_FOUND", "next:")
    assert_said(stack.symphony("release", "status", "99", code=None), 1, "NOT_FOUND", "next:")
    assert_said(stack.symphony("release", "approve", "99", "--as", "alice", code=None), 1, "NOT_FOUND", "next:")
    assert_said(stack.symphony("release", "approve", "1", "--as", "mallory", code=None), 2, "no officer mallory", "alice")
    assert_said(stack.symphony("release", "list", "--env", "production", code=None), 3, "next:")
    assert_said(stack.symphony("submit", str(file), "--participant", "../officers/alice", code=None), 2, "next:")
    file.write_bytes(b"")
    assert_said(stack.symphony("submit", str(file), code=None), 1, "BODY_EMPTY", "next:")


def test_up_where_it_runs_already_is_no_second_stack(stack: Stack) -> None:
    assert_said(symphony("up", "--detach", "--dir", str(stack.folder)), 0, "runs already")
    assert_said(symphony("up", "--dir", str(stack.folder)), 3, "runs already", "symphony down")
    assert stack.submit().status == 202


def test_an_up_that_cannot_be_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with guarded(tmp_path / "a"):
        done = symphony("up", "--detach", "--dir", str(tmp_path / "a"), "--manifests", str(tmp_path / "empty"))
        assert_said(done, 3, "holds no service manifest", "next:")
        assert left_behind(tmp_path / "a") == []


def test_ctrl_c_ends_a_foreground_stack_clean(tmp_path: Path) -> None:
    """SIGINT to the whole foreground group, as a terminal sends it: exit 0 and no process left."""
    folder = tmp_path / "front"
    with guarded(folder):
        process = subprocess.Popen(
            [sys.executable, "-m", "symphony", "up", "--dir", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("ready after"):
                break
        home = prepare.database(Layout.open(folder)).home.data
        os.killpg(process.pid, signal.SIGINT)
        said += process.stdout.readlines()
        assert process.wait(30) == 0, said
        assert "down" in said[-1]
        assert "Traceback" not in "".join(said)
        assert left_behind(folder, home) == []
        for log in folder.rglob("*.log"):
            assert "Traceback" not in log.read_text(), log


@pytest.mark.parametrize("after_s", [0.05, 0.6, 2.5])
def test_ctrl_c_while_it_comes_up_leaves_nothing_and_the_next_start_works(tmp_path: Path, after_s: float) -> None:
    folder = tmp_path / "early"
    with guarded(folder):
        process = subprocess.Popen(
            [sys.executable, "-m", "symphony", "up", "--dir", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        until((folder / "stack.json").exists, what="the beginning")
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode in {0, 130}, said
        assert "Traceback" not in said
        home = prepare.database(Layout.open(folder)).home.data
        assert left_behind(folder, home) == []
        if after_s == 0.6:
            assert_said(symphony("up", "--detach", "--dir", str(folder), timeout_s=60), 0, "ready after")


def test_down_twice_up_again_and_two_side_by_side(stack: Stack, new_stack: Callable[..., Stack]) -> None:
    """Every start keeps keys, ports and payments; stacks know nothing of each other."""
    other = new_stack("another stack, für Lusaka")
    (instruction,) = other.submit(message("11.00")).accepted
    assert other.participant().wait(instruction)["state"] == "SUCCEEDED"
    assert stack.rows("sidecar", "SELECT 1 FROM symphony.payment_instructions WHERE instruction_id = %s", instruction) == []
    ports, root = other.layout.ports, other.layout.root.read_bytes()
    assert set(ports.values()).isdisjoint(stack.layout.ports.values())
    assert_said(other.symphony("down"), 0, "down")
    assert_said(other.symphony("down"), 0, "nothing runs there")
    assert_said(other.symphony("doctor", code=None), 1, "next: symphony up")
    assert_said(other.symphony("reconcile", code=None), 3, "does not answer", "next: symphony up")
    begun = time.monotonic()
    assert_said(symphony("up", "--detach", "--dir", str(other.folder)), 0, "ready after")
    assert time.monotonic() - begun < 120
    assert (Layout.open(other.folder).ports, other.layout.root.read_bytes()) == (ports, root)
    assert other.json("payment", "show", instruction)["state"] == "SUCCEEDED"
    (again,) = other.submit(message("12.00")).accepted
    assert other.participant().wait(again)["state"] == "SUCCEEDED"
    assert stack.submit().status == 202


def test_two_starts_at_once_make_one_stack(tmp_path: Path) -> None:
    folder = tmp_path / "raced"
    with guarded(folder), ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: symphony("up", "--detach", "--dir", str(folder)), range(2)))
        assert sorted(done.returncode for done in both) == [0, 3], both
        loser = next(done for done in both if done.returncode == 3)
        assert_said(loser, 3, "runs already, or is coming up", "next: symphony down")
        assert_said(symphony("doctor", "--dir", str(folder)), 0)
        assert_said(symphony("down", "--dir", str(folder)), 0)
        port = Layout.open(folder).ports["acceptor"]
        with socket.create_server(("127.0.0.1", port)):
            assert_said(symphony("up", "--detach", "--dir", str(folder)), 3, f"port {port} of the acceptor is taken", "next:")


def test_files_with_secrets_are_private(stack: Stack) -> None:
    assert stack.folder.stat().st_mode & 0o077 == 0
    for path in stack.folder.rglob("*"):
        if path.suffix == ".pem" or path.name in {"stack.json", "logins.json", "run.json", "writer.json", "shipper.json"}:
            assert path.stat().st_mode & 0o077 == 0, path
