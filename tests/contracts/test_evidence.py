"""Evidence records, sealed batches and heartbeats: what is taken and what is refused (EVD-01, EVD-08, EVD-09)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contracts import evidence, keys, merkle
from contracts.canonical import canonical_bytes
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import NotTrusted, Refused, SymphonyError

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.generate()
KEY_ID, PUBLIC = keys.key_id_of(KEY), keys.public_hex(KEY)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.text() | st.floats(allow_nan=True),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def _record(seq: int = 1, **fields: Any) -> bytes:
    chosen = {"number": 1, "result": "ACTIVATED"} | fields
    return evidence.record(
        "release", environment="sandbox", service="zm-rail", stream="zm-rail", seq=seq, recorded_at=NOW, **chosen
    )


def _sealed(leaves: list[bytes], **changes: Any) -> evidence.Sealed:
    arguments: dict[str, Any] = {
        "environment": "sandbox", "stream": "zm-rail", "epoch": 1, "first_seq": 1, "leaves": leaves,
        "previous_batch_sha256": None, "sealed_at": NOW,
    }  # fmt: skip
    return evidence.seal(KEY, KEY_ID, **(arguments | changes))


@given(JSON_VALUES)
def test_the_fast_way_gives_the_bytes_of_the_reference_or_refuses_with_it(value: Any) -> None:
    try:
        expected: bytes | None = canonical_bytes(value)
    except Refused:
        expected = None
    if expected is None:
        with pytest.raises(Refused):
            fast_canonical_bytes(value)
    else:
        assert fast_canonical_bytes(value) == expected


@given(st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=9), st.integers() | st.text(), max_size=9))
def test_plain_documents_go_the_fast_way_to_the_same_bytes(value: dict[str, Any]) -> None:
    try:
        expected = canonical_bytes(value)
    except Refused:
        return
    assert fast_canonical_bytes(value) == expected


def test_keys_beyond_ascii_are_sorted_by_utf_16_units() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "a": 3}
    assert fast_canonical_bytes(value) == canonical_bytes(value) == '{"a":3,"\U0001f600":1,"\ufb33":2}'.encode()


def test_a_record_is_canonical_and_its_leaf_is_over_its_bytes() -> None:
    data = _record()
    assert evidence.parse_record(data)["schema"] == "symphony.evidence/release/1"
    assert evidence.leaf(data) == merkle.leaf_hash(data)
    assert canonical_bytes(json.loads(data)) == data


def test_the_head_of_a_record_is_not_overwritten_by_fields() -> None:
    data = evidence.record(
        "release", environment="sandbox", service="s", stream="s", seq=1, recorded_at=NOW, schema="other"
    )
    assert json.loads(data)["schema"] == "symphony.evidence/release/1"


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "symphony.evidence/release"},
        {"schema": "other/1"},
        {"seq": 0},
        {"seq": "1"},
        {"seq": True},
        {"stream": ""},
        {"stream": "a\nb"},
        {"environment": "dev"},
        {"recorded_at": "2026-11-24T10:00:00Z"},
        {"pan": "4111111111111111"},
        {"payload": "x"},
        {"token": "x"},
        {"Upper": 1},
    ],
)
def test_a_record_outside_its_schema_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        evidence.parse_record(canonical_bytes(json.loads(_record()) | change))


@pytest.mark.parametrize("missing", ["schema", "environment", "service", "stream", "seq", "recorded_at"])
def test_a_record_without_a_part_of_its_head_is_refused(missing: str) -> None:
    document = json.loads(_record())
    del document[missing]
    with pytest.raises(Refused):
        evidence.parse_record(canonical_bytes(document))


def test_an_unknown_kind_and_unknown_fields_are_taken() -> None:
    data = evidence.record(
        "from_the_future", environment="sandbox", service="s", stream="s", seq=1, recorded_at=NOW, anything={"a": [1]}
    )
    assert evidence.kind_of(evidence.parse_record(data)) == "from_the_future"


def test_a_known_kind_without_its_fields_is_refused() -> None:
    data = evidence.record("attempt", environment="sandbox", service="s", stream="s", seq=1, recorded_at=NOW)
    with pytest.raises(Refused, match="outbox_id"):
        evidence.parse_record(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"\xff", b'{"a":1,"a":1}', _record() + b"\n", b" " + _record(),
     _record().replace(b'"seq":1', b'"seq":1.0'), b"x" * (evidence.RECORD_BYTES_MAX + 1), b"[" * 100_000],
)  # fmt: skip
def test_what_is_not_one_canonical_document_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        evidence.parse_record(data)


def test_a_sealed_batch_verifies_with_its_records() -> None:
    leaves = [evidence.leaf(_record(seq)) for seq in range(1, 6)]
    sealed = _sealed(leaves)
    claims = evidence.verify_batch(*sealed, public_key=PUBLIC, leaves=leaves)
    assert (claims["first_seq"], claims["last_seq"], claims["leaf_count"]) == (1, 5, 5)
    assert claims["previous_batch_sha256"] == evidence.NO_PREVIOUS
    assert _sealed(leaves) == sealed, "the same input seals to the same bytes"
    assert sealed.envelope().keys() == {"batch", "signature"}


@pytest.mark.parametrize("how", ["missing", "added", "changed", "swapped"])
def test_a_batch_with_other_records_does_not_verify(how: str) -> None:
    leaves = [evidence.leaf(_record(seq)) for seq in range(1, 6)]
    other = {
        "missing": leaves[:-1],
        "added": [*leaves, leaves[0]],
        "changed": [*leaves[:-1], evidence.leaf(b"")],
        "swapped": [leaves[1], leaves[0], *leaves[2:]],
    }[how]
    with pytest.raises(NotTrusted, match="BATCH_SIGNATURE"):
        evidence.verify_batch(*_sealed(leaves), public_key=PUBLIC, leaves=other)


@given(st.data())
def test_a_changed_byte_of_a_batch_or_heartbeat_is_refused(data: st.DataObject) -> None:
    leaves = [evidence.leaf(_record())]
    beat = evidence.heartbeat(
        KEY, KEY_ID, environment="sandbox", stream="zm-rail", epoch=1, last_seq=1, sent_at=NOW
    )
    for sealed, verify in ((_sealed(leaves), evidence.verify_batch), (beat, evidence.verify_heartbeat)):
        at, bit = data.draw(st.integers(0, len(sealed.body) - 1)), data.draw(st.integers(0, 7))
        body = bytearray(sealed.body)
        body[at] ^= 1 << bit
        with pytest.raises(SymphonyError):
            verify(bytes(body), sealed.signature, public_key=PUBLIC)


def test_a_signature_of_one_purpose_does_not_serve_another() -> None:
    body = _sealed([evidence.leaf(_record())]).body
    with pytest.raises(NotTrusted):
        evidence.verify_batch(body, keys.sign(KEY, keys.HEARTBEAT_TYPE, body), public_key=PUBLIC)


@pytest.mark.parametrize(
    "change",
    [{"last_seq": 9}, {"first_seq": 2, "last_seq": 2}, {"leaf_count": 0}, {"root": "00"}, {"extra": 1},
     {"previous_batch_sha256": "11" * 32}, {"epoch": -1}],
)  # fmt: skip
def test_a_batch_whose_claims_contradict_each_other_is_refused(change: dict[str, Any]) -> None:
    body = canonical_bytes(json.loads(_sealed([evidence.leaf(_record())]).body) | change)
    with pytest.raises(Refused):
        evidence.verify_batch(body, keys.sign(KEY, keys.BATCH_TYPE, body), public_key=PUBLIC)


@pytest.mark.parametrize("count", [0, evidence.BATCH_LEAVES_MAX + 1])
def test_a_batch_outside_its_bounds_is_not_sealed(count: int) -> None:
    with pytest.raises(ValueError, match="leaves"):
        _sealed([bytes(32)] * count)


@pytest.mark.parametrize("text", [b"100000000000000000000", b"-18446744073709551616", b"9007199254740993", b'1,"q":1', b"01"])
def test_a_record_with_a_number_out_of_bounds_or_a_member_twice_is_refused(text: bytes) -> None:
    fields = {"environment": "sandbox", "service": "s-1", "stream": "s-1", "seq": 1, "recorded_at": "2026-11-24T10:48:49.123456Z"}
    good = evidence.record("other", **fields, q=1)
    assert evidence.parse_record(good)["q"] == 1
    with pytest.raises(Refused, match="REQUEST_INVALID"):
        evidence.parse_record(good.replace(b'"q":1', b'"q":' + text))
