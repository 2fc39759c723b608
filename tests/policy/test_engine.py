"""The Wasm engine: what it answers, and that nothing a policy does can hold it up (POL-10, POL-12)."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import wasmtime

from contracts.errors import NotTrusted
from contracts.schemas import check
from sidecar.policy import wasm_abi
from sidecar.policy.engine import WasmEngine
from sidecar.policy.errors import PolicyFailed
from sidecar.policy.self_test import whole_payment
from symphony.policy_build import committed_wasm, rebuild
from tests.policy.support import AMOUNT_MAX, asked, decision_input, engine, environment, misbehaving

QUICK_MS = 60


def test_a_payment_that_fits_is_allowed_with_obligations():
    (decision,) = engine().evaluate([decision_input()], deadline_ms=1000)
    assert decision.allow
    assert decision.reasons == ()
    assert decision.obligations == {"routes": ["primary"], "hold": False, "second_approval": False}


def test_no_items_no_decisions():
    assert engine().evaluate([], deadline_ms=1000) == []


def test_the_largest_amount_is_compared_exactly():
    data = environment()
    data["caps"]["ZMW"]["payment_minor_max"] = AMOUNT_MAX - 1
    items = [decision_input(amount_minor=amount) for amount in (AMOUNT_MAX - 2, AMOUNT_MAX - 1, AMOUNT_MAX)]
    assert [d.reasons for d in engine(data).evaluate(items, deadline_ms=1000)] == [(), (), ("CAP_PAYMENT_VALUE",)]


def test_the_same_input_gives_the_same_answer_whatever_came_before():
    held = engine()
    mixed = [decision_input(amount_minor=10**n + n, message_id="é" * n + "x") for n in range(16)]
    first = held.evaluate(mixed, deadline_ms=1000)
    for size in (1, 3, 16, 7, 2):
        for _ in range(40):
            assert held.evaluate(mixed[:size], deadline_ms=1000) == first[:size]


def test_memory_does_not_grow_with_the_number_of_evaluations():
    held = engine()
    items = [decision_input(message_id=f"M-{n}") for n in range(50)]
    held.evaluate(items, deadline_ms=1000)
    before = held._machine._memory.data_len(held._machine._store)
    for _ in range(200):
        held.evaluate(items, deadline_ms=1000)
    assert held._machine._memory.data_len(held._machine._store) == before


def test_an_input_larger_than_the_memory_at_hand_still_gets_its_answers():
    items = [decision_input(message_id=f"M-{n}") for n in range(2000)]
    decisions = engine().evaluate(items, deadline_ms=10_000)
    assert len(decisions) == 2000
    assert all(decision.allow for decision in decisions)


def test_a_batch_over_the_bound_is_refused():
    with pytest.raises(PolicyFailed, match="2001"):
        engine().evaluate([{}] * 2001, deadline_ms=1000)


def test_a_slow_policy_is_stopped_at_its_deadline_and_the_engine_stays_usable(opa):
    held = misbehaving(opa)
    begun = time.monotonic()
    with pytest.raises(PolicyFailed, match=f"no answer in {QUICK_MS} ms"):
        held.evaluate(asked("SLOW"), deadline_ms=QUICK_MS)
    assert QUICK_MS / 1000 <= time.monotonic() - begun < 30
    assert held.evaluate(asked("GOOD"), deadline_ms=1000)[0].allow


def test_a_hungry_policy_is_stopped_at_its_memory_bound_and_the_engine_stays_usable(opa):
    held = misbehaving(opa, memory_bytes_max=4 * 1024 * 1024)
    with pytest.raises(PolicyFailed, match="opa_malloc: failed"):
        held.evaluate(asked("HUNGRY"), deadline_ms=20_000)
    assert held.evaluate(asked("GOOD"), deadline_ms=1000)[0].allow
    assert misbehaving(opa).evaluate(asked("HUNGRY"), deadline_ms=20_000)[0].allow


def test_a_spent_instance_is_let_go(opa):
    """The runtime holds callbacks; one that held its instance kept 4 GB of addresses a trap."""
    held = misbehaving(opa)
    first = weakref.ref(held._machine)
    with pytest.raises(PolicyFailed):
        held.evaluate(asked("CONFLICT"), deadline_ms=1000)
    gc.collect()
    assert first() is None


def test_an_engine_of_a_release_before_is_let_go():
    machine = weakref.ref(engine()._machine)
    gc.collect()
    assert machine() is None


@pytest.mark.parametrize("purpose", ["TEXT", "BOTH", "MADE_UP", "EXTRA", "SHORT", "NUMBER", "CONFLICT"])
def test_an_answer_that_is_not_well_formed_is_no_answer(opa, purpose):
    with pytest.raises(PolicyFailed):
        misbehaving(opa).evaluate(asked(purpose), deadline_ms=1000)


def test_an_undefined_answer_is_a_denial(opa):
    (decision,) = misbehaving(opa).evaluate(asked("UNDEFINED"), deadline_ms=1000)
    assert not decision.allow
    assert decision.reasons == ("POLICY_UNDEFINED",)


def test_a_denial_without_a_reason_gets_one(opa):
    (decision,) = misbehaving(opa).evaluate(asked("SILENT"), deadline_ms=1000)
    assert (decision.allow, decision.reasons) == (False, ("POLICY_DENIED",))


def test_threads_may_share_an_engine():
    held = engine()
    good, bad = decision_input(), decision_input(amount_minor=AMOUNT_MAX)
    wrong: list[object] = []

    def ask(items, expected):
        for _ in range(60):
            if [d.allow for d in held.evaluate(items, deadline_ms=5000)] != expected:
                wrong.append(items)

    threads = [threading.Thread(target=ask, args=case) for case in (([good, bad], [True, False]), ([bad], [False]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_ticker_sleeps_while_nothing_is_evaluated():
    held = engine()
    held.evaluate([decision_input()], deadline_ms=1000)
    time.sleep(0.05)
    from sidecar.policy.wasm_abi import ticker

    assert ticker()._running == 0
    assert not ticker()._awake.is_set()


@pytest.mark.parametrize("wasm", [b"", b"not wasm", b"\0asm\1\0\0\0", committed_wasm()[:-20]])
def test_what_is_no_policy_module_does_not_load(wasm):
    with pytest.raises(NotTrusted) as caught:
        WasmEngine(wasm, {})
    assert caught.value.code == "RELEASE_ENGINE"


def test_a_module_that_wants_more_than_the_policy_interface_does_not_load():
    wat = """(module (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
                     (import "env" "memory" (memory 2)))"""
    with pytest.raises(NotTrusted, match="does not load"):
        WasmEngine(bytes(wasmtime.wat2wasm(wat)), {})


HOSTILE = """(module
  (import "env" "memory" (memory 2))
  (global (export "opa_wasm_abi_version") i32 (i32.const {major}))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const 3))
  (func (export "builtins") (result i32) {builtins})
  (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
  (func (export "opa_malloc") (param i32) (result i32) (i32.const {malloc}))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (i32.const {parsed}))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const {heap}))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const {answer}))
  (data (i32.const 16) "{{}}\\00") (data (i32.const 32) "[]\\00") (data (i32.const 48) "{{\\22sprintf\\22:0}}\\00"))"""
TAME = {"major": 1, "builtins": "(i32.const 16)", "malloc": 4096, "parsed": 8, "heap": 8192, "answer": 32}


@pytest.mark.parametrize("change", [
    {"major": 2}, {"malloc": -1}, {"malloc": 131071}, {"parsed": 0}, {"heap": -1}, {"answer": -1}, {"answer": 131072},
    {"answer": 16}, {"answer": 9000}, {"builtins": "(i32.const 48)"}, {"builtins": "(i32.const 131072)"},
    {"builtins": "unreachable"}, {"builtins": "(loop (br 0)) (i32.const 16)"},
])
def test_a_hostile_module_is_refused_and_never_an_error_of_ours(change, monkeypatch):
    monkeypatch.setattr(wasm_abi, "LOAD_TIMEOUT_MS", 50)
    with pytest.raises(NotTrusted) as caught:
        WasmEngine(bytes(wasmtime.wat2wasm(HOSTILE.format(**{**TAME, **change}))), {})
    assert caught.value.code == "RELEASE_ENGINE"


def test_the_same_module_without_its_hostility_loads_and_denies():
    """Else the refusals above could come from the module's form."""
    (decision,) = WasmEngine(bytes(wasmtime.wat2wasm(HOSTILE.format(**TAME))), {}).evaluate([{}], deadline_ms=100)
    assert not decision.allow


def test_a_function_of_another_signature_is_refused():
    other = HOSTILE.format(**TAME).replace("(param i32 i32 i32 i32 i32 i32 i32)", "(param i64)")
    with pytest.raises(NotTrusted):
        WasmEngine(bytes(wasmtime.wat2wasm(other)), {})


def test_data_that_do_not_fit_the_memory_do_not_load():
    with pytest.raises(NotTrusted, match="does not load"):
        WasmEngine(committed_wasm(), {"environment": environment(), "x": ["y" * 50] * 20_000},
                   memory_bytes_max=512 * 1024)


def test_two_participants_of_one_id_are_found_before_the_release_activates():
    data = environment()
    data["participants"].append({**data["participants"][0], "status": "suspended"})
    with pytest.raises(NotTrusted, match="self-test"):
        engine(data)


@pytest.mark.parametrize("environment_name", ["sandbox", "staging", "production"])
def test_the_self_tests_payment_fits_its_schema(environment_name):
    check("symphony.decision_input/1", whole_payment(environment_name), code="INPUT_INVALID")


def test_a_policy_that_allows_an_empty_item_fails_the_self_test(opa):
    trap = b"""package symphony.payments
decisions[format_int(index, 10)] := {"allow": true, "reasons": [], "obligations": obligations} if {
	some index, _ in input.items
}
obligations := {"routes": ["primary"], "hold": false, "second_approval": false}
"""
    with pytest.raises(NotTrusted, match="empty item is allowed"):
        WasmEngine(rebuild({"payments/trap.rego": trap}, opa), {})
