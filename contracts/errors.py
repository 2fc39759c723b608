"""Errors of ``contracts``: each carries a reason code from the closed list and the next step.

    SymphonyError
    ├── Refused            the request or the document is at fault
    ├── NotTrusted         a signature, proof, threshold or number does not hold
    └── CannotEvaluate     we could not tell: nothing is claimed (exit 3)
        └── Misused        what the user typed cannot be used here: nothing was tried (exit 2)
"""

from __future__ import annotations

from contracts.reasons import Reason, by_code


class SymphonyError(Exception):
    """Base of every error that a user may see; never a stack trace for a user's mistake."""

    def __init__(self, code: str, detail: str = "", *, next_step: str = "") -> None:
        self.reason: Reason = by_code(code)
        self.code = code
        self.detail = detail
        self.next_step = next_step or self.reason.next_step
        super().__init__(f"{code}: {detail or self.reason.meaning}")


class Refused(SymphonyError):
    """The request or the document is at fault."""


class NotTrusted(SymphonyError):
    """A signature, proof, threshold, number or time does not hold."""


class CannotEvaluate(SymphonyError):
    """We could not tell; nothing is claimed."""


class Misused(CannotEvaluate):
    """A name, folder or option that the user gave cannot be used here; nothing was tried."""
