"""The circuit breaker before the store, and its spool (D2, RTE-16, NEG-28).

Rules, pure but for the clock that is given:

* CLOSED: attempts go through; ``failures_max`` failures in a row open it;
* OPEN for ``cool_down_s``: every attempt is refused at once, and the database is not touched;
* HALF_OPEN: after the cool-down one attempt is let through; success closes, failure opens it again.

What is refused while it is open is counted by reason in a local file, appended and synced once a second at most (so a herd
of refusals cannot become a herd of syncs), and becomes evidence once the store is back. What is read is first set aside,
so that what is refused meanwhile is in another file, and only what was recorded is removed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from contracts.times import rfc3339

FAILURES_MAX = 5
COOL_DOWN_S = 2.0
SPOOL_BYTES_MAX = 4 * 1024 * 1024
"""Beyond this the spool counts on in memory only; one line is about 120 bytes, so this is more than nine hours."""


@dataclass(slots=True)
class Breaker:
    """One breaker. ``permits`` asks before touching the store; ``succeeded`` and ``failed`` report."""

    failures_max: int = FAILURES_MAX
    cool_down: timedelta = timedelta(seconds=COOL_DOWN_S)
    _failures: int = 0
    _open_until: datetime | None = None
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is open or probing."""
        return self._open_until is not None

    def permits(self, now: datetime) -> bool:
        """Whether an attempt may go through; the one probe of a half-open breaker is given out once."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The store answered: closed."""
        self._failures, self._open_until, self._probing = 0, None, False

    def released(self) -> None:
        """The attempt ended without a word about the store: a probe is given out again."""
        self._probing = False

    def failed(self, now: datetime) -> None:
        """The store did not: count, and open at the bound or after a failed probe."""
        self._failures += 1
        if self._probing or self._failures >= self.failures_max:
            self._open_until, self._probing = now + self.cool_down, False


@dataclass(slots=True)
class Spool:
    """Counts of refusals on disk, for the time when the store cannot take them."""

    path: Path
    _unsynced: Counter[str] = field(default_factory=Counter)
    _synced_at: datetime | None = None

    def add(self, code: str, count: int, now: datetime) -> None:
        """Count refusals; written and synced at most once a second, and at once for the first."""
        self._unsynced[code] += count
        if self._synced_at is None or now - self._synced_at >= timedelta(seconds=1):
            self.flush(now)

    def flush(self, now: datetime) -> None:
        """Append what is counted and sync it."""
        if not self._unsynced or (self.path.exists() and self.path.stat().st_size > SPOOL_BYTES_MAX):
            return
        line = "\n" + json.dumps({"at": rfc3339(now), "codes": dict(self._unsynced)}) + "\n"  # whole, also after a torn one
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._unsynced.clear()
        self._synced_at = now

    def read(self) -> dict[str, object] | None:
        """Set aside what is spooled, and what of it is whole as one aggregate; ``None`` when there is nothing."""
        try:
            if not self._aside.exists():
                self.path.rename(self._aside)
            lines = self._aside.read_text("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return None
        codes: Counter[str] = Counter()
        times = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            codes.update(entry["codes"])
            times.append(entry["at"])
        if not times:
            self.clear()
            return None
        return {"count": codes.total(), "codes": dict(sorted(codes.items())), "first_at": times[0], "last_at": times[-1]}

    def clear(self) -> None:
        """Remove what was read, after its aggregate has been recorded."""
        self._aside.unlink(missing_ok=True)
        self._synced_at = None

    @property
    def _aside(self) -> Path:
        return self.path.with_suffix(".read")
