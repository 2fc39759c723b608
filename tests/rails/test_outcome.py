"""The outcome table: what each answer of the ledger means, and that nothing else means anything (OUT-11)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.problem import problem
from contracts.reasons import REASONS
from rails.iso20022.http import NoAnswer, NotSent, Response
from rails.iso20022.outcome import TABLE, status_result, submit_result
from rails.sdk.types import Outcome, RailStatus
from tests.rails.support import ROOT

ID = "0197a000-0000-7000-8000-000000000001"
PROBLEM = "application/problem+json"
RETRIED = {
    "RELEASE_NOT_YET", "RELEASE_SUPERSEDED", "RELEASE_STALE", "PERMIT_EXPIRED", "NO_ACTIVE_RELEASE", "OVERLOADED", "STORE_UNAVAILABLE",
    "SERVICE_HALTED", "CERTIFICATE_MISSING", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNTRUSTED", "CERTIFICATE_REVOKED",
}  # fmt: skip


def refusal(code: str) -> Response:
    status, body = problem(code)
    return Response(status, PROBLEM, body)


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_code_has_one_meaning_here(code: str) -> None:
    result = submit_result(refusal(code), ID)
    assert result.outcome is TABLE.get(code, Outcome.IN_DOUBT)
    assert result.code == code
    assert result.outcome is not Outcome.ACCEPTED_FINAL
    assert status_result(refusal(code), ID).status is RailStatus.CANNOT_SAY


def test_the_table_is_made_of_codes_and_says_retry_only_where_nothing_was_taken() -> None:
    assert TABLE.keys() <= REASONS.keys()
    assert {code for code, outcome in TABLE.items() if outcome is Outcome.SURELY_NOT_SENT} == RETRIED
    # whatever else the list calls retryable and the ledger can say is retried here, too
    retryable = {c for c, reason in REASONS.items() if reason.retryable and reason.station == "ledger"}
    assert retryable <= RETRIED


def test_a_refusal_that_speaks_of_another_attempt_is_in_doubt() -> None:
    """A newer attempt may have posted, so this attempt's refusal is not the payment's (NEG-30)."""
    for code in ("PERMIT_SUPERSEDED", "POSTING_CONFLICT", "OUTCOME_UNKNOWN"):
        assert submit_result(refusal(code), ID).outcome is Outcome.IN_DOUBT


def test_what_the_ledger_can_say_is_in_the_table() -> None:
    """Each reason code that stands in the ledger's hot path, by its source, is mapped on purpose."""
    sources = [p for p in Path(ROOT / "services" / "ledger").rglob("*") if p.suffix in {".py", ".sql"}]
    if not sources:
        pytest.skip("no ledger in this checkout")
    said = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", "\n".join(p.read_text("utf-8") for p in sources)))
    never_to_a_posting = {
        "RELEASE_ROLLBACK", "RELEASE_FORKED", "RELEASE_UNREACHABLE", "NOT_FOUND", "METHOD_NOT_ALLOWED", "INTERNAL",
        "REQUEST_INVALID",  # also what a broken connection's half body is called: in doubt is the safe side
        "RELEASE_SERVICE_UNKNOWN", "RELEASE_INVARIANT", "RELEASE_ENGINE", "RELEASE_MANIFEST", "CONFIGURATION",
    }  # fmt: skip
    assert (said & REASONS.keys()) - TABLE.keys() <= never_to_a_posting


def test_transport_failures() -> None:
    assert submit_result(NotSent("x"), ID).outcome is Outcome.SURELY_NOT_SENT
    assert submit_result(NotSent("x"), ID).code == "RAIL_UNREACHABLE"
    assert submit_result(NoAnswer("x"), ID).outcome is Outcome.IN_DOUBT
    assert status_result(NotSent("x"), ID).status is RailStatus.CANNOT_SAY


WORDS = st.sampled_from([ID, "posted", "PERMIT_EXPIRED"])
BODIES = st.binary(max_size=60) | st.builds(
    lambda value: json.dumps(value).encode(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS,
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["posting_id", "instruction_id", "status", "reason_code", "sealed", "posted", "posting"]),
            inner, max_size=5,
        ),
        max_leaves=8,
    ),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    status=st.integers(200, 599),
    content_type=st.sampled_from([PROBLEM, "application/json", "", "text/html"]),
    body=BODIES,
)
def test_no_answer_at_all_is_taken_for_more_than_it_says(status: int, content_type: str, body: bytes) -> None:
    answer = Response(status, content_type, body)
    result = submit_result(answer, ID)
    if result.outcome is Outcome.ACCEPTED_FINAL:
        document = json.loads(body)
        assert status in {200, 201}
        assert (document["instruction_id"], document["status"]) == (ID, "posted")
    elif result.outcome is not Outcome.IN_DOUBT:
        assert content_type == PROBLEM
        assert REASONS[json.loads(body)["reason_code"]].http == status
    if status_result(answer, ID).status is not RailStatus.CANNOT_SAY:
        assert status == 200
        assert json.loads(body)["sealed"] is True
