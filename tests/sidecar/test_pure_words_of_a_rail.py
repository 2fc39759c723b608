"""What a rail says beside an outcome never costs the outcome: its words are held to what evidence may carry (EVD-01, EVD-09)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import evidence
from rails.sdk import Outcome, RailStatus, StatusResult, SubmitItem, SubmitResult
from sidecar.dispatch.outcomes import REFERENCE_CHARACTERS_MAX, Retry, of_query, of_submit
from tests.sidecar.stage import Stage
from tests.sidecar.support import payment

RETRY = Retry(attempts_max=5, backoff_ms_min=100, backoff_ms_max=2_000)
WORDS = st.none() | st.text(max_size=200) | st.sampled_from(["AC04", "", "ac04", "A" * 65, "A\n", "\x00", "\ud800"])


@given(st.sampled_from(list(Outcome)), st.sampled_from(list(RailStatus)), WORDS, WORDS)
def test_every_outcome_fits_its_evidence_whatever_the_rail_adds(outcome: Outcome, status: RailStatus, code: str, ref: str) -> None:
    """One record that no verifier takes would stop the stream for everybody."""
    for written in (
        of_submit(SubmitResult(outcome=outcome, code=code, rail_reference=ref), 1, RETRY),
        of_query(StatusResult(status=status, code=code, rail_reference=ref), 1, 1, RETRY),
    ):
        if written is None:
            continue
        body = evidence.record(
            "attempt", environment="sandbox", service="s", stream="s", seq=1, recorded_at="2026-11-24T12:00:00.000000Z",
            outbox_id="o", attempt_no=1, state=written.state, epoch=1, release_number=1, policy_digest="0" * 64, rail="r",
            rail_reference=written.rail_reference, error_class=written.error_class, error_code=written.error_code,
        )  # fmt: skip
        assert evidence.parse_record(body)["error_code"] == written.error_code
        assert len(written.rail_reference or "") <= REFERENCE_CHARACTERS_MAX


def test_a_code_that_fits_is_kept_and_another_gives_way_to_ours() -> None:
    for code, kept in (("AC04", "AC04"), ("account closed", "RAIL_REJECTED"), (None, "RAIL_REJECTED")):
        written = of_submit(SubmitResult(outcome=Outcome.REJECTED_FINAL, code=code), 1, RETRY)
        assert written is not None
        assert written.error_code == kept


@pytest.mark.parametrize("reference", ["R\x00-1", "R" * 100_000, "R\ud800-1"], ids=["a NUL", "a novel", "half a character"])
async def test_a_payment_that_a_rail_accepted_with_an_odd_reference_is_dispatched(stage: Stage, reference: str) -> None:
    """REC-13: posted is posted; before, the database refused the outcome each time that recovery asked."""
    await stage.begin()
    (identifier,) = await stage.accept(payment())

    def odd(item: SubmitItem) -> SubmitResult:
        stage.rail.post(item)
        return SubmitResult(outcome=Outcome.ACCEPTED_FINAL, rail_reference=reference)

    stage.rail.script = [odd]
    assert await stage.dispatch() == 1
    assert stage.state(identifier) == "SUCCEEDED"
    assert stage.attempts(identifier) == [(1, "DISPATCHING"), (1, "DISPATCHED")]
