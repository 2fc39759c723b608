"""Parity on what was recorded: a difference refuses the proposal and shows nothing of the payment but its id (POL-10)."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from contracts import opa_bundle
from contracts.errors import Refused
from symphony.impact import recorded
from symphony.policy_build import rebuild, rego_files
from symphony.stack.credentials import new_key
from tests.impact.support import CAP_THEN, Payment, candidate, made_up, record
from tests.sidecar.rows import Bench


def files(opa: Path, change: tuple[bytes, bytes] = (b"", b"")) -> dict[str, bytes]:
    """A release's policy and data; ``change`` replaces text of the Rego that the Wasm is compiled from, not the bundle's."""
    rego = rego_files()
    changed = {name: content.replace(*change) if change[0] else content for name, content in rego.items()}
    bundle = opa_bundle.build(rego, "1", new_key(), "k")
    return {"policy.wasm": rebuild(changed, opa), "policy.tar.gz": bundle, "environment.json": candidate().environment}


def test_a_wasm_that_answers_otherwise_on_a_recorded_payment_is_refused_by_its_id(bench: Bench, opa: Path) -> None:
    secret = orjson.dumps(Payment(amount=CAP_THEN).document()).replace(b'"debtor_account":null', b'"debtor_account":"SECRET-IBAN"')
    record(bench, [Payment(amount=CAP_THEN, frozen=secret), Payment(amount=1)])
    below = files(opa, (b"amount_minor <= cap", b"amount_minor < cap"))
    with pytest.raises(Refused) as caught:
        recorded.demand(bench.database.reader, below, opa, 7)
    (identifier,) = bench.admin.do("SELECT instruction_id FROM symphony.payment_instructions WHERE amount_minor = %s", CAP_THEN)
    assert caught.value.code == "RELEASE_POLICY"
    assert f"1 of 2 recorded payments: wasm refuses (CAP_PAYMENT_VALUE), opa allows: recorded payment {identifier[0]}" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_the_sample_is_bounded_says_so_and_is_the_same_again(bench: Bench, opa: Path) -> None:
    record(bench, [*made_up(40), Payment(frozen=None), Payment(frozen=b"{")])
    first, second = (recorded.inputs(bench.database.reader, 7, 20) for _ in range(2))
    assert first == second
    assert len(first.inputs) in range(15, 21)
    said = recorded.demand(bench.database.reader, files(opa), opa, 7)
    assert "on 40 of 42 recorded payments (at most 500)" in said


def test_what_was_not_compared_is_said(bench: Bench, opa: Path) -> None:
    assert "none of the last 7 days" in recorded.demand(bench.database.reader, files(opa), opa, 7)
    assert "no opa" in recorded.demand(bench.database.reader, {}, None, 7)
