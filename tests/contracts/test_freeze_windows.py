"""Freezes by calendar: which window, and when it ends, by the calendar's own zone and business days (POL-07)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.freeze_windows import check_freezes, window_at
from contracts.times import parse_moment

LUSAKA = {"timezone": "Africa/Lusaka", "weekend": [6, 7], "holidays": ["2026-12-25"]}
BERLIN = {"timezone": "Europe/Berlin", "weekend": [6, 7], "holidays": []}
YEAR_END = {"name": "year-end", "calendar": "zm", "first_date": "2026-12-30", "last_date": "2027-01-02"}
CUT_OFF = {"name": "cut-off", "calendar": "zm", "business_days_only": True, "opens_minute": 14 * 60, "closes_minute": 17 * 60}
MONTH_END = {"name": "month-end", "calendar": "zm", "month_last_business_days": 2}
MONTH_TURN = {**MONTH_END, "name": "month-turn", "month_last_business_days": 1, "month_first_business_days": 1}


def data(*freezes: dict[str, Any]) -> dict[str, Any]:
    """Environment data with these windows."""
    return {"calendars": {"zm": LUSAKA, "de": BERLIN}, "freezes": list(freezes)}


def found(moment: str, *freezes: dict[str, Any]) -> tuple[str, str] | None:
    """The window at a moment and its end, as text."""
    window = window_at(data(*freezes), parse_moment(moment))
    return None if window is None else (window.name, window.ends_at.isoformat())


@pytest.mark.parametrize(
    "changes",
    [
        {"calendar": "fr"},
        {"first_date": "2027-01-03"},
        {"opens_minute": 600, "closes_minute": 600},
        {"opens_minute": 1300, "closes_minute": 60},
    ],
    ids=["no such calendar", "dates the wrong way", "no minute", "over midnight"],
)
def test_a_window_that_means_nothing_is_refused(changes: dict[str, Any]) -> None:
    start = parse_moment("2026-11-27T00:00:00Z")
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST: freeze year-end"):
        check_freezes(data({**YEAR_END, **changes}), start, start + timedelta(days=30))


def test_windows_that_leave_no_hour_of_a_releases_life_are_refused() -> None:
    """Else nothing could ever follow the release that carries them."""
    start = parse_moment("2026-12-30T12:00:00Z")
    with pytest.raises(NotTrusted, match="leave no hour"):
        check_freezes(data(YEAR_END), start, start + timedelta(days=2))
    check_freezes(data(YEAR_END), start, start + timedelta(days=5))
    check_freezes(data(), start, start + timedelta(days=2))


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-12-29T21:59:59.999999Z", False),
        ("2026-12-29T22:00:00Z", True),
        ("2027-01-02T21:59:59.999999Z", True),
        ("2027-01-02T22:00:00Z", False),
    ],
    ids=["before", "at its start", "in its last moment", "at its end"],
)
def test_dates_are_days_of_the_calendars_zone_and_half_open(moment: str, frozen: bool) -> None:
    assert found(moment, YEAR_END) == (("year-end", "2027-01-02T22:00:00+00:00") if frozen else None)


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-11-27T11:59:59Z", False),
        ("2026-11-27T12:00:00Z", True),
        ("2026-11-27T15:00:00Z", False),
        ("2026-11-28T12:00:00Z", False),
        ("2026-12-25T12:00:00Z", False),
    ],
    ids=["before the hour", "at the hour", "after it", "on a Saturday", "on a holiday"],
)
def test_the_hours_before_a_cut_off_on_business_days(moment: str, frozen: bool) -> None:
    assert found(moment, CUT_OFF) == (("cut-off", "2026-11-27T15:00:00+00:00") if frozen else None)


def test_a_months_end_is_counted_in_business_days_and_its_days_are_one_window() -> None:
    assert found("2026-10-28T21:59:00Z", MONTH_END) is None
    assert found("2026-10-28T22:00:00Z", MONTH_END) == ("month-end", "2026-10-31T22:00:00+00:00")  # 31 is a Saturday
    assert found("2026-10-31T12:00:00Z", MONTH_END) == ("month-end", "2026-10-31T22:00:00+00:00")
    assert found("2026-10-30T12:00:00Z", MONTH_TURN) == ("month-turn", "2026-11-02T22:00:00+00:00")
    assert found("2026-11-03T12:00:00Z", MONTH_TURN) is None


def test_of_several_windows_the_one_that_ends_last_is_named() -> None:
    assert found("2026-12-31T13:00:00Z", CUT_OFF, YEAR_END) == ("year-end", "2027-01-02T22:00:00+00:00")


def test_an_hour_that_comes_twice_belongs_to_the_window_both_times() -> None:
    """2026-10-25, 03:00 becomes 02:00 in Berlin: 00:30 and 01:30 UTC are both 02:30."""
    night = {"name": "night", "calendar": "de", "opens_minute": 60, "closes_minute": 150}
    assert [found(f"2026-10-25T0{hour}:29:00Z", night) is not None for hour in (0, 1)] == [True, True]
    assert found("2026-10-25T01:30:00Z", night) is None
    assert window_at(data(night), datetime(2026, 10, 24, 22, 59, tzinfo=UTC)) is None


def test_what_a_person_writes_is_a_moment_with_its_zone() -> None:
    assert parse_moment("2026-11-27T12:00:00+02:00") == datetime(2026, 11, 27, 10, tzinfo=UTC)
    for text in ("2026-11-27T12:00:00", "2026-11-27", "noon"):
        with pytest.raises(ValueError):
            parse_moment(text)
