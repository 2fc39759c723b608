"""The gate in a repository that is not ours: its manifest, its databases, its Rego, tests and programs; ``init``, ``new``, ``changed``."""

from __future__ import annotations

import io
import json
import re
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import yaml
from psycopg import sql

from symphony.cli import main
from symphony.invariants import load_manifest
from symphony.invariants.databases import _environment
from symphony.invariants.sources import named
from tests.support.database import TestPostgres

CLOSED = "REVOKE ALL ON SCHEMA public FROM PUBLIC;\nDO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$;\n"
PAYMENT = "CREATE TABLE public.payment (id bigint PRIMARY KEY, amount_minor bigint NOT NULL);\n"


class Answer(NamedTuple):
    exit_code: int
    stdout: str
    output: str


def asked(*words: str) -> Answer:
    """As a user types it, errors told as a user sees them."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        code = main(["invariants", *words])
    return Answer(code, out.getvalue(), out.getvalue() + errors.getvalue())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with two migrations and what ``init`` wrote; the working folder."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "1_payment.sql").write_text(PAYMENT)
    (tmp_path / "db" / "2_closed.sql").write_text(CLOSED)
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    answer = asked("init", "--migrations", "db", "--ci", "github", "--ci", "gitlab", "--ci", "pre-commit")
    assert answer.exit_code == 0, answer.output
    return tmp_path


@pytest.fixture
def server(postgres: TestPostgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A throwaway server, as a CI names it: fresh databases are made there, which takes no second."""
    monkeypatch.setenv("SYMPHONY_SERVER_URL", postgres.cluster.admin_url())
    return postgres.cluster.admin_url()


def add(root: Path, verified_by: str, identifier: str = "INV-OWN-01") -> None:
    path = root / "invariants" / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text() + (
        f"\n  - id: {identifier}\n    aliases: []\n    pillar: immutability\n    status: implemented\n    severity: P0\n    title: Something of ours\n"
        f"    owners: [us]\n    sla_days: 3\n    enforced_by: [db]\n    verified_by: [\"{verified_by}\"]\n    evidence: [evidence/{identifier}.json]\n"
    ))  # fmt: skip


def results(answer: Answer) -> dict[str, str]:
    return {one["id"]: one["result"] for one in json.loads(answer.stdout)["results"]}


def live(postgres: TestPostgres, root: Path, name: str) -> str:
    """A database in production: the same files, applied by hand."""
    with psycopg.connect(postgres.cluster.admin_url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.cluster.admin_url(name)
    with psycopg.connect(url, autocommit=True) as connection:
        for path in sorted((root / "db").glob("*.sql")):
            connection.execute(path.read_bytes())
    return url


def test_init_writes_what_passes_and_never_over_what_is_there(repository: Path, server: str) -> None:
    answer = asked("check", "-o", "json")
    assert answer.exit_code == 0, answer.output
    assert set(results(answer).values()) == {"PASS"}
    before = {path: path.read_bytes() for path in repository.rglob("*.y*ml")}
    (repository / ".pre-commit-config.yaml").write_text("repos: []\n")
    again = asked("init", "--migrations", "db", "--ci", "pre-commit")
    assert again.exit_code == 0
    assert again.output.count("there already") == 4
    assert (repository / ".pre-commit-config.yaml").read_text() == "repos: []\n"
    assert {path: path.read_bytes() for path in before if path.name != ".pre-commit-config.yaml"} == {
        path: data for path, data in before.items() if path.name != ".pre-commit-config.yaml"
    }


def test_the_files_for_ci_are_yaml_and_name_commands_that_exist(repository: Path) -> None:
    github = yaml.safe_load((repository / ".github/workflows/invariants.yml").read_text())
    gitlab = yaml.safe_load((repository / ".gitlab/invariants.gitlab-ci.yml").read_text())
    hook = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    lines = [step["run"] for step in github["jobs"]["gate"]["steps"] if "run" in step] + gitlab["invariants"]["script"] + [hook["entry"]]
    commands = [words for line in lines for words in re.findall(r"symphony (invariants [^>;\"]*)", line)]
    assert len(commands) == 5
    for words in commands:
        name = words.split()[1]
        text = asked(name, "--help")
        assert text.exit_code == 0
        assert all(option in text.output for option in re.findall(r"--[a-z-]+", words)), words


@pytest.mark.parametrize(
    "words",
    [["--migrations", "nowhere"], ["--migrations", "../x"], ["--migrations", "db", "--database", "A b"], ["--migrations", "db", "--owner", "a: b"],
     ["--migrations", "db", "--files", "*.none"]],
)  # fmt: skip
def test_init_with_words_that_do_not_fit_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "1.sql").write_text(PAYMENT)
    monkeypatch.chdir(tmp_path)
    answer = asked("init", *words)
    assert answer.exit_code in {1, 3}
    assert not (tmp_path / "invariants").exists()
    assert "Traceback" not in answer.output


def test_each_break_of_the_repository_turns_its_own_red(repository: Path, server: str) -> None:
    bad = {
        "INV-002": "BEGIN; COMMIT;", "INV-005": "GRANT SELECT ON public.payment TO PUBLIC;", "INV-006": "GRANT CREATE ON SCHEMA public TO PUBLIC;",
        "INV-008": "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; REVOKE ALL ON FUNCTION public.f() FROM PUBLIC;",
        "INV-009": "CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS "
                   "$$ BEGIN EXECUTE 'SELECT 1'; END $$; REVOKE ALL ON FUNCTION public.f() FROM PUBLIC;",
        "INV-DDL-01": "ALTER TABLE public.payment ADD COLUMN note text NOT NULL;", "INV-KEY-01": "CREATE TABLE public.log (line text);",
    }  # fmt: skip
    red = {}
    for name, statement in bad.items():
        (repository / "db" / "3_bad.sql").write_text(statement)
        answer = asked("check", "-o", "json")
        assert answer.exit_code == 1, answer.output
        red[name] = {identifier for identifier, result in results(answer).items() if result != "PASS"}
    # a schema that PUBLIC may create in is a right of PUBLIC as well
    assert red == {name: {name} | ({"INV-005"} if name == "INV-006" else set()) for name in bad}


def test_a_second_database_is_looked_at_by_the_checks_of_all_and_one_that_nobody_looks_at_is_refused(repository: Path, server: str) -> None:
    (repository / "hub").mkdir()
    (repository / "hub" / "1.sql").write_text("CREATE TABLE public.hub (n int);\n")
    path = repository / "invariants" / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text().replace("databases:\n", "databases:\n  hub:\n    migrations: hub\n", 1))
    answer = asked("check", "--only", "INV-005", "-o", "json")
    assert (answer.exit_code, "hub: PUBLIC" in answer.output) == (1, True)
    path.write_text(path.read_text().replace("sql:all-databases:*", "sql:all-databases:app"))
    answer = asked("check", "--only", "INV-005")
    assert (answer.exit_code, "no check looks at the database hub" in answer.output) == (1, True)


def test_a_report_that_goes_to_a_file_leaves_what_failed_in_the_log(repository: Path, server: str) -> None:
    (repository / "db" / "3_bad.sql").write_text("CREATE TABLE public.log (line text);")
    for form in ("sarif", "junit"):
        answer = asked("check", "-o", form)
        assert "INV-KEY-01" in answer.output.removeprefix(answer.stdout)
        assert "no primary key" in answer.output.removeprefix(answer.stdout)


def test_the_repository_proves_its_own_gate(repository: Path, server: str) -> None:
    """What `init` wrote names every invariant that it wrote, and breaks each."""
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one"], cwd=repository, check=True)
    done = asked("prove", "-o", "json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert {one["verdict"] for one in document["mutations"]} == {"killed"}
    assert document["without_mutation"] == []
    assert all(document["kills"].values())
    path = repository / "invariants" / "mutations" / "app.yml"
    path.write_text(path.read_text().replace("database: app", "database: other", 1))
    assert asked("prove").exit_code == 1, "a mutation of a database that is none"


def test_a_live_database_is_compared_with_what_the_migrations_make(repository: Path, server: str, postgres: TestPostgres) -> None:
    url = live(postgres, repository, "own_live")
    same = asked("check", "--database-url", f"app={url}", "-o", "json", "--evidence", str(repository / "evidence"))
    assert same.exit_code == 0, same.output
    assert results(same)["INV-004"] == "PASS"
    assert json.loads((repository / "evidence" / "INV-004.json").read_text())["environment"] == "live"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE public.payment ADD COLUMN by_hand text")
    assert results(asked("check", "--database-url", url, "-o", "json"))["INV-004"] == "FAIL"
    drift = asked("drift", "--database-url", f"app={url}")
    assert (drift.exit_code, "by_hand" in drift.output) == (1, True), drift.output


def test_an_empty_or_unreachable_live_database_is_never_a_pass(repository: Path, server: str, postgres: TestPostgres) -> None:
    with psycopg.connect(postgres.cluster.admin_url(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS own_empty")
        connection.execute("CREATE DATABASE own_empty")
    for url in (postgres.cluster.admin_url("own_empty"), "postgresql://127.0.0.1:1/none"):
        answer = asked("check", "--database-url", f"app={url}", "--only", "INV-005")
        assert answer.exit_code == 3, answer.output
    for words in (["app"], ["other=postgresql://x"], ["app=postgresql://a", "app=postgresql://b"]):
        answer = asked("check", *(part for word in words for part in ("--database-url", word)))
        assert (answer.exit_code, "NAME=URL" in answer.output or "twice" in answer.output) == (2, True)


def test_rego_commands_and_tests_of_the_repository_run_when_asked_for(repository: Path, server: str) -> None:
    (repository / "rules").mkdir()
    (repository / "rules" / "a_test.rego").write_text("package a_test\n\nimport rego.v1\n\ntest_a if 1 == 1\n")
    (repository / "check.sh").write_text("#!/bin/sh\nexit ${1:-0}\n")
    (repository / "check.sh").chmod(0o755)
    (repository / "tests").mkdir()
    (repository / "tests" / "test_ours.py").write_text("def test_ours(): pass\n")
    add(repository, "rego:rules", "INV-OWN-01")
    add(repository, "command:./check.sh 0", "INV-OWN-02")
    add(repository, "command:./check.sh 1", "INV-OWN-03")
    add(repository, "command:./check.sh 9", "INV-OWN-04")
    add(repository, "command:no-such-program", "INV-OWN-05")
    add(repository, "pytest:tests/test_ours.py::test_ours", "INV-OWN-06")
    only = [part for n in range(1, 7) for part in ("--only", f"INV-OWN-0{n}")]
    assert asked("check", *only).exit_code == 4, "nothing of it runs unasked"
    found = results(asked("check", *only, "--with-tests", "-o", "json"))
    assert list(found.values()) == ["PASS", "PASS", "FAIL", "ERROR", "ERROR", "PASS"]


def test_what_is_named_and_not_there_is_refused_before_anything_runs(repository: Path) -> None:
    for verified_by in ("rego:nowhere", "command:./gone.sh", "command:tools.gone", "sql:app:app", "pytest:tests/test_gone.py"):
        was = (repository / "invariants" / "INVARIANTS_MANIFEST.yml").read_text()
        add(repository, verified_by)
        answer = asked("check")
        assert (answer.exit_code, "not there" in answer.output) == (1, True), (verified_by, answer.output)
        (repository / "invariants" / "INVARIANTS_MANIFEST.yml").write_text(was)


def test_a_new_invariant_is_an_error_until_its_check_is_written(repository: Path, server: str) -> None:
    words = ["--title", "Amounts: \"positive\"", "--pillar", "transactional-integrity", "--enforced-by", "db"]
    answer = asked("new", "INV-PAY-001", *words)
    assert answer.exit_code == 0, answer.output
    assert load_manifest(repository / "invariants").get("INV-PAY-001").title == 'Amounts: "positive"'
    assert asked("check", "--only", "INV-PAY-001").exit_code == 3
    assert asked("new", "INV-PAY-001", *words).exit_code == 1


@pytest.mark.parametrize("change", [["lower-case"], ["INV-PAY-002", "--enforced-by", "nowhere"]])
def test_a_new_invariant_that_does_not_fit_leaves_both_files_as_they_were(repository: Path, change: list[str]) -> None:
    before = {path: path.read_bytes() for path in (repository / "invariants").rglob("*") if path.is_file()}
    answer = asked("new", *change[:1], "--title", "Amounts", "--pillar", "immutability", *(change[1:] or ["--enforced-by", "db"]))
    assert answer.exit_code == 1, answer.output
    assert {path: path.read_bytes() for path in (repository / "invariants").rglob("*") if path.is_file()} == before


EXCEPTED = """
exceptions:
  - invariant: INV-004
    owner: us
    reason: a column for a trial
    ticket: T-7
    compensating_control: reviewed by hand
    granted: {granted}
    expires: {expires}
    paths: ["db/*"]
"""


def test_a_structural_change_needs_an_invariant_or_an_exception_in_force(repository: Path) -> None:
    """MIG-12."""
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one"], cwd=repository, check=True)
    assert asked("changed", "--since", "HEAD").exit_code == 0
    (repository / "db" / "3_more.sql").write_text("ALTER TABLE public.payment ADD COLUMN note text;\n")
    assert asked("changed", "--since", "HEAD").exit_code == 1
    manifest = repository / "invariants" / "INVARIANTS_MANIFEST.yml"
    was = manifest.read_text()
    today = datetime.now(UTC).date()
    for first, last, code in ((0, 5, 0), (-20, -1, 1), (1, 5, 1)):
        manifest.write_text(was + EXCEPTED.format(granted=today + timedelta(days=first), expires=today + timedelta(days=last)))
        answer = asked("changed", "--since", "HEAD")
        assert answer.exit_code == code, (first, last, answer.output)
    assert asked("changed", "--since", "no-such-commit").exit_code == 3


def test_the_nearest_manifest_above_is_meant_and_one_that_is_named_wins(repository: Path, tmp_path_factory: pytest.TempPathFactory,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (repository / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(repository / "deep" / "er")
    assert "INV-KEY-01" in asked("list").output
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "INV-KEY-01" not in asked("list").output, "Symphony's own"
    assert "INV-KEY-01" in asked("list", "--manifest", str(repository / "invariants")).output
    empty = asked("list", "--manifest", str(tmp_path_factory.mktemp("empty")))
    assert (empty.exit_code, "INVARIANTS_MANIFEST.yml" in empty.output) == (3, True)


def test_of_symphonys_own_a_part_of_the_databases_may_be_looked_at_and_the_rest_is_said(postgres: TestPostgres) -> None:
    """A deployment has its databases in several networks; what nobody looked at is named, and never signed for."""
    ledger = postgres.new_database("ledger")
    answer = asked("check", "--database-url", f"ledger={ledger.admin}", "--only", "INV-005", "--only", "INV-014", "-o", "json")
    document = json.loads(answer.stdout)
    assert answer.exit_code == 0, answer.output
    assert [one["ran"] for one in document["results"]] == [["sql:all-databases:ledger"]]
    assert document["not_looked_at"] == ["controlplane", "sidecar"]
    assert [one["id"] for one in document["skipped"]] == ["INV-014"]
    assert asked("check", "--server-url", "postgresql://x", "--only", "INV-005").exit_code == 2


def test_a_password_never_stands_on_a_command_line() -> None:
    found = _environment("postgresql://u:secret@127.0.0.1:1/d?sslmode=require")
    assert (found["PGPASSWORD"], found["PGSSLMODE"], found["PGDATABASE"]) == ("secret", "require", "d")


def test_a_git_repository_without_a_manifest_is_never_judged_by_symphonys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIG-14: a gate that was moved away, or a run in a wrong folder of a monorepo, is not green."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for words in (["check"], ["list"], ["changed", "--since", "HEAD"]):
        answer = asked(*words)
        assert answer.exit_code == 3, answer.output
        assert "symphony invariants init" in answer.output, answer.output


def test_a_fault_of_the_manifest_says_what_to_do(repository: Path) -> None:
    path = repository / "invariants" / "INVARIANTS_MANIFEST.yml"
    for content, said in (("", "is empty"), (path.read_text().replace("pillar: immut", "pilar: immut", 1), "pilar")):
        path.write_text(content)
        answer = asked("check")
        assert answer.exit_code == 1
        assert said in answer.output
        assert "docs/reference/invariants-manifest.md" in answer.output


@pytest.mark.parametrize("given", ["app=postgresql+psycopg://u@h/d", "postgresql+psycopg2://u@h/d", "app=postgres+asyncpg://u@h/d"])
def test_a_url_as_sqlalchemy_writes_it_is_taken(given: str) -> None:
    assert named([given], frozenset({"app"})) == {"app": "postgresql://u@h/d"}


def test_what_is_no_url_is_usage_and_its_words_are_not_repeated(repository: Path) -> None:
    """A password in a mistyped URL is not printed."""
    answer = asked("drift", "--database-url", "app=postgrseql://u:geheim@h/d")
    assert answer.exit_code == 2
    assert "postgresql://" in answer.output
    assert "geheim" not in answer.output


def test_migrations_that_are_no_sql_or_not_utf_8_could_not_be_judged(repository: Path, server: str) -> None:
    """INV-002, INV-DDL-01: Python of alembic is not read as if it were SQL, and no file is passed over."""
    latin = repository / "db" / "3_latin.sql"
    latin.write_bytes(b"-- gr\xfc\xdfe\nSELECT 1;\n")
    answer = asked("check", "--only", "INV-002", "--only", "INV-DDL-01")
    assert answer.exit_code == 3, answer.output
    assert answer.output.count("db/3_latin.sql is not UTF-8 (byte 5)") == 2, answer.output
    latin.unlink()
    (repository / "db" / "0001_a.py").write_text("revision = '0001'\n")
    path = repository / "invariants" / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text().replace('files: "*.sql"', 'files: "*.py"\n    apply: "true"'))
    answer = asked("check", "--only", "INV-002", "--only", "INV-DDL-01")
    assert answer.exit_code == 3, answer.output
    assert answer.output.count("db/0001_a.py is no SQL: only true can read it") == 2, answer.output


def test_a_byte_order_mark_hides_no_transaction(repository: Path, server: str) -> None:
    """INV-002: an editor of Windows begins a file with one, and psql leaves it out."""
    (repository / "db" / "3_bom.sql").write_bytes(b"\xef\xbb\xbfBEGIN;\r\nSELECT 1;\r\nCOMMIT;\r\n")
    answer = asked("check", "--only", "INV-002")
    assert answer.exit_code == 1, answer.output
    assert "db/3_bom.sql: BEGIN" in answer.output, answer.output


def test_init_in_a_folder_of_a_bigger_repository_writes_for_ci_where_ci_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = tmp_path / "services" / "pay"
    (service / "db").mkdir(parents=True)
    (service / "db" / "1.sql").write_text(PAYMENT)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(service)
    answer = asked("init", "--migrations", "./db/", "--ci", "github", "--ci", "gitlab", "--ci", "pre-commit")
    assert answer.exit_code == 0, answer.output
    assert "include:" in answer.output
    assert "migrations: db\n" in (service / "invariants" / "INVARIANTS_MANIFEST.yml").read_text()
    for place in (".github/workflows/invariants-services-pay.yml", ".gitlab/invariants-services-pay.gitlab-ci.yml", ".pre-commit-config.yaml"):
        text = (tmp_path / place).read_text()
        assert not (service / place).exists()
        assert yaml.safe_load(text)
        assert "invariants check --manifest services/pay/invariants" in text
    hook = yaml.safe_load((tmp_path / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    assert re.search(hook["files"], "services/pay/db/2.sql")


def test_init_takes_no_folder_outside_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.sql").write_text(PAYMENT)
    monkeypatch.chdir(tmp_path)
    assert asked("init", "--migrations", str(tmp_path)).exit_code == 1
    assert not (tmp_path / "invariants").exists()
