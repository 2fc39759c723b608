"""Parity on what was recorded: a difference refuses the proposal and shows nothing of the payment but its id (POL-10)."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from contracts import opa_bundle
from contracts.errors import Refused
from symphony.impact import recorded
from symphony.policy import recorded as policy_recorded
from symphony.policy.wasm import load
from symphony.policy_build import rebuild, rego_files
from symphony.stack.credentials import new_key
from tests.impact.support import CAP_THEN, Payment, candidate, made_up, record, spread
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
        recorded.demand(below, opa, recorded.of(bench.database.reader, 7))
    (identifier,) = bench.admin.do("SELECT instruction_id FROM symphony.payment_instructions WHERE amount_minor = %s", CAP_THEN)
    assert caught.value.code == "RELEASE_POLICY"
    assert f"1 of 2 recorded payments: wasm refuses (CAP_PAYMENT_VALUE), opa allows: recorded payment {identifier[0]}" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_every_recorded_payment_is_compared_and_what_cannot_be_asked_again_is_none_of_them(bench: Bench, opa: Path) -> None:
    record(bench, [*made_up(40), Payment(frozen=None), Payment(frozen=b"{")])
    seen: list[int] = []
    said = recorded.demand(files(opa), opa, recorded.of(bench.database.reader, 7, begun=seen.append, moved=seen.append))
    assert said == "parity: Wasm and OPA answer alike on 40 of 42 recorded payments"
    assert seen == [42, 42], "the bar knows how much there is and how much is done"


def test_over_the_bound_the_newest_are_compared_in_batches_and_the_rest_is_said(
    bench: Bench, opa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(bench, made_up(20))
    spread(bench, 100)
    monkeypatch.setattr(recorded, "BATCH", 4)
    with recorded.of(bench.database.reader, 7, count=10).opened() as stream:
        batches = list(stream.batches)
    ids = [identifier for batch in batches for identifier, _ in batch]
    newest = bench.admin.do("SELECT instruction_id::text FROM symphony.payment_instructions ORDER BY created_at DESC, instruction_id LIMIT 10")
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(ids) == sorted(row if isinstance(row, str) else row[0] for row in newest)
    said = recorded.demand(files(opa), opa, recorded.of(bench.database.reader, 7, count=10))
    assert said.endswith("10 of 20 recorded payments; NOT compared: the 10 oldest")
    monkeypatch.setattr(policy_recorded, "RECORDED_SECONDS_MAX", 0.0)
    monkeypatch.setattr(policy_recorded, "load", lambda wasm, data, **_: load(wasm, data))
    said = recorded.demand(files(opa), opa, recorded.of(bench.database.reader, 7))
    assert said.endswith("4 of 20 recorded payments; NOT compared: the 16 oldest")


def test_what_was_not_compared_is_said(bench: Bench, opa: Path) -> None:
    none = recorded.of(bench.database.reader, 7)
    assert "none of the last 7 days" in recorded.demand(files(opa), opa, none)
    assert "no opa" in recorded.demand({}, None, none)
