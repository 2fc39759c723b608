"""From the engine's bytes to decisions: strict, and whatever is not clearly an allow is a deny (POL-12, POL-16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from contracts.reasons import REASONS
from sidecar.policy.errors import PolicyFailed

DENY_OBLIGATIONS: Mapping[str, Any] = {"routes": [], "hold": False, "second_approval": False}
_REASON_CODES = frozenset(code for code, reason in REASONS.items() if reason.station == "decide")


@dataclass(frozen=True, slots=True)
class Decision:
    """One instruction's answer. ``reasons`` are codes of station decide, empty exactly when it is allowed."""

    allow: bool
    reasons: tuple[str, ...]
    obligations: dict[str, Any] = field(default_factory=lambda: dict(DENY_OBLIGATIONS))


class _Obligations(msgspec.Struct, forbid_unknown_fields=True):
    routes: list[str]
    hold: bool
    second_approval: bool


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    allow: bool
    reasons: list[str]
    obligations: _Obligations


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    result: dict[str, _Answer]


_DECODER = msgspec.json.Decoder(list[_Result])


def denied(code: str) -> Decision:
    """A refusal of the host's own."""
    return Decision(allow=False, reasons=(code,))


def read_answers(raw: bytes, count: int) -> list[Decision]:
    """Exactly ``count`` decisions, in order; an index without an answer is denied ``POLICY_UNDEFINED``.

    Raises ``PolicyFailed`` when an answer is malformed, contradicts itself or belongs to no index: then nothing of the
    batch is believed.
    """
    try:
        results = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PolicyFailed(f"the answer has another shape: {error}") from error
    if len(results) > 1:
        raise PolicyFailed(f"{len(results)} results")
    answers = results[0].result if results else {}
    decisions = [_decision(answers.pop(str(index), None)) for index in range(count)]
    if answers:
        raise PolicyFailed(f"answers for items that were not asked: {sorted(answers)[:3]}")
    return decisions


def _decision(answer: _Answer | None) -> Decision:
    if answer is None:
        return denied("POLICY_UNDEFINED")
    if answer.allow and answer.reasons:
        raise PolicyFailed("an answer that allows and gives reasons against")
    unknown = [code for code in answer.reasons if code not in _REASON_CODES]
    if unknown:
        raise PolicyFailed(f"a reason outside the closed list: {unknown[0][:40]!r}")
    reasons = tuple(answer.reasons) if answer.allow or answer.reasons else ("POLICY_DENIED",)
    return Decision(answer.allow, reasons, msgspec.to_builtins(answer.obligations))
