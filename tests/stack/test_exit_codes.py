"""Exit codes and plain sentences of the command line, as far as they need no running stack."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from contracts.errors import Refused
from symphony.cli import main
from symphony.stack.layout import Layout, started
from tests.e2e.support import message

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMPHONY_DIR", raising=False)
    monkeypatch.delenv("SYMPHONY_OFFICER", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack's folder with its people, of which nothing runs."""
    made = Layout.create(tmp_path / "stack")
    for name in ("officers/alice", "officers/bruno", "participants/kafue-bank", "participants/mosi-money"):
        made.part(name)
    yield made.folder
    made.sockets.rmdir()


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]):
    """Run a command: its exit code is the one that is given, the words are said, and it was no error of ours."""

    def run(code: int, arguments: list[str | Path], *words: str) -> str:
        got = main([str(one) for one in arguments])
        everything = "".join(capfd.readouterr())
        assert got == code, everything
        assert "an error of ours" not in everything
        for word in words:
            assert word in everything
        return everything

    return run


@pytest.mark.parametrize("name", ["mallory", "", ".", "..", "../participants/kafue-bank", "alice/"])
@pytest.mark.parametrize(
    "words",
    [
        ["release", "propose", "--reason", "x"], ["release", "approve", "1"], ["release", "promote", "1"], ["release", "list"],
        ["release", "rollback", "--to", "1", "--reason", "x"], ["release", "show", "1"], ["evidence", "export", "--out", "new"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_unknown_officer_is_usage(said, folder: Path, monkeypatch, words: list[str], name: str) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "environment.template.json").write_text("{}")
    said(2, [*words, "--dir", folder, "--as", name], f"no officer {name} here, but alice, bruno", "next: ")


@pytest.mark.parametrize("name", ["nobody", "..", "../officers/alice"])
def test_an_unknown_participant_is_usage(said, folder: Path, name: str) -> None:
    file = folder / "one.xml"
    file.write_bytes(message())
    words = ["submit", file, "--dir", folder, "--participant", name]
    said(2, words, f"no participant {name} here, but kafue-bank, mosi-money", "next: ")


def test_nobody_is_known_where_the_stack_never_came_up(said, folder: Path) -> None:
    for name in ("alice", "bruno"):
        (folder / "officers" / name).rmdir()
    said(3, ["release", "list", "--dir", folder], "has no officers yet", f"next: symphony up --dir {folder}")


def test_an_invariant_that_is_none_is_usage(said) -> None:
    said(2, ["invariants", "check", "--only", "NOPE"], "no invariant NOPE", "symphony invariants list")
    said(1, ["invariants", "explain", "NOPE"], "no invariant NOPE", "next: symphony invariants list")


def test_a_packet_is_not_written_over_anything(said, folder: Path, tmp_path: Path) -> None:
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    full.mkdir()
    (full / "x").touch()
    file.touch()
    link.symlink_to(tmp_path / "nowhere")
    for out in (full, file, link):
        said(2, ["evidence", "export", "--dir", folder, "--out", out], f"{out} is there already", "next: name a new folder")
    assert [path.name for path in full.iterdir()] == ["x"]


@pytest.mark.parametrize("out", ["/proc/x", "/proc/x/y", "/dev/null/x", "/" + "x" * 300])
def test_a_packet_where_none_can_be_is_usage(said, folder: Path, out: str) -> None:
    said(2, ["evidence", "export", "--dir", folder, "--out", out], f"no packet can be written to {out}: ", "next: choose")


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
@pytest.mark.parametrize("option", ["--reason", "--ticket"])
@pytest.mark.parametrize("words", [["propose"], ["rollback", "--to", "1"]], ids=" ".join)
def test_a_reason_says_something(said, folder: Path, words: list[str], option: str, blank: str) -> None:
    more = [] if option == "--reason" else ["--reason", "x"]
    said(2, ["release", *words, "--dir", folder, "--as", "alice", *more, option, blank], option, "must say something")


@pytest.mark.parametrize("place", ["/proc/foo", "/proc", "/dev/null", "/dev/null/x", "/" + "x" * 300])
@pytest.mark.parametrize("words", [["up"], ["up", "--detach"], ["demo"]], ids=" ".join)
def test_a_stack_where_none_can_be_is_usage(said, words: list[str], place: str) -> None:
    everything = said(2, [*words, "--dir", place], f"{place} cannot be a stack's folder: ", "next: choose a folder")
    assert "None" not in everything


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff", b"null", b'{"ports": {}, "sockets": "/tmp"}',
     b'{"ports": {"controlplane": 1, "ledger": 2, "acceptor": 70000}, "sockets": "/tmp"}',
     b'{"ports": {"controlplane": 1, "ledger": 2, "acceptor": 3}, "sockets": 4}'],
)  # fmt: skip
def test_a_damaged_stack_says_the_way_out(said, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stack.json"
    path.write_bytes(content)
    commands = [["up"], ["up", "--detach"], ["down"], ["doctor"], ["fleet"], ["reconcile"], ["payment", "show", NOBODY]]
    for words in commands:
        said(3, [*words, "--dir", tmp_path], f"{path} is damaged", f"next: rm {path}; symphony up --dir {tmp_path}")


def test_the_way_out_of_a_damaged_stack_that_runs(said, tmp_path: Path) -> None:
    """``symphony down`` cannot read it either, so the supervisor's number is in the sentence."""
    (tmp_path / "stack.json").write_text("{")
    (tmp_path / "run.json").write_text(json.dumps({"pid": os.getpid(), "started": started(os.getpid())}))
    said(3, ["down", "--dir", tmp_path], f"next: kill {os.getpid()}; rm {tmp_path}/stack.json; symphony up")


def test_asked_for_and_not_there_is_1(said, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def release(self, environment: str, number: int) -> None:
            raise Refused("NOT_FOUND", f"no release {number} in {environment}")

    monkeypatch.setattr("symphony.stack.release_one.control_plane", lambda _layout, _officer: Empty())
    monkeypatch.setattr("symphony.stack.timeline.timeline", lambda _layout, _identifier: None)
    said(1, ["release", "show", "99", "--dir", folder], "no release 99", "next: ")
    said(1, ["payment", "show", NOBODY, "--dir", folder], f"no instruction {NOBODY}", "next: check the id, or: symphony payment show last")


def test_the_table_is_in_the_help(said) -> None:
    said(0, ["--help"], "Exit codes:", "1  violated or refused, or asked for and not there", "2  usage", "3  could not tell")
    for words in (["release", "show"], ["payment", "show"]):
        said(0, [*words, "--help"], "Exit 1 when there is no such", "3 could not tell")
