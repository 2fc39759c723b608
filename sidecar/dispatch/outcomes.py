"""From what a rail answered to what is written: one table (OUT-04, OUT-10, OUT-11, REC-13). Pure.

    submit answered     written          then
    accepted_final      DISPATCHED       terminal; never "settled"
    rejected_final      FAILED           terminal; usage is given back
    surely_not_sent     RETRYABLE        pending again after a back-off; at the ceiling PENDING_MANUAL
    in_doubt            (nothing)        the lease stays; recovery asks the rail (D7); never sent again blindly

    rail was asked      written          then
    accepted_final      DISPATCHED       terminal
    rejected_final      FAILED           terminal
    not_found_final     ZOMBIE_REQUEUE   pending again after a back-off: nothing older can post any more;
                                         at the ceiling PENDING_MANUAL (OUT-13)
    anything else       (nothing)        asked again; after ``attempts_max`` times PENDING_MANUAL

Anything unmapped is in doubt. What a rail says in words is held to what evidence may carry: an outcome is never lost for
the text beside it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from rails.sdk import Outcome, RailStatus, StatusResult, SubmitResult

REFERENCE_CHARACTERS_MAX = 140
"""Of a rail's reference; the longest of ISO 20022 has 35, an end-to-end text 140."""
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""As ``symphony.evidence/1`` demands of a reason."""


@dataclass(frozen=True, slots=True)
class Written:
    """The attempt row that follows. ``retry_in_ms``: when a row that goes back to pending is due."""

    state: str
    error_class: str | None = None
    error_code: str | None = None
    rail_reference: str | None = None
    retry_in_ms: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """The manifest's retry part."""

    attempts_max: int
    backoff_ms_min: int
    backoff_ms_max: int


def backoff_ms(attempt_no: int, retry: Retry, jitter: float) -> int:
    """Exponential with full jitter: between half of and the whole of min(max, min * 2^(n-1)); ``jitter`` in [0, 1)."""
    ceiling = min(retry.backoff_ms_max, retry.backoff_ms_min * 2 ** min(attempt_no - 1, 30))
    return max(1, int(ceiling * (0.5 + jitter / 2)))


def _wait(attempt_no: int, retry: Retry, jitter: float | None) -> int:
    return backoff_ms(attempt_no, retry, random.random() if jitter is None else jitter)  # noqa: S311


def _code(said: str | None, otherwise: str) -> str:
    return said if said is not None and _CODE.fullmatch(said) else otherwise


def reference_of(said: str | None) -> str | None:
    """A rail's reference as far as evidence may carry it."""
    return None if said is None else "".join(filter(str.isprintable, said))[:REFERENCE_CHARACTERS_MAX]


def of_submit(result: SubmitResult, attempt_no: int, retry: Retry, *, jitter: float | None = None) -> Written | None:
    """What a submit's answer means; ``None`` is in doubt."""
    match result.outcome:
        case Outcome.ACCEPTED_FINAL:
            return Written("DISPATCHED", rail_reference=reference_of(result.rail_reference))
        case Outcome.REJECTED_FINAL:
            return Written("FAILED", "rail", _code(result.code, "RAIL_REJECTED"), reference_of(result.rail_reference))
        case Outcome.SURELY_NOT_SENT if attempt_no >= retry.attempts_max:
            return Written("PENDING_MANUAL", "transport", "RETRIES_EXHAUSTED")
        case Outcome.SURELY_NOT_SENT:
            wait = _wait(attempt_no, retry, jitter)
            return Written("RETRYABLE", "transport", _code(result.code, "RAIL_UNREACHABLE"), retry_in_ms=wait)
        case _:
            return None


def of_query(
    result: StatusResult, attempt_no: int, recoveries: int, retry: Retry, *, jitter: float | None = None
) -> Written | None:
    """What the rail's word means; ``None`` asks again later."""
    match result.status:
        case RailStatus.ACCEPTED_FINAL:
            return Written("DISPATCHED", rail_reference=reference_of(result.rail_reference))
        case RailStatus.REJECTED_FINAL:
            return Written("FAILED", "rail", _code(result.code, "RAIL_REJECTED"), reference_of(result.rail_reference))
        case RailStatus.NOT_FOUND_FINAL if attempt_no >= retry.attempts_max:
            return Written("PENDING_MANUAL", "recovery", "RETRIES_EXHAUSTED")
        case RailStatus.NOT_FOUND_FINAL:
            return Written("ZOMBIE_REQUEUE", "recovery", retry_in_ms=_wait(attempt_no, retry, jitter))
        case _ if recoveries >= retry.attempts_max:
            return Written("PENDING_MANUAL", "recovery", "OUTCOME_UNKNOWN")
        case _:
            return None
