"""The schedule by which a release that grows old tightens: its rules, each boundary, and clocks that jump (design section 4)."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import schemas
from contracts.errors import NotTrusted, Refused
from contracts.release import VerifiedRelease, staleness
from contracts.release.aging import FILE, Aging
from contracts.release.staleness import FRESH, LOOSER, SAME, TIGHTER, compare, standing

END = datetime(2026, 12, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LOW = {"ZMW": 1000, "USD": 50}
SCHEDULE: dict[str, Any] = {
    "lease": [
        {"after_s": 0, "caps_percent": 50}, {"after_s": 3600, "caps_percent": 20, "payment_minor_max": LOW},
        {"after_s": 14400, "stop": True},
    ],
    "role": [{"after_s": -604800, "caps_percent": 100}, {"after_s": 0, "caps_percent": 40}, {"after_s": 86400, "stop": True}],
}  # fmt: skip
CAPS = {"payment_minor_max": 9001, "daily_minor_max": 100_000, "daily_count_max": 7}


class Clock:
    """A clock that is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """The moment that it was set to."""
        return self.moment


def manifest(kind: str = "sidecar", **changes: Any) -> dict[str, Any]:
    """A repository's own manifest with this schedule."""
    name = "reference-rail" if kind == "sidecar" else "core-ledger"
    made: dict[str, Any] = json.loads((Path(__file__).resolve().parents[2] / f"manifests/{name}.json").read_text("utf-8"))
    return {**made, "staleness": copy.deepcopy(SCHEDULE), **changes}


def release(
    *, lease: datetime | None = None, role: datetime | None = None, kind: str = "ledger", fetched: datetime | None = None,
    **changes: Any,
) -> VerifiedRelease:  # fmt: skip
    """A release whose lease and role run out then; by default only the lease, at ``END``."""
    lease, role = lease or END, role or END + timedelta(days=300)
    made = manifest(kind, **changes)
    return VerifiedRelease(
        environment="sandbox", number=3, metadata_digest="", policy_digest="", expires_at=role, fetched_at=fetched or lease,
        lease_expires_at=lease, environment_data={}, manifest={k: v for k, v in made.items() if v is not None}, policy_wasm=b"",
        policy_bundle=b"", invariants={}, schemas={}, proposal={}, approver_key_ids=(), revocations=[], revocations_version=1,
    )  # fmt: skip


@pytest.mark.parametrize("clock", ["lease", "role"])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=200)], ids=["at the end", "long after"])
def test_without_a_schedule_everything_stops_at_the_end_as_before(clock: str, late: timedelta) -> None:
    """N-1: a manifest of the release before has none."""
    made = release(**{clock: END}, staleness=None)  # type: ignore[arg-type]
    assert standing(made, min(END, made.lease_expires_at, made.expires_at) - SECOND) is FRESH
    assert standing(made, END + late).stopped
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        staleness.demand(made, END + late)


@pytest.mark.parametrize(
    ("after_s", "steps", "percent", "payment", "daily"),
    [
        (-1, 0, 100, 9001, 100_000), (0, 1, 50, 4500, 50_000), (3599, 1, 50, 4500, 50_000), (3600, 2, 20, 1000, 20_000),
        (14399, 2, 20, 1000, 20_000), (14400, 3, 20, 0, 0), (10**9, 3, 20, 0, 0),
    ],
)  # fmt: skip
def test_the_lease_tightens_step_by_step_at_its_exact_boundaries(after_s: int, steps: int, percent: int, payment: int, daily: int) -> None:
    """100 % → 50 % → low value → stop; the number of payments stays."""
    found = standing(release(), END + timedelta(seconds=after_s))
    assert (found.lease, found.caps_percent, found.stopped) == (steps, percent, steps == 3)
    assert found.lower("ZMW", CAPS) == {"payment_minor_max": payment, "daily_minor_max": daily, "daily_count_max": 7}


@pytest.mark.parametrize(("after_s", "steps", "percent"), [(-604801, 0, 100), (-604800, 1, 100), (-1, 1, 100), (0, 2, 40), (86399, 2, 40)])
def test_the_role_warns_before_its_end_and_tightens_after_it(after_s: int, steps: int, percent: int) -> None:
    """A warning changes no cap; both clocks add up to the least."""
    made = release(lease=END + timedelta(days=30), role=END)
    found = standing(made, END + timedelta(seconds=after_s))
    assert (found.role, found.lease, found.caps_percent, found.stopped) == (steps, 0, percent, False)
    assert found.tightens == (percent < 100)
    both = standing(replace(made, lease_expires_at=END), END)
    assert (both.steps, both.caps_percent, both.mode) == ((1, 2), 40, "stale-lease-1-role-2")
    assert staleness.stops_at(made) == END + timedelta(days=1)
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        staleness.demand_role(made, END + timedelta(days=1))


def test_a_currency_that_a_low_value_does_not_name_may_not_be_paid() -> None:
    found = standing(release(), END + timedelta(hours=2))
    assert [found.lower(currency, CAPS)["payment_minor_max"] for currency in ("ZMW", "USD", "EUR")] == [1000, 50, 0]


def test_a_sidecars_lease_ends_when_its_revocations_are_too_old_and_attestation_goes_on_as_long_as_the_schedule() -> None:
    """SEC-10: who withholds the control plane gains no moment of full caps; without a schedule the age is a cliff, as before."""
    age = timedelta(seconds=manifest()["sidecar"]["ages_max_s"]["revocations"])
    made = release(kind="sidecar", fetched=END - timedelta(hours=1))
    assert standing(made, END - timedelta(hours=1) + age - SECOND) is FRESH
    assert standing(made, END - timedelta(hours=1) + age).caps_percent == 50
    assert staleness.revocations_age_s_max(made.manifest) == age.total_seconds() + 14400
    assert staleness.stops_at(made) == made.fetched_at + timedelta(seconds=staleness.revocations_age_s_max(made.manifest))
    without = release(kind="sidecar", fetched=END - timedelta(hours=1), staleness=None)
    assert standing(without, END - SECOND) is FRESH
    assert staleness.revocations_age_s_max(without.manifest) == age.total_seconds()


STOP = {"after_s": 9000, "stop": True}
UNSOUND = {
    "no stop at the end": ("lease", [{"after_s": 0, "caps_percent": 50}]),
    "a stop in the middle": ("lease", [{"after_s": 0, "stop": True}, STOP]),
    "steps out of order": ("lease", [{"after_s": 60, "caps_percent": 50}, {"after_s": 0, "caps_percent": 40}, STOP]),
    "two steps at once": ("lease", [{"after_s": 0, "caps_percent": 50}, {"after_s": 0, "caps_percent": 40}, STOP]),
    "a step that loosens": ("lease", [{"after_s": 0, "caps_percent": 50}, {"after_s": 9, "caps_percent": 51}, STOP]),
    "a limit that rises": ("lease", [{"after_s": 0, "payment_minor_max": {"ZMW": 5}}, {"after_s": 9, "payment_minor_max": {"ZMW": 6}}, STOP]),
    "a limit that names a further currency": (
        "lease", [{"after_s": 0, "payment_minor_max": {"ZMW": 5}}, {"after_s": 9, "payment_minor_max": {"USD": 1}}, STOP],
    ),
    "a limit that is gone": ("lease", [{"after_s": 0, "payment_minor_max": {"ZMW": 5}}, {"after_s": 9, "caps_percent": 1}, STOP]),
    "a percentage that comes back": (
        "lease",
        [
            {"after_s": 0, "caps_percent": 50}, {"after_s": 5, "payment_minor_max": {"ZMW": 5}},
            {"after_s": 9, "caps_percent": 60, "payment_minor_max": {"ZMW": 5}}, STOP,
        ],
    ),
    "full caps past the lease": ("lease", [{"after_s": 0, "caps_percent": 100}, STOP]),
    "a gap at full caps past the lease": ("lease", [{"after_s": 1, "caps_percent": 50}, STOP]),
    "full caps past the role": ("role", [{"after_s": -60, "caps_percent": 100}, {"after_s": 60, "caps_percent": 50}, STOP]),
    "a lease for longer than a day": ("lease", [{"after_s": 0, "caps_percent": 50}, {"after_s": 86401, "stop": True}]),
    "a lease that tightens before its end": ("lease", [{"after_s": -1, "caps_percent": 50}, STOP]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_schedule_is_refused(name: str) -> None:
    """Rule 4: it fits the schema, and could run on, or loosen."""
    clock, steps = UNSOUND[name]
    made = manifest(staleness={clock: steps})
    schemas.check("symphony.service/1", made, code="RELEASE_MANIFEST")
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST"):
        staleness.check_manifest(made)


@pytest.mark.parametrize(
    "value",
    [
        {}, {"lease": []}, {"lease": [STOP] * 9}, {"lease": [{"after_s": 0}]}, {"lease": [{"after_s": 0, "stop": False}]},
        {"lease": [{"after_s": 0, "stop": True, "caps_percent": 1}]}, {"lease": [{"after_s": 0, "caps_percent": 101}]},
        {"lease": [{"after_s": 0, "caps_percent": True}]}, {"lease": [{"after_s": 0.5, "stop": True}]}, {"root": [STOP]},
        {"role": [{"after_s": 259201, "stop": True}]}, {"role": [{"after_s": 0, "payment_minor_max": {"*": 1}}]},
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_schedule_does_not_fit_the_schema(value: Any) -> None:
    with pytest.raises(Refused, match="staleness"):
        schemas.check("symphony.service/1", manifest(staleness=value), code="RELEASE_MANIFEST")


def test_our_own_manifests_have_a_sound_schedule_and_agree() -> None:
    own = {path.stem: json.loads(path.read_text("utf-8")) for path in (Path(__file__).resolve().parents[2] / "manifests").glob("*.json")}
    assert len(own) >= 2
    for one in own.values():
        assert set(one["staleness"]) == {"lease", "role"}
        staleness.check_manifest(one)
    staleness.check_agree(own)


@pytest.mark.parametrize("clock", ["lease", "role"])
def test_a_ledger_that_tightens_before_its_sidecar_is_refused_where_both_are_read(clock: str) -> None:
    """Rule 5: what the sidecar still sends would pile up at the ledger; one that permits more is its own affair."""
    tighter = {**SCHEDULE, clock: [{"after_s": 0, "caps_percent": 30}, {"after_s": 60, "stop": True}]}
    pair = {"r": manifest(), "l": manifest("ledger", staleness=tighter)}
    with pytest.raises(NotTrusted, match=f"RELEASE_MANIFEST: the {clock} of r"):
        staleness.check_agree(pair)
    with pytest.raises(NotTrusted, match="RELEASE_MANIFEST"):
        staleness.check_agree({"r": manifest(), "l": {k: v for k, v in manifest("ledger").items() if k != "staleness"}})
    staleness.check_agree({"r": manifest(staleness=tighter), "l": manifest("ledger")})
    staleness.check_agree({"r": manifest()})


def test_two_schedules_are_compared_by_what_they_permit_at_every_moment() -> None:
    lease = SCHEDULE["lease"]
    assert compare(None, lease) == LOOSER
    assert compare(lease, None) == TIGHTER
    assert compare(lease, copy.deepcopy(lease)) == SAME
    assert compare(lease, [{"after_s": 0, "caps_percent": 50}, {"after_s": 3000, "caps_percent": 50}, *lease[1:]]) == SAME
    assert compare(lease, [lease[0], lease[2]]) == LOOSER
    assert compare(lease, [{"after_s": 0, "caps_percent": 40}, *lease[1:-1], {"after_s": 20000, "stop": True}]) is None


def test_a_clock_that_jumps_back_leaves_no_step_until_a_new_timestamp_comes(tmp_path: Path) -> None:
    """Nor does a restart, nor the same timestamp again; a step is told once."""
    clock = Clock(END + timedelta(hours=2))
    aging, made = Aging(clock, tmp_path / FILE), release()
    found = aging.entered(made)
    assert found is not None
    assert found.lease == 2
    aging.keep(found)
    clock.moment = END - timedelta(hours=5)
    assert aging.standing(made).lease == 2
    restarted = Aging(clock, tmp_path / FILE)
    assert (restarted.standing(made).lease, restarted.entered(made)) == (2, None)
    again = replace(made, fetched_at=clock.moment)
    assert restarted.standing(again).lease == 2
    older = replace(made, lease_expires_at=END - timedelta(minutes=30))
    assert restarted.standing(older).lease == 2, "an older timestamp, by a lost cache, is no new one"
    fresh = replace(made, lease_expires_at=END + timedelta(hours=1))
    assert restarted.entered(fresh) == FRESH


@pytest.mark.parametrize("content", ["", "{}", '{"told": [1], "lease": 5, "seen": null}', '{"told": "ab"}'], ids=range(4))
def test_a_file_that_cannot_be_read_is_as_none_and_one_that_cannot_be_written_is_said(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(content)
    aging = Aging(Clock(END), tmp_path / FILE)
    assert (aging.told, aging.standing(release()).lease) == ((0, 0), 1)
    nowhere = Aging(Clock(END), tmp_path / FILE / "in a file")
    found = nowhere.entered(release())
    assert found is not None
    nowhere.keep(found)
    assert "a restart will not know" in caplog.text
    assert nowhere.told == (1, 0)


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    """Sound schedules of both clocks."""
    made = {}
    for clock, begin in (("lease", 0), ("role", draw(st.sampled_from([-500, 0])))):
        moments = sorted(draw(st.sets(st.integers(begin + 1, 900), max_size=4)) | {begin, 0})
        percents = sorted(draw(st.lists(st.integers(0, 99), min_size=len(moments), max_size=len(moments))), reverse=True)
        steps = [{"after_s": at, "caps_percent": percent} for at, percent in zip(moments, percents, strict=True)]
        low = draw(st.one_of(st.none(), st.integers(1, 2000)))
        if low is not None:
            steps[-1]["payment_minor_max"] = {"ZMW": low}
        made[clock] = [*steps, {"after_s": draw(st.integers(901, 1200)), "stop": True}]
    return made


@settings(max_examples=120, deadline=None, derandomize=True)
@given(schedules(), st.lists(st.integers(-1500, 3000), min_size=2, max_size=12), st.integers(-600, 600))
def test_caps_never_rise_without_a_new_timestamp_however_the_clock_goes(
    schedule: dict[str, Any], moments: list[int], apart: int
) -> None:
    """Any sound schedule, any walk of the clock, restarts in between are the same object's memory here."""
    made = release(role=END + timedelta(seconds=apart), staleness=schedule)
    staleness.check_manifest(made.manifest)
    clock = Clock(END)
    aging = Aging(clock)
    before = CAPS
    for moment in moments:
        clock.moment = END + timedelta(seconds=moment)
        now = aging.standing(made).lower("ZMW", CAPS)
        assert all(now[name] <= before[name] for name in CAPS)
        assert now["daily_count_max"] == CAPS["daily_count_max"]
        before = now
    clock.moment = END + timedelta(days=2)
    assert aging.standing(made).stopped, "no schedule runs for ever"
