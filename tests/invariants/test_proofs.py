"""Proof files: anchored, complete, held to their schema before they are written (EVD-03 to EVD-07, NEG-16)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony.invariants import Manifest, check, drift, proofs
from tests.invariants.support import run
from tests.support.database import TestPostgres

FIELDS = {
    "schema", "invariant_id", "result", "timestamp_utc", "environment", "commit_hash", "migration_version", "migrations_hash",
    "db_schema_sha256", "tool_versions", "gate_script_sha256", "proof", "details", "severity", "title",
}  # fmt: skip


@pytest.fixture
def proof(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> dict[str, Any]:
    report = check(manifest, whole, only=frozenset({"INV-014"}))
    (path, _) = proofs.write(report, tmp_path / "evidence", whole, environment="sandbox")
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
        {"result": "OK"}, {"extra": 1}, {"migration_version": {}}, {"migration_version": {"sidecar": 0}}, {"commit_hash": ""},
        {"db_schema_sha256": {"sidecar": "0"}}, {"proof": {"ran": [], "not_run": [], "seen": 1, "findings": []}},
        {"proof": {"ran": ["x"], "not_run": [], "seen": 0, "findings": []}},
        {"proof": {"ran": ["x"], "not_run": [], "seen": 1, "findings": ["wrong"]}},
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
        proofs.write(report, tmp_path / "evidence", gone, environment="sandbox")
    assert not (tmp_path / "evidence").exists()


def test_two_databases_of_the_same_migrations_have_one_digest(postgres: TestPostgres) -> None:
    """EVD-05: equal whatever the month's partitions and the order of grants; another after a grant or a change."""
    one, two = postgres.new_database("sidecar").admin, postgres.new_database("sidecar").admin
    run(two, "SELECT symphony.ensure_partitions(current_date + 200, 2)")
    run(
        two,
        "REVOKE SELECT ON symphony.revocations FROM symphony_reader; GRANT SELECT ON symphony.revocations TO symphony_reader",
    )
    assert drift.live(one) == drift.live(two)
    for statement in (
        "GRANT SELECT ON symphony.seen_jti TO symphony_reader",
        "ALTER TABLE symphony.parked ALTER parked_at DROP NOT NULL",
    ):
        before = drift.live(two)
        run(two, statement)
        assert drift.live(two) != before
