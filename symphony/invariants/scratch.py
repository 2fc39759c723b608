"""A scratch copy of the checkout: a file is broken in it, the checks run there as a program of their own, and it is mended.

The copy is what git lists, in a temporary folder that is removed afterwards. The words to replace must stand in their file
exactly once, so that a change of that file cannot make a mutation void (exit 3). Databases are made by the caller.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import CannotEvaluate
from symphony.invariants.ending import end_group
from symphony.invariants.mutations import Mutation
from symphony.invariants.run import ERROR, FAIL, PASS

JUDGE_TIMEOUT_S = 120
TESTS_TIMEOUT_S = 900
SAID_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a checkout, where the original lies, and where in the copy the invariants are."""

    folder: Path
    original: Path
    invariants: Path

    @contextmanager
    def broken(self, one: Mutation) -> Iterator[None]:
        """One file replaced, renamed or removed; as it was, afterwards. Raises ``CannotEvaluate`` for a void mutation."""
        path = self.folder / one.path
        if one.add:
            with self._added(path, one):
                yield
            return
        try:
            before = path.read_bytes()
        except OSError as error:
            raise CannotEvaluate("RELEASE_INVARIANT", f"{one.path} is not in the checkout") from error
        moved = self.folder / one.rename if one.rename else None
        try:
            if one.replace:
                path.write_bytes(_replaced(one, before))
            elif moved is not None:
                path.rename(moved)
            else:
                path.unlink()
            yield
        finally:
            if moved is not None:
                moved.unlink(missing_ok=True)
            path.write_bytes(before)


    @contextmanager
    def _added(self, path: Path, one: Mutation) -> Iterator[None]:
        if path.exists() or not path.parent.is_dir():
            raise CannotEvaluate("RELEASE_INVARIANT", f"{one.path} is there already, or its folder is not")
        try:
            path.write_text(one.add, "utf-8")
            yield
        finally:
            path.unlink(missing_ok=True)


def _replaced(one: Mutation, before: bytes) -> bytes:
    count = before.count(one.replace.encode())
    if count != 1:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"{one.path}: the words to replace stand there {count} times, not once"
        )
    return before.replace(one.replace.encode(), one.with_.encode())


@contextmanager
def checkout(invariants: Path) -> Iterator[Copy]:
    """A copy of the checkout that a folder of invariants lies in, gone afterwards.

    Raises ``CannotEvaluate`` where there is none.
    """
    root = invariants.resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="symphony-prove-"))
    try:
        listed = _listed(root)
        _share_history(root, folder)
        for name in listed:
            if (root / name).is_file() and not (root / name).is_symlink():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, folder / name)
        yield Copy(folder, root, folder / invariants.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def red(copy: Copy, urls: Mapping[str, str], one: Mutation) -> frozenset[str]:
    """Ids that are violated in the copy: all checks, and the tests of the named ids when the mutation is for them."""
    results = _judge(copy, urls, with_tests=frozenset())
    if one.tests:
        results |= _judge(copy, urls, with_tests=one.red)
    errors = sorted(identifier for identifier, result in results.items() if result == ERROR)
    if errors:
        raise CannotEvaluate("RELEASE_INVARIANT", f"{', '.join(errors)} could not be evaluated in the broken copy")
    return frozenset(identifier for identifier, result in results.items() if result == FAIL)


def demand_green(copy: Copy, urls: Mapping[str, str], tested: frozenset[str]) -> None:
    """The unbroken copy: every check holds, and the tests of ``tested`` pass. Raises ``CannotEvaluate``."""
    results = _judge(copy, urls, with_tests=frozenset())
    if tested:
        results |= _judge(copy, urls, with_tests=tested)
    bad = [f"{identifier} {result}" for identifier, result in results.items() if result != PASS]
    if bad or not results:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"an unbroken copy of the checkout: {', '.join(bad) or 'no check runs'}",
            next_step="symphony invariants check --with-tests",
        )  # fmt: skip


def _listed(root: Path) -> list[str]:
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=JUDGE_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotEvaluate(
            "RELEASE_INVARIANT",
            f"{root} is no git checkout, so no copy of it can be broken",
            next_step="run it in a checkout",
        ) from error
    return [name for name in done.stdout.split("\0") if name]


def _share_history(root: Path, folder: Path) -> None:
    """The copy knows the commits of the original, so that the last release's files can be had in it (INV-N1-01).

    A repository within a larger one has none of its own to share.
    """
    if not (root / ".git").exists():
        return
    for words in (["clone", "-q", "--shared", "--no-checkout", str(root), str(folder)], ["-C", str(folder), "read-tree", "HEAD"]):
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", *words], capture_output=True, text=True, timeout=JUDGE_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise CannotEvaluate("RELEASE_INVARIANT", f"git {words[0]}: {done.stderr.strip()[:SAID_CHARS_MAX]}")


def _judge(copy: Copy, urls: Mapping[str, str], *, with_tests: frozenset[str]) -> dict[str, str]:
    """Result by id, of the copy's own code. ``with_tests``: only these, with their tests; without, all other checks."""
    asked = json.dumps({
        "folder": str(copy.invariants), "urls": dict(urls), "only": sorted(with_tests), "with_tests": bool(with_tests),
    })  # fmt: skip
    out = _run(copy, asked, TESTS_TIMEOUT_S if with_tests else JUDGE_TIMEOUT_S)
    try:
        return {str(identifier): str(result) for identifier, result in json.loads(out).items()}
    except (ValueError, AttributeError) as error:
        raise CannotEvaluate("RELEASE_INVARIANT", "the checks of the broken copy gave no answer") from error


def _run(copy: Copy, asked: str, timeout_s: int) -> str:
    environment = {
        **os.environ, "PYTHONPATH": str(copy.folder), "PYTHONDONTWRITEBYTECODE": "1",
        "SYMPHONY_SHARED": os.environ.get("SYMPHONY_SHARED", str(copy.original.parent / "shared")),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "symphony.invariants.judge"], cwd=copy.folder, env=environment, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(asked, timeout=timeout_s)
    except BaseException as error:
        end_group(process, signal.SIGINT)  # as Ctrl-C does
        if isinstance(error, subprocess.TimeoutExpired):
            raise CannotEvaluate("RELEASE_INVARIANT", f"the checks of the copy took over {timeout_s} s") from error
        raise
    if process.returncode != 0:
        said = errors.strip().splitlines()[-1:] or ["no word"]
        raise CannotEvaluate("RELEASE_INVARIANT", f"the checks of the copy did not run: {said[0][:SAID_CHARS_MAX]}")
    return out
