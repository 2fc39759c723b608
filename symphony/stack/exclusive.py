"""One supervisor a folder, told apart from whoever has its number later, on ports that nobody else has taken."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import CannotEvaluate
from symphony.stack.layout import Layout, make_folder

PORTS_WAIT_S = 10.0
"""What a killed stack leaves behind needs a moment to end."""


@contextmanager
def only(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets go of it however this process ends. Raises ``CannotEvaluate CONFIGURATION``."""
    make_folder(folder)
    descriptor = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise CannotEvaluate(
            "CONFIGURATION", f"{folder} runs already, or is coming up", next_step=f"symphony down --dir {folder}"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def demand_ports(layout: Layout, wait_s: float = PORTS_WAIT_S) -> None:
    """The stack's own ports are free. Raises ``CannotEvaluate CONFIGURATION`` with the one that is taken."""
    deadline = time.monotonic() + wait_s
    while taken := [name for name, port in layout.ports.items() if _is_taken(port)]:
        if time.monotonic() > deadline:
            port = layout.ports[taken[0]]
            place = layout.folder / "stack.json"
            raise CannotEvaluate(
                "CONFIGURATION", f"port {port} of the {taken[0]} is taken by another program",
                next_step=f"end it, or remove {place} to have new ports chosen",
            )  # fmt: skip
        time.sleep(0.1)


def _is_taken(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
