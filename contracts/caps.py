"""Which cap stands for a participant and a currency: one rule for Rego, for the commit and for reports.

The first that stands counts: the participant's for the currency, the participant's ``*``, the environment's for the
currency, the environment's ``*``. ``*`` counts in a sandbox only. ``None`` is no cap, which is a refusal
(CAP_PAYMENT_VALUE), never "no bound". ``tests/policy`` holds ``policies/payments/caps.rego`` to the same answers.
"""

from __future__ import annotations

from typing import Any

ANY = "*"


def cap_of(environment: dict[str, Any], participant: dict[str, Any], currency: str) -> dict[str, int] | None:
    """``{"payment_minor_max", "daily_minor_max", "daily_count_max"}`` of a release's environment data, or ``None``."""
    for caps in (participant.get("caps", {}), environment["caps"]):
        if currency in caps:
            return dict(caps[currency])
        if environment["environment"] == "sandbox" and ANY in caps:
            return dict(caps[ANY])
    return None
