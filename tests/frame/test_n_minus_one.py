"""N-1 both ways (MIG-04, MIG-14, INV-020, INV-N1-01), on toy repositories of two commits; the real one is `make n1`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import n_minus_one, n_minus_one_run
from tests.support.database import TestPostgres

FIRST = "-- The first.\nCREATE TABLE t (a int NOT NULL, b int NOT NULL DEFAULT 7);\n"
OLD_TEST = """
import os, psycopg
from pathlib import Path

def test_it_writes_and_reads():
    with psycopg.connect(os.environ["TOY_URL"], options="-c search_path=toy") as connection:
        connection.execute("DROP SCHEMA IF EXISTS toy CASCADE; CREATE SCHEMA toy")
        for path in sorted(Path("migrations/ledger").glob("*.sql")):
            connection.execute(path.read_text())
        assert connection.execute("INSERT INTO t (a) VALUES (1) RETURNING b").fetchone() == (7,)
"""
NEEDS = '\nimport pytest\n\n@pytest.mark.needs_schema("ledger", 2)\ndef test_the_new_column():\n    assert len(list(Path("migrations/ledger").glob("*.sql"))) == 2\n'
UNMARKED = NEEDS.replace('@pytest.mark.needs_schema("ledger", 2)\n', "")


class Toy:
    """A repository with one migration and one test, its first commit named as the last release."""

    def __init__(self, folder: Path, hook: Path) -> None:
        self.folder = folder
        self.write("migrations/ledger/0001_t.sql", FIRST)
        self.write("tests/test_toy.py", OLD_TEST)
        self.write("conftest.py", hook.read_text())
        self.write("pytest.ini", "[pytest]\nmarkers =\n    needs_schema(kind, version): waits\n    long: long\n")
        self.write("invariants/N_MINUS_1_TESTS", "# what runs\ntests/test_toy.py\n")
        self.git("init", "-q")
        self.commit()
        self.write("invariants/LAST_RELEASE", f"# the release\n{self.git('rev-parse', 'HEAD').strip()}\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("-c", "user.name=n", "-c", "user.email=n@localhost", "commit", "-q", "-m", "x")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *words], capture_output=True, text=True, check=True)
        return done.stdout

    def run(self) -> tuple[int, dict[str, dict[str, object]]]:
        """The exit code, and the report by direction."""
        (self.folder / n_minus_one.REPORT).unlink(missing_ok=True)
        code = n_minus_one.main([], self.folder, workers=0)
        path = self.folder / n_minus_one.REPORT
        document = json.loads(path.read_text()) if path.is_file() else {"directions": []}
        return code, {one["direction"]: one for one in document["directions"]}


@pytest.fixture
def toy(tmp_path: Path, root: Path) -> Toy:
    return Toy(tmp_path / "toy", root / "tests" / "support" / "needs_schema.py")


@pytest.fixture
def live(postgres: TestPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_URL", postgres.empty_database("ledger").admin)


@pytest.mark.usefixtures("live")
def test_the_same_schema_is_said_and_run_all_the_same(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = toy.run()
    assert (code, report["old-on-new"]["passed"], report["new-on-old"]["passed"]) == (0, 1, 1)
    assert n_minus_one.SAME in capsys.readouterr().out


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("ALTER TABLE t ADD COLUMN c int;", ""),
        ("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0; CREATE INDEX ON t (c);", ""),
        ("ALTER TABLE t ADD COLUMN c int NOT NULL;", "not-null constraint"),
        ("ALTER TABLE t DROP COLUMN b;", 'column "b" does not exist'),
        ("ALTER TABLE t RENAME COLUMN a TO z;", 'column "a" of relation "t" does not exist'),
    ],
)
def test_an_unknown_column_or_a_not_null_violation_blocks_mig_04(toy: Toy, change: str, broken: str) -> None:
    """INV-020, INV-N1-01: the last release's own test, on the schema of today."""
    toy.write("migrations/ledger/0002_change.sql", change)
    code, report = toy.run()
    failed = report["old-on-new"]["failed"]
    assert code == (1 if broken else 0), report
    assert report["new-on-old"]["failed"] == [], "the new code was not changed, and the old schema is its own"
    assert broken in str(failed)
    assert bool(failed) is bool(broken)


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(("test", "code"), [(NEEDS, 0), (UNMARKED, 1)], ids=["says so", "does not"])
def test_new_code_on_the_old_schema_says_what_it_needs_mig_04(toy: Toy, test: str, code: int) -> None:
    toy.write("migrations/ledger/0002_c.sql", "ALTER TABLE t ADD COLUMN c int;")
    toy.write("tests/test_toy.py", OLD_TEST + test)
    got, report = toy.run()
    assert got == code
    newer = report["new-on-old"]["needs_newer"]
    assert ("needs schema ledger 2" in str(newer)) is (code == 0)
    assert (report["new-on-old"]["failed"] == []) is (code == 0)
    assert (report["old-on-new"]["passed"], report["old-on-new"]["needs_newer"]) == (1, []), (
        "its own tests, not today's"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n", 1), ("def test_a(): assert False\n", 1), ("import nothing_such\n", 1),
     ("x = 1\n", 4)],
    ids=["skipped", "failed", "broken", "none"],
)  # fmt: skip
def test_skipped_failed_broken_or_absent_is_never_green_mig_14(toy: Toy, body: str, code: int) -> None:
    toy.write("tests/test_toy.py", body)
    toy.commit()
    toy.write("invariants/LAST_RELEASE", toy.git("rev-parse", "HEAD"))
    assert toy.run()[0] == code


def test_a_listed_path_that_is_absent_or_silent_is_an_error_mig_14(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write("tests/test_toy.py", "def test_a(): pass\n")
    toy.write("tests/test_silent.py", "x = 1\n")
    for line, said in (
        ("tests/test_gone.py", "are not there"),
        ("tests/test_silent.py", "no test of tests/test_silent.py"),
    ):
        toy.write("invariants/N_MINUS_1_TESTS", f"tests/test_toy.py\n{line}\n")
        toy.commit()
        toy.write("invariants/LAST_RELEASE", toy.git("rev-parse", "HEAD"))
        assert (toy.run(), said in capsys.readouterr().out) == ((3, {}), True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "must hold one commit hash"), ("main", "must hold one"), (f"{'a' * 40}\n{'b' * 40}", "must hold one"), ("f7125b1", "must hold one"),
     ("0" * 40, "fetch the history")],
)  # fmt: skip
def test_a_release_that_is_not_named_or_not_there_is_exit_3(
    toy: Toy, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write("invariants/LAST_RELEASE", text)
    assert toy.run()[0] == 3
    assert said in capsys.readouterr().out


def test_a_commit_that_a_shallow_clone_lacks_is_fetched_once(toy: Toy, tmp_path: Path) -> None:
    commit = toy.git("rev-parse", "HEAD").strip()
    toy.commit()
    toy.git("config", "uploadpack.allowAnySHA1InWant", "true")
    shallow = tmp_path / "shallow"
    toy.git("clone", "-q", "--depth", "1", f"file://{toy.folder}", str(shallow))
    absent = subprocess.run(["git", "-C", str(shallow), "cat-file", "-e", commit], capture_output=True, check=False)
    assert absent.returncode != 0
    n_minus_one.demand_commit(shallow, commit)
    shutil.rmtree(toy.folder)
    n_minus_one.demand_commit(shallow, commit)


def test_one_direction_has_a_report_of_its_own(toy: Toy) -> None:
    toy.write("tests/test_toy.py", "def test_a(): pass\n")
    assert n_minus_one.main(["green"], toy.folder, workers=0) == 0
    document = json.loads((toy.folder / "var/n1/report-green.json").read_text())
    assert [one["direction"] for one in document["directions"]] == ["new-on-old"]
    assert n_minus_one.main(["sideways"], toy.folder) == 2


def test_what_is_left_out_has_a_reason(toy: Toy) -> None:
    toy.write("invariants/N_MINUS_1_TESTS", "tests/test_toy.py\n- tests/test_toy.py::test_x: it counts columns\n")
    assert n_minus_one_run.selection(toy.folder).left_out == {"tests/test_toy.py::test_x": "it counts columns"}
    toy.write("invariants/N_MINUS_1_TESTS", "tests/test_toy.py\n- tests/test_toy.py::test_x\n")
    with pytest.raises(n_minus_one_run.CouldNotRun, match="without a reason"):
        n_minus_one_run.selection(toy.folder)


def test_what_the_old_release_gets_wrong_is_left_out_of_its_own_run_only(toy: Toy) -> None:
    (toy.folder / n_minus_one_run.TESTS).write_text("tests/test_toy.py\n- old tests/test_toy.py::test_x: it reads the wall clock\n")
    chosen = n_minus_one_run.selection(toy.folder)
    assert (chosen.left_out, chosen.left_out_of_old) == ({}, {"tests/test_toy.py::test_x": "it reads the wall clock"})
    of_old = n_minus_one._of_the_release(toy.folder, toy.folder)
    assert of_old.left_out == chosen.left_out_of_old


def test_our_own_release_and_list_are_there(root: Path) -> None:
    """The real run is `make n1`; here only that it has something to run."""
    n_minus_one.demand_commit(root, n_minus_one.last_release(root))
    chosen = n_minus_one_run.selection(root)
    assert len(chosen.paths) > 15
    assert all((root / path).exists() for path in chosen.paths)
    assert all((root / node.partition("::")[0]).is_file() for node in chosen.left_out)
