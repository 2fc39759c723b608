"""An obligation that cannot be met is a refusal, never passed over (design section 3, station 3; POL-12)."""

from __future__ import annotations

import pytest

from sidecar.policy.answers import Decision
from sidecar.policy.obligations import refusal


@pytest.mark.parametrize(
    ("allow", "reasons", "obligations", "expected"),
    [
        (True, (), {"routes": ["primary"], "hold": False, "second_approval": False}, []),
        (True, (), {}, []),
        (True, (), {"second_approval": True}, ["SECOND_APPROVAL_REQUIRED"]),
        (True, (), {"hold": True}, ["SECOND_APPROVAL_REQUIRED"]),
        (True, (), {"routes": ["other"]}, ["POLICY_DENIED"]),
        (True, (), {"routes": []}, ["POLICY_DENIED"]),
        (False, ("CAP_PAYMENT_VALUE",), {}, ["CAP_PAYMENT_VALUE"]),
        (False, (), {}, ["POLICY_DENIED"]),
    ],
)
def test_only_an_allow_whose_obligations_can_be_met_goes_on(
    allow: bool, reasons: tuple[str, ...], obligations: dict[str, object], expected: list[str]
) -> None:
    assert refusal(Decision(allow=allow, reasons=reasons, obligations=obligations)) == expected
