"""What an answer of the ledger means for a payment: one table (OUT-11, design section 6).

Rules:

* ``ACCEPTED_FINAL`` only for a 2xx that names this instruction's posting; a 2xx that does not is in doubt;
* a refusal counts only as a problem document whose reason code stands in the table *and* whose status is that code's;
* anything that is not in the table is in doubt, also a refusal that we do not know;
* ``PERMIT_SUPERSEDED`` and ``POSTING_CONFLICT`` are in doubt on purpose: both say that *another* attempt of the
  instruction has been seen, so this attempt's fate is not the payment's. The ledger is asked under a seal.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from contracts.problem import CONTENT_TYPE
from contracts.reasons import REASONS
from rails.iso20022.http import NoAnswer, NotSent, Response
from rails.iso20022.limits import REFERENCE_CHARACTERS_MAX
from rails.sdk.types import Outcome, RailStatus, StatusResult, SubmitResult

TABLE: Final[dict[str, Outcome]] = {
    # the ledger took nothing and will, once the cause is gone
    "RELEASE_NOT_YET": Outcome.SURELY_NOT_SENT,
    "RELEASE_SUPERSEDED": Outcome.SURELY_NOT_SENT,
    "PERMIT_EXPIRED": Outcome.SURELY_NOT_SENT,
    "NO_ACTIVE_RELEASE": Outcome.SURELY_NOT_SENT,
    "RELEASE_STALE": Outcome.SURELY_NOT_SENT,
    "OVERLOADED": Outcome.SURELY_NOT_SENT,
    "STORE_UNAVAILABLE": Outcome.SURELY_NOT_SENT,
    "SERVICE_HALTED": Outcome.SURELY_NOT_SENT,
    "CERTIFICATE_MISSING": Outcome.SURELY_NOT_SENT,
    "CERTIFICATE_EXPIRED": Outcome.SURELY_NOT_SENT,
    "CERTIFICATE_UNTRUSTED": Outcome.SURELY_NOT_SENT,
    "CERTIFICATE_REVOKED": Outcome.SURELY_NOT_SENT,
    # the ledger refuses this payment for good
    "PERMIT_MISSING": Outcome.REJECTED_FINAL,
    "PERMIT_MALFORMED": Outcome.REJECTED_FINAL,
    "PERMIT_SIGNATURE": Outcome.REJECTED_FINAL,
    "PERMIT_KEY_UNKNOWN": Outcome.REJECTED_FINAL,
    "PERMIT_AUDIENCE": Outcome.REJECTED_FINAL,
    "PERMIT_BODY_MISMATCH": Outcome.REJECTED_FINAL,
    "PERMIT_PURPOSE": Outcome.REJECTED_FINAL,
    "PERMIT_POLICY": Outcome.REJECTED_FINAL,
    "POSTING_INVALID": Outcome.REJECTED_FINAL,
    "ACCOUNT_UNKNOWN": Outcome.REJECTED_FINAL,
    "PURPOSE_NOT_BUILT": Outcome.REJECTED_FINAL,
    "BODY_TOO_LARGE": Outcome.REJECTED_FINAL,
    # another attempt is known, or the ledger itself cannot tell
    "PERMIT_SUPERSEDED": Outcome.IN_DOUBT,
    "POSTING_CONFLICT": Outcome.IN_DOUBT,
    "OUTCOME_UNKNOWN": Outcome.IN_DOUBT,
}
_SUCCESS: Final = frozenset({200, 201})


def submit_result(answer: Response | NotSent | NoAnswer, instruction_id: str) -> SubmitResult:
    """The outcome of one ``post``."""
    if isinstance(answer, NotSent):
        return SubmitResult(outcome=Outcome.SURELY_NOT_SENT, code="RAIL_UNREACHABLE", detail=str(answer))
    if isinstance(answer, NoAnswer):
        return _in_doubt(str(answer))
    if answer.status in _SUCCESS:
        reference = _reference(_json(answer), instruction_id)
        if reference is None:
            return _in_doubt("an answer of success that names no posting of this instruction")
        return SubmitResult(outcome=Outcome.ACCEPTED_FINAL, rail_reference=reference)
    code = _reason(answer)
    outcome = TABLE.get(code or "", Outcome.IN_DOUBT)
    if outcome is Outcome.IN_DOUBT:
        return _in_doubt(code or f"status {answer.status} without a reason code of ours", code)
    return SubmitResult(outcome=outcome, code=code, detail=f"status {answer.status}")


def status_result(answer: Response | NotSent | NoAnswer, instruction_id: str) -> StatusResult:
    """What the ledger says under a ``seal``: after it, "not posted" is final, because nothing older can post."""
    if isinstance(answer, (NotSent, NoAnswer)):
        return StatusResult(status=RailStatus.CANNOT_SAY, code="RAIL_UNREACHABLE", detail=str(answer))
    body = _json(answer)
    if answer.status != 200 or body.get("sealed") is not True or body.get("instruction_id") != instruction_id:
        code = _reason(answer)
        return StatusResult(status=RailStatus.CANNOT_SAY, code=code, detail=f"status {answer.status}")
    if body.get("posted") is False and body.get("posting") is None:
        return StatusResult(status=RailStatus.NOT_FOUND_FINAL)
    posting = body.get("posting")
    reference = _reference(posting, instruction_id) if body.get("posted") is True else None
    if reference is None:
        return StatusResult(status=RailStatus.CANNOT_SAY, detail="a seal that names no posting of this instruction")
    return StatusResult(status=RailStatus.ACCEPTED_FINAL, rail_reference=reference)


def _in_doubt(detail: str, code: str | None = None) -> SubmitResult:
    return SubmitResult(outcome=Outcome.IN_DOUBT, code=code or "OUTCOME_UNKNOWN", detail=detail)


def _reference(posting: Any, instruction_id: str) -> str | None:
    """The posting id of an answer that is about this instruction."""
    if not isinstance(posting, dict) or posting.get("instruction_id") != instruction_id:
        return None
    reference = posting.get("posting_id")
    wanted = posting.get("status") == "posted" and isinstance(reference, str)
    return reference if wanted and 0 < len(str(reference)) <= REFERENCE_CHARACTERS_MAX else None


def _reason(answer: Response) -> str | None:
    """The reason code of a problem document whose status fits it."""
    if not answer.content_type.startswith(CONTENT_TYPE):
        return None
    code = _json(answer).get("reason_code")
    reason = REASONS.get(code) if isinstance(code, str) else None
    return reason.code if reason is not None and reason.http == answer.status else None


def _json(answer: Response) -> dict[str, Any]:
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
