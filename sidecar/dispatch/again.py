"""A payment that an older release decided is decided again before its permit (design section 3, Permit). Pure.

    the active release says      written           then
    allow                        (nothing)         it is sent
    deny                         VOIDED            terminal, POLICY_VOIDED; usage is given back
    cannot be evaluated          RETRYABLE         asked again after a back-off: no time or memory is no word of the
                                                   officers; at the ceiling PENDING_MANUAL (OUT-13)

Rego decides first, then fixed code (``governed``), both on the input that was frozen when the payment was accepted, with the
release and the time of now. An input that cannot be read is decided against: nothing is ever sent undecided.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sidecar.active import ActiveRelease
from sidecar.dispatch.outcomes import Retry, Written, backoff_ms
from sidecar.dispatch.work import Work
from sidecar.policy.answers import Decision
from sidecar.policy.engine import decide
from sidecar.policy.obligations import refusal

VOIDED = Written("VOIDED", "policy", "POLICY_VOIDED")
_NOT_EVALUATED = "POLICY_ERROR"


def decided_again(
    work: Sequence[Work], inputs: Mapping[str, bytes | None], active: ActiveRelease, now: str
) -> dict[str, Written]:
    """What is written, by payment, of those that may not be sent now."""
    held: dict[str, Written] = {}
    asked: list[tuple[Work, dict[str, Any]]] = []
    for one in work:
        document = _frozen(inputs.get(one.outbox_id))
        if document is None:
            held[one.outbox_id] = VOIDED
        else:
            asked.append((one, {**document, "release_number": active.release.number, "decision_time": now}))
    deadline_ms = active.settings["intake"]["decision_timeout_ms"]
    decisions = decide(active.engine, [item for _, item in asked], deadline_ms=deadline_ms)
    for (one, item), decision in zip(asked, decisions, strict=True):
        written = _written(one, item, decision, active)
        if written is not None:
            held[one.outbox_id] = written
    return held


def _written(one: Work, item: dict[str, Any], decision: Decision, active: ActiveRelease) -> Written | None:
    against = refusal(decision)
    if _NOT_EVALUATED in against:
        retry = Retry(**active.settings["retry"])
        if one.attempt_no >= retry.attempts_max:
            return Written("PENDING_MANUAL", "policy", "RETRIES_EXHAUSTED")
        wait = backoff_ms(one.attempt_no, retry, random.random())  # noqa: S311
        return Written("RETRYABLE", "policy", _NOT_EVALUATED, retry_in_ms=wait)
    return VOIDED if against or active.governed.refusal(one.participant_id, item["instruction"]) else None


def _frozen(raw: bytes | None) -> dict[str, Any] | None:
    """The frozen decision input; ``None`` when there is none that can be read, which is decided against."""
    try:
        document = orjson.loads(raw) if raw is not None else None
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("instruction"), dict) else None
