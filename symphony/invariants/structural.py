"""The structural gate (MIG-12): what changed since a commit, and whether the manifest says so.

Structural is what the manifest's ``structural:`` globs name (migrations, roles, functions, policies, manifests). Such a change
comes with exactly one of two things: a change of the manifest's invariants (words of a comment are none), or an exception in
force whose ``paths`` cover every file. Both at once is refused as well: one of them says something that is not so. A glob that
was taken out since the commit still counts, and taking one out is itself a structural change: of the manifest.
"""

from __future__ import annotations

import posixpath
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from contracts.errors import CannotEvaluate, Refused

GIT_TIMEOUT_S = 60
FILES_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Change:
    """Structural files that differ from the commit ``base``, and whether the invariants differ too."""

    base: str
    files: tuple[str, ...]
    invariants_changed: bool
    nothing_compared: bool = False


def changes(root: Path, since: str, globs: Sequence[str], manifests: Sequence[Path]) -> Change:
    """Compare the working tree, new files included, with where it left ``since``.

    ``manifests``: the manifest and what it includes. Globs and the files that are found are relative to ``root``, which may be
    a folder of the repository. Raises ``CannotEvaluate RELEASE_INVARIANT`` where git cannot answer or no file is structural.
    """
    if not globs:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", "the manifest names nothing structural", next_step="add structural: [globs] to it"
        )
    base = _git(root, "merge-base", since, "HEAD").strip()
    gone = {glob: path for path in manifests for glob in _globs_then(root, base, path) if glob not in globs}
    specs = [f":(glob){glob}" for glob in (*globs, *gone)]
    known = _git(root, "diff", "--name-only", "--no-renames", "--ignore-submodules=none", "--no-relative", "-z", base, "--", *specs)
    fresh = _git(root, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", *specs)
    prefix = _git(root, "rev-parse", "--show-prefix").rstrip("\n") or "."
    names = {name for name in (known + fresh).split("\0") if name} | {_name(root, path) for path in gone.values()}
    files = tuple(sorted(posixpath.relpath(name, prefix) for name in names))
    if not files and not _git(root, "ls-files", "-z", "--", *specs):
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"no file is structural: {', '.join(globs)}",
            next_step="mend structural: of the manifest; its globs begin at the folder above invariants/",
        )  # fmt: skip
    same = base == _git(root, "rev-parse", "HEAD").strip() and not _git(root, "status", "--porcelain", "--untracked-files=all")
    return Change(base, files, any(_differs(root, base, path) for path in manifests), same)


def judge(change: Change, excepted: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A sentence that says why it may pass. Raises ``Refused RELEASE_INVARIANT`` (exit 1).

    ``excepted``: the exceptions in force that have paths: what they are called, and their globs.
    """
    if change.nothing_compared:
        return f"nothing was compared: {change.base[:12]} is the commit that is checked out, and no file differs from it"
    if not change.files:
        return f"nothing structural changed since {change.base[:12]}"
    covering = [name for name, globs in excepted if all(any(fnmatchcase(f, g) for g in globs) for f in change.files)]
    shown = ", ".join(change.files[:FILES_SHOWN_MAX]) + (" …" if len(change.files) > FILES_SHOWN_MAX else "")
    if change.invariants_changed == bool(covering):
        both = change.invariants_changed
        raise Refused(
            "RELEASE_INVARIANT",
            f"{len(change.files)} structural files changed since {change.base[:12]} "
            + ("with a change of the invariants and an exception: " if both else "and no invariant did: ") + shown,
            next_step="take the exception out" if both else "change the invariants that guard them, or add an exception with paths",
        )  # fmt: skip
    why = f"the exception {covering[0]}" if covering else "a change of the invariants"
    return f"{len(change.files)} structural files changed since {change.base[:12]}, with {why}: {shown}"


def _differs(root: Path, base: str, path: Path) -> bool:
    """Whether the invariants of a manifest file are others than they were; comments and order of keys do not count."""
    now = yaml.safe_load(path.read_text("utf-8"))
    return _entries(_then(root, base, path)) != _entries(now)


def _globs_then(root: Path, base: str, path: Path) -> list[str]:
    """What a manifest file named as structural at the commit."""
    was = _then(root, base, path)
    globs = was.get("structural") if isinstance(was, dict) else None
    return [str(glob) for glob in globs] if isinstance(globs, list) else []


def _then(root: Path, base: str, path: Path) -> object:
    """A file's document at the commit, ``None`` where it was not there."""
    name = _name(root, path)
    there = _git(root, "ls-tree", "--name-only", "--full-tree", base, "--", name).strip()
    return yaml.safe_load(_git(root, "show", f"{base}:{name}")) if there else None


def _name(root: Path, path: Path) -> str:
    top = Path(_git(root, "rev-parse", "--show-toplevel").strip())
    return path.resolve().relative_to(top.resolve()).as_posix()


def _entries(document: object) -> object:
    return document.get("invariants") if isinstance(document, dict) else None


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", *words], cwd=root, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"git {words[0]}: {type(error).__name__}") from error
    if done.returncode != 0:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"git {' '.join(words[:2])}: {done.stderr.strip()[:200]}",
            next_step="name a commit that is in this clone (git fetch --unshallow), from inside a checkout",
        )  # fmt: skip
    return done.stdout
