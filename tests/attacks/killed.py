"""A program whose children take up a release and are killed at their first, second, third … write.

Standard input: ``{"root", "source", "home"}``; standard output: how each child ended, what started afterwards, and
what was in force after one more look. It forks before any thread runs; each child works on a copy of ``home``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from contracts.release import FileRecord, FolderSource, ReleaseFollower
from tests.releases.support import ENVIRONMENT, SERVICE, MovableClock

WRITES_MAX = 200
WRITES = ("fsync", "replace", "rename", "unlink")


def follower(asked: dict[str, Any], folder: Path) -> ReleaseFollower:
    """The victim over a copy of its folder."""
    return ReleaseFollower(
        environment=ENVIRONMENT, service=SERVICE, folder=folder, root_bytes=asked["root"].encode(), clock=MovableClock(),
        source=FolderSource(Path(asked["source"])), record=FileRecord(folder / "accepted.json"),
    )  # fmt: skip


def killed_at(write: int) -> None:
    """From now on the process kills itself just before its write number ``write``."""
    seen = 0

    def counted(inner: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*arguments, **named)

        return call

    for name in WRITES:
        setattr(os, name, counted(getattr(os, name)))


def end_of(asked: dict[str, Any], write: int) -> dict[str, Any]:
    """One child's end, and what its folder is good for afterwards."""
    folder = Path(asked["home"] + f"-{write}")
    shutil.copytree(asked["home"], folder, symlinks=True)
    child = os.fork()
    if child == 0:
        killed_at(write)
        following = follower(asked, folder)
        following.start()
        following.refresh()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    again = follower(asked, folder)
    started = again.start()
    again.refresh()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return {
        "killed": os.WIFSIGNALED(status), "started": started and started.number, "then": again.active and again.active.number,
    }  # fmt: skip


def main() -> int:
    """Until a child ends by itself."""
    asked = json.load(sys.stdin)
    ends: list[dict[str, Any]] = []
    while len(ends) < WRITES_MAX and (not ends or ends[-1]["killed"]):
        ends.append(end_of(asked, len(ends) + 1))
    json.dump(ends, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
