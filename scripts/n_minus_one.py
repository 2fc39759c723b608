"""N-1 both ways (MIG-04, INV-020, INV-N1-01): old code works on the new schema, new code on the old one.

The last release is the commit that ``invariants/LAST_RELEASE`` names.

* ``old-on-new``: that commit's code and tests, with today's ``migrations/`` (Blue's suite on Green's schema);
* ``new-on-old``: today's code and tests, with that commit's ``migrations/`` (traffic goes back, the schema was not made yet).

Both run ``invariants/N_MINUS_1_TESTS``: each line must exist and run. A test that fails, breaks or is skipped is a
failure, an unknown column or a NOT NULL violation among them. Only today's test that needs a newer schema may say so by
``@pytest.mark.needs_schema("ledger", 6)``; the report lists it.

Usage: python -m scripts.n_minus_one [blue | green]    both without a word, in this order
       (exit 0; 1 a test failed; 2 another word; 3 it could not be run; 4 no test ran)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.n_minus_one_run import CouldNotRun, Outcome, Selection, run_tests, selection

ROOT = Path(__file__).resolve().parent.parent
RELEASE = Path("invariants/LAST_RELEASE")
REPORT = Path("var/n1/report.json")
SAME = "the schemas are the same: this proves only that the code reads and writes it"
DIRECTIONS = (OLD_ON_NEW, NEW_ON_OLD) = ("old-on-new", "new-on-old")
WORDS = {"blue": OLD_ON_NEW, "green": NEW_ON_OLD}


def last_release(root: Path) -> str:
    """The one full commit hash of ``invariants/LAST_RELEASE``. Raises ``CouldNotRun``."""
    try:
        lines = [line.strip() for line in (root / RELEASE).read_text("utf-8").splitlines()]
    except OSError as error:
        raise CouldNotRun(f"{RELEASE} cannot be read: {error.strerror}") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) != 1 or re.fullmatch(r"[0-9a-f]{40}", found[0]) is None:
        raise CouldNotRun(f"{RELEASE} must hold one commit hash of 40 digits; write: git rev-parse HEAD")
    return found[0]


def demand_commit(root: Path, commit: str) -> None:
    """See that the commit is here, fetched once where it is not. Raises ``CouldNotRun``."""
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
        return
    _git(root, "fetch", "--quiet", "--depth", "1", "origin", commit)
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise CouldNotRun(
            f"the commit {commit} of {RELEASE} is not in this checkout; fetch the history: git fetch origin"
        )


def extract(root: Path, commit: str, into: Path) -> None:
    """The files of a commit. Raises ``CouldNotRun``."""
    into.mkdir(parents=True)
    archive = into.with_suffix(".tar")
    if (done := _git(root, "archive", "--output", str(archive), commit)).returncode:
        raise CouldNotRun(f"git archive: {done.stderr.strip()}")
    subprocess.run(["tar", "-x", "-f", str(archive), "-C", str(into)], check=True)
    archive.unlink()


def copy_today(root: Path, into: Path) -> None:
    """The files of the checkout as they are: what git knows, and new ones that it does not ignore."""
    names = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split("\0")
    for name in names:
        if name and (root / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes((root / name).read_bytes())


def migration_bytes(folder: Path) -> dict[str, bytes]:
    """Each migration of a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("migrations/*/*.sql"))}


def take_migrations(folder: Path, files: dict[str, bytes]) -> None:
    """Put these migrations in the place of the folder's own."""
    shutil.rmtree(folder / "migrations")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def run(
    root: Path, commit: str, work: Path, *, directions: tuple[str, ...] = DIRECTIONS, workers: int = 2
) -> tuple[bool, dict[str, Outcome]]:
    """Whether the schemas are the same, and what came of each direction. Raises ``CouldNotRun``."""
    old, new = work / "old", work / "new"
    extract(root, commit, old)
    copy_today(root, new)
    lists = {OLD_ON_NEW: _of_the_release(old, new), NEW_ON_OLD: selection(new)}
    of_old, of_new = migration_bytes(old), migration_bytes(new)
    if not of_old or not of_new:
        raise CouldNotRun("there are no migrations to exchange")
    take_migrations(old, of_new)
    take_migrations(new, of_old)
    folders = {OLD_ON_NEW: old, NEW_ON_OLD: new}
    return of_old == of_new, {
        name: run_tests(folders[name], lists[name], marked=name == NEW_ON_OLD, workers=workers) for name in directions
    }


def _of_the_release(old: Path, new: Path) -> Selection:
    """The release's own list, where it has one; what today leaves out, of both or of the old one, is left out of it too."""
    today, own = selection(new), selection(old, needed=False)
    return Selection(own.paths or today.paths, {**own.left_out, **today.left_out, **today.left_out_of_old})


def write_report(path: Path, commit: str, same: bool, outcomes: dict[str, Outcome]) -> None:
    """The report, for people and for the gate's evidence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "symphony.n_minus_1/1",
        "last_release": commit,
        "note": SAME if same else "",
        "directions": [{"direction": name, **outcome.document()} for name, outcome in outcomes.items()],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def exit_code(outcomes: dict[str, Outcome]) -> int:
    """4 a direction ran nothing, 1 a test failed, else 0."""
    if any(outcome.passed == 0 and not outcome.failed for outcome in outcomes.values()):
        return 4
    return 1 if any(outcome.failed for outcome in outcomes.values()) else 0


def main(words: list[str], root: Path = ROOT, *, workers: int = 2) -> int:
    """Run both (or the one named), print a line each, write ``var/n1/report.json`` (``report-<word>.json``)."""
    if len(words) > 1 or not set(words) <= set(WORDS):
        print("usage: python -m scripts.n_minus_one [blue | green]")
        return 2
    report = REPORT.with_stem("-".join([REPORT.stem, *words]))
    began = time.monotonic()
    os.environ.setdefault("SYMPHONY_SHARED", str(root.parent / "shared"))
    try:
        commit = last_release(root)
        demand_commit(root, commit)
        with tempfile.TemporaryDirectory(prefix="symphony-n1-") as work:
            chosen = tuple(WORDS[word] for word in words) or DIRECTIONS
            same, outcomes = run(root, commit, Path(work), directions=chosen, workers=workers)
    except CouldNotRun as error:
        print(f"n_minus_one: {error}")
        return 3
    write_report(root / report, commit, same, outcomes)
    for name, outcome in outcomes.items():
        for line in outcome.lines(name):
            print(line)
    print(
        f"n_minus_one: last release {commit[:12]}, {time.monotonic() - began:.0f} s, {report}{'; ' + SAME if same else ''}"
    )
    return exit_code(outcomes)


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
