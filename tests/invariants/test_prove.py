"""``symphony invariants prove``: what it says of a mutation that is not what it names, and when it can say nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner, Result

from contracts.errors import CannotEvaluate, Refused
from symphony.cli import cli
from symphony.commands.prove import prove as command
from symphony.invariants import Manifest, scratch
from symphony.invariants.mutations import Mutation, load_mutations, uncovered
from symphony.invariants.prove import KILLED, OVERKILL, SURVIVED, UNMOVED, Proof, prove
from tests.invariants.support import run
from tests.support.database import TestPostgres

TRIGGER, GRANT = "attempts-trigger-dropped", "public-reads-tokens"


@pytest.fixture(scope="module")
def mutations(manifest: Manifest) -> dict[str, Mutation]:
    return {one.id: one for one in load_mutations(manifest)}


@pytest.fixture
def ask(whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch):
    """``symphony invariants prove …`` on databases that are there already."""

    @contextmanager
    def ready() -> Iterator[Mapping[str, str]]:
        yield whole

    monkeypatch.setattr("symphony.stack.gate.fresh_urls", ready)
    return lambda *words: CliRunner().invoke(cli, ["invariants", "prove", *words])


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    """These mutations are the ones of the folder."""
    return lambda *ones: monkeypatch.setattr("symphony.commands.prove.load_mutations", lambda _manifest: tuple(ones))


def test_it_makes_a_cluster_of_its_own_and_tries_each_kind() -> None:
    """A statement, a function's body, a file; INV-001, INV-003, NEG-34."""
    words = ["--only", TRIGGER, "--only", "claim-waits", "--only", "applied-migration-edited", "-o", "json"]
    done = CliRunner().invoke(cli, ["invariants", "prove", *words])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {one["id"]: (one["verdict"], one["red"]) for one in document["mutations"]} == {
        TRIGGER: (KILLED, ["INV-004", "INV-014", "INV-029"]),
        "claim-waits": (KILLED, ["INV-004", "INV-012"]),
        "applied-migration-edited": (KILLED, ["INV-001", "INV-003"]),
    }


def test_by_the_id_of_an_invariant_or_its_alias(ask) -> None:
    done: Result = ask("--only", "I-OB-02", "-o", "json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {one["id"] for one in document["mutations"]} == {"claim-waits", "claim-takes-what-is-not-due"}
    assert document["kills"] == {"INV-012": 2}


def test_a_named_id_that_stays_green_is_a_survivor(ask, given, mutations: dict[str, Mutation]) -> None:
    given(replace(mutations[TRIGGER], red=mutations[TRIGGER].red | {"INV-018"}))
    done: Result = ask("--only", TRIGGER)
    assert done.exit_code == 1
    assert f"{SURVIVED} {TRIGGER}" in done.output
    assert "stayed green: INV-018" in done.output


def test_an_id_that_was_not_named_and_turns_red_is_overkill(ask, given, mutations: dict[str, Mutation]) -> None:
    given(replace(mutations[TRIGGER], red=frozenset({"INV-014"})))
    done: Result = ask("--only", TRIGGER)
    assert done.exit_code == 1
    assert f"{OVERKILL} {TRIGGER}" in done.output
    assert "turned red, not named: INV-029" in done.output


@pytest.mark.parametrize(("name", "drift", "word"), [(TRIGGER, False, OVERKILL), ("login-inherits", True, SURVIVED)])
def test_drift_is_judged_both_ways(
    name: str, drift: bool, word: str, ask, given, mutations: dict[str, Mutation]
) -> None:
    """INV-004, NEG-15."""
    given(replace(mutations[name], drift=drift))
    done: Result = ask("--only", name)
    assert (done.exit_code, word in done.output, "INV-004" in done.output) == (1, True, True)


def test_a_mutation_that_must_move_nothing_is_as_named(ask) -> None:
    """A temporary table named like a real one fools no check."""
    done: Result = ask("--only", "shadow-of-the-attempts")
    assert (done.exit_code, f"{UNMOVED}  shadow-of-the-attempts" in done.output) == (0, True)


def test_a_statement_that_breaks_nothing_survives(ask, given, mutations: dict[str, Mutation]) -> None:
    given(replace(mutations[TRIGGER], statement="SELECT 1"))
    done: Result = ask("--only", TRIGGER)
    assert (done.exit_code, SURVIVED in done.output) == (1, True)


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("claim-waits", {"replace": "no such words"}, "has no words"),
        ("claim-waits", {"function": "symphony.gone"}, "has no words"),
        (TRIGGER, {"statement": "DROP TRIGGER gone ON symphony.payment_outbox_attempts"}, "could not be run"),
        ("applied-migration-edited", {"replace": "no such words"}, "0 times, not once"),
        ("applied-migration-edited", {"replace": "ledger"}, "times, not once"),
        ("applied-migration-edited", {"path": "migrations/ledger/0099_gone.sql"}, "is not in the checkout"),
        ("retry-without-ceiling", {"path": "symphony/invariants/judge.py", "replace": "import json\n", "with_": "("}, "did not run"),
    ],
)  # fmt: skip
def test_a_void_mutation_is_exit_3(
    name: str, change: dict[str, Any], word: str, ask, given, mutations: dict[str, Mutation]
) -> None:
    given(replace(mutations[name], **change), mutations[GRANT])
    done: Result = ask("--only", name, "--only", GRANT)
    assert done.exit_code == 3, done.output
    assert word in done.output
    assert f"{KILLED}   {GRANT}" in done.output  # the others are tried all the same


def test_an_implemented_invariant_without_a_mutation_is_exit_1(ask, given, mutations: dict[str, Mutation]) -> None:
    given(mutations[GRANT])
    done: Result = ask("--only", GRANT, "--only", "INV-014")
    assert done.exit_code == 1
    assert "no mutation names: INV-014" in done.output
    assert ask("--only", GRANT).exit_code == 0
    assert ask().exit_code == 1


def test_what_needs_tests_is_named_and_alone_is_exit_4(ask) -> None:
    done: Result = ask("--only", "INV-026", "--only", "INV-012")
    assert done.exit_code == 0
    assert "not run without --with-tests: open-breaker-lets-through\nnot shown here: INV-026" in done.output
    alone: Result = ask("--only", "INV-026")
    assert alone.exit_code == 4
    assert "nothing ran" in alone.output


def test_a_test_of_the_checkout_notices_broken_code(ask) -> None:
    """INV-026: its own tests, on a copy in which the breaker lets through."""
    done: Result = ask("--only", "open-breaker-lets-through", "--with-tests")
    assert done.exit_code == 0, done.output
    assert "(INV-026 red)" in done.output


def test_nothing_is_shown_on_a_red_base(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest, mutations: dict[str, Mutation]
) -> None:
    broken = postgres.new_database("ledger").admin
    run(broken, "GRANT CREATE ON SCHEMA ledger TO symphony_ledger")
    with pytest.raises(CannotEvaluate, match="before anything is broken: INV-006 FAIL"):
        prove(manifest, [mutations[TRIGGER]], {**whole, "ledger": broken})


def test_a_base_that_does_not_stay_green_is_said(
    postgres: TestPostgres, whole: Mapping[str, str], manifest: Manifest, mutations: dict[str, Mutation]
) -> None:
    ledger = postgres.new_database("ledger").admin

    def spoil(_outcome: object) -> None:
        run(ledger, "GRANT CREATE ON SCHEMA ledger TO symphony_ledger")

    with pytest.raises(CannotEvaluate, match="after the mutations were undone: INV-006 FAIL"):
        prove(manifest, [mutations[TRIGGER]], {**whole, "ledger": ledger}, done=spoil)


def test_what_is_broken_is_undone(whole: Mapping[str, str], manifest: Manifest, mutations: dict[str, Mutation]) -> None:
    prove(manifest, [mutations[TRIGGER]], whole)
    with psycopg.connect(whole["sidecar"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgname = 'trg_deny_outbox_attempts_mutation'"
        ).fetchone()
    assert row is not None
    assert row[0] > 0


@pytest.mark.parametrize("name", ["applied-migration-edited", "applied-migration-renamed", "applied-migration-missing"])
def test_a_file_is_broken_in_the_copy_only_and_mended_there(
    name: str, root: Path, mutations: dict[str, Mutation]
) -> None:
    one = mutations[name]
    original = (root / one.path).read_bytes()
    with scratch.checkout(root / "invariants") as copy:
        listing = sorted(copy.folder.rglob("*.sql"))
        with copy.broken(one):
            assert not (copy.folder / one.path).exists() or (copy.folder / one.path).read_bytes() != original
            assert (root / one.path).read_bytes() == original
        assert (copy.folder / one.path).read_bytes() == original
        assert sorted(copy.folder.rglob("*.sql")) == listing
    assert not copy.folder.exists()


def test_a_folder_that_is_no_checkout_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match="no git checkout"), scratch.checkout(tmp_path / "invariants"):
        pass


def test_the_checks_of_a_copy_are_bounded(
    root: Path, whole: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "JUDGE_TIMEOUT_S", 0.01)
    with pytest.raises(CannotEvaluate, match=r"took over 0\.01 s"):
        scratch.demand_green(scratch.Copy(root, root, root / "invariants"), whole, frozenset())


def test_the_command_takes_no_database() -> None:
    """Nothing but a scratch cluster can be broken: there is no option to name another."""
    assert {option for one in command.params if isinstance(one, click.Option) for option in one.opts} == {
        "--only", "--with-tests", "-o", "--output", "--manifest", "--server-url",  # where scratch databases are made
    }  # fmt: skip


def test_an_unknown_id_is_usage(ask) -> None:
    assert ask("--only", "INV-999").exit_code == 2
    assert ask("--only", "INV-019").exit_code == 2  # on the roadmap: nothing to show


def elsewhere(root: Path) -> Path:
    """A folder of invariants in a repository with the three databases' migrations."""
    for kind in ("controlplane", "sidecar", "ledger"):
        (root / "migrations" / kind).mkdir(parents=True)
    (root / "invariants").mkdir()
    return root / "invariants"


ENTRY = "{id: one-of-ours, title: 'A title', kind: sql, database: sidecar, statement: 'SELECT 1', red: [INV-005], drift: false}"


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (ENTRY.replace("drift: false", "drift: false, drift: true"), "stands twice"),
        (ENTRY.replace("drift: false", "drift: false, url: x"), "mutations/0"),
        (ENTRY.replace(", drift: false", ""), "mutations/0"),
        (ENTRY.replace("kind: sql", "kind: file"), "mutations/0"),
        (ENTRY.replace("sidecar", "postgres"), "no database postgres"),
        (ENTRY.replace("INV-005", "INV-019"), "no implemented invariant"),
        (ENTRY.replace("INV-005", "INV-004"), "no implemented invariant"),
        (ENTRY.replace("SELECT 1", "SELECT 1; COMMIT"), "leave the transaction"),
        (f"{ENTRY}, {ENTRY}", "stands twice"),
        ("{id: one-of-ours, title: 'A title', kind: file, path: ../x, remove: true, red: []}", "mutations/0"),
        (ENTRY.replace("SELECT 1", "x" * 5000), "mutations/0"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        (f"# {'x' * 300_000}", "larger than"),
    ],
)
def test_a_mutation_that_does_not_fit_is_refused(entry: str, word: str, manifest: Manifest, tmp_path: Path) -> None:
    folder = elsewhere(tmp_path)
    (folder / "mutations").mkdir()
    (folder / "mutations" / "x.yml").write_text(f"schema: symphony.mutations/1\nmutations: [{entry}\n]\n")
    with pytest.raises((Refused, CannotEvaluate), match=word):
        load_mutations(Manifest(folder, manifest.invariants))


def test_a_folder_without_mutations_shows_nothing(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match="holds 0 files"):
        load_mutations(Manifest(tmp_path, manifest.invariants))


def test_the_yaml_names_only_what_the_schema_knows(manifest: Manifest, tmp_path: Path) -> None:
    """The folder as it is loads from elsewhere, and without one file an invariant is bare."""
    folder = elsewhere(tmp_path)
    shutil.copytree(manifest.folder / "mutations", folder / "mutations")
    (folder / "mutations" / "bodies.yml").unlink()
    assert uncovered(manifest, load_mutations(Manifest(folder, manifest.invariants))) == ["INV-012", "INV-013"]


def test_nothing_run_is_exit_4() -> None:
    assert Proof((), (), (), {}).exit_code == 4
