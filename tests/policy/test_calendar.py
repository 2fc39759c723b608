"""Business time: zone, calendar and window, frozen into a decision's input."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from contracts.calendar import business_context
from contracts.errors import CannotEvaluate
from contracts.schemas import check
from tests.policy.support import ROOT, decision_input, environment

CALENDARS = environment()["calendars"]


def manifest(**changes):
    document = json.loads((ROOT / "manifests" / "reference-rail.json").read_text())["sidecar"]
    return {**document, **changes}


def at(text: str, **changes):
    return business_context(manifest(**changes), changes.pop("calendars", CALENDARS), datetime.fromisoformat(text))


def test_a_working_day_at_noon():
    context = at("2026-11-24T10:00:00+00:00")
    assert context == {
        "name": "iso20022", "timezone": "Africa/Lusaka", "business_date": "2026-11-24", "is_business_day": True,
        "local_minute": 720, "window_open": True,
    }
    check("symphony.decision_input/1", {**decision_input(), "rail": context}, code="INPUT_INVALID")


def test_the_date_is_the_rails_and_not_utcs():
    assert at("2026-11-23T21:59:59+00:00")["business_date"] == "2026-11-23"
    assert at("2026-11-23T22:00:00+00:00")["business_date"] == "2026-11-24"
    assert at("2026-11-23T22:00:00+00:00")["local_minute"] == 0


@pytest.mark.parametrize(("moment", "is_open"), [
    ("2026-11-24T05:59:59+00:00", False), ("2026-11-24T06:00:00+00:00", True),
    ("2026-11-24T14:29:59+00:00", True), ("2026-11-24T14:30:00+00:00", False),
])
def test_the_window_is_half_open(moment, is_open):
    assert at(moment)["window_open"] is is_open


@pytest.mark.parametrize(("minute", "is_open"), [
    ("20:59", False), ("21:00", True), ("23:30", True), ("01:59", True), ("02:00", False),
])
def test_a_window_may_cross_midnight(minute, is_open):
    calendars = {"utc": {"timezone": "UTC", "weekend": [], "holidays": []}}
    sidecar = manifest(timezone="UTC", calendar="utc", window={"opens_minute": 1260, "closes_minute": 120})
    moment = datetime.fromisoformat(f"2026-11-24T{minute}:00+00:00")
    assert business_context(sidecar, calendars, moment)["window_open"] is is_open


@pytest.mark.parametrize("date", ["2026-11-28", "2026-11-29", "2026-12-25", "2026-10-19", "2027-07-06"])
def test_weekends_and_holidays_are_no_business_days_and_keep_their_date(date):
    context = at(f"{date}T10:00:00+00:00")
    assert context["is_business_day"] is False
    assert context["business_date"] == date


def test_daylight_saving_moves_the_minute_and_not_the_rule():
    calendars = {"de": {"timezone": "Europe/Berlin", "weekend": [6, 7], "holidays": []}}
    for moment, minute in (("2026-07-01T10:00:00+00:00", 720), ("2026-12-01T10:00:00+00:00", 660)):
        sidecar = manifest(timezone="Europe/Berlin", calendar="de")
        assert business_context(sidecar, calendars, datetime.fromisoformat(moment))["local_minute"] == minute


@pytest.mark.parametrize("changes", [
    {"calendar": "mars"}, {"timezone": "Europe/Berlin"}, {"timezone": "Africa/Nowhere"}, {"timezone": "../etc/passwd"},
    {"timezone": ""},
])
def test_a_manifest_that_does_not_fit_the_calendars_cannot_be_evaluated(changes):
    sidecar = manifest(**changes)
    calendars = CALENDARS
    if changes.get("timezone", "Europe/Berlin") != "Europe/Berlin":
        calendars = {"zambia": {**CALENDARS["zambia"], "timezone": changes["timezone"]}}
    with pytest.raises(CannotEvaluate) as caught:
        business_context(sidecar, calendars, datetime(2026, 11, 24, tzinfo=UTC))
    assert caught.value.code == "RELEASE_MANIFEST"


def test_a_moment_without_a_zone_is_a_defect_of_ours():
    with pytest.raises(ValueError, match="zone"):
        business_context(manifest(), CALENDARS, datetime(2026, 11, 24))  # noqa: DTZ001 - the point of the test


def test_without_zone_data_it_says_what_to_install():
    """A machine without /usr/share/zoneinfo and without the package tzdata."""
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules["tzdata"] = None
from datetime import UTC, datetime
from contracts.calendar import business_context
from contracts.errors import CannotEvaluate
try:
    business_context(json.loads({json.dumps(manifest())!r}), json.loads({json.dumps(CALENDARS)!r}), datetime.now(UTC))
except CannotEvaluate as error:
    print(error.code, "/", error.next_step)
"""
    bare = {"PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "RELEASE_MANIFEST / name an IANA zone, or install tzdata"
