"""Business time of a rail, frozen into a decision's input (design section 3, station 3).

``business_context`` is a pure function: the same manifest, calendars and moment give the same object, so a decision
can be made again years later. Rules:

* the zone is the manifest's, and the calendar that it names must be for the same zone;
* ``business_date`` is the calendar date in that zone, on any day; whether it is a business day stands beside it
  (never rolled forward, so that a message dated today fits on every day that policy admits);
* the window is half-open, ``opens_minute <= local_minute < closes_minute``, and may cross midnight.

Not here: the usage day of caps, which follows the database's clock; leap seconds, which no clock here shows.
Zone data are the system's, else the package ``tzdata``.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.errors import CannotEvaluate


def business_context(sidecar: dict[str, Any], calendars: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The ``rail`` object of a decision input, from the ``sidecar`` part of a service manifest and the release's
    calendars. Raises ``CannotEvaluate RELEASE_MANIFEST`` where they do not fit or the zone is not known.
    """
    calendar = calendars.get(sidecar["calendar"])
    if calendar is None:
        raise CannotEvaluate("RELEASE_MANIFEST", f"the release has no calendar {sidecar['calendar']!r}")
    if calendar["timezone"] != sidecar["timezone"]:
        raise CannotEvaluate(
            "RELEASE_MANIFEST",
            f"calendar {sidecar['calendar']!r} is for {calendar['timezone']}, the rail is in {sidecar['timezone']}",
        )
    if now.tzinfo is None:
        raise ValueError("a moment without a zone")
    local = now.astimezone(zone_of(sidecar["timezone"]))
    minute = local.hour * 60 + local.minute
    return {
        "name": sidecar["rail"]["name"],
        "timezone": sidecar["timezone"],
        "business_date": local.date().isoformat(),
        "is_business_day": is_business_day(calendar, local.date()),
        "local_minute": minute,
        "window_open": _open(minute, sidecar["window"]["opens_minute"], sidecar["window"]["closes_minute"]),
    }


def _open(minute: int, opens: int, closes: int) -> bool:
    if opens < closes:
        return opens <= minute < closes
    return minute >= opens or minute < closes


def is_business_day(calendar: dict[str, Any], day: date) -> bool:
    """Whether a day is one of a release's calendar."""
    return day.isoweekday() not in calendar["weekend"] and day.isoformat() not in calendar["holidays"]


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """An IANA time zone. Raises ``CannotEvaluate RELEASE_MANIFEST`` for one that is not known here."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CannotEvaluate(
            "RELEASE_MANIFEST", f"no time zone {name!r} here", next_step="name an IANA zone, or install tzdata"
        ) from error
