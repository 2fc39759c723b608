"""Take a stack down when whoever holds our standard input ends: a test session that is killed leaves nothing behind.

``python -m tests.e2e.guard DIR``.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from contracts.errors import SymphonyError
from symphony.stack import prepare, up
from symphony.stack.layout import Layout

COMING_UP_S = 20


def end(folder: Path) -> None:
    """Down, or killed; then everything outside the folder is removed, too."""
    try:
        layout = Layout.open(folder)
    except SymphonyError:
        return
    running = layout.running()
    with suppress(SymphonyError, OSError):
        up.down(folder)
    if running is not None:
        for pid in (running["pid"], *running["processes"].values()):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    prepare.database(layout).destroy()
    shutil.rmtree(layout.sockets, ignore_errors=True)


def main() -> None:
    """Wait for the end of the input."""
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    killed = not sys.stdin.buffer.read()
    deadline = time.monotonic() + (COMING_UP_S if killed else 0)
    end(folder)
    while time.monotonic() < deadline:  # a start that was under way may show only now
        time.sleep(1)
        end(folder)


if __name__ == "__main__":
    main()
