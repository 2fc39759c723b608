"""Time: UTC, RFC 3339 with six digits (design section 8), and the one injected clock."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Clock(Protocol):
    """The host clock, injected so that tests can move it."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""


class SystemClock:
    """The real clock of the host."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)


def rfc3339(moment: datetime) -> str:
    """``2026-11-24T10:48:49.123456Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """The moment of our own form of RFC 3339 (six digits, Z). ``ValueError`` for any other form."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not RFC 3339 with six digits: {text!r}")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
