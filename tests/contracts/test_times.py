"""RFC 3339 in one form only: six digits and Z, a real moment, ASCII digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.times import parse_rfc3339, rfc3339

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS))  # noqa: DTZ001
def test_what_is_written_is_read_back(moment: datetime) -> None:
    text = rfc3339(moment)
    assert len(text) == 27
    assert parse_rfc3339(text) == moment
    assert text == moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T10:48:49.123456", "2026-11-24T10:48:49.123456+00:00", "2026-11-24T10:48:49.123Z", "2026-11-24T10:48:49Z",
        "2026-11-24 10:48:49.123456Z", "2026-11-24T24:00:00.000000Z", "2026-11-24T23:59:60.000000Z", "2026-13-01T00:00:00.000000Z",
        "2027-02-29T00:00:00.000000Z", "2026-11-24T10:48:49.123456z", "2026-11-24T10:48:49.123456Z\n", "٢٠٢٦-11-24T10:48:49.123456Z", "",
    ],
)  # fmt: skip
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)
