"""SQL lint: expand and contract, locks, staged NOT NULL, headers (MIG-02, MIG-03, MIG-05, MIG-06, MIG-07, MIG-09, MIG-13, NEG-34).

Each rule has what it refuses and, beside it, the way that it takes; ``squawk`` stands beside it in ``make lint``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate, Refused
from scripts import sql_headers, sql_lint
from scripts.sql_shape import History
from symphony import migrations
from symphony.migrations import NO_TRANSACTION
from tests.support.database import TestPostgres

OLD = "ledger/0004_x.sql"  # before headers were asked for
NEW = "ledger/0006_x.sql"
CONTRACT = "-- contract: dual-write since 0002, parity var/parity/t.json, days 14\n"
ROLLBACK = "-- rollback: traffic to the release before; the table stays\n"
HOT = "CREATE TABLE ledger.more (a int);"
COMPATIBLE = "-- compatibility: tests/ledger/test_postings.py\n"


def rules(text: str, name: str = OLD, earlier: History | None = None) -> list[str]:
    return [finding.rule for finding in sql_lint.lint_text(name, text, earlier)]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [("TRUNCATE s.t;", "destructive"), ("DROP TABLE s.t;", "destructive"), ("DROP SCHEMA s;", "destructive"),
     ("DROP TYPE s.e;", "destructive"), ("DROP VIEW s.v;", "destructive"), ("DROP FUNCTION s.f();", "destructive"),
     ("ALTER TABLE s.t DROP COLUMN c;", "destructive"), ("ALTER TABLE s.t RENAME TO u;", "rename"),
     ("ALTER TABLE s.t RENAME COLUMN a TO b;", "rename"), ("ALTER FUNCTION s.f() RENAME TO g;", "rename"),
     ("ALTER TABLE s.t SET SCHEMA u;", "rename")],
)  # fmt: skip
def test_what_takes_away_waits_for_a_contract_file_mig_06(statement: str, rule: str) -> None:
    assert rules(statement) == [rule]
    assert rules(CONTRACT + statement, "ledger/0004_contract_t.sql") == []


@pytest.mark.parametrize(
    "header",
    ["", "-- contract: soon\n", "-- contract: dual-write since 0004, parity p, days 14\n", "-- contract: dual-write since 0000, parity p, days 14\n",
     "-- contract: dual-write since 0002, parity , days 14\n", f"-- contract: dual-write since 0002, parity p, days {sql_headers.CONTRACT_DAYS_MIN - 1}\n",
     f"SELECT 1;\n{CONTRACT}"],
)  # fmt: skip
def test_a_contract_file_says_since_when_both_were_written_mig_09(header: str) -> None:
    assert rules(f"{header}DROP TABLE s.t;", "ledger/0004_contract_t.sql") == ["contract"]


@pytest.mark.parametrize(
    ("bad", "rule", "good"),
    [("ALTER COLUMN c TYPE bigint", "rewrite", "ADD COLUMN c_wide bigint"),
     ("ADD COLUMN c timestamptz DEFAULT clock_timestamp()", "rewrite", "ADD COLUMN c timestamptz"),
     ("ADD COLUMN c int GENERATED ALWAYS AS (a + 1) STORED", "rewrite", "ADD COLUMN c int DEFAULT -1"),
     ("SET UNLOGGED", "rewrite", "SET (fillfactor = 80)"),
     ("ADD COLUMN c int UNIQUE", "constraint", "ADD COLUMN c int"),
     ("ADD COLUMN c int REFERENCES s.u (a)", "constraint", "ADD COLUMN c int"),
     ("ADD CONSTRAINT k CHECK (a > 0)", "constraint", "ADD CONSTRAINT k CHECK (a > 0) NOT VALID"),
     ("ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.u (a)", "constraint", "ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.u (a) NOT VALID"),
     ("ADD CONSTRAINT k UNIQUE (a)", "constraint", "ADD CONSTRAINT k UNIQUE USING INDEX k_index"),
     ("ADD PRIMARY KEY (a)", "constraint", "ADD CONSTRAINT k PRIMARY KEY USING INDEX k_index"),
     ("ADD COLUMN c int NOT NULL", "not-null", "ADD COLUMN c int NOT NULL DEFAULT 0"),
     ("ADD COLUMN c int NOT NULL DEFAULT NULL::int", "not-null", "ADD COLUMN c text NOT NULL DEFAULT 'x'::text"),
     ("ALTER COLUMN c SET NOT NULL", "not-null", "ALTER COLUMN c DROP NOT NULL")],
)  # fmt: skip
def test_what_locks_or_rewrites_a_table_in_use_mig_05_mig_06(bad: str, rule: str, good: str) -> None:
    assert rules(f"ALTER TABLE s.t {bad};") == [rule]
    assert rules(f"{CONTRACT}ALTER TABLE s.t {bad};", "ledger/0004_contract_t.sql") == [rule], "contracting, too"
    assert rules(f"ALTER TABLE s.t {good};") == []
    assert rules(f"CREATE TABLE s.t (a int); ALTER TABLE s.t {bad};") == [], "a table of the same file has no users"


@pytest.mark.parametrize(
    "statement",
    ["CREATE INDEX i ON s.t (a);", "CREATE UNIQUE INDEX i ON s.t (a);", "DROP INDEX s.i;", "REINDEX INDEX s.i;"],
)
def test_an_index_of_a_table_in_use_is_built_concurrently_mig_06(statement: str) -> None:
    assert rules(statement) == ["index"]
    quiet = (
        statement.replace("INDEX", "INDEX CONCURRENTLY", 1)
        if "REINDEX" not in statement
        else "REINDEX INDEX CONCURRENTLY s.i;"
    )
    assert rules(f"{NO_TRANSACTION}\n{quiet}") == []


def test_only_a_partitioned_table_takes_an_index_on_itself_alone() -> None:
    history = History()
    statement = "CREATE INDEX i ON ONLY s.t (a);"
    assert rules(statement, earlier=history) == ["index"]
    assert rules("CREATE TABLE s.t (a int) PARTITION BY RANGE (a);", earlier=history) == []
    assert rules(statement, earlier=history) == []


STAGES = ("ALTER TABLE s.t ADD CONSTRAINT k CHECK (c IS NOT NULL) NOT VALID;", "ALTER TABLE s.t VALIDATE CONSTRAINT k;")
SET = "ALTER TABLE s.t ALTER COLUMN c SET NOT NULL;"


@pytest.mark.parametrize(
    ("files", "clean"),
    [(STAGES, True), ((), False), (STAGES[:1], False), ((*STAGES, "ALTER TABLE s.t DROP CONSTRAINT k;"), False),
     ((STAGES[0].replace("(c", "(d"), STAGES[1]), False), ((STAGES[0].replace("IS NOT", "IS"), STAGES[1]), False),
     ((STAGES[0].replace("s.t", "s.u"), STAGES[1].replace("s.t", "s.u")), False)],
    ids=["staged", "at once", "not validated", "dropped again", "another column", "the opposite", "another table"],
)  # fmt: skip
def test_not_null_comes_in_stages_mig_05(files: tuple[str, ...], clean: bool) -> None:
    history = History()
    assert [rules(text, earlier=history) for text in files] == [[] for _ in files]
    assert rules(SET, earlier=history) == ([] if clean else ["not-null"])


def test_the_stages_of_one_file_are_none_mig_05() -> None:
    assert rules(" ".join((*STAGES, SET)), earlier=History()) == ["not-null"]


@pytest.mark.parametrize(
    ("text", "works"),
    [("CREATE INDEX CONCURRENTLY i ON demo.t (n);", False), (f"\n{NO_TRANSACTION}\nCREATE INDEX CONCURRENTLY i ON demo.t (n);", False),
     (f"{NO_TRANSACTION}\nCREATE INDEX CONCURRENTLY i ON demo.t (n); CREATE INDEX CONCURRENTLY j ON demo.t (n);", False),
     (f"{NO_TRANSACTION}\nBEGIN;", False), ("BEGIN; COMMIT;", False), (f"{NO_TRANSACTION}\nCREATE INDEX CONCURRENTLY i ON demo.t (n);", True)],
)  # fmt: skip
def test_lint_and_runner_refuse_the_same_mig_07_neg_34(
    postgres: TestPostgres, tmp_path: Path, text: str, works: bool
) -> None:
    database = postgres.empty_database("ledger")
    (tmp_path / "0001_t.sql").write_text("CREATE SCHEMA demo; CREATE TABLE demo.t (n int);")
    (tmp_path / "0002_i.sql").write_text(text)
    assert bool(set(rules(text)) & {"concurrently", "transaction"}) is not works
    if works:
        assert migrations.apply(database.owner, tmp_path) == ["0001_t", "0002_i"]
    else:
        with pytest.raises((Refused, CannotEvaluate)):
            migrations.apply(database.owner, tmp_path)


@pytest.mark.parametrize("header", ["", "-- rollback:\n", "-- rollback: none\n", f"SELECT 1;\n{ROLLBACK}"])
def test_a_new_file_says_how_operation_goes_back_mig_03(header: str) -> None:
    text = "CREATE TABLE s.t (a int);"
    assert rules(header + text, NEW) == ["rollback"]
    assert rules(ROLLBACK + text, NEW) == []
    assert rules(text, OLD) == [], "applied files are immutable"
    assert rules(text, "custody/0001_x.sql") == ["rollback"], "a database to come has no files before the rule"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "-- compatibility: yes\n",
        "-- compatibility: tests/none.py\n",
        "-- compatibility: tests/ledger/test_postings.py::test_none\n",
    ],
)
def test_a_file_on_hot_tables_names_its_test_mig_13(header: str) -> None:
    assert rules(ROLLBACK + header + HOT, NEW) == ["compatibility"]
    assert rules(ROLLBACK + COMPATIBLE + HOT, NEW) == []


@pytest.mark.parametrize(
    ("text", "hot"),
    [("ALTER TABLE symphony.payment_outbox_pending ADD COLUMN c int;", True), ("SELECT 1; -- ledger.lines", False),
     ("CREATE FUNCTION s.f() RETURNS void LANGUAGE sql AS $$ DELETE FROM symphony.payment_terminals $$;", True),
     ("GRANT SELECT ON ledger . lines TO r;", True), ("SELECT symphony.enqueue_payment_outbox();", False)],
)  # fmt: skip
def test_a_hot_table_is_found_wherever_it_stands_mig_13(text: str, hot: bool) -> None:
    assert bool(sql_headers.hot_tables(text)) is hot


def test_a_file_that_does_not_parse_is_a_finding_mig_14(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "0001_bad.sql").write_text("CREATE TABEL s.t ();")
    assert sql_lint.main([str(tmp_path)]) == 1
    assert "syntax" in capsys.readouterr().out


def test_the_rule_begins_after_what_is_applied(root: Path) -> None:
    """The threshold cannot be moved up past files that came after it without this test being seen."""
    assert sql_headers.BEFORE_THE_RULE == {"controlplane": 2, "sidecar": 7, "ledger": 5}
    assert all((root / "migrations" / kind).is_dir() for kind in sql_headers.BEFORE_THE_RULE)
