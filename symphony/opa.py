"""Where a real ``opa`` is, and how it is run: pinned arguments, bounded time, an environment without secrets.

Looked for in this order: ``SYMPHONY_OPA``, the tools cache that ``make tools`` fills
(``${XDG_CACHE_HOME:-~/.cache}/symphony-tools/bin``), ``PATH``. Nothing is ever downloaded here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from contracts.errors import CannotEvaluate

OPA_VERSION = "1.22.2"
"""The pinned version: another one may compile the same Rego to other bytes."""

RUN_TIMEOUT_S = 60
"""A build takes 0.1 s and the tests 0.2 s; a minute is a machine in trouble."""

_VERSION = re.compile(r"^Version: (\S+)$", re.MULTILINE)


def find_opa() -> Path:
    """The path of an ``opa``. Raises ``CannotEvaluate RELEASE_NOT_REBUILT`` (exit 3) with the next step."""
    named = os.environ.get("SYMPHONY_OPA")
    if named:
        if not os.access(named, os.X_OK):
            raise CannotEvaluate("RELEASE_NOT_REBUILT", f"SYMPHONY_OPA names no program: {named}")
        return Path(named)
    cached = tools_folder() / "opa"
    found = str(cached) if os.access(cached, os.X_OK) else shutil.which("opa")
    if found is None:
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"no opa here: not in {cached.parent}, not on PATH")
    return Path(found)


def tools_folder() -> Path:
    """The cache of built tools, outside every checkout."""
    named = os.environ.get("SYMPHONY_TOOLS")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".cache"
    return Path(cache) / "symphony-tools" / "bin"


def version_of(opa: Path) -> str:
    """The version that the program says of itself. Raises ``CannotEvaluate`` when it says none."""
    match = _VERSION.search(run(opa, ["version"], Path.cwd()).stdout)
    if match is None:
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"{opa} does not say its version")
    return match[1]


def run(opa: Path, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``opa`` in a folder; its exit code is the caller's to judge."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"}
    try:
        return subprocess.run(
            [str(opa), *arguments], cwd=folder, env=clean, capture_output=True, text=True, check=False,
            timeout=RUN_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"{opa} did not run: {error}") from error
