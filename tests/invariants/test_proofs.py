"""Proof files: anchored, complete, held to their schema before they are written (EVD-03 to EVD-07, NEG-16)."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony.invariants import Manifest, anchors, check, drift, load_manifest, proofs
from tests.invariants.support import run
from tests.support.database import TestPostgres

FIELDS = {
    "schema", "invariant_id", "result", "timestamp_utc", "environment", "commit_hash", "migration_version", "migrations_hash",
    "db_schema_sha256", "tool_versions", "gate_script_sha256", "proof", "details", "severity", "title",
    "exceptions",
}  # fmt: skip


@pytest.fixture
def proof(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> dict[str, Any]:
    report = check(manifest, whole, only=frozenset({"INV-014"}))
    (path, _) = proofs.write(report, tmp_path / "evidence", whole, load_manifest(), environment="sandbox")
    return dict(json.loads(path.read_text()))


def test_a_proof_has_every_field_and_its_index_its_digest(
    proof: dict[str, Any], tmp_path: Path, manifest: Manifest
) -> None:
    """EVD-03, EVD-04, EVD-05."""
    assert set(proof) == FIELDS
    assert proof["invariant_id"] == "INV-014"
    assert proof["result"] == "PASS"
    assert proof["migration_version"]["sidecar"] >= 7
    assert proof["proof"]["ran"] == ["sql:sidecar:sidecar"]
    assert proof["proof"]["not_run"] == ["pytest:tests/sidecar/test_db_append_only.py"]
    index = json.loads((tmp_path / "evidence" / "EVIDENCE_INDEX.json").read_text())
    digest = hashlib.sha256((tmp_path / "evidence" / "INV-014.json").read_bytes()).hexdigest()
    assert index["proofs"] == [{"invariant_id": "INV-014", "path": "INV-014.json", "sha256": digest, "result": "PASS"}]
    assert set(proof["tool_versions"]) == {
        "python", "psycopg", "symphony", "postgresql-controlplane", "postgresql-sidecar", "postgresql-ledger",
    }  # fmt: skip
    assert proof["tool_versions"]["postgresql-sidecar"].startswith("18")
    assert index["commit_hash"] == proof["commit_hash"]
    assert manifest.get("INV-014").evidence == ("evidence/INV-014.json",)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_proof_without_a_field_is_refused(name: str, proof: dict[str, Any]) -> None:
    """NEG-16: without ``invariant_id`` above all."""
    del proof[name]
    with pytest.raises(Refused, match=name):
        proofs.validate(proof)


@pytest.mark.parametrize(
    "change",
    [
        {"result": "OK"}, {"extra": 1}, {"migration_version": {}}, {"migration_version": {"sidecar": -1}}, {"commit_hash": ""},
        {"db_schema_sha256": {"sidecar": "0"}}, {"proof": {"ran": [], "not_run": [], "seen": 1, "findings": [], "not_looked_at": []}},
        {"proof": {"ran": ["x"], "not_run": [], "seen": 0, "findings": [], "not_looked_at": []}},
        {"proof": {"ran": ["x"], "not_run": [], "seen": 1, "findings": ["wrong"], "not_looked_at": []}}, {"result": "FAIL"},
        {"result": "EXCEPTED", "proof": {"ran": ["x"], "not_run": [], "seen": 1, "findings": ["wrong"], "not_looked_at": []}},
        {"tool_versions": {"python": "3", "psycopg": "3", "symphony": "0"}}, {"exceptions": [{"owner": "x"}]},
    ],
)  # fmt: skip
def test_a_proof_that_cannot_be_is_refused(change: dict[str, Any], proof: dict[str, Any]) -> None:
    """A PASS saw something, found nothing, and ran something."""
    with pytest.raises(Refused):
        proofs.validate({**proof, **change})


def test_there_is_no_proof_without_a_database(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    """NEG-32, EVD-07."""
    gone = {**whole, "sidecar": "postgresql://nobody@127.0.0.1:1/none"}
    report = check(manifest, gone, only=frozenset({"INV-018"}))
    with pytest.raises(CannotEvaluate):
        proofs.write(report, tmp_path / "evidence", gone, load_manifest(), environment="sandbox")
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("change", [{"proofs": []}, {"commit_hash": ""}, {"extra": 1}, {"exceptions": [{}]}])
def test_an_index_that_breaks_its_schema_is_refused(change: dict[str, Any]) -> None:
    """EVD-04."""
    one = {"invariant_id": "INV-014", "path": "INV-014.json", "sha256": "0" * 64, "result": "PASS"}
    index = {
        "schema": "symphony.evidence_index/1", "timestamp_utc": "Z", "commit_hash": "x", "exceptions": [], "not_run": [], "not_looked_at": [],
        "proofs": [one],
    }  # fmt: skip
    proofs.validate_index(index)
    with pytest.raises(Refused, match="evidence index"):
        proofs.validate_index({**index, **change})
    with pytest.raises(Refused):
        proofs.validate_index({**index, "proofs": [{**one, "result": "OK"}]})


def test_nothing_is_written_when_the_index_would_be_refused(
    whole: Mapping[str, str], manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EVD-04: the index is held to its schema before any file is written; a write that breaks leaves the old index."""
    report, folder = check(manifest, whole, only=frozenset({"INV-014"})), tmp_path / "evidence"
    with monkeypatch.context() as patch:
        patch.setattr(proofs, "validate_index", _refuse)
        with pytest.raises(Refused):
            proofs.write(report, folder, whole, load_manifest(), environment="sandbox")
    assert not folder.exists()
    before = [path.read_bytes() for path in proofs.write(report, folder, whole, load_manifest(), environment="sandbox")]
    with monkeypatch.context() as patch:
        patch.setattr(proofs.os, "fsync", _full)
        with pytest.raises(OSError, match="full"):
            proofs.write(report, folder, whole, load_manifest(), environment="sandbox")
    assert [(folder / name).read_bytes() for name in ("INV-014.json", "EVIDENCE_INDEX.json")] == before


def test_a_part_is_not_taken_for_all(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    """EVD-04: what was not run, and which databases nobody looked at, stand in the index and in each proof."""
    some = {"ledger": whole["ledger"]}
    report = check(manifest, some, only=frozenset({"INV-001"}), partial=True)
    (path, index) = proofs.write(report, tmp_path, some, load_manifest(), environment="live")
    said = json.loads(index.read_text())
    assert said["not_looked_at"] == ["controlplane", "sidecar"]
    assert said["not_run"] == [one.id for one in manifest.implemented if one.id != "INV-001"]
    assert json.loads(path.read_text())["proof"]["not_looked_at"] == ["controlplane", "sidecar"]


def test_no_old_pass_lies_beside_a_new_index(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    """EVD-04: what the earlier index named goes, what somebody else put there stays."""
    for name in ("INV-014", "INV-018"):
        report = check(manifest, whole, only=frozenset({name}))
        (tmp_path / "notes.json").write_text("{}")
        proofs.write(report, tmp_path, whole, load_manifest(), environment="sandbox")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["EVIDENCE_INDEX.json", "INV-018.json", "notes.json"]


def test_two_runs_do_not_write_into_one_folder(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    """EVD-04: an index of one run beside files of another would be no evidence."""
    report = check(manifest, whole, only=frozenset({"INV-014"}))
    with proofs._alone(tmp_path), pytest.raises(CannotEvaluate, match="another run"):
        proofs.write(report, tmp_path, whole, load_manifest(), environment="sandbox")
    assert list(tmp_path.iterdir()) == []
    proofs.write(report, tmp_path, whole, load_manifest(), environment="sandbox")


def _refuse(_index: object) -> None:
    raise Refused("RELEASE_INVARIANT", "evidence index")


def _full(_descriptor: int) -> None:
    raise OSError("the disk is full")


def test_the_commit_says_when_the_files_are_others(tmp_path: Path) -> None:
    """EVD-03: a proof of changed files is no proof of the commit."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert anchors.commit(tmp_path) == "not a checkout"
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")
    assert anchors.commit(tmp_path) == head
    (tmp_path / "b").write_text("2")
    assert anchors.commit(tmp_path) == f"{head}+changes"
    (tmp_path / "b").unlink()
    (tmp_path / "a").write_text("2")
    assert anchors.commit(tmp_path) == f"{head}+changes"


def test_a_folder_of_a_checkout_has_its_commit(tmp_path: Path) -> None:
    """EVD-03: the proofs of a service of a monorepo name the commit, too."""
    service = tmp_path / "services" / "pay"
    service.mkdir(parents=True)
    (service / "a.txt").write_text("a")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "a"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    assert anchors.commit(service) == head


def test_the_gates_hash_is_another_when_a_file_changes_or_goes(tmp_path: Path) -> None:
    """EVD-03."""
    names = {name for name, _ in anchors.gate_files(load_manifest().folder)}
    assert {"symphony/invariants/run.py", "symphony/sql/schema_text.sql", "invariants/checks/sidecar.sql"} <= names
    assert {"invariants/INVARIANTS_MANIFEST.yml", "invariants/EVIDENCE_SCHEMA.json"} <= names
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")
    both = anchors.over([("a", tmp_path / "a"), ("b", tmp_path / "b")])
    assert both == anchors.over([("b", tmp_path / "b"), ("a", tmp_path / "a")])
    assert both != anchors.over([("a", tmp_path / "a")])
    assert both != anchors.over([("a", tmp_path / "a"), ("c", tmp_path / "b")])
    (tmp_path / "b").write_text("2")
    assert both != anchors.over([("a", tmp_path / "a"), ("b", tmp_path / "b")])


def test_two_databases_of_the_same_migrations_have_one_digest(postgres: TestPostgres) -> None:
    """EVD-05: equal whatever the month's partitions and the order of grants; another after a grant or a change."""
    one, two = postgres.new_database("sidecar").admin, postgres.new_database("sidecar").admin
    run(two, "SELECT symphony.ensure_partitions(current_date + 200, 2)")
    run(
        two,
        "REVOKE SELECT ON symphony.revocations FROM symphony_reader; GRANT SELECT ON symphony.revocations TO symphony_reader",
    )
    assert drift.differences(drift.live(one), drift.live(two)) == []
    assert drift.live(one) == drift.live(two)
    for statement in (
        "GRANT SELECT ON symphony.seen_jti TO symphony_reader",
        "ALTER TABLE symphony.parked ALTER parked_at DROP NOT NULL",
    ):
        before = drift.live(two)
        run(two, statement)
        assert drift.live(two) != before
