"""Checks that are programs of the checkout: pytest nodes, and modules of ``scripts/``. Run only when asked for.

From a local checkout only (design section 10): a manifest names a test or a module of ``scripts/``, never a shell line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from symphony.invariants.checks import CouldNotRun, Seen

TIMEOUT_S = 300
FINDINGS_MAX = 50
_PASSED = re.compile(r"\b(\d+) passed\b")
_NOT_PASSED = re.compile(r"\b(?:skipped|xfailed|xpassed|deselected|failed|errors?)\b")


def run_pytest(node: str, root: Path) -> Seen:
    """A test node: every test passes and none is skipped. Raises ``CouldNotRun`` when nothing that counts ran."""
    code, out = _run(["-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *node.split()], root, node)
    last = out.strip().splitlines()[-1] if out.strip() else ""
    passed = _PASSED.search(last)
    if code == 0 and passed and not _NOT_PASSED.search(last):
        return Seen(int(passed[1]))
    if code == 1:
        return Seen(1, (f"{node}: {last}",))
    raise CouldNotRun(f"{node}: pytest ended with {code}: {last or 'no output'}")


def run_script(line: str, root: Path) -> Seen:
    """``scripts.<module> [words]``: exit 0 holds, 1 with findings on its output; anything else could not be evaluated."""
    module, *words = line.split()
    code, out = _run(["-m", module, *words], root, line)
    if code == 0:
        return Seen(1)
    if code == 1:
        return Seen(1, tuple(out.strip().splitlines()[:FINDINGS_MAX]) or (f"{line}: exit 1",))
    raise CouldNotRun(f"{line}: exit {code}")


def _run(arguments: list[str], root: Path, what: str) -> tuple[int, str]:
    if not (root / "pyproject.toml").is_file():
        raise CouldNotRun(f"{what}: runs only in a checkout")
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CouldNotRun(f"{what}: {type(error).__name__}") from error
    return done.returncode, done.stdout
