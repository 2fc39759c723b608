"""README's commands are run: the lines of a fenced ``console run`` block that begin with ``$``, in order.

A block that opens with ```` ```console run ```` is run here, one shell per block, in the checkout with ``.venv/bin``
first in PATH; each line must succeed within its time. What is only shown opens with ```` ```console ````.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SECONDS_MAX = 300
LEFT_BY_README = ROOT / "var" / "readme"


def blocks() -> list[str]:
    if not README.exists():
        return []
    found = re.findall(r"^```console run[^\n]*\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return ["\n".join(line[2:] for line in block.splitlines() if line.startswith("$ ")) for block in found]


@pytest.mark.timeout(SECONDS_MAX + 10)
def test_every_command_that_readme_says_to_run_succeeds() -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    assert blocks(), "README shows no command that is run"
    try:
        for script in blocks():
            done = subprocess.run(
                ["/bin/sh", "-eu", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True,
                timeout=SECONDS_MAX,
            )  # fmt: skip
            assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    finally:
        if LEFT_BY_README.exists():
            subprocess.run([sys.executable, "-m", "symphony", "down", "--dir", str(LEFT_BY_README)], cwd=ROOT, check=False)
            shutil.rmtree(LEFT_BY_README)
