"""What two officers sign, and every way in which it is none of theirs (D8, OUT-12)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import resolution
from contracts.canonical import canonical_bytes
from contracts.errors import SymphonyError
from contracts.keys import REQUEST_TYPE, RESOLUTION_TYPE, key_id_of, public_hex
from contracts.release.envelope import countersigned, make_envelope

ALICE, BOB, CAROL, GATE = (Ed25519PrivateKey.generate() for _ in range(4))
OFFICERS = {key_id_of(key): public_hex(key) for key in (ALICE, BOB, CAROL)}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "0190b1c2-0000-7000-8000-000000000001"
HERE = {"environment": "sandbox", "service": "reference-rail", "stream": "reference-rail-1", "instruction_id": ID}
FIELDS: dict[str, Any] = {
    **HERE, "decision": "FAILED", "reason": "the rail's statement has no such entry", "evidence_reference": "CASE-17",
    "reason_code": "RETRIES_EXHAUSTED", "parked_at": "2026-11-24T11:00:00.000000Z",
}  # fmt: skip


def made(**changes: Any) -> dict[str, Any]:
    return resolution.made(changes.pop("key", ALICE), **{**FIELDS, "now": NOW, **changes})


def read(envelope: dict[str, Any]) -> resolution.Resolution:
    return resolution.read(json.dumps(envelope).encode())


def code_of(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    with pytest.raises(SymphonyError) as caught:
        call(*arguments, **more)
    return caught.value.code


def test_two_officers_are_told_apart_by_what_both_signed() -> None:
    """D8: maker and checker by the payload's word, in whatever order the signatures stand."""
    envelope = countersigned(made(), BOB)
    for signatures in (envelope["signatures"], envelope["signatures"][::-1]):
        signers = resolution.verified(read({**envelope, "signatures": signatures}), OFFICERS)
        assert signers == resolution.Signers(key_id_of(ALICE), key_id_of(BOB))


@pytest.mark.parametrize(("envelope", "code"), [
    (made(), "RESOLUTION_TWO_OFFICERS"),
    (countersigned(made(), ALICE), "RESOLUTION_TWO_OFFICERS"),
    (countersigned(countersigned(made(), BOB), CAROL), "RESOLUTION_TWO_OFFICERS"),
    (countersigned(countersigned(made(), BOB), BOB), "RESOLUTION_TWO_OFFICERS"),
    (countersigned(made(), GATE), "OFFICER_UNKNOWN"),
    (countersigned(made(key=GATE), BOB), "OFFICER_UNKNOWN"),
    ({**(e := countersigned(made(), BOB)),
      "signatures": [e["signatures"][0], {**e["signatures"][1], "keyid": key_id_of(CAROL)}]}, "ENVELOPE_INVALID"),
    ({**(e := countersigned(made(), BOB)),
      "payload": base64.b64encode(base64.b64decode(e["payload"]).replace(b"FAILED", b"DISPATCHED")).decode()}, "ENVELOPE_INVALID"),
], ids=["one", "same officer twice", "three", "the checker twice", "the gate's key checks", "a stranger makes", "another's key id", "changed"])  # fmt: skip
def test_anything_but_two_officers_signatures_is_refused(envelope: dict[str, Any], code: str) -> None:
    """OUT-12."""
    assert code_of(resolution.verified, read(envelope), OFFICERS) == code


def test_a_key_that_the_custodians_removed_is_no_officers_any_more() -> None:
    """OUT-12: revoked is not listed; and one key under two ids is one officer."""
    both = read(countersigned(made(), BOB))
    left = {key_id: key for key_id, key in OFFICERS.items() if key_id != key_id_of(BOB)}
    assert code_of(resolution.verified, both, left) == "OFFICER_UNKNOWN"
    envelope = countersigned(made(), ALICE)
    envelope["signatures"][1]["keyid"] = "f" * 64
    aliased = {**OFFICERS, "f" * 64: public_hex(ALICE)}
    assert code_of(resolution.verified, read(envelope), aliased) == "RESOLUTION_TWO_OFFICERS"


def test_the_maker_that_it_names_must_have_signed() -> None:
    """D8: two officers sign what a third is said to have made."""
    payload = base64.b64decode(made(key=CAROL)["payload"])
    envelope = countersigned(make_envelope(ALICE, RESOLUTION_TYPE, payload), BOB)
    assert code_of(resolution.verified, read(envelope), OFFICERS) == "RESOLUTION_TWO_OFFICERS"


@pytest.mark.parametrize("changes", [
    {"decision": "VOIDED"}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": "two\nlines"},
    {"evidence_reference": "Mr Chilufya Mwansa"}, {"evidence_reference": ""}, {"parked_at": "yesterday"}, {"environment": "moon"},
], ids=str)  # fmt: skip
def test_a_resolution_outside_its_schema_is_not_made(changes: dict[str, Any]) -> None:
    """EVD-09: what goes into evidence is bounded; no sentence fits the reference."""
    assert code_of(made, **changes) == "REQUEST_INVALID"


def test_bytes_that_are_no_resolution() -> None:
    """Shape, size, type and canonical form, before a signature is looked at."""
    payload = base64.b64decode(made()["payload"])
    loose = json.dumps(json.loads(payload), indent=1).encode()
    assert code_of(read, make_envelope(ALICE, REQUEST_TYPE, payload)) == "ENVELOPE_INVALID"
    assert code_of(read, {**made(), "more": 1}) == "ENVELOPE_INVALID"
    assert code_of(read, {**made(), "signatures": [{"sig": "x"}]}) == "ENVELOPE_INVALID"
    assert code_of(resolution.read, b"{") == "ENVELOPE_INVALID"
    assert code_of(resolution.read, b"[]" + b" " * resolution.ENVELOPE_BYTES_MAX) == "REQUEST_INVALID"
    assert code_of(read, make_envelope(ALICE, RESOLUTION_TYPE, loose)) == "REQUEST_INVALID"
    assert (
        code_of(read, make_envelope(ALICE, RESOLUTION_TYPE, canonical_bytes({**json.loads(payload), "more": 1})))
        == "REQUEST_INVALID"
    )


@pytest.mark.parametrize("field", list(HERE))
def test_a_resolution_of_another_place_or_payment_is_refused(field: str) -> None:
    """OUT-12: environment, service, stream and payment are each asked for."""
    other = {"environment": "staging", "instruction_id": ID[:-1] + "2"}.get(field, "other")
    resolution.check_scope(read(made()), **HERE)
    assert code_of(resolution.check_scope, read(made(**{field: other})), **HERE) == "RESOLUTION_SCOPE"


@pytest.mark.parametrize(("moment", "lifetime", "code"), [
    (NOW, timedelta(hours=1), None), (NOW - timedelta(seconds=59), timedelta(hours=1), None),
    (NOW + timedelta(hours=1), timedelta(hours=1), "RESOLUTION_EXPIRED"),
    (NOW - timedelta(seconds=61), timedelta(hours=1), "RESOLUTION_EXPIRED"),
    (NOW, timedelta(days=8), "RESOLUTION_EXPIRED"), (NOW, timedelta(0), "RESOLUTION_EXPIRED"),
], ids=str)  # fmt: skip
def test_a_resolution_has_its_time(moment: datetime, lifetime: timedelta, code: str | None) -> None:
    """OUT-12."""
    one = read(made(lifetime=lifetime))
    if code is None:
        resolution.check_time(one, moment)
    else:
        assert code_of(resolution.check_time, one, moment) == code


def test_the_same_words_are_one_record() -> None:
    """The record's id is of the payload: a file handed over twice is one resolution, another's is another."""
    assert read(made()).resolution_id == read(countersigned(made(), BOB)).resolution_id
    assert read(made()).resolution_id != read(made(decision="DISPATCHED")).resolution_id
