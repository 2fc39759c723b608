"""The signed gate result: an exception blocks a release, the evidence index is bound, the gate key is not the proposer's (rule 9)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import sha256_hex
from contracts.errors import NotTrusted
from contracts.keys import INTOTO_TYPE, key_id_of, new_private_key, public_hex
from contracts.release.contents import GATED, check_gate_statement, verify_gate
from contracts.release.envelope import open_envelope_bytes
from symphony.release.gate import sign_gate

FILES = {name: name.encode() for name in GATED}
DIGESTS = {name: sha256_hex(data) for name, data in FILES.items()}


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return new_private_key(tmp_path / "gate.pem")


def statement(key: Ed25519PrivateKey, **words: Any) -> dict[str, Any]:
    keys = {key_id_of(key.public_key()): public_hex(key)}
    payload, _ = open_envelope_bytes(sign_gate(key, FILES, **words), INTOTO_TYPE, keys, "RELEASE_GATE")
    return dict(json.loads(payload))


def test_a_pass_is_taken_with_the_digest_of_the_evidence_index(key: Ed25519PrivateKey) -> None:
    """EVD-04: the statement and the proofs are of one run."""
    made = statement(key, passed=["INV-014"], evidence_index=b"index")
    check_gate_statement(made, DIGESTS)
    assert made["predicate"]["configuration"] == [
        {"name": "EVIDENCE_INDEX.json", "digest": {"sha256": sha256_hex(b"index")}}
    ]


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ({"passed": ["INV-014"], "warned": ["INV-006"]}, "WARNED"), ({"passed": ["INV-014"], "failed": ["INV-006"]}, "FAILED"),
        ({"passed": [], "warned": ["INV-006"]}, "FAILED"), ({"passed": []}, "FAILED"),
        ({"passed": ["A"], "warned": ["B"], "failed": ["C"]}, "FAILED"),
    ],
)  # fmt: skip
def test_no_release_takes_what_is_excepted_or_failed(
    words: dict[str, Any], result: str, key: Ed25519PrivateKey
) -> None:
    made = statement(key, **words)
    assert made["predicate"]["result"] == result
    assert made["predicate"]["warnedTests"] == words.get("warned", [])
    with pytest.raises(NotTrusted, match="not a pass"):
        check_gate_statement(made, DIGESTS)


def test_a_warned_test_in_a_result_that_calls_itself_passed_is_not_taken(key: Ed25519PrivateKey) -> None:
    made = statement(key, passed=["INV-014"])
    made["predicate"]["warnedTests"] = ["INV-006"]
    with pytest.raises(NotTrusted, match="not a pass"):
        check_gate_statement(made, DIGESTS)


@pytest.mark.parametrize("own", [True, False])
def test_a_gate_key_that_is_the_proposers_is_refused(own: bool, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    """By key material, under whatever id it stands: also where the custodians list it as a gate key by mistake."""
    officer = key if own else new_private_key(tmp_path / "officer.pem")
    trust = SimpleNamespace(
        gate_keys={key_id_of(key.public_key()): public_hex(key)}, officers={"alice": public_hex(officer)}
    )
    targets = {name: SimpleNamespace(sha256=digest) for name, digest in DIGESTS.items()}
    role = SimpleNamespace(proposer_key_id="alice", targets=targets)
    signed = sign_gate(key, FILES, passed=["INV-014"])
    if not own:
        assert verify_gate(cast("Any", trust), cast("Any", role), signed)["predicate"]["result"] == "PASSED"
        return
    with pytest.raises(NotTrusted, match="proposer's"):
        verify_gate(cast("Any", trust), cast("Any", role), signed)
