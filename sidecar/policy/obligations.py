"""What an allowing decision asks for besides (design section 3, station 3), and what of it this sidecar cannot do.

An obligation that cannot be met is a refusal, never passed over: a hold and a second approval have no desk to go to here, and
the only route is ``primary``.
"""

from __future__ import annotations

from sidecar.policy.answers import Decision

ROUTES = frozenset({"primary"})


def unmet(decision: Decision) -> str | None:
    """The reason code of an obligation that cannot be met, or ``None``."""
    obligations = decision.obligations
    if obligations.get("second_approval") or obligations.get("hold"):
        return "SECOND_APPROVAL_REQUIRED"
    routes = obligations.get("routes", ["primary"])
    return None if ROUTES & set(routes) else "POLICY_DENIED"


def refusal(decision: Decision) -> list[str]:
    """The reason codes against a payment: the decision's own, else the unmet obligation's; empty is leave to go on."""
    if not decision.allow:
        return list(decision.reasons) or ["POLICY_DENIED"]
    code = unmet(decision)
    return [code] if code else []
