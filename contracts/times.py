"""Time: UTC, RFC 3339 with six digits (design section 8), and the one injected clock."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z")


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
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The moment of our own form of RFC 3339 (six digits, Z). ``ValueError`` for any other form."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not RFC 3339 with six digits: {text!r}")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """What a person writes: ISO 8601 with its zone, ``2026-11-27T10:00:00Z`` or ``…+02:00``; in UTC. ``ValueError``."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a moment without a zone: {text!r}")
    return moment.astimezone(UTC)
