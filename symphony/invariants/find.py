"""Which manifest is meant: the one named, else the nearest above the working folder, else Symphony's own.

Inside a git repository that has none there is no gate, and Symphony's own would be green for nothing of it: that is exit 3.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from contracts.errors import CannotEvaluate
from symphony import places
from symphony.invariants.documents import MANIFEST
from symphony.invariants.manifest import load_manifest
from symphony.invariants.model import Manifest
from symphony.invariants.structural import changes, judge

FOLDER = "invariants"

manifest_option = click.option(
    "--manifest", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), envvar="SYMPHONY_INVARIANTS",
    help="Folder with the manifest; by default the nearest invariants/ above this folder; outside of a git repository, Symphony's.",
)  # fmt: skip


def folder_of(named: Path | None) -> Path:
    """The manifest's folder. Raises ``CannotEvaluate RELEASE_INVARIANT`` for one, or for a git repository, that has none."""
    if named is not None:
        if not (named / MANIFEST).is_file():
            raise CannotEvaluate(
                "RELEASE_INVARIANT", f"{named} holds no {MANIFEST}", next_step="symphony invariants init --help"
            )
        return named.resolve()
    here = Path.cwd().resolve()
    for place in (here, *here.parents):
        if (place / FOLDER / MANIFEST).is_file():
            return place / FOLDER
        if (place / ".git").exists():
            raise CannotEvaluate(
                "RELEASE_INVARIANT", f"no {FOLDER}/{MANIFEST} in {here} or above it, up to {place}",
                next_step="symphony invariants init --help; or name the folder: --manifest FOLDER (SYMPHONY_INVARIANTS)",
            )  # fmt: skip
    return places.folder(FOLDER)


def manifest_of(named: Path | None, stack: Path | None = None) -> Manifest:
    """The manifest that is meant; with a stack of Symphony's own and none named, Symphony's own."""
    return load_manifest(places.folder(FOLDER) if named is None and stack is not None else folder_of(named))


def judge_change(manifest: Manifest, since: str, today: date) -> str:
    """MIG-12 for a repository: a sentence that lets it pass. Raises ``Refused`` (exit 1) or ``CannotEvaluate`` (exit 3)."""
    change = changes(manifest.root, since, manifest.structural, manifest.files)
    return judge(change, [(one.ticket, one.paths) for one in manifest.exceptions if one.covers_changes(today)])
