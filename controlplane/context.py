"""What every domain folder of the control plane gets: the database, the online keys, the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.runtime_invariants import Watch
from contracts.times import Clock, SystemClock
from controlplane.news import News
from controlplane.served import Served
from controlplane.store import Database

LogReleaseMetadata = Callable[[str, int, str], Awaitable[None]]
"""``(role, version, sha256 of the file's bytes)``: append an evidence leaf. Called after the commit and again at
start for what is there, so it must take a repetition as no error."""


@dataclass
class Context:
    """One running control plane. ``pool.transaction()`` gives a connection under ``symphony_control``."""

    pool: Database
    environment: str
    snapshot_key: Ed25519PrivateKey
    timestamp_key: Ed25519PrivateKey
    log_key: Ed25519PrivateKey
    log_origin: str
    clock: Clock = field(default_factory=SystemClock)
    timestamp_lifetime: timedelta = timedelta(hours=1)
    snapshot_lifetime: timedelta = timedelta(days=7)
    log_release_metadata: LogReleaseMetadata | None = None
    watch: Watch | None = None
    news: News = field(default_factory=News)
    served: Served = field(default_factory=Served)

    def demand_open(self) -> None:
        """Raise ``SERVICE_HALTED`` while nothing may be signed."""
        if self.watch is not None:
            self.watch.demand_open()
