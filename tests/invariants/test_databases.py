"""Fresh databases of a repository that is not ours, its Rego tests, its lint: what cannot be evaluated is never a pass (MIG-14)."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from contracts.errors import CannotEvaluate
from symphony.invariants.checks import CouldNotRun
from symphony.invariants.databases import Database, files_of, fresh, natural
from symphony.invariants.lint import blocking_ddl
from symphony.invariants.rego import run_rego
from tests.support.database import TestPostgres


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / f"{name}.sql").write_text(text)


def test_files_come_in_their_natural_order(tmp_path: Path) -> None:
    for name in ("10_last", "2_second", "1_first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "up.sql").write_text("SELECT 1")
        (tmp_path / name / "down.sql").write_text("SELECT 1")
    found = files_of(Database("app", ".", files="*/up.sql"), tmp_path)
    assert [path.parent.name for path in found] == ["1_first", "2_second", "10_last"]
    assert natural("V2__a.sql") < natural("V10__a.sql")


def test_no_file_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match="0 files match"):
        files_of(Database("app", "nowhere"), tmp_path)


def test_plain_files_are_applied_as_they_stand_and_the_database_goes_afterwards(tmp_path: Path, postgres: TestPostgres) -> None:
    write(tmp_path, **{"1": "BEGIN; CREATE TABLE a (n int PRIMARY KEY); COMMIT;", "2": "\\echo x\nINSERT INTO a VALUES (1); GRANT SELECT ON a TO app_reader;"})
    app = {"app": Database("app", ".", roles=("app_reader",))}
    with fresh(app, tmp_path, server_url=postgres.cluster.admin_url()) as urls, psycopg.connect(urls["app"]) as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(urls["app"])


def test_a_file_that_fails_is_named_with_what_the_server_said(tmp_path: Path, postgres: TestPostgres) -> None:
    write(tmp_path, **{"1": "CREATE TABLE a (n int);", "2": "ALTER TABLE b ADD COLUMN x int;"})
    refused = pytest.raises(CannotEvaluate, match=r'2\.sql does not run .*relation "b" does not exist')
    with refused, fresh({"app": Database("app", ".")}, tmp_path, server_url=postgres.cluster.admin_url()):
        pass
    with psycopg.connect(postgres.cluster.admin_url()) as connection:
        assert connection.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'symphony_scratch_%'").fetchone() == (0,)


def test_a_tool_of_the_repository_applies_them_with_database_url(tmp_path: Path, postgres: TestPostgres) -> None:
    (tmp_path / "tool.py").write_text(
        "import os, psycopg\nwith psycopg.connect(os.environ['DATABASE_URL']) as c: c.execute('CREATE TABLE by_tool (n int)')\n"
    )
    tool = Database("app", ".", apply=f"{sys.executable} tool.py")
    with fresh({"app": tool}, tmp_path, server_url=postgres.cluster.admin_url()) as urls, psycopg.connect(urls["app"]) as connection:
        assert connection.execute("SELECT to_regclass('by_tool') IS NOT NULL").fetchone() == (True,)
    broken = Database("app", ".", apply=f"{sys.executable} -c 'raise SystemExit(1)'")
    with pytest.raises(CannotEvaluate), fresh({"app": broken}, tmp_path, server_url=postgres.cluster.admin_url()):
        pass


def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    write(tmp_path, **{"1": "SELECT 1"})
    nowhere = {"app": Database("app", ".")}
    with pytest.raises(CannotEvaluate, match="does not answer"), fresh(nowhere, tmp_path, server_url="postgresql://127.0.0.1:1/x"):
        pass


REGO = "package p_test\n\nimport rego.v1\n\n"


@pytest.mark.parametrize(
    ("body", "seen", "violations"),
    [("test_a if 1 == 1\n", 1, ()), ("test_a if 1 == 1\n\ntest_b if 1 == 2\n", 2, ("rules: test_b",))],
)
def test_rego_tests_run(tmp_path: Path, body: str, seen: int, violations: tuple[str, ...]) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "p_test.rego").write_text(REGO + body)
    found = run_rego("rules", tmp_path)
    assert (found.count, found.violations) == (seen, violations)


@pytest.mark.parametrize("body", [None, REGO + "a if 1 == 1\n", REGO + "todo_test_a if 1 == 1\n", "package broken\n\nx if {"])
def test_rego_without_a_test_that_ran_is_no_pass(tmp_path: Path, body: str | None) -> None:
    (tmp_path / "rules").mkdir()
    if body is not None:
        (tmp_path / "rules" / "p_test.rego").write_text(body)
    with pytest.raises(CouldNotRun):
        run_rego("rules", tmp_path)
    with pytest.raises(CouldNotRun):
        run_rego("nowhere", tmp_path)


def test_ddl_that_blocks_is_found_and_matters_of_taste_are_not(tmp_path: Path) -> None:
    write(tmp_path, good="CREATE TABLE a (n int PRIMARY KEY);", bad="\nALTER TABLE a ADD COLUMN x int NOT NULL;\nCREATE INDEX i ON a (x);")
    good = blocking_ddl([tmp_path / "good.sql"], tmp_path)
    assert (good.count, good.violations) == (1, ())
    bad = blocking_ddl([tmp_path / "bad.sql"], tmp_path)
    assert [one.split(": ")[:2] for one in bad.violations] == [
        ["bad.sql:2", "adding-required-field"], ["bad.sql:3", "require-concurrent-index-creation"],
    ]  # fmt: skip


def test_a_lint_that_could_not_read_its_file_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(CouldNotRun):
        blocking_ddl([tmp_path / "gone.sql"], tmp_path)
