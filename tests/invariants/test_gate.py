"""The gate cannot be green by accident: each check is shown to fail, and what could not be seen is never a PASS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from contracts.errors import CannotEvaluate, Refused
from symphony import places
from symphony.cli import cli
from symphony.invariants import Manifest, check, load_manifest, proofs, release_form
from symphony.invariants.checks import FUNCTIONS
from tests.support.database import TestPostgres

BREAKS: list[tuple[str, str, str, set[str]]] = [
    ("INV-005", "sidecar", "GRANT SELECT ON symphony.seen_jti TO PUBLIC", {"INV-005"}),
    ("INV-006", "ledger", "GRANT CREATE ON SCHEMA ledger TO symphony_ledger", {"INV-006"}),
    ("INV-007", "sidecar", "ALTER TABLE symphony.seen_jti OWNER TO symphony_executor", {"INV-007", "INV-010"}),
    ("INV-008", "sidecar", "ALTER FUNCTION symphony.accept_release(bigint, text) RESET search_path", {"INV-008"}),
    ("INV-010", "controlplane", "GRANT UPDATE ON symphony.policy_versions TO symphony_control", {"INV-010"}),
    ("INV-011", "sidecar", "DROP INDEX symphony.ux_pending_instruction_key", {"INV-011"}),
    ("INV-014", "sidecar", "DROP TRIGGER trg_deny_outbox_attempts_mutation ON symphony.payment_outbox_attempts", {"INV-014"}),
    ("INV-014", "sidecar", "ALTER TABLE symphony.payment_outbox_attempts DISABLE TRIGGER trg_attempts_not_truncated", {"INV-014"}),
    ("INV-016", "controlplane", "ALTER TABLE symphony.policy_versions ALTER COLUMN checksum DROP NOT NULL", {"INV-017"}),
    ("INV-018", "controlplane", "DROP INDEX symphony.one_active_release", {"INV-018"}),
    ("I-OUTBOX-02", "sidecar", "ALTER TABLE symphony.payment_terminals DROP CONSTRAINT payment_terminals_pkey", {"I-OUTBOX-02"}),
    ("INV-021", "sidecar", "DROP TRIGGER trg_attestations_append_only ON symphony.ingress_attestations", {"INV-021"}),
    ("INV-022", "sidecar", "ALTER TABLE symphony.payment_outbox_pending ALTER COLUMN parent_attestation_id DROP NOT NULL", {"INV-022"}),
    ("INV-024", "sidecar", "ALTER TABLE symphony.seen_jti DROP CONSTRAINT seen_jti_pkey", {"INV-024"}),
    ("INV-001", "ledger", "UPDATE symphony_migrations.applied SET sha256 = repeat('0', 64) WHERE version = 1", {"INV-001", "INV-003"}),
]  # fmt: skip
REPLACED = {
    "INV-009": ("CREATE FUNCTION symphony.x() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp "
                "AS $$ BEGIN EXECUTE 'SELECT 1'; END $$; REVOKE ALL ON FUNCTION symphony.x() FROM PUBLIC"),
    "INV-012": "symphony.claim_outbox_batch",
    "INV-013": "symphony.complete_outbox_attempts",
    "INV-023": "symphony.judge_batch",
}  # fmt: skip


@pytest.fixture
def urls(postgres: TestPostgres) -> Mapping[str, str]:
    return {kind: postgres.new_database(kind).admin for kind in ("controlplane", "sidecar", "ledger")}


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return load_manifest()


def test_everything_implemented_holds_on_fresh_databases(urls: Mapping[str, str], manifest: Manifest) -> None:
    """INV-001 to INV-003, INV-005 to INV-018, INV-021 to INV-024, INV-028, I-OUTBOX-01, I-OUTBOX-02."""
    report = check(manifest, urls)
    assert report.exit_code == 0, [(r.invariant.id, r.detail[:3]) for r in report.results if r.result != "PASS"]
    assert set(report.passed) == {one.id for one in manifest.implemented}
    assert all(result.seen for result in report.results)


@pytest.mark.parametrize(("name", "kind", "statement", "red"), BREAKS, ids=[f"{b[0]}-{n}" for n, b in enumerate(BREAKS)])
def test_each_break_turns_exactly_its_own_red(
    name: str, kind: str, statement: str, red: set[str], urls: Mapping[str, str], manifest: Manifest
) -> None:
    """NEG-12, NEG-31: a dropped trigger, a regained grant, an unpinned path, a lost key: each is seen, nothing else turns."""
    with psycopg.connect(urls[kind], autocommit=True) as connection:
        if name == "INV-018":
            index = connection.execute(
                "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'symphony.policy_versions'::regclass AND indpred IS NOT NULL"
            ).fetchone()
            assert index is not None
            statement = f"DROP INDEX {index[0]}"
        connection.execute(statement)
    assert set(check(manifest, urls).failed) == red


@pytest.mark.parametrize("identifier", sorted(REPLACED))
def test_a_function_that_lost_its_guard_is_seen(identifier: str, urls: Mapping[str, str], manifest: Manifest) -> None:
    with psycopg.connect(urls["sidecar"], autocommit=True) as connection:
        if identifier == "INV-009":
            connection.execute(REPLACED[identifier])
        else:
            row = connection.execute("SELECT pg_get_functiondef(to_regproc(%s))", (REPLACED[identifier],)).fetchone()
            assert row is not None
            weakened = (
                row[0].replace("SKIP LOCKED", "").replace("l.lease_token = c.lease_token AND", "").replace("symphony.revocations", "symphony.seen_jti")
                .replace("(r.kind, r.id)", "('a', r.jti_hash)").replace("m.n, r.kind", "m.n, r.jti_hash").replace("r.until", "r.expires_at_utc")
            )  # fmt: skip
            assert weakened != row[0]
            connection.execute(weakened)
    assert identifier in check(manifest, urls).failed


def test_a_database_that_does_not_answer_is_an_error_never_a_pass(urls: Mapping[str, str], manifest: Manifest) -> None:
    """NEG-32, EVD-07: no PASS without the database; exit 3."""
    gone = {**urls, "sidecar": "postgresql://nobody@127.0.0.1:1/none"}
    report = check(manifest, gone, only=frozenset({"INV-014", "INV-018"}))
    assert report.exit_code == 3
    assert report.passed == ["INV-018"]


def test_an_empty_database_is_an_error_never_a_pass(postgres: TestPostgres, urls: Mapping[str, str], manifest: Manifest) -> None:
    empty = {**urls, "sidecar": postgres.empty_database("sidecar").admin}
    report = check(manifest, empty, only=frozenset({"INV-014", "INV-024"}))
    assert report.exit_code == 3
    assert not report.passed


def test_nothing_run_is_exit_4(urls: Mapping[str, str], manifest: Manifest) -> None:
    assert check(manifest, urls, only=frozenset({"INV-019"})).exit_code == 4


def test_proofs_are_anchored_and_fit_their_schema(urls: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    """EVD-03 to EVD-06."""
    report = check(manifest, urls, only=frozenset({"INV-014"}))
    paths = proofs.write(report, tmp_path / "evidence", urls, environment="sandbox")
    proof = json.loads(paths[0].read_text())
    assert proof["invariant_id"] == "INV-014"
    assert proof["migration_version"]["sidecar"] >= 7
    index = json.loads((tmp_path / "evidence" / "EVIDENCE_INDEX.json").read_text())
    assert [entry["invariant_id"] for entry in index["proofs"]] == ["INV-014"]
    del proof["invariant_id"]
    with pytest.raises(Refused, match="invariant_id"):
        proofs.validate(proof)  # NEG-16


def test_the_schema_hash_sees_a_grant(urls: Mapping[str, str]) -> None:
    """EVD-05: equal on two databases of the same migrations, different after a grant."""
    before = proofs._schema_hash(urls["sidecar"])
    with psycopg.connect(urls["sidecar"], autocommit=True) as connection:
        connection.execute("GRANT SELECT ON symphony.seen_jti TO symphony_reader")
    assert proofs._schema_hash(urls["sidecar"]) != before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text.replace("severity: P0", "severity: P7", 1), "severity"),
        (lambda text: text.replace("sla_days: 7", "sla_days: 7, colour: red", 1), "colour"),
        (lambda text: text.replace("id: INV-002", "id: INV-001", 1), "stand twice"),
        (lambda text: text.replace('verified_by: ["python:no_transaction_words"]', "aliases: []"), "stands twice"),
        (lambda text: text[: len(text) // 2] + "\n  - {", "INVARIANTS_MANIFEST"),
    ],
)
def test_a_manifest_that_breaks_its_schema_is_refused(change: object, word: str, tmp_path: Path) -> None:
    text = (places.folder("invariants") / "INVARIANTS_MANIFEST.yml").read_text()
    assert callable(change)
    (tmp_path / "INVARIANTS_MANIFEST.yml").write_text(change(text))
    with pytest.raises((Refused, CannotEvaluate), match=word):
        load_manifest(tmp_path)


def test_an_implemented_entry_names_checks_that_exist(manifest: Manifest) -> None:
    for one in manifest.implemented:
        for text in one.verified_by:
            kind, _, rest = text.partition(":")
            if kind == "python":
                assert rest in FUNCTIONS
            if kind == "sql":
                block = (manifest.folder / "checks" / f"{rest.split(':')[0]}.sql").read_text()
                assert f"-- name: {one.id}\n" in block


def test_the_release_form_has_no_code(manifest: Manifest) -> None:
    form = release_form(manifest)
    assert {"id", "status", "severity", "title", "sla_days"} == set(form["invariants"][0])


def test_the_command_shows_what_holds_and_exits_by_the_table(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(cli, ["invariants", "check", "--only", "INV-014", "--only", "INV-028", "--evidence", str(tmp_path / "e")])
    assert done.exit_code == 0, done.output
    assert "2 of 2 hold" in done.output
    assert (tmp_path / "e" / "INV-014.json").exists()
    done = runner.invoke(cli, ["invariants", "check", "--only", "INV-019"])
    assert done.exit_code == 4
    junit = runner.invoke(cli, ["invariants", "check", "--only", "INV-015", "-o", "junit"])
    assert '<testsuite name="invariants" tests="1" failures="0" errors="0">' in junit.output
    assert runner.invoke(cli, ["invariants", "explain", "I-OB-04"]).output.startswith("INV-014")
    shutil.rmtree(tmp_path / "e")
