"""The outcome tables: what a rail's word means, and that everything else is in doubt (OUT-04, OUT-10, OUT-11, REC-13)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.sdk import Outcome, RailStatus, StatusResult, SubmitResult
from sidecar.dispatch.outcomes import Retry, Written, backoff_ms, of_query, of_submit

RETRY = Retry(attempts_max=5, backoff_ms_min=100, backoff_ms_max=2_000)


def submitted(outcome: Outcome, **more: str) -> SubmitResult:
    """A submit's answer."""
    return SubmitResult(outcome=outcome, **more)


def said(status: RailStatus, **more: str) -> StatusResult:
    """A query's answer."""
    return StatusResult(status=status, **more)


def test_accepted_is_dispatched_with_the_rails_reference() -> None:
    """OUT-04: never "settled"."""
    assert of_submit(submitted(Outcome.ACCEPTED_FINAL, rail_reference="r"), 1, RETRY) == Written("DISPATCHED", rail_reference="r")


def test_rejected_is_failed_with_the_rails_code() -> None:
    """OUT-04."""
    written = of_submit(submitted(Outcome.REJECTED_FINAL, code="AC04"), 1, RETRY)
    assert written == Written("FAILED", "rail", "AC04")
    assert of_submit(submitted(Outcome.REJECTED_FINAL), 1, RETRY) == Written("FAILED", "rail", "RAIL_REJECTED")


def test_surely_not_sent_is_retried_below_the_ceiling_and_parked_at_it() -> None:
    """REC-13."""
    result = submitted(Outcome.SURELY_NOT_SENT)
    for attempt in range(1, RETRY.attempts_max):
        written = of_submit(result, attempt, RETRY, jitter=0.5)
        assert written is not None
        assert (written.state, written.error_code) == ("RETRYABLE", "RAIL_UNREACHABLE")
        assert written.retry_in_ms == backoff_ms(attempt, RETRY, 0.5)
    for attempt in (RETRY.attempts_max, RETRY.attempts_max + 7):
        assert of_submit(result, attempt, RETRY) == Written("PENDING_MANUAL", "transport", "RETRIES_EXHAUSTED")


def test_every_other_answer_to_a_submit_is_in_doubt() -> None:
    """OUT-10: every value of the enumeration that no rule names, and one that no version of it has."""
    mapped = {Outcome.ACCEPTED_FINAL, Outcome.REJECTED_FINAL, Outcome.SURELY_NOT_SENT}
    others = [outcome for outcome in Outcome if outcome not in mapped]
    assert others
    for outcome in others:
        assert of_submit(submitted(outcome), 99, RETRY) is None
    assert of_submit(cast("SubmitResult", SimpleNamespace(outcome="accepted_perhaps")), 1, RETRY) is None


def test_a_query_that_finds_settles_and_not_found_under_the_seal_requeues() -> None:
    """OUT-11, D7."""
    assert of_query(said(RailStatus.ACCEPTED_FINAL, rail_reference="r"), 1, 1, RETRY) == Written("DISPATCHED", rail_reference="r")
    assert of_query(said(RailStatus.REJECTED_FINAL, code="AC04"), 1, 1, RETRY) == Written("FAILED", "rail", "AC04")
    requeued = of_query(said(RailStatus.NOT_FOUND_FINAL), 3, 1, RETRY, jitter=0.5)
    assert requeued == Written("ZOMBIE_REQUEUE", "recovery", retry_in_ms=backoff_ms(3, RETRY, 0.5))


def test_a_payment_that_is_lost_again_and_again_is_parked_at_the_ceiling() -> None:
    """OUT-13: a finite number of attempts, also where each ends in doubt and the rail never has it."""
    parked = Written("PENDING_MANUAL", "recovery", "RETRIES_EXHAUSTED")
    assert of_query(said(RailStatus.NOT_FOUND_FINAL), RETRY.attempts_max, 1, RETRY) == parked
    assert of_query(said(RailStatus.ACCEPTED_FINAL), RETRY.attempts_max + 9, 99, RETRY) == Written("DISPATCHED")


def test_any_other_word_of_the_rail_is_asked_again_and_parked_at_the_ceiling() -> None:
    """OUT-10, NEG-25: never sent again blindly, never asked without end."""
    mapped = {RailStatus.ACCEPTED_FINAL, RailStatus.REJECTED_FINAL, RailStatus.NOT_FOUND_FINAL}
    others = [status for status in RailStatus if status not in mapped]
    assert others
    for status in others:
        assert of_query(said(status), 1, RETRY.attempts_max - 1, RETRY) is None
        assert of_query(said(status), 1, RETRY.attempts_max, RETRY) == Written("PENDING_MANUAL", "recovery", "OUTCOME_UNKNOWN")
    assert of_query(cast("StatusResult", SimpleNamespace(status="perhaps")), 1, 1, RETRY) is None


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 10_000), st.integers(1, 100_000))
def test_a_back_off_lies_between_half_of_and_the_whole_ceiling(attempt: int, jitter: float, least: int, most: int) -> None:
    """REC-13: exponential, bounded, never zero."""
    ceiling = min(most, least * 2 ** min(attempt - 1, 30))
    wait = backoff_ms(attempt, Retry(9, least, most), jitter)
    assert max(1, int(ceiling * 0.5)) <= wait <= max(1, ceiling)


@pytest.mark.parametrize(("attempt", "expected"), [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (60, 2000)])
def test_a_back_off_doubles_up_to_its_maximum(attempt: int, expected: int) -> None:
    """REC-13."""
    assert backoff_ms(attempt, RETRY, 0.999999) in {expected, expected - 1}
