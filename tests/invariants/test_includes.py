"""A manifest includes files of services that come later: in its folder or below, each once, none empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony.invariants import load_manifest
from symphony.invariants.documents import MANIFEST_BYTES_MAX
from tests.invariants.support import entry, manifest_file, one_entry

INCLUDE = "include: [services/custody.yml]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest that includes one file below it."""
    made = one_entry(tmp_path, top=INCLUDE)
    (made / "services").mkdir()
    (made / "services" / "custody.yml").write_text(manifest_file(entry("INV-902")))
    return made


def test_what_is_included_counts_as_if_it_stood_in_the_manifest(folder: Path) -> None:
    assert [one.id for one in load_manifest(folder).implemented] == ["INV-901", "INV-902"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (manifest_file(entry("INV-901")), "INV-901.*stand twice"),
        (manifest_file(entry("INV-902").replace("aliases: []", "aliases: [INV-901]")), "stand twice"),
        (manifest_file(entry("INV-902"), more="include: [more.yml]\n"), "an included file has no include"),
        ("", "custody.yml"),
        ("schema: symphony.invariants_manifest/1\ninvariants: []\n", "custody.yml: invariants"),
        (manifest_file(entry("INV-902")).replace("_manifest/1", "_manifest/2"), "custody.yml: schema"),
        (manifest_file(entry("INV-902"), more="colour: red\n"), "colour"),
        (manifest_file(entry("INV-902")).replace("src.py", "gone.py"), "INV-902: enforced_by gone.py"),
        (manifest_file(entry("INV-902")) + "#" * MANIFEST_BYTES_MAX, "over"),
        ("[a]: [", "custody.yml"),
    ],
)
def test_an_included_file_that_breaks_a_rule_is_refused(text: str, word: str, folder: Path) -> None:
    (folder / "services" / "custody.yml").write_text(text)
    with pytest.raises((Refused, CannotEvaluate), match=word):
        load_manifest(folder)


def test_an_included_file_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "services" / "custody.yml").unlink()
    with pytest.raises(Refused, match=r"services/custody\.yml is not there"):
        load_manifest(folder)


@pytest.mark.parametrize("name", ["../outside.yml", "services/../../outside.yml", "link.yml", "below/outside.yml"])
def test_a_file_outside_the_folder_is_refused(name: str, folder: Path) -> None:
    """Also through a link to a file or to a folder."""
    (folder.parent / "outside.yml").write_text(manifest_file(entry("INV-902")))
    (folder / "link.yml").symlink_to(folder.parent / "outside.yml")
    (folder / "below").symlink_to(folder.parent)
    path = folder / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text().replace("services/custody.yml", name))
    with pytest.raises(Refused, match="include"):
        load_manifest(folder)


@pytest.mark.parametrize(
    "names", ["[/etc/x.yml]", "[a.txt]", "[]", "[a.yml, a.yml]", str([f"f{n}.yml" for n in range(51)])]
)
def test_a_list_that_cannot_be_is_refused(names: str, folder: Path) -> None:
    path = folder / "INVARIANTS_MANIFEST.yml"
    path.write_text(path.read_text().replace("[services/custody.yml]", names))
    with pytest.raises(Refused, match="include"):
        load_manifest(folder)
