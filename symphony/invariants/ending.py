"""End a program and all that it started: its process group, which it was given by ``start_new_session``."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

GRACE_S = 10


def end_group(process: subprocess.Popen[Any], first: signal.Signals) -> None:
    """Ask by ``first``, and ``GRACE_S`` later for good; no effect where nothing of the group runs."""
    for kind in (first, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
