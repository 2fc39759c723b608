"""Errors of the policy engine.

    CannotEvaluate
    └── PolicyFailed       one evaluation failed; what it was asked is denied (POLICY_ERROR)
    NotTrusted             RELEASE_ENGINE: the module or its data cannot be used at all; the release does not activate
"""

from __future__ import annotations

from contracts.errors import CannotEvaluate


class PolicyFailed(CannotEvaluate):
    """The policy trapped, ran out of time or memory, or gave no readable answer."""

    def __init__(self, detail: str) -> None:
        super().__init__("POLICY_ERROR", detail)
