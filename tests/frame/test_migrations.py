"""The migration runner (MIG-01, MIG-07, MIG-08, INV-001, INV-002, INV-003): each rule, its refusal first."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from contracts.errors import CannotEvaluate, NotTrusted, Refused
from symphony import migrations
from tests.support.database import Database, TestPostgres

FIRST = "CREATE SCHEMA demo;\nCREATE TABLE demo.t (n integer PRIMARY KEY);\n"
SECOND = "INSERT INTO demo.t VALUES (1);\n"


@pytest.fixture
def database(postgres: TestPostgres) -> Database:
    return postgres.empty_database("ledger")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text(FIRST)
    (tmp_path / "0002_second.sql").write_text(SECOND)
    return tmp_path


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def test_files_are_applied_in_order_and_once(database: Database, folder: Path) -> None:
    assert migrations.apply(database.owner, folder) == ["0001_first", "0002_second"]
    assert migrations.apply(database.owner, folder) == []
    assert rows(database.owner, "SELECT n FROM demo.t") == [(1,)]
    assert migrations.verify(database.owner, folder) == 2


def test_a_new_file_is_applied_after_the_old_ones(database: Database, folder: Path) -> None:
    migrations.apply(database.owner, folder)
    (folder / "0003_third.sql").write_text("INSERT INTO demo.t VALUES (3);")
    assert [state.state for state in migrations.status(database.owner, folder)] == ["applied", "applied", "pending"]
    assert migrations.apply(database.owner, folder) == ["0003_third"]


@pytest.mark.parametrize("text", [FIRST + "-- a comment\n", FIRST.replace("integer", "bigint"), FIRST + " "])
def test_an_edited_applied_file_is_refused_before_anything_runs_inv_001_inv_003(
    database: Database, folder: Path, text: str
) -> None:
    migrations.apply(database.owner, folder)
    (folder / "0001_first.sql").write_text(text)
    (folder / "0003_third.sql").write_text("CREATE TABLE demo.third ();")
    with pytest.raises(NotTrusted, match="0001_first: its file is edited") as caught:
        migrations.apply(database.owner, folder)
    assert caught.value.code == "MIGRATION_EDITED"
    assert rows(database.owner, "SELECT to_regclass('demo.third')") == [(None,)]
    with pytest.raises(NotTrusted):
        migrations.verify(database.owner, folder)


def test_a_renamed_or_missing_applied_file_is_refused(database: Database, folder: Path) -> None:
    migrations.apply(database.owner, folder)
    (folder / "0002_second.sql").rename(folder / "0002_other.sql")
    with pytest.raises(NotTrusted, match="0002_second: its file is edited"):
        migrations.apply(database.owner, folder)
    (folder / "0002_other.sql").unlink()
    with pytest.raises(NotTrusted, match="0002_second: its file is missing"):
        migrations.apply(database.owner, folder)


@pytest.mark.parametrize(
    "statement",
    ["BEGIN;", "COMMIT;", "ROLLBACK;", "START TRANSACTION;", "END;", "SAVEPOINT a;", "ABORT;",
     "PREPARE TRANSACTION 'x';", "/* hidden */ cOmMiT /* well */;"],
)  # fmt: skip
def test_transaction_commands_are_refused_inv_002(database: Database, folder: Path, statement: str) -> None:
    (folder / "0002_second.sql").write_text(f"CREATE TABLE demo.half (); {statement} CREATE TABLE demo.other ();")
    with pytest.raises(Refused, match="0002_second: EXECUTE of transaction commands") as caught:
        migrations.apply(database.owner, folder)
    assert caught.value.code == "MIGRATION_REFUSED"
    assert rows(database.owner, "SELECT to_regclass('demo.half'), to_regclass('demo.other')") == [(None, None)]
    assert [state.state for state in migrations.status(database.owner, folder)] == ["applied", "pending"]


def test_a_file_without_a_transaction_may_not_open_one_inv_002(database: Database, folder: Path) -> None:
    (folder / "0003_third.sql").write_text(f"{migrations.NO_TRANSACTION}\nBEGIN")
    with pytest.raises(Refused, match="it opens a transaction"):
        migrations.apply(database.owner, folder)
    assert [state.state for state in migrations.status(database.owner, folder)] == ["applied", "applied", "pending"]


def test_begin_inside_a_function_body_is_no_transaction_command(database: Database, folder: Path) -> None:
    body = "CREATE FUNCTION demo.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;"
    (folder / "0002_second.sql").write_text(body)
    assert migrations.apply(database.owner, folder) == ["0001_first", "0002_second"]


def test_a_failing_file_leaves_nothing_of_itself_and_keeps_those_before(database: Database, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("CREATE TABLE demo.half (); SELECT 1 / 0;")
    with pytest.raises(CannotEvaluate, match="0002_second: division by zero"):
        migrations.apply(database.owner, folder)
    assert rows(database.owner, "SELECT to_regclass('demo.t'), to_regclass('demo.half')") == [("demo.t", None)]
    assert [state.state for state in migrations.status(database.owner, folder)] == ["applied", "pending"]
    with pytest.raises(CannotEvaluate, match="0002_second is not applied"):
        migrations.verify(database.owner, folder)


def test_a_commit_hidden_in_a_do_block_cannot_end_the_transaction(database: Database, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("CREATE TABLE demo.half (); DO $$ BEGIN COMMIT; END $$;")
    with pytest.raises(CannotEvaluate, match="invalid transaction termination"):
        migrations.apply(database.owner, folder)
    assert rows(database.owner, "SELECT to_regclass('demo.half')") == [(None,)]


@pytest.mark.parametrize("name", ["0003_gap.sql", "0002_Upper.sql", "2_short.sql", "0002-dash.sql", "0001_twin.sql"])
def test_a_gap_a_twin_or_an_odd_name_is_refused(folder: Path, name: str) -> None:
    (folder / "0002_second.sql").rename(folder / name)
    with pytest.raises(Refused):
        migrations.read(folder)


@pytest.mark.parametrize("content", [b"", b"-- only words\n\n", b"SELECT '\xff';"])
def test_a_file_that_says_nothing_or_is_not_utf_8_is_refused(folder: Path, content: bytes) -> None:
    (folder / "0002_second.sql").write_bytes(content)
    with pytest.raises(Refused, match="0002_second"):
        migrations.read(folder)


def test_a_file_that_does_not_parse_is_refused_with_its_line(database: Database, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("SELECT 1;\n-- it's only a \\ word\nCREATE TABEL x ();\n")
    with pytest.raises(Refused, match=r'0002_second: syntax error at or near "TABEL" \(line 3\)'):
        migrations.apply(database.owner, folder)


def test_what_the_file_says_arrives_unchanged(database: Database, folder: Path) -> None:
    said = "quote ' backslash \\ percent % dollar $$ and $1 ü {braces}"
    doubled = said.replace("'", "''")
    (folder / "0002_second.sql").write_text(f"CREATE TABLE demo.said AS SELECT '{doubled}'::text AS word;")
    migrations.apply(database.owner, folder)
    assert rows(database.owner, "SELECT word FROM demo.said") == [(said,)]


def test_an_empty_folder_is_no_schema(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no migration"):
        migrations.read(tmp_path)


def test_an_unreachable_database_is_could_not_tell(folder: Path) -> None:
    with pytest.raises(CannotEvaluate, match="does not answer"):
        migrations.apply("postgresql://nobody@127.0.0.1:1/none", folder)


def test_a_held_lock_fails_the_deployment_in_time_mig_08(database: Database, folder: Path) -> None:
    migrations.apply(database.owner, folder)
    (folder / "0003_third.sql").write_text("ALTER TABLE demo.t ADD COLUMN m integer;")
    with psycopg.connect(database.owner) as holder:
        holder.execute("LOCK TABLE demo.t")
        with pytest.raises(CannotEvaluate, match="lock timeout"):
            migrations.apply(database.owner, folder, lock_timeout_ms=100)
    assert migrations.apply(database.owner, folder) == ["0003_third"]


def test_a_statement_that_runs_too_long_is_cut_off_mig_08(database: Database, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("SELECT pg_sleep(30);")
    with pytest.raises(CannotEvaluate, match="statement timeout"):
        migrations.apply(database.owner, folder, statement_timeout_ms=100)


def test_concurrently_needs_a_file_of_its_own_outside_a_transaction_mig_07(database: Database, folder: Path) -> None:
    third = folder / "0003_index.sql"
    statement = "CREATE INDEX CONCURRENTLY t_n ON demo.t (n);"
    third.write_text(statement)
    with pytest.raises(Refused, match="CREATE INDEX CONCURRENTLY cannot"):
        migrations.apply(database.owner, folder)
    third.write_text(f"{migrations.NO_TRANSACTION}\n{statement} SELECT 1;")
    with pytest.raises(Refused, match="cannot insert multiple commands"):
        migrations.apply(database.owner, folder)
    third.write_text(f"{migrations.NO_TRANSACTION}\n{statement}")
    assert migrations.apply(database.owner, folder)[-1] == "0003_index"


def test_two_runners_at_once_apply_each_file_once(database: Database, folder: Path) -> None:
    applied: list[list[str]] = []
    runners = [
        threading.Thread(target=lambda: applied.append(migrations.apply(database.owner, folder))) for _ in range(4)
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert sorted(applied) == [[], [], [], ["0001_first", "0002_second"]]


def test_a_runner_that_finds_another_at_work_gives_up_in_time(database: Database, folder: Path) -> None:
    with psycopg.connect(database.owner) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtext('symphony_migrations'))")
        with pytest.raises(CannotEvaluate, match="another runner"):
            migrations.apply(database.owner, folder, lock_timeout_ms=100)
