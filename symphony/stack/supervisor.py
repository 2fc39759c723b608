"""Run the processes of a local stack: start in order, restart what dies, stop in the reverse order.

A process that dies is started again after a back-off, at most ``RESTARTS_MAX`` times in a row; PostgreSQL, too, also when
it dies again while it recovers. ``run.json`` says what runs.
Each child is told by the kernel to end when the supervisor does, so nothing is left behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock, rfc3339
from symphony.stack.layout import Layout, started, write_json
from symphony.stack.postgres import Cluster

RESTARTS_MAX = 50
BACKOFF_S_MAX = 2.0
STEADY_S = 10.0
"""A process that ran this long has its restarts forgotten."""
STOP_S = 8.0
TICK_S = 0.1
DATABASE_EVERY_S = 1.0
_PR_SET_PDEATHSIG = 1
COMMANDS = {
    "controlplane": ("controlplane",),
    "ledger": ("services.ledger",),
    "adapter": ("rails.iso20022",),
    "writer": ("sidecar", "writer"),
    "shipper": ("sidecar", "shipper"),
    "acceptor": ("sidecar", "acceptor"),
}


@dataclass(slots=True)
class Process:
    """One supervised process."""

    name: str
    config: Path
    log: Path
    handle: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started_at: float = 0.0
    due_at: float = 0.0

    def start(self) -> None:
        """Start it; its output goes to its log."""
        module, *arguments = COMMANDS[self.name]
        command = [sys.executable, "-m", module, *arguments, "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.handle = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509
                cwd=Path(__file__).resolve().parent.parent.parent,
            )  # fmt: skip
        self.started_at = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.handle is not None and self.handle.poll() is None


@dataclass
class Supervisor:
    """The processes of a stack, in the order of starting."""

    layout: Layout
    cluster: Cluster
    processes: dict[str, Process] = field(default_factory=dict)
    ready: bool = False
    stopping: bool = False
    _database_due_at: float = 0.0
    _database_failures: int = 0

    def add(self, name: str, config: Path) -> None:
        """Start a process and keep it running."""
        process = Process(name, config, config.parent / f"{name}.log")
        self.processes[name] = process
        process.start()
        self.write()

    def tick(self) -> None:
        """Look after every process once. Raises ``CannotEvaluate`` when one will not stay up."""
        now = time.monotonic()
        if now >= self._database_due_at:
            self._database_due_at = now + DATABASE_EVERY_S
            self._keep_database()
        for process in self.processes.values():
            if process.alive:
                if process.restarts and now - process.started_at > STEADY_S:
                    process.restarts = 0
                continue
            if process.due_at <= process.started_at:
                process.restarts += 1
                process.due_at = now + min(BACKOFF_S_MAX, 0.1 * 2 ** min(process.restarts, 6))
                if process.restarts > RESTARTS_MAX:
                    raise CannotEvaluate("CONFIGURATION", f"{process.name} will not stay up: see {process.log}")
            if now >= process.due_at:
                process.start()
                self.write()

    def _keep_database(self) -> None:
        """No effect while it runs; after a crash PostgreSQL recovers from its WAL, and may die on that, too."""
        try:
            self.cluster.start()
            self._database_failures = 0
        except CannotEvaluate as error:
            self._database_failures += 1
            if self._database_failures > RESTARTS_MAX:
                raise
            print(f"PostgreSQL did not start (attempt {self._database_failures}): {error.detail}", file=sys.stderr, flush=True)

    def wait(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Look after the processes until ``ready``. Raises ``CannotEvaluate`` with the tail of the logs to read."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.stopping:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                logs = ", ".join(str(p.log) for p in self.processes.values())
                raise CannotEvaluate(
                    "CONFIGURATION", f"{what} did not come up in {timeout_s:.0f} s", next_step=f"read {logs}"
                )
            self.tick()
            time.sleep(TICK_S)

    def run(self) -> None:
        """Look after the processes until a signal says stop."""
        self.ready = True
        self.write()
        while not self.stopping:
            self.tick()
            time.sleep(TICK_S)

    def stop(self) -> None:
        """End every process: SIGTERM, then SIGKILL after a bound; the last started first."""
        for process in reversed(self.processes.values()):
            if process.alive and process.handle is not None:
                process.handle.send_signal(signal.SIGTERM)
                process.handle.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_S
        for process in reversed(self.processes.values()):
            if process.handle is None:
                continue
            try:
                process.handle.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.handle.kill()
                process.handle.wait()
        self.layout.run_file.unlink(missing_ok=True)

    def write(self) -> None:
        """Say what runs in ``run.json``."""
        write_json(self.layout.run_file, {
            "pid": os.getpid(), "started": started(os.getpid()), "ready": self.ready, "at": rfc3339(SystemClock().now()),
            "processes": {p.name: p.handle.pid for p in self.processes.values() if p.handle is not None},
        })  # fmt: skip


def _die_with(parent: int) -> Callable[[], None]:
    def ask_kernel() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel
