"""The SQL lint (INV-002, INV-008, INV-009, MIG-05, MIG-06, MIG-14): each rule refuses; our own files are clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import sql_lint

DEFINER = (
    "CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql SECURITY DEFINER {path} AS $$ "
    "DECLARE c refcursor; BEGIN {body} END $$;"
)
PINNED = "SET search_path = pg_catalog, s, pg_temp"


def rules(text: str, name: str = "ledger/0001_x.sql") -> list[str]:
    return [finding.rule for finding in sql_lint.lint_text(name, text)]


def test_our_migrations_are_clean(root: Path) -> None:
    files, findings = sql_lint.lint_folder(root / "migrations")
    assert findings == []
    assert files == len(list((root / "migrations").glob("*/*.sql"))) > 0


@pytest.mark.parametrize("statement", ["BEGIN;", "COMMIT;", "ROLLBACK;", "SAVEPOINT x;"])
def test_transaction_commands_inv_002(statement: str) -> None:
    assert rules(statement) == ["transaction"]


@pytest.mark.parametrize(
    "path",
    ["", "SET search_path = s", "SET search_path = s, pg_catalog, pg_temp", "SET search_path = pg_catalog, s",
     "SET search_path = pg_catalog, pg_temp, s", "SET search_path = pg_catalog, public, pg_temp",
     "SET search_path FROM CURRENT", "SET work_mem = '1MB'"],
)  # fmt: skip
def test_a_definer_function_that_does_not_pin_its_path_inv_008(path: str) -> None:
    assert rules(DEFINER.format(path=path, body="")) == ["definer-path"]


def test_a_pinned_definer_function_passes_inv_008() -> None:
    assert rules(DEFINER.format(path=PINNED, body="")) == []
    assert rules(DEFINER.format(path=f"{PINNED} SET enable_seqscan = off", body="")) == []


def test_an_invoker_function_need_not_pin() -> None:
    assert rules("CREATE FUNCTION s.f() RETURNS int LANGUAGE sql SECURITY INVOKER AS $$ SELECT 1 $$;") == []


@pytest.mark.parametrize(
    "body",
    ["EXECUTE 'x';", "execute format('DROP TABLE %I', 'y');", "FOR c IN EXECUTE 'x' LOOP END LOOP;",
     "RETURN QUERY EXECUTE 'x';", "OPEN c FOR EXECUTE 'x';"],
)  # fmt: skip
def test_dynamic_sql_in_a_definer_function_inv_009(body: str) -> None:
    assert rules(DEFINER.format(path=PINNED, body=body)) == ["dynamic"]


@pytest.mark.parametrize("body", ["PERFORM 'EXECUTE';", "-- EXECUTE\n", "/* EXECUTE */", 'PERFORM "execute" FROM s.t;'])
def test_the_word_alone_is_not_dynamic_sql(body: str) -> None:
    assert rules(DEFINER.format(path=PINNED, body=body)) == []


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE t ();", "CREATE VIEW v AS SELECT 1;", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;"],
)
def test_what_is_made_names_its_schema(statement: str) -> None:
    assert rules(statement) == ["qualified"]


def test_nothing_read_is_not_clean_mig_14(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql_lint.main([str(tmp_path)]) == 4
    (tmp_path / "empty").mkdir()
    assert sql_lint.main([str(tmp_path)]) == 1
    assert "holds no migration" in capsys.readouterr().out


def test_a_finding_is_exit_1_and_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "0001_bad.sql").write_text("TRUNCATE s.t;")
    assert sql_lint.main([str(tmp_path)]) == 1
    assert "ledger/0001_bad.sql: destructive: TRUNCATE" in capsys.readouterr().out
