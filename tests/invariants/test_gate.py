"""The gate cannot be green by accident: what was not seen is no PASS, and what did not run is not counted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from symphony.invariants import Manifest, check
from symphony.invariants.functions import FUNCTIONS, Seen, transaction_word
from symphony.invariants.ingress import revoked, unsigned
from symphony.invariants.manifest import Invariant
from tests.invariants.support import run
from tests.support.database import TestPostgres

GONE = "postgresql://nobody@127.0.0.1:1/none"


def only(*identifiers: str) -> frozenset[str]:
    return frozenset(identifiers)


def verified_by(manifest: Manifest, *checks: str) -> Manifest:
    """A manifest with one invariant, verified like this."""
    return Manifest(manifest.folder, (replace(manifest.get("INV-014"), verified_by=checks),))


def test_everything_implemented_holds_on_fresh_databases(whole: Mapping[str, str], manifest: Manifest) -> None:
    """INV-001 to INV-003, INV-005 to INV-018, INV-021 to INV-024, INV-028, INV-029, INV-TRUST-001, INV-DB-IMM-001, I-OUTBOX-01, I-OUTBOX-02."""
    report = check(manifest, whole)
    assert report.exit_code == 0, [(r.invariant.id, r.detail[:3]) for r in report.results if r.result != "PASS"]
    assert set(report.passed) | {one.id for one in report.skipped} == {one.id for one in manifest.implemented}
    assert all(result.seen for result in report.results)
    assert not set(report.passed) & {one.id for one in report.skipped}


@pytest.mark.parametrize("kind", ["controlplane", "sidecar", "ledger"])
def test_a_database_that_does_not_answer_is_an_error_never_a_pass(
    kind: str, whole: Mapping[str, str], manifest: Manifest
) -> None:
    """NEG-32, EVD-07: no PASS of anything that looks there; exit 3."""
    report = check(manifest, {**whole, kind: GONE})
    looking = {
        one.id for one in manifest.implemented for text in one.verified_by if kind in text.split(":")[-1].split(",")
    }
    assert report.exit_code == 3
    assert looking
    assert not looking & set(report.passed)
    assert not {"INV-001", "INV-003"} & set(report.passed)


def test_a_database_that_nobody_named_is_an_error(whole: Mapping[str, str], manifest: Manifest) -> None:
    """MIG-14."""
    report = check(manifest, {"ledger": whole["ledger"]}, only=only("INV-001", "INV-005", "INV-018"))
    assert report.passed == []
    assert report.exit_code == 3


def test_an_empty_database_is_an_error_never_a_pass(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    """MIG-14: not even for what is true of every empty database."""
    report = check(manifest, {**whole, "sidecar": postgres.empty_database("sidecar").admin})
    assert report.exit_code == 3
    looking = {r.invariant.id for r in report.results if any(t.startswith("sql:") and "sidecar" in t for t in r.ran)}
    assert len(looking) > 10
    assert not looking & set(report.passed)


def test_another_kinds_database_is_no_substitute(whole: Mapping[str, str], manifest: Manifest) -> None:
    report = check(manifest, {**whole, "sidecar": whole["ledger"]}, only=only("INV-001", "INV-014", "INV-024"))
    assert report.passed == []
    assert report.exit_code in {1, 3}


def test_a_login_that_may_not_look_is_an_error(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    """A check that reads rows needs the right to; to be refused is not to see nothing wrong."""
    reader = postgres.new_database("sidecar").shipper
    report = check(manifest, {**whole, "sidecar": reader}, only=only("INV-022"))
    assert [r.result for r in report.results] == ["ERROR"]


def test_nothing_run_is_exit_4(whole: Mapping[str, str], manifest: Manifest) -> None:
    assert check(manifest, whole, only=only("INV-019")).exit_code == 4
    assert check(Manifest(manifest.folder, ()), whole).exit_code == 4
    assert check(manifest, whole, only=only("INV-026")).exit_code == 4  # a test of the checkout, not asked for


def test_a_violation_is_exit_1_and_says_what(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    broken = postgres.new_database("ledger").admin
    run(broken, "GRANT CREATE ON SCHEMA ledger TO symphony_ledger")
    report = check(manifest, {**whole, "ledger": broken})
    assert report.exit_code == 1
    assert report.failed == ["INV-006"]
    assert [r.detail for r in report.results if r.result == "FAIL"] == [
        ("ledger: symphony_ledger may create in schema ledger",)
    ]


MIGRATIONS = [
    "UPDATE symphony_migrations.applied SET sha256 = repeat('0', 64) WHERE version = 1",
    "UPDATE symphony_migrations.applied SET name = '0001_other' WHERE version = 1",
    "INSERT INTO symphony_migrations.applied (version, name, sha256) VALUES (99, '0099_x', repeat('0', 64))",
]


@pytest.mark.parametrize("statement", MIGRATIONS)
def test_a_ledger_that_is_not_the_files_is_a_violation(
    statement: str, postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    """INV-001, INV-003, NEG-34."""
    broken = postgres.new_database("ledger").admin
    run(broken, statement)
    report = check(manifest, {**whole, "ledger": broken}, only=only("INV-001", "INV-003", "INV-014"))
    assert report.failed == ["INV-001", "INV-003"]
    assert report.exit_code == 1


def test_a_migration_that_is_not_applied_could_not_be_told(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    behind = postgres.new_database("ledger").admin
    run(behind, "DELETE FROM symphony_migrations.applied WHERE version = 4")
    assert check(manifest, {**whole, "ledger": behind}, only=only("INV-001")).exit_code == 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("BEGIN;\nSELECT 1;", "BEGIN"), ("SELECT 1; commit;", "commit"), ("SELECT 1;\n  ROLLBACK TO x;", "ROLLBACK"),
        ("start  transaction isolation level serializable;", "start  transaction"), ("SELECT 1; END", "END"),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;", None),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;", "END"),
        ("-- COMMIT;\n/* BEGIN; */ SELECT 'a; COMMIT;';", None), ("SELECT 1;", None), ("CREATE TABLE begin_end (n int);", None),
    ],
)  # fmt: skip
def test_transaction_commands_are_seen_outside_bodies_and_strings(text: str, word: str | None) -> None:
    """INV-002. A body in the standard's own form is taken for one: our style is dollar quotes."""
    assert transaction_word(text) == word


def test_station_1_answers_as_the_cases_demand() -> None:
    """INV-028, INV-TRUST-001: each case by itself, and both kinds of answer are among them."""
    for cases in (unsigned(), revoked()):
        assert [case for case in cases if case[1] != case[2]] == []
        assert {"VERIFIED"} < {case[2] for case in cases}


def test_an_answer_other_than_the_due_one_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, whole: Mapping[str, str], manifest: Manifest
) -> None:
    monkeypatch.setattr("symphony.invariants.ingress.unsigned", lambda: [("no token", "TOKEN_MISSING", "VERIFIED")])
    monkeypatch.setattr("symphony.invariants.ingress.revoked", list)
    report = check(manifest, whole, only=only("INV-028", "INV-TRUST-001"))
    assert [r.result for r in report.results] == ["FAIL", "ERROR"]  # the second had no case to look at


def test_a_check_that_breaks_is_an_error_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, whole: Mapping[str, str], manifest: Manifest
) -> None:
    def breaks(_target: object) -> Seen:
        raise RuntimeError("boom")

    monkeypatch.setitem(FUNCTIONS, "retry_ceiling", breaks)  # type: ignore[arg-type]
    report = check(manifest, whole, only=only("INV-015", "INV-014"))
    assert [r.result for r in report.results] == ["PASS", "ERROR"]
    assert "boom" in report.results[1].detail[0]


@pytest.mark.parametrize(
    "statement",
    ["SELECT 0, ARRAY[]::text[]", "SELECT 1", "SELECT NULL, NULL", "SELECT 1, ARRAY[]::text[] WHERE false", "SELEC"],
)
def test_an_sql_check_that_does_not_say_what_it_saw_is_an_error(
    statement: str, whole: Mapping[str, str], manifest: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(manifest.folder / "checks", tmp_path / "checks")
    (tmp_path / "checks" / "sidecar.sql").write_text(f"-- name: INV-014\n{statement}\n")
    report = check(Manifest(tmp_path, manifest.invariants), whole, only=only("INV-014"))
    assert [r.result for r in report.results] == ["ERROR"]


def test_a_check_only_reads(whole: Mapping[str, str], manifest: Manifest, tmp_path: Path) -> None:
    shutil.copytree(manifest.folder / "checks", tmp_path / "checks")
    writing = "SELECT count(*), ARRAY[]::text[] FROM symphony.begin_epoch('x')"
    (tmp_path / "checks" / "sidecar.sql").write_text(f"-- name: INV-014\n{writing}\n")
    assert check(Manifest(tmp_path, manifest.invariants), whole, only=only("INV-014")).exit_code == 3
    with psycopg.connect(whole["sidecar"]) as connection:
        row = connection.execute("SELECT count(*) FROM symphony.writer_epochs").fetchone()
    assert row == (0,)


@pytest.mark.parametrize(
    ("body", "result"),
    [("", "PASS"), ("    assert False\n", "FAIL"), ("    import pytest; pytest.skip()\n", "ERROR"), ("    import nothing_of_that_name\n", "FAIL")],
)  # fmt: skip
def test_a_test_of_the_checkout_counts_only_when_it_ran_and_passed(
    body: str, result: str, whole: Mapping[str, str], manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(f"def test_x():\n    pass\n{body}")
    at = Manifest(tmp_path / "invariants", verified_by(manifest, "pytest:tests/test_x.py").invariants)
    assert [r.result for r in check(at, whole, with_tests=True).results] == [result]


@pytest.mark.parametrize(
    "text", ["pytest:tests/test_gone.py", "command:scripts.gone", "python:os_system", "sql:gone:sidecar"]
)
def test_a_check_that_is_not_there_is_an_error(
    text: str, whole: Mapping[str, str], manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").touch()
    at = Manifest(tmp_path / "invariants", verified_by(manifest, text).invariants)
    assert check(at, whole, with_tests=True).exit_code in {1, 3}
    assert check(at, whole, with_tests=True).passed == []


def test_a_result_names_what_ran_of_its_checks(whole: Mapping[str, str], manifest: Manifest) -> None:
    both = verified_by(manifest, "sql:sidecar:sidecar", "pytest:tests/test_gone.py")
    result = check(both, whole).results[0]
    assert (result.result, result.ran) == ("PASS", ("sql:sidecar:sidecar",))


def _skipped(one: Invariant) -> str:
    return one.id


def test_drift_is_compared_only_with_a_fresh_schema(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest
) -> None:
    """INV-004, NEG-15, MIG-10: a table altered outside migrations, a grant, a function; a mismatched version is said as that."""
    assert [_skipped(one) for one in check(manifest, whole, only=only("INV-004")).skipped] == ["INV-004"]
    live = postgres.new_database("sidecar").admin
    seen = check(manifest, {**whole, "sidecar": live}, reference=whole, only=only("INV-004"))
    assert seen.exit_code == 0
    run(
        live, "ALTER TABLE symphony.seen_jti ADD COLUMN note text; GRANT SELECT ON symphony.seen_jti TO symphony_reader"
    )
    run(live, "ALTER FUNCTION symphony.judge_batch COST 99; DROP INDEX symphony.ix_pending_due")
    report = check(manifest, {**whole, "sidecar": live}, reference=whole, only=only("INV-004"))
    assert report.exit_code == 1
    words = " ".join(report.results[0].detail)
    for word in (
        "column symphony.seen_jti.note",
        "SELECT to symphony_reader",
        "judge_batch",
        "gone: index",
        "ix_pending_due",
    ):
        assert word in words
    run(
        live,
        "DELETE FROM symphony_migrations.applied WHERE version = (SELECT max(version) FROM symphony_migrations.applied)",
    )
    report = check(manifest, {**whole, "sidecar": live}, reference=whole, only=only("INV-004"))
    assert "mismatched version" in report.results[0].detail[0]
