"""The bound on what strangers can make us write (D3, NEG-24)."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.attestation import RejectLimiter, source_of
from sidecar.attestation.limits import ALL_SOURCES_FACTOR, REJECT_WINDOW_S
from tests.attestation.support import NOW

WINDOW = timedelta(seconds=REJECT_WINDOW_S)
SECOND = timedelta(seconds=1)


def test_a_flood_from_one_source_is_few_rows_and_one_aggregate():
    """NEG-24."""
    limiter = RejectLimiter(5)
    rows = [limiter.admit("10.0.0.1", "TOKEN_MISSING", NOW) for _ in range(1000)]
    assert rows == [True] * 5 + [False] * 995
    assert limiter.drain(NOW) == []
    (aggregate,) = limiter.drain(NOW + WINDOW)
    assert (aggregate.count, aggregate.codes) == (995, {"TOKEN_MISSING": 995})
    assert aggregate.source_sha256 == hashlib.sha256(b"10.0.0.1").hexdigest()
    assert limiter.drain(NOW + WINDOW) == []


def test_a_window_is_a_minute_to_the_second():
    limiter = RejectLimiter(1)
    assert limiter.admit("a", "TOKEN_MISSING", NOW)
    assert not limiter.admit("a", "TOKEN_MISSING", NOW + WINDOW - SECOND)
    assert limiter.admit("a", "TOKEN_MISSING", NOW + WINDOW)
    (aggregate,) = limiter.drain(NOW + WINDOW)
    assert aggregate.first_at == aggregate.last_at == NOW + WINDOW - SECOND


def test_sources_do_not_take_from_each_other():
    limiter = RejectLimiter(1)
    assert limiter.admit("a", "TOKEN_MISSING", NOW)
    assert limiter.admit("b", "TOKEN_MISSING", NOW)
    assert not limiter.admit("a", "TOKEN_MISSING", NOW)


def test_changing_the_source_does_not_help():
    limiter = RejectLimiter(1)
    rows = sum(limiter.admit(f"s{n}", "TOKEN_MISSING", NOW) for n in range(1000))
    assert rows == ALL_SOURCES_FACTOR


def test_a_source_that_is_forgotten_is_still_counted():
    limiter = RejectLimiter(1, sources_max=2)
    for n in range(10):
        for code in ("TOKEN_MISSING", "TOKEN_EXPIRED"):
            limiter.admit(f"s{n}", code, NOW)
    drained = limiter.drain(NOW, final=True)
    assert sum(aggregate.count for aggregate in drained) == 10
    other = next(a for a in drained if a.source_sha256 == hashlib.sha256(b"other").hexdigest())
    assert other.codes == {"TOKEN_EXPIRED": 8}


def test_a_clock_that_goes_back_opens_a_new_window_and_loses_nothing():
    limiter = RejectLimiter(1)
    limiter.admit("a", "TOKEN_MISSING", NOW)
    limiter.admit("a", "TOKEN_MISSING", NOW)
    assert limiter.admit("a", "TOKEN_MISSING", NOW - SECOND)
    assert sum(a.count for a in limiter.drain(NOW, final=True)) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(["TOKEN_MISSING", "CERTIFICATE_MISSING"]),
            st.integers(0, 40),
            st.booleans(),
        ),
        max_size=200,
    )
)
def test_every_refusal_is_a_row_or_counted_once(steps):
    limiter = RejectLimiter(2, sources_max=3)
    now, rows, seen, drained = NOW, Counter(), Counter(), Counter()
    for source, code, seconds, drain in steps:
        now += timedelta(seconds=seconds)
        seen[code] += 1
        rows[code] += limiter.admit(str(source), code, now)
        for aggregate in limiter.drain(now) if drain else []:
            drained.update(aggregate.codes)
        assert len(limiter._windows) <= 3
        assert len(limiter._closed) <= 3
    for aggregate in limiter.drain(now, final=True):
        drained.update(aggregate.codes)
    assert rows + drained == seen


@pytest.mark.parametrize(
    ("client", "source"),
    [
        (None, "unknown"),
        (("10.0.0.1", 443), "10.0.0.1"),
        (["10.0.0.1", 1], "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::/64"),
        (("::ffff:10.0.0.1", 1), "10.0.0.1"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("x" * 100, 1), "x" * 64),
    ],
)
def test_the_source_of_a_request(client, source):
    assert source_of(client) == source
