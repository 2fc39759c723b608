"""Deadlines for Wasm: one ticking thread a process, awake only while something is being evaluated.

Wasmtime checks an *epoch* at every loop and call; a store traps once the epoch has passed the store's deadline. The
thread moves the epoch every ``TICK_MS``. A delayed thread makes a deadline longer, never shorter; Wasm runs without
the interpreter's lock, so a policy that loops cannot stop the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import wasmtime

TICK_MS = 10
"""How exact a deadline is: a deadline is 250 ms, and each tick wakes a thread."""


class Ticker:
    """Moves the epoch of one ``wasmtime.Engine``. Safe to use from many threads; starts again after a fork."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._running = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def deadline(self, store: wasmtime.Store, deadline_ms: int) -> Iterator[None]:
        """Within this block the store traps once ``deadline_ms`` have passed (rounded up to ticks)."""
        store.set_epoch_deadline(max(1, -(-deadline_ms // TICK_MS)) + 1)
        with self._lock:
            self._running += 1
            if self._thread is None or not self._thread.is_alive():
                self._start()
        self._awake.set()
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._tick, name="symphony-policy-epoch", daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(TICK_MS / 1000)
            self._engine.increment_epoch()
            with self._lock:
                if self._running == 0:
                    self._awake.clear()
