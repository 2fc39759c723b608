"""Which cap stands: Rego, the commit and reports say the same (``contracts.caps``)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.caps import cap_of
from tests.policy.support import decision_input, engine, environment


def cap(value: int) -> dict[str, int]:
    return {"payment_minor_max": value, "daily_minor_max": value, "daily_count_max": value}


def test_the_order_in_which_caps_stand():
    data = {"environment": "sandbox", "caps": {"ZMW": cap(3), "*": cap(4)}}
    assert cap_of(data, {"caps": {"ZMW": cap(1), "*": cap(2)}}, "ZMW") == cap(1)
    assert cap_of(data, {"caps": {"USD": cap(1), "*": cap(2)}}, "ZMW") == cap(2)
    assert cap_of(data, {"caps": {"USD": cap(1)}}, "ZMW") == cap(3)
    assert cap_of(data, {}, "EUR") == cap(4)
    assert cap_of({**data, "caps": {}}, {}, "EUR") is None


def test_the_star_counts_in_a_sandbox_only():
    data = {"environment": "production", "caps": {"ZMW": cap(3), "*": cap(4)}}
    assert cap_of(data, {"caps": {"*": cap(2)}}, "ZMW") == cap(3)
    assert cap_of(data, {}, "EUR") is None


codes = st.sampled_from(["ZMW", "USD", "EUR"])
tables = st.dictionaries(st.sampled_from(["ZMW", "USD", "*"]), st.integers(0, 9).map(cap))


@settings(max_examples=60, deadline=None)
@given(tables, tables, codes, st.integers(1, 10), st.sampled_from(["sandbox", "production"]))
def test_the_policy_uses_the_same_cap(own, common, currency, amount, name):
    data = environment()
    data["environment"], data["caps"] = name, common
    data["participants"][0]["caps"] = own
    item = {**decision_input(currency=currency, amount_minor=amount), "environment": name}
    (decision,) = engine(data).evaluate([item], deadline_ms=1000)
    stands = cap_of(data, data["participants"][0], currency)
    assert decision.allow == (stands is not None and amount <= stands["payment_minor_max"])
