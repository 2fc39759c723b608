"""How many rows strangers can cause (D3, NEG-24): single REJECT rows up to a bound, one aggregate above it.

Rules:

* per source and window at most ``per_source_max`` rows; over all sources ``ALL_SOURCES_FACTOR`` times as many, so that
  changing the source does not help;
* what is above is counted by reason code and becomes one aggregate per source when its window is over: nothing is
  uncounted;
* at most ``sources_max`` sources are told apart; the least recent, and what does not fit, is counted under ``other``.

Pure: the caller gives the time. Only refusals of callers without a verified participant come here.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sidecar.attestation.limits import ALL_SOURCES_FACTOR, REJECT_WINDOW_S, SOURCE_TEXT_MAX, SOURCES_MAX

OTHER = "other"
"""The source under which evicted ones are counted."""


@dataclass(frozen=True, slots=True)
class RejectAggregate:
    """The refusals of one source that have no row of their own."""

    source_sha256: str
    count: int
    codes: dict[str, int]
    first_at: datetime
    last_at: datetime


@dataclass(slots=True)
class _Window:
    start: datetime
    rows: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    first_at: datetime | None = None
    last_at: datetime | None = None

    def is_open(self, now: datetime, length: timedelta) -> bool:
        return self.start <= now < self.start + length

    def count(self, codes: Counter[str], first_at: datetime, last_at: datetime) -> None:
        self.codes.update(codes)
        self.first_at = min(first_at, self.first_at or first_at)
        self.last_at = max(last_at, self.last_at or last_at)


class RejectLimiter:
    """Decides for each refusal of a stranger whether it gets a row, and keeps the aggregates of those that do not."""

    def __init__(self, per_source_max: int, *, sources_max: int = SOURCES_MAX) -> None:
        """``per_source_max`` is the manifest's ``rejects_per_source_per_minute_max``."""
        self._per_source_max = per_source_max
        self._all_max = per_source_max * ALL_SOURCES_FACTOR
        self._sources_max = sources_max
        self._length = timedelta(seconds=REJECT_WINDOW_S)
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._all: _Window | None = None
        self._other: _Window | None = None
        self._closed: list[RejectAggregate] = []

    def rebound(self, per_source_max: int) -> None:
        """Take another release's bound; what is counted stays counted."""
        self._per_source_max = per_source_max
        self._all_max = per_source_max * ALL_SOURCES_FACTOR

    def admit(self, source: str, code: str, now: datetime) -> bool:
        """True: write this refusal's own row. False: it is counted and comes with ``drain``."""
        if self._all is None or not self._all.is_open(now, self._length):
            self._all = _Window(now)
        window = self._window(source, now)
        if window.rows < self._per_source_max and self._all.rows < self._all_max:
            window.rows += 1
            self._all.rows += 1
            return True
        window.count(Counter((code,)), now, now)
        return False

    def drain(self, now: datetime, *, final: bool = False) -> list[RejectAggregate]:
        """The aggregates of windows that are over, each once; all of them when ``final`` (at shutdown)."""
        over = [name for name, window in self._windows.items() if final or not window.is_open(now, self._length)]
        for name in over:
            self._close(name, self._windows.pop(name))
        if self._other is not None and (final or not self._other.is_open(now, self._length)):
            self._closed.append(_aggregate(OTHER, self._other))
            self._other = None
        closed, self._closed = self._closed, []
        return closed

    def _window(self, source: str, now: datetime) -> _Window:
        window = self._windows.get(source)
        if window is not None and window.is_open(now, self._length):
            self._windows.move_to_end(source)
            return window
        if window is not None:
            self._close(source, self._windows.pop(source))
        while len(self._windows) >= self._sources_max:
            self._fold(self._windows.popitem(last=False)[1], now)
        return self._windows.setdefault(source, _Window(now))

    def _close(self, source: str, window: _Window) -> None:
        if window.codes and len(self._closed) < self._sources_max:
            self._closed.append(_aggregate(source, window))
        elif window.codes:
            self._fold(window, window.start)

    def _fold(self, window: _Window, now: datetime) -> None:
        if window.first_at is not None and window.last_at is not None:
            self._other = self._other or _Window(now)
            self._other.count(window.codes, window.first_at, window.last_at)


def source_of(client: tuple[str, int] | list[object] | None) -> str:
    """The source of an ASGI ``client``: the IPv4 address, the /64 of an IPv6 one, ``unknown`` without one."""
    if not client:
        return "unknown"
    text = str(client[0])[:SOURCE_TEXT_MAX]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _aggregate(source: str, window: _Window) -> RejectAggregate:
    return RejectAggregate(
        source_sha256=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
        count=window.codes.total(),
        codes=dict(sorted(window.codes.items())),
        first_at=window.first_at or window.start,
        last_at=window.last_at or window.start,
    )
