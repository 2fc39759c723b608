"""Places where a test may stop this process to kill it there (development only; ``tests/e2e``).

With a folder configured, a process that reaches a point whose file exists renames the file to ``<name>.hit`` and stops
itself with SIGSTOP: nothing in it runs on, so what is on disk and on the wire is exactly the state of that point.
A stopped process does less, never more; without a folder a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = ("record.before_commit", "dispatch.claimed", "dispatch.sent", "dispatch.answered", "resolve.answered", "ship.sealed")
_folder: Path | None = None


def arm(folder: Path | None, *, environment: str) -> None:
    """Use a folder of points; a refusal to start outside the sandbox."""
    global _folder
    if folder is not None and environment != "sandbox":
        raise ValueError("failpoints are for the sandbox only")
    _folder = folder


def failpoint(name: str) -> None:
    """Stop here when the point's file exists."""
    if _folder is None:
        return
    assert name in POINTS, name
    try:
        (_folder / name).rename(_folder / f"{name}.hit")
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)
