"""``python:blocking_ddl``: what a migration would lock or break while a service runs, found by ``squawk`` (INV-DDL-01, MIG-06).

``squawk`` comes with ``symphony[gate]``; without it the check could not be evaluated. A repository's own ``.squawk.toml`` counts.
Rules of taste (``prefer-…``) are none of ours; time limits are set by whoever applies the migrations (MIG-08).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from symphony.invariants.checks import CouldNotRun, Seen

TIMEOUT_S = 120
FILES_A_RUN = 200
"""A command line is bounded; more files are several runs."""
NOT_OURS = ("prefer-", "require-lock-timeout", "require-statement-timeout", "require-timeout-settings")


def blocking_ddl(files: Sequence[Path], root: Path) -> Seen:
    """The findings in the files, each with file, line, rule and what to do. Raises ``CouldNotRun``."""
    program = _program()
    found: list[dict[str, Any]] = []
    for start in range(0, len(files), FILES_A_RUN):
        found += _run(program, [str(path.relative_to(root)) for path in files[start : start + FILES_A_RUN]], root)
    counted = [one for one in found if not str(one.get("rule_name")).startswith(NOT_OURS)]
    return Seen(len(files), tuple(_said(one) for one in counted))


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "squawk"
    program = str(beside) if os.access(beside, os.X_OK) else shutil.which("squawk")
    if program is None:
        raise CouldNotRun("there is no squawk here: install symphony[gate]")
    return program


def _run(program: str, files: list[str], root: Path) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(
            [program, "--reporter", "Json", *files], cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise CouldNotRun(f"squawk: {type(error).__name__}: {error}"[:300]) from error
    if done.returncode not in {0, 1} or not isinstance(found, list) or (done.returncode == 1) != bool(found):
        raise CouldNotRun(f"squawk ended with {done.returncode}: {done.stderr.strip()[:300]}")
    return found


def _said(one: dict[str, Any]) -> str:
    help_text = f" ({one['help']})" if one.get("help") else ""
    return f"{one.get('file')}:{int(one.get('line', 0)) + 1}: {one.get('rule_name')}: {one.get('message')}{help_text}"
