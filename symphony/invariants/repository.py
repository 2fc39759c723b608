"""Checks that are programs of the checkout: pytest nodes, modules and commands. Run only when asked for.

From a local checkout only (design section 10), never through a shell. Python is the repository's own: ``SYMPHONY_PYTHON``, its
``.venv``, the active virtual environment, or the one that runs this.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from symphony import places
from symphony.invariants.checks import CouldNotRun, Seen
from symphony.invariants.ending import end_group

TIMEOUT_S = 900
"""The longest is the run of the last release's tests, two minutes on a quiet machine."""
FINDINGS_MAX = 50
OUTPUT_BYTES_MAX = 8 * 1024 * 1024
"""What of a program's output is read; findings beyond it are too many to read."""
PYTEST_VARIABLES = frozenset({"PYTEST_ADDOPTS", "PYTEST_PLUGINS"})
"""A shell's own options for pytest could leave tests out."""
_RUNNING: set[subprocess.Popen[bytes]] = set()
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


def run_command(line: str, root: Path) -> Seen:
    """A module of the repository (``scripts.sql_lint migrations``) or a program: 0 holds, 1 with findings on its output.

    Any other exit could not be evaluated.
    """
    module, words = module_of(line, root), line.split()
    code, out = _run(["-m", module, *words[1:]], root, line) if module else _run(words, root, line, python=False)
    if code == 0:
        return Seen(1)
    if code == 1:
        return Seen(1, tuple(out.strip().splitlines()[:FINDINGS_MAX]) or (f"{line}: exit 1",))
    raise CouldNotRun(f"{line}: exit {code}")


def module_of(line: str, root: Path) -> str | None:
    """The first word, where it names a module of the repository by its dotted name."""
    first = line.split(maxsplit=1)[0]
    path = root / f"{first.replace('.', '/')}.py"
    return first if "." in first and "/" not in first and path.is_file() else None


def python_of(root: Path) -> str:
    """The interpreter that has what the repository's tests need."""
    named, active = os.environ.get("SYMPHONY_PYTHON"), os.environ.get("VIRTUAL_ENV")
    places = [root / ".venv" / "bin" / "python", *([Path(active) / "bin" / "python"] if active else [])]
    return named or next((str(path) for path in places if os.access(path, os.X_OK)), sys.executable)


def _run(arguments: list[str], root: Path, what: str, *, python: bool = True) -> tuple[int, str]:
    if root == places.installed():
        raise CouldNotRun(f"{what}: runs only in a checkout")
    words = [python_of(root), *arguments] if python else arguments
    environment = {name: value for name, value in os.environ.items() if name not in PYTEST_VARIABLES}
    with tempfile.TemporaryFile() as out:  # a file and no pipe: a grandchild that keeps it open holds nobody up
        try:
            process = subprocess.Popen(
                words, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise CouldNotRun(f"{what}: {type(error).__name__}") from error
        _RUNNING.add(process)
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise CouldNotRun(f"{what}: not done after {TIMEOUT_S} s") from error
        finally:
            _RUNNING.discard(process)
            end_group(process, signal.SIGTERM)
        out.seek(0)
        return code, out.read(OUTPUT_BYTES_MAX).decode(errors="replace")


def end_all() -> None:
    """End every program that runs: whoever waits for one gives up."""
    for process in tuple(_RUNNING):
        end_group(process, signal.SIGTERM)
