"""A compiled Wasm that is not what the Rego says: what an approver's own machine finds before he signs (POL-05)."""

from __future__ import annotations

from pathlib import Path

import pytest

from symphony import policy_build
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack

REVIEW = "form symphony.policy_build"


def wasm_of_another_rego(opa: Path) -> bytes:
    """A policy that allows everything, compiled by the same opa."""
    rego = b'package symphony.payments\n\nimport rego.v1\n\ndecisions[index] := {"allow": true} if some index, _ in input.items\n'
    return policy_build.rebuild({"payments/all.rego": rego}, opa)


@attack("a Wasm compiled from another Rego than the release shows, on an approver's machine with opa", by=REVIEW, code="RELEASE_DIGEST")
def test_a_wasm_of_another_rego_is_found_by_rebuilding(attacker: Attacker, opa: Path) -> None:
    rego = policy_build.rego_files()
    assert policy_build.check_pair(rego, policy_build.committed_wasm(), opa=opa).rebuilt, "the honest pair is one"
    hostile = wasm_of_another_rego(opa)
    attacker.is_not_approved(lambda: policy_build.check_pair(rego, hostile, opa=opa))


@attack("one byte of the Wasm changed, on an approver's machine with opa", by=REVIEW, code="RELEASE_DIGEST")
def test_one_byte_of_the_wasm_changed(attacker: Attacker, opa: Path) -> None:
    wasm = policy_build.committed_wasm()
    attacker.is_not_approved(
        lambda: policy_build.check_pair(policy_build.rego_files(), wasm[:-1] + bytes([wasm[-1] ^ 1]), opa=opa)
    )


@attack("a Wasm that is not the recorded one, on an approver's machine without opa", by=REVIEW, code="RELEASE_NOT_REBUILT")
def test_a_wasm_that_is_not_the_recorded_one(attacker: Attacker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYMPHONY_TOOLS", str(tmp_path))
    rego, wasm = policy_build.rego_files(), policy_build.committed_wasm()
    assert not policy_build.check_pair(rego, wasm).rebuilt, "the recorded pair is taken at its word, and it is said"
    attacker.is_not_approved(lambda: policy_build.check_pair(rego, wasm + b"\0"))


@attack("other Rego beside the recorded Wasm, on an approver's machine without opa", by=REVIEW, code="RELEASE_NOT_REBUILT")
def test_other_rego_beside_the_recorded_wasm(attacker: Attacker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYMPHONY_TOOLS", str(tmp_path))
    rego = policy_build.rego_files()
    name = next(iter(rego))
    attacker.is_not_approved(lambda: policy_build.check_pair({**rego, name: rego[name] + b"\n"}, policy_build.committed_wasm()))
