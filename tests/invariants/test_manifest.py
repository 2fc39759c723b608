"""The manifest: no field but the schema's, every name it names exists, every id of the catalogue is in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony import places
from symphony.invariants import Manifest, existence, load_manifest, release_form
from tests.invariants.support import one_entry

CATALOGUE = {f"INV-{number:03}" for number in range(1, 29)} | {
    "INV-N1-01", "INV-DDL-01", "INV-BATCH-001", "INV-BATCH-002", "INV-BATCH-003", "INV-PERF-001", "INV-TRUST-001",
    "INV-DB-IMM-001", "INV-WAKE-001", "I-OUTBOX-01", "I-OUTBOX-02",
}  # fmt: skip
DUE_NOW = {f"INV-{number:03}" for number in (1, 2, 3, 5, 6, 7, 8, *range(10, 19))}
ROOT = Path(__file__).resolve().parents[2]


def test_every_id_of_the_catalogue_is_in_it_and_those_due_are_implemented(manifest: Manifest) -> None:
    assert {one.id for one in manifest.invariants} >= CATALOGUE
    assert {one.id for one in manifest.implemented} >= DUE_NOW


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text.replace("severity: P0", "severity: P7", 1), "severity"),
        (lambda text: text.replace("sla_days: 7", "sla_days: 7\n    colour: red", 1), "colour"),
        (lambda text: text.replace("id: INV-002", "id: INV-001", 1), "stand twice"),
        (lambda text: text.replace("aliases: [I-MIG-03]", "aliases: [INV-001]", 1), "stand twice"),
        (lambda text: text.replace("sla_days: 7", "sla_days: 7\n    sla_days: 8", 1), "stands twice"),
        (lambda text: text.replace("status: roadmap", "status: implemented", 1), "INVARIANTS_MANIFEST"),
        (lambda text: text.replace("status: implemented", "status: roadmap", 1), "INVARIANTS_MANIFEST"),
        (lambda text: text.replace("python:migrations_as_applied", "shell:rm", 1), "shell:rm"),
        (
            lambda text: text.replace("command:scripts.sql_lint migrations", "command:scripts.sql_lint ; true", 1),
            "true",
        ),
        (
            lambda text: text.replace("title: Applied", "title: !!python/object/apply:os.getcwd []\n    x: Applied", 1),
            "python",
        ),
        (lambda text: text[: len(text) // 2] + "\n  - {", "INVARIANTS_MANIFEST"),
        (lambda text: text.split("invariants:")[0] + "invariants: []\n", "invariants"),
        (lambda _text: "", "INVARIANTS_MANIFEST"),
    ],
)
def test_a_manifest_that_breaks_its_schema_is_refused(change: object, word: str, tmp_path: Path) -> None:
    text = (places.folder("invariants") / "INVARIANTS_MANIFEST.yml").read_text()
    assert callable(change)
    assert change(text) != text
    (tmp_path / "INVARIANTS_MANIFEST.yml").write_text(change(text))
    with pytest.raises((Refused, CannotEvaluate), match=word):
        load_manifest(tmp_path)


def test_a_folder_without_a_manifest_could_not_be_told(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate):
        load_manifest(tmp_path)


def test_all_that_the_manifest_names_exists(manifest: Manifest) -> None:
    """A hook that is renamed away is seen here, not when it is needed (MIG-14)."""
    assert existence.checkout_of(manifest.folder) == ROOT
    assert list(existence.faults(manifest.folder, manifest.invariants)) == []


ABSENT = [
    ("enforced_by", "symphony/gone.py"), ("enforced_by", "../etc"), ("verified_by", "python:gone"),
    ("verified_by", "sql:gone:sidecar"), ("verified_by", "sql:ledger:ledger"), ("verified_by", "command:scripts.gone"),
    ("verified_by", "pytest:tests/test_gone.py"), ("verified_by", "pytest:tests/invariants/test_manifest.py::test_gone"),
    ("verified_by", "pytest:tests/invariants/support.py"), ("verified_by", "shell:rm"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "name"), ABSENT)
def test_a_name_of_nothing_is_refused(field: str, name: str, manifest: Manifest) -> None:
    one = replace(manifest.get("INV-014"), **{field: (name,)})
    with pytest.raises(Refused, match=f"not there: INV-014: {field} {re.escape(name)}") as error:
        existence.demand(manifest.folder, [one])
    assert error.value.code == "RELEASE_INVARIANT"


def test_a_test_that_is_renamed_makes_the_manifest_refused(tmp_path: Path) -> None:
    """The whole way: the manifest is not loaded, so nothing is checked and nothing is green."""
    folder = one_entry(tmp_path)
    assert load_manifest(folder).implemented
    (tmp_path / "tests" / "test_x.py").write_text("def test_other(): pass\n")
    with pytest.raises(Refused, match=r"pytest:tests/test_x\.py::test_x"):
        load_manifest(folder)


def test_without_a_checkout_only_what_comes_with_the_tool_is_asked_for(tmp_path: Path, manifest: Manifest) -> None:
    """An installed wheel has no tests beside it; its SQL checks and functions are there."""
    one = replace(
        manifest.get("INV-006"), enforced_by=("gone",), verified_by=("pytest:tests/test_gone.py", "python:gone")
    )
    assert list(existence.faults(tmp_path / "invariants", [one])) == ["INV-006: verified_by python:gone"]


@pytest.mark.parametrize("pillar", ["", "speed"])
def test_an_entry_without_one_of_the_four_pillars_is_refused(pillar: str, tmp_path: Path) -> None:
    folder = one_entry(tmp_path)
    path = folder / "INVARIANTS_MANIFEST.yml"
    path.write_text(
        path.read_text().replace("pillar: immutability", f"pillar: {pillar}" if pillar else "status: roadmap")
    )
    with pytest.raises((Refused, CannotEvaluate)):
        load_manifest(folder)


def test_every_field_of_the_catalogue_is_read(tmp_path: Path) -> None:
    folder = one_entry(
        tmp_path,
        more="    definition: d\n    scope: s\n    acceptance_criteria: [a, b]\n    required_evidence: [log]\n",
    )
    one = load_manifest(folder).invariants[0]
    assert (one.definition, one.scope, one.acceptance_criteria, one.required_evidence) == (
        "d",
        "s",
        ("a", "b"),
        ("log",),
    )
    path = folder / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text().replace("definition: d", "definition: ' '"))
    with pytest.raises(Refused, match="definition"):
        load_manifest(folder)


def test_every_sql_block_is_named_by_an_implemented_entry(manifest: Manifest) -> None:
    for path in sorted((manifest.folder / "checks").glob("*.sql")):
        names = {block.split("\n")[0].strip() for block in path.read_text().split("-- name: ")[1:]}
        if path.stem == "common":
            assert names == {"common", "sentinel", "anything"}
            continue
        using = {
            one.id for one in manifest.implemented for text in one.verified_by if text.startswith(f"sql:{path.stem}:")
        }
        assert names == using


def test_the_release_form_has_no_code(manifest: Manifest) -> None:
    """A release carries parameters, never code to run (design section 4)."""
    form = release_form(manifest)
    assert form["schema"] == "symphony.invariants/1"
    assert all(set(entry) == {"id", "status", "severity", "title", "sla_days"} for entry in form["invariants"])


def test_what_is_found_by_alias_is_the_same(manifest: Manifest) -> None:
    assert manifest.get("I-OB-04") == manifest.get("INV-014")
    with pytest.raises(Refused, match="INV-999"):
        manifest.get("INV-999")
