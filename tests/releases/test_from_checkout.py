"""A release from a plain git repository, by the very commands of the CI examples, without a stack and without our checkout (POL-01)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.keys import PROPOSAL_TYPE, public_hex
from contracts.release.envelope import open_envelope_bytes
from symphony.attest.attached import said
from symphony.cli import main
from symphony.release.checkout import Checkout
from symphony.release.review import downloaded
from symphony.stack.layout import ENVIRONMENT
from tests.releases.running import Running, control_plane
from tests.releases.support import XSD, World, environment_data
from tests.support.database import TestPostgres

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "release-in-ci"
MANIFEST = """schema: symphony.invariants_manifest/1
databases:
  app: {migrations: db}
invariants:
  - id: INV-018
    aliases: []
    pillar: operational-safety
    status: implemented
    severity: P0
    title: The policy's tests pass
    owners: [governance]
    sla_days: 7
    enforced_by: [policies]
    verified_by: ["rego:policies"]
    evidence: [evidence/INV-018.json]
  - id: INV-005
    aliases: []
    pillar: least-privilege
    status: implemented
    severity: P0
    title: PUBLIC has no rights
    owners: [governance]
    sla_days: 7
    enforced_by: [db]
    verified_by: ["sql:all-databases:app"]
    evidence: [evidence/INV-005.json]
"""
FRAME = (ROOT / "tests" / "policy" / "traps" / "frame.txt").read_text()
RULE = """
allowed(item) if item.instruction.kind == "transfer"
"""
TESTS = """package symphony.payments_test

import data.symphony.payments

test_a_transfer_is_allowed_and_nothing_else if {
	payments.decisions["0"].allow with input as {"items": [{"instruction": {"kind": "transfer"}}]}
	not payments.decisions["0"].allow with input as {"items": [{}]}
}
"""
CLOSED = """CREATE TABLE public.payment (id bigint PRIMARY KEY);
REVOKE ALL ON SCHEMA public FROM PUBLIC;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$;
"""
pytestmark = pytest.mark.usefixtures("opa")


def lines_of_github() -> list[str]:
    """Every symphony command of the example, in order."""
    jobs = yaml.safe_load((EXAMPLES / "github.yml").read_text())["jobs"]
    runs = [step["run"] for name in ("build", "gate", "propose") for step in jobs[name]["steps"] if "run" in step]
    return [run for run in runs if run.startswith("symphony ")]


def lines_of_gitlab() -> list[str]:
    """The same of the other."""
    jobs = yaml.safe_load((EXAMPLES / "gitlab.yml").read_text())
    return [line for name in ("build", "gate", "propose") for line in jobs[name]["script"] if line.startswith("symphony ")]


def git(folder: Path, *words: str) -> str:
    """Git in a repository, as nobody in particular."""
    who = ["-c", "user.name=CI", "-c", "user.email=ci@invalid"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, postgres: TestPostgres) -> Iterator[Running]:
    """A control plane with officers."""
    world, database = World(tmp_path_factory.mktemp("ci") / "stack"), postgres.new_database("controlplane")
    with control_plane(world, database.writer) as running:
        yield running
    postgres.drop(database)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh git repository with one commit."""
    folder = tmp_path_factory.mktemp("governance")
    for name in ("invariants", "db", "schemas"):
        (folder / name).mkdir()
    (folder / "policies" / "rule").mkdir(parents=True)
    (folder / "policies" / "rule" / "rule.rego").write_text(FRAME + RULE)
    (folder / "policies" / "rule" / "rule_test.rego").write_text(TESTS)
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    (folder / "environment.json").write_text(json.dumps(environment_data()))
    (folder / "invariants" / "INVARIANTS_MANIFEST.yml").write_text(MANIFEST)
    (folder / "invariants" / "checks").mkdir()
    (folder / "db" / "1.sql").write_text(CLOSED)
    (folder / "schemas" / "pacs.008.001.08.xsd").write_bytes(XSD)
    (folder / ".gitignore").write_text("release/\ngate.json\n")
    git(folder, "init", "-q", "-b", "main", ".")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "what is enforced")
    return folder


@pytest.fixture(scope="module")
def variables(office: Running, postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the CI's secrets and variables become, and a ``symphony`` on the PATH."""
    tools, folder = tmp_path_factory.mktemp("bin"), office.world.folder
    (tools / "symphony").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m symphony "$@"\n')
    (tools / "symphony").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYMPHONY_") or name in {"SYMPHONY_TOOLS", "SYMPHONY_OPA"}}
    return {
        **kept, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SYMPHONY_URL": office.url,
        "SYMPHONY_CA": str(office.ca), "SYMPHONY_ROOT": str(folder / "trust" / "1.root.json"),
        "SYMPHONY_OFFICER_FOLDER": str(folder / "officers" / "alice"), "SYMPHONY_BUILD_KEY": str(folder / "build" / "key.pem"),
        "GATE_KEY": str(folder / "gate" / "key.pem"), "SYMPHONY_SERVER_URL": postgres.cluster.admin_url(),
        "REASON": "a lower cap; $(touch hacked)", "TICKET": "CHG-7",
    }  # fmt: skip


def run(line: str, repository: Path, variables: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    """One step of a job."""
    return subprocess.run(["bash", "-e", "-c", line], cwd=repository, env={**variables, **more}, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def proposal_of(office: Running, number: int) -> dict[str, Any]:
    """The signed proposal as the control plane has it."""
    content = office.control("bruno").get_bytes(f"/v1/releases/{ENVIRONMENT}/{number}/targets/release.json")
    alice = office.world.officer("alice")
    payload, _ = open_envelope_bytes(content, PROPOSAL_TYPE, {alice.key_id: public_hex(alice.key)}, "RELEASE_PROPOSAL")
    found = json.loads(payload)
    assert isinstance(found, dict)
    return found


def test_both_examples_run_the_same_commands() -> None:
    assert lines_of_github() == lines_of_gitlab()
    assert len(lines_of_github()) == 4


@pytest.fixture
def ci(repository: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A command of the job in this process, which is quicker: (exit code, output, errors)."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repository)

    def ask(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(shlex.split(os.path.expandvars(line).removeprefix("symphony ")))
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


def test_the_examples_propose_a_release_that_two_officers_approve(
    office: Running, repository: Path, variables: dict[str, str], ci: Any
) -> None:
    *before, last = lines_of_github()
    for line in before:
        code, out, errors = ci(line)
        assert code == 0, (line, out, errors)
    done = run(last, repository, variables)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "release 1 is PROPOSED" in done.stdout
    assert "without uncommitted changes" in done.stdout
    proposal = proposal_of(office, 1)
    assert proposal["source"] == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False}
    assert (proposal["reason"], proposal["change_ticket"]) == (variables["REASON"], "CHG-7")
    shown = downloaded(office.control("bruno"), ENVIRONMENT, 1, office.world.root)
    assert f"built by urn:example:ci:release of commit {proposal['source']['commit']} (clean)" in said(
        office.control("bruno"), shown
    )[0]
    assert office.approved(1, "bruno", "chanda") == ["PROPOSED", "APPROVED"]


def test_what_is_not_in_order_is_refused_before_anything_is_sent(office: Running, ci: Any) -> None:
    propose = lines_of_github()[-1]
    before = len(office.control("bruno").releases(ENVIRONMENT))
    for line, code, says in (
        (propose.replace("--gate gate.json", ""), 2, "--from needs --gate"),
        (propose.replace("--from .", "--from db"), 2, "policies is no folder"),
        (propose.replace("--from .", "--from . --env production"), 1, "RELEASE_ENVIRONMENT"),
        (propose.replace("--from . ", ""), 2, "go with --from"),
        (propose.replace("gate.json", "environment.json"), 5, "RELEASE_GATE"),
        (propose.replace("--attested release/build", "--attested release"), 2, "release collect --attest"),
        (propose.replace("--attested release/build", "--sigstore-bundle gate.json"), 2, "goes with --attested"),
        ("symphony release collect --out again --builder urn:x:y", 2, "go with --attest"),
        ("symphony release collect --out again --attest --builder ci", 2, "a builder is a URI"),
    ):
        ended, out, errors = ci(line)
        assert (ended, says in errors) == (code, True), (line, out, errors)
    assert len(office.control("bruno").releases(ENVIRONMENT)) == before


def test_a_checkout_says_whether_it_is_the_commit_and_a_changed_file_needs_a_new_gate(repository: Path, ci: Any) -> None:
    here, head = Checkout(repository, ENVIRONMENT), git(repository, "rev-parse", "HEAD")
    (repository / "README").write_text("not of the release")
    assert here.source() == {"commit": head, "dirty": False}
    for path, content in (("policies/more.rego", "package more\n"), ("environment.json", "{}")):
        kept = (repository / path).read_text() if (repository / path).exists() else None
        (repository / path).write_text(content)
        assert here.source() == {"commit": head, "dirty": True}, path
        (repository / path).unlink() if kept is None else (repository / path).write_text(kept)
    manifest = repository / "invariants" / "INVARIANTS_MANIFEST.yml"
    manifest.write_text(MANIFEST.replace("sla_days: 7", "sla_days: 8"))
    code, _, errors = ci(lines_of_github()[-1])
    assert (code, "the gate result is about other bytes" in errors) == (5, True)
    shutil.rmtree(repository / ".git")
    assert here.source() == {"commit": None, "dirty": None}
