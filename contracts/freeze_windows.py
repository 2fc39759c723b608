"""Freezes by calendar: when the active release's own environment data lets no release be promoted.

``environment.json`` may list ``freezes``; each names one of the release's ``calendars``, by whose zone and business days it
is reckoned, and says when by what it has of these; a day is frozen when all of them hold:

* ``first_date``, ``last_date``: from and to this local date, both included;
* ``month_first_business_days: n``, ``month_last_business_days: n``: from the first of a month to its n-th business day, from
  the n-th last business day to the month's end; where both stand, either;
* ``business_days_only``: not on weekends and holidays;
* ``opens_minute`` (0), ``closes_minute`` (1440): these minutes of the local day, half-open.

Where a clock is set back, the hour that comes twice belongs to the window that touches it, both times.

A release whose windows leave no hour in its life is refused: nothing could follow it. Not here: freezes that officers ask
for (``controlplane.releases.freezing``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from contracts.calendar import is_business_day, zone_of
from contracts.errors import NotTrusted

LOOK_AHEAD_DAYS = 370
"""How far the end of a window is looked for."""
OPEN_STEP = timedelta(hours=1)
_DAY = timedelta(days=1)
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """A window that is in force: its name and where it ends (UTC)."""

    name: str
    ends_at: datetime


def window_at(environment_data: Mapping[str, Any], now: datetime) -> Window | None:
    """The window in force at ``now`` that ends last, if there is one."""
    found = [
        Window(freeze["name"], _end(freeze, calendar, now))
        for freeze, calendar in _freezes(environment_data)
        if _holds(freeze, calendar, now)
    ]
    return max(found, key=lambda window: (window.ends_at, window.name), default=None)


def check_freezes(environment_data: Mapping[str, Any], start: datetime, end: datetime) -> None:
    """Raise ``NotTrusted RELEASE_MANIFEST`` for a window that means nothing, or where none of the time is left open."""
    for freeze in environment_data.get("freezes", ()):
        _check(freeze, environment_data["calendars"])
    freezes = _freezes(environment_data)
    moment = start
    while moment < end:
        if not any(_holds(freeze, calendar, moment) for freeze, calendar in freezes):
            return
        moment += OPEN_STEP
    raise NotTrusted("RELEASE_MANIFEST", "the freezes leave no hour in which the next release could be promoted")


def _check(freeze: Mapping[str, Any], calendars: Mapping[str, Any]) -> None:
    name = freeze["name"]
    if freeze["calendar"] not in calendars:
        raise NotTrusted("RELEASE_MANIFEST", f"freeze {name}: the release has no calendar {freeze['calendar']!r}")
    if freeze.get("first_date", "") > freeze.get("last_date", "9999"):
        raise NotTrusted("RELEASE_MANIFEST", f"freeze {name}: its first date is after its last")
    if freeze.get("opens_minute", 0) >= freeze.get("closes_minute", _MINUTES_A_DAY):
        raise NotTrusted("RELEASE_MANIFEST", f"freeze {name}: it closes before it opens; over midnight it takes two")


def _freezes(environment_data: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
    return [(one, environment_data["calendars"][one["calendar"]]) for one in environment_data.get("freezes", ())]


def _holds(freeze: Mapping[str, Any], calendar: dict[str, Any], now: datetime) -> bool:
    return _interval_around(freeze, calendar, now) is not None


def _end(freeze: Mapping[str, Any], calendar: dict[str, Any], now: datetime) -> datetime:
    """Where a window that holds ends, days that touch taken together."""
    around = _interval_around(freeze, calendar, now)
    assert around is not None
    day, end = around
    for _ in range(LOOK_AHEAD_DAYS):
        day += _DAY
        if not _is_frozen(freeze, calendar, day) or _interval(freeze, calendar, day)[0] > end:
            break
        end = _interval(freeze, calendar, day)[1]
    return end


def _interval_around(
    freeze: Mapping[str, Any], calendar: dict[str, Any], now: datetime
) -> tuple[date, datetime] | None:
    today = now.astimezone(zone_of(calendar["timezone"])).date()
    for day in (today, today - _DAY):
        start, end = _interval(freeze, calendar, day)
        if start <= now < end and _is_frozen(freeze, calendar, day):
            return day, end
    return None


def _interval(freeze: Mapping[str, Any], calendar: dict[str, Any], day: date) -> tuple[datetime, datetime]:
    """The frozen minutes of a local day in UTC."""
    opens, closes = freeze.get("opens_minute", 0), freeze.get("closes_minute", _MINUTES_A_DAY)
    return _moment(calendar, day, opens, fold=0), _moment(calendar, day, closes, fold=1)


def _moment(calendar: dict[str, Any], day: date, minute: int, *, fold: int) -> datetime:
    days, minute = divmod(minute, _MINUTES_A_DAY)
    local = datetime.combine(day + days * _DAY, time(minute // 60, minute % 60, fold=fold))
    return local.replace(tzinfo=zone_of(calendar["timezone"])).astimezone(UTC)


def _is_frozen(freeze: Mapping[str, Any], calendar: dict[str, Any], day: date) -> bool:
    if not freeze.get("first_date", "") <= day.isoformat() <= freeze.get("last_date", "9999"):
        return False
    if freeze.get("business_days_only") and not is_business_day(calendar, day):
        return False
    turns = [
        _business_days(calendar, day, step) < freeze[field]
        for field, step in (("month_first_business_days", -_DAY), ("month_last_business_days", _DAY))
        if field in freeze
    ]
    return any(turns) if turns else True


def _business_days(calendar: dict[str, Any], day: date, step: timedelta) -> int:
    """The business days of a day's month that are beyond it, to the month's end or to its beginning."""
    count, other = 0, day + step
    while other.month == day.month:
        count += is_business_day(calendar, other)
        other += step
    return count
