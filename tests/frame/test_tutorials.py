"""The tutorials' commands are run as they stand: fenced ``console run`` blocks, in order, in one empty folder.

``$ `` opens a command and ``> `` continues it (a here-document); ``exit=N`` is how the block's last command must end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "tutorial"
SECONDS_MAX = 60
_BLOCK = re.compile(r"^```console run(?: exit=(\d+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[int, str]]:
    found = _BLOCK.findall(path.read_text("utf-8"))
    return [(int(code or 0), "\n".join(line[2:] for line in body.splitlines() if line[:2] in {"$ ", "> ", ">"})) for code, body in found]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["gate-your-own-repository.md"])
def test_every_command_of_a_tutorial_ends_as_it_says(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}", "PYTHONPATH": str(ROOT)}
    assert blocks(FOLDER / name), "the tutorial shows no command that is run"
    for code, script in blocks(FOLDER / name):
        done = subprocess.run(
            ["/bin/sh", "-u", "-c", f"set -e\n{script}"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=SECONDS_MAX,
        )  # fmt: skip
        assert done.returncode == code, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
