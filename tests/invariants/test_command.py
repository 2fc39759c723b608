"""``symphony invariants``: what a user types, sees, and gets as an exit code."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import Refused
from contracts.keys import INTOTO_TYPE, key_id_of, new_private_key, public_hex
from contracts.release.contents import check_gate_statement
from contracts.release.envelope import open_envelope_bytes
from symphony.cli import cli
from symphony.commands.progress import Progress
from symphony.invariants import Manifest, check, release_form
from symphony.invariants.formats import FORMATS
from symphony.invariants.model import PILLARS
from tests.invariants.support import run
from tests.support.database import TestPostgres


@pytest.fixture
def ask(whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch):
    """``symphony invariants …`` on databases that are there already."""

    @contextmanager
    def ready() -> Iterator[Mapping[str, str]]:
        yield whole

    monkeypatch.setattr("symphony.stack.gate.fresh_urls", ready)
    monkeypatch.delenv("SYMPHONY_DIR", raising=False)
    return lambda *words: CliRunner().invoke(cli, ["invariants", *words])


@pytest.fixture
def release(tmp_path: Path, manifest: Manifest) -> Path:
    """A folder with the gated targets of a release of this checkout."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "policy.wasm").write_bytes(b"wasm")
    (folder / "policy.tar.gz").write_bytes(b"bundle")
    (folder / "invariants.json").write_bytes(canonical_bytes(release_form(manifest)))
    return folder


def test_it_makes_databases_of_its_own_and_leaves_proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMPHONY_DIR", raising=False)
    words = ["invariants", "check", "--only", "INV-014", "--only", "I-POL-03", "--evidence", str(tmp_path / "e")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "2 of 2 hold" in done.output
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        "EVIDENCE_INDEX.json",
        "INV-014.json",
        "INV-018.json",
    ]


def test_nothing_tested_is_exit_4_and_leaves_no_proof(ask, tmp_path: Path) -> None:
    done: Result = ask("check", "--only", "INV-019", "--evidence", str(tmp_path / "e"))
    assert done.exit_code == 4
    assert "nothing was tested" in done.output
    assert not (tmp_path / "e").exists()


def test_what_was_not_run_is_named_with_the_option_that_runs_it(ask) -> None:
    done: Result = ask("check", "--only", "INV-026", "--only", "INV-004", "--only", "INV-014")
    assert "1 of 1 hold; not run without --dir or --database-url: INV-004; not run without --with-tests: INV-026" in done.output


def test_an_unknown_id_is_usage_and_says_how_to_list(ask) -> None:
    done: Result = ask("check", "--only", "INV-999")
    assert done.exit_code == 2
    assert "no invariant INV-999; they are in: symphony invariants list" in done.output


def test_explain_and_list(ask) -> None:
    assert ask("explain", "I-OB-04").output.startswith("INV-014")
    assert "trg" not in ask("list").output
    assert {entry["status"] for entry in json.loads(ask("list", "-o", "json").output)} == {"implemented", "roadmap"}


def test_the_list_is_grouped_by_pillar_with_counts(ask, manifest: Manifest) -> None:
    lines = ask("list").output.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head.split(":")[0] for head in heads] == list(PILLARS)
    assert sum(int(head.split()[1]) for head in heads) == len(manifest.invariants) == len(lines) - len(PILLARS)
    assert lines.index(
        "  INV-001         implemented  P0 Applied migrations are immutable (checksum ledger)"
    ) > lines.index(heads[0])
    assert {entry["pillar"] for entry in json.loads(ask("list", "-o", "json").output)} == set(PILLARS)


def test_progress_is_for_a_terminal_only(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_pipe: Result = ask("check", "--only", "INV-014")
    assert on_a_pipe.stderr == ""
    progress, said = Progress(None), io.StringIO()
    said.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", said)
    with progress:
        progress.begun(3)
    assert "checking" in said.getvalue()
    assert "0/3" in said.getvalue()
    assert said.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_the_signed_result_is_one_that_a_release_takes(ask, release: Path, tmp_path: Path) -> None:
    """Rule 9 of contracts/release: in-toto, by the gate key, about these bytes."""
    key, out = new_private_key(tmp_path / "gate.pem"), tmp_path / "gate.json"
    words = ["check", "--sign", str(tmp_path / "gate.pem"), "--release", str(release), "--out", str(out)]
    done: Result = ask(*words, "--evidence", str(tmp_path / "e"))
    assert done.exit_code == 0, done.output
    gate_keys = {key_id_of(key.public_key()): public_hex(key)}
    payload, _ = open_envelope_bytes(out.read_bytes(), INTOTO_TYPE, gate_keys, "RELEASE_GATE")
    statement = json.loads(payload)
    check_gate_statement(statement, {path.name: sha256_hex(path.read_bytes()) for path in release.iterdir()})
    index = sha256_hex((tmp_path / "e" / "EVIDENCE_INDEX.json").read_bytes())
    assert statement["predicate"]["configuration"] == [{"name": "EVIDENCE_INDEX.json", "digest": {"sha256": index}}]
    assert "INV-014" in statement["predicate"]["passedTests"]
    assert "INV-026" not in statement["predicate"]["passedTests"]  # not run here, so not vouched for


@pytest.mark.parametrize("words", [["--only", "INV-014"], ["--severity", "P1"]])
def test_a_part_of_the_gate_is_never_signed(words: list[str], ask, release: Path, tmp_path: Path) -> None:
    new_private_key(tmp_path / "gate.pem")
    out = tmp_path / "gate.json"
    done: Result = ask(
        "check", *words, "--sign", str(tmp_path / "gate.pem"), "--release", str(release), "--out", str(out)
    )
    assert done.exit_code == 2
    assert not out.exists()


def test_a_release_of_another_manifest_is_not_signed(ask, release: Path, tmp_path: Path) -> None:
    """Its invariants are not the ones that were checked."""
    form = json.loads((release / "invariants.json").read_text())
    form["invariants"][-1]["status"] = "roadmap"
    (release / "invariants.json").write_bytes(canonical_bytes(form))
    new_private_key(tmp_path / "gate.pem")
    done: Result = ask(
        "check", "--sign", str(tmp_path / "gate.pem"), "--release", str(release), "--out", str(tmp_path / "gate.json")
    )
    assert isinstance(done.exception, Refused)
    assert not (tmp_path / "gate.json").exists()


def test_every_format_says_what_does_not_hold(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    broken = postgres.new_database("ledger").admin
    run(broken, "GRANT CREATE ON SCHEMA ledger TO symphony_ledger")
    gone = {"controlplane": "postgresql://nobody@127.0.0.1:1/none", "sidecar": whole["sidecar"], "ledger": broken}
    chosen = frozenset({"INV-006", "INV-014", "INV-018", "INV-026"})
    report = check(manifest, {**gone, "controlplane": whole["controlplane"]}, only=chosen - {"INV-018"})
    dark = check(manifest, gone, only=chosen)
    assert {entry["id"]: entry["result"] for entry in json.loads(FORMATS["json"](report))["results"]} == {
        "INV-006": "FAIL",
        "INV-014": "PASS",
    }
    suite = ET.fromstring(FORMATS["junit"](dark))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "0",
        "2",
        "1",
    )
    sarif = json.loads(FORMATS["sarif"](report))
    assert [found["ruleId"] for found in sarif["runs"][0]["results"]] == ["INV-006"]
    assert sarif["runs"][0]["invocations"][0]["executionSuccessful"] is True
    assert json.loads(FORMATS["sarif"](dark))["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert "| INV-006 | FAIL | P0 |" in FORMATS["markdown"](report)
