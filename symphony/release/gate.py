"""The gate result of a release: an in-toto test result over the digests of policy, bundle and invariants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.keys import INTOTO_TYPE
from contracts.release.contents import GATED, STATEMENT_TYPE, TEST_RESULT_TYPE
from contracts.release.envelope import make_envelope

EVIDENCE_INDEX = "EVIDENCE_INDEX.json"


def sign_gate(
    key: Ed25519PrivateKey, files: Mapping[str, bytes], *, passed: Sequence[str], failed: Sequence[str] = (),
    warned: Sequence[str] = (), evidence_index: bytes | None = None,
) -> bytes:  # fmt: skip
    """``gate.json``: a DSSE envelope by a gate key. ``files`` holds at least the gated targets by name.

    A result with failed tests, or with none passed, is signed as what it is; no release takes it (rule 9). ``warned`` are
    ids that an exception excuses: the result is WARNED, and no release takes that either, so an exception blocks a release,
    whatever the severity. ``evidence_index``: its digest stands in the statement's ``configuration`` (EVD-04).
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256_hex(files[name])}} for name in GATED],
        "predicateType": TEST_RESULT_TYPE,
        "predicate": {
            "result": "FAILED" if failed or not passed else "WARNED" if warned else "PASSED",
            "configuration": _configuration(evidence_index),
            "passedTests": list(passed),
            "warnedTests": list(warned),
            "failedTests": list(failed),
        },
    }
    return orjson.dumps(make_envelope(key, INTOTO_TYPE, canonical_bytes(statement)))


def _configuration(evidence_index: bytes | None) -> list[dict[str, object]]:
    if evidence_index is None:
        return []
    return [{"name": EVIDENCE_INDEX, "digest": {"sha256": sha256_hex(evidence_index)}}]
