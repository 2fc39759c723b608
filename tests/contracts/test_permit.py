"""The permit: what holds, and one refusal for every rule (design section 3, "Permit")."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import BATCH_TYPE, PERMIT_TYPE, key_id_of, public_hex, sign
from contracts.permit import (
    LIFETIME_S_MAX,
    PERMIT_BYTES_MAX,
    TREE_SIZE_MAX,
    Claims,
    VerifiedRoots,
    encoded,
    issue,
    parse,
    root_payload,
    verify,
)

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEY_ID = key_id_of(KEY)
KEYS = {KEY_ID: {"public_key": public_hex(KEY), "sidecar": "zm-rail"}}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BODY = canonical_bytes({"schema": "symphony.posting/1", "amount_minor": 1250})


def claims(**changes):
    iat = int(NOW.timestamp())
    return {
        "version": 1, "environment": "sandbox", "sidecar": "zm-rail", "key_id": KEY_ID,
        "instruction_id": "01900000-0000-7000-8000-000000000001", "attempt": 1, "epoch": 3, "purpose": "post",
        "request_sha256": sha256_hex(BODY), "release_number": 1, "policy_digest": "a" * 64,
        "attestation_leaf_hash": "b" * 64, "audience": "core-ledger", "iat": iat, "exp": iat + 30, **changes,
    }


def check(permit, **changes):
    settled = {"body": BODY, "purpose": "post", "audience": "core-ledger", "environment": "sandbox", "keys": KEYS,
               "now": NOW, "skew_s": 2, **changes}
    return verify(permit, **settled)


def refusal(permit, **changes):
    with pytest.raises(NotTrusted) as caught:
        check(permit, **changes)
    return caught.value.code


def edited(permit, change):
    document = json.loads(permit)
    change(document)
    return canonical_bytes(document)


def test_a_permit_that_holds_gives_its_claims():
    (permit,) = issue(KEY, [claims()])
    held = check(permit)
    assert (held.purpose, held.attempt, held.epoch, held.release_number) == ("post", 1, 3, 1)
    assert canonical_bytes(json.loads(permit)) == permit


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 511, TREE_SIZE_MAX])
def test_every_permit_of_a_batch_holds_alone_and_only_in_its_own_place(size):
    permits = issue(KEY, [claims(attempt=n) for n in range(size)])
    assert [check(p).attempt for p in permits] == list(range(size))
    assert max(map(len, permits)) <= PERMIT_BYTES_MAX
    if size > 1:
        moved = edited(permits[0], lambda d: d.update(leaf_index=1))
        assert refusal(moved) == "PERMIT_SIGNATURE"


@pytest.mark.parametrize("size", [0, TREE_SIZE_MAX + 1])
def test_a_batch_outside_its_bound_is_refused(size):
    with pytest.raises(Refused, match="REQUEST_INVALID"):
        issue(KEY, [claims()] * size)


def test_one_batch_is_of_one_key():
    with pytest.raises(Refused, match="one key"):
        issue(KEY, [claims(), claims(key_id=key_id_of(OTHER))])


@pytest.mark.parametrize("changes", [
    {"version": 2}, {"purpose": "pay"}, {"attempt": -1}, {"attempt": 1.5}, {"attempt": True}, {"iat": 0},
    {"exp": int(NOW.timestamp())}, {"exp": int(NOW.timestamp()) + LIFETIME_S_MAX + 1}, {"sidecar": "Zm Rail"},
    {"sidecar": "zm-rail\n"}, {"request_sha256": "A" * 64}, {"audience": ""}, {"audience": "café"}, {"extra": 1},
    {"epoch": 2**53},
])
def test_claims_of_another_form_are_never_signed(changes):
    with pytest.raises(Refused, match="REQUEST_INVALID"):
        issue(KEY, [claims(**changes)])


TAMPERED = {
    "version": 2, "environment": "production", "sidecar": "other-rail", "key_id": "f" * 64,
    "instruction_id": "01900000-0000-7000-8000-000000000002", "attempt": 2, "epoch": 4, "purpose": "seal",
    "request_sha256": "c" * 64, "release_number": 2, "policy_digest": "c" * 64, "attestation_leaf_hash": "c" * 64,
    "audience": "other-ledger", "iat": int(NOW.timestamp()) - 1, "exp": int(NOW.timestamp()) + 31,
}
EARLIER = {"version": "PERMIT_MALFORMED", "environment": "PERMIT_AUDIENCE", "audience": "PERMIT_AUDIENCE",
           "sidecar": "PERMIT_KEY_UNKNOWN", "key_id": "PERMIT_KEY_UNKNOWN"}


def test_the_tampering_table_covers_every_claim():
    assert set(TAMPERED) == set(Claims.__struct_fields__)


@pytest.mark.parametrize("member", sorted(TAMPERED))
def test_no_claim_can_be_changed(member):
    for permit in issue(KEY, [claims(), claims(attempt=9)]):
        forged = edited(permit, lambda d: d["claims"].update({member: TAMPERED[member]}))
        assert refusal(forged) == EARLIER.get(member, "PERMIT_SIGNATURE")


@pytest.mark.parametrize(("member", "value", "code"), [
    ("schema", "symphony.permit/2", "PERMIT_MALFORMED"),
    ("leaf_index", 1, "PERMIT_SIGNATURE"), ("leaf_index", 2, "PERMIT_SIGNATURE"),
    ("leaf_index", -1, "PERMIT_MALFORMED"),
    ("tree_size", 3, "PERMIT_SIGNATURE"), ("tree_size", 0, "PERMIT_MALFORMED"),
    ("tree_size", TREE_SIZE_MAX + 1, "PERMIT_MALFORMED"),
    ("proof", [], "PERMIT_SIGNATURE"), ("proof", ["0" * 64], "PERMIT_SIGNATURE"),
    ("proof", ["0" * 63], "PERMIT_MALFORMED"),
    ("proof", ["0" * 64] * 10, "PERMIT_MALFORMED"),
    ("root", "0" * 64, "PERMIT_SIGNATURE"), ("signature", "0" * 128, "PERMIT_SIGNATURE"),
    ("signature", "0" * 127, "PERMIT_MALFORMED"), ("more", 1, "PERMIT_MALFORMED"),
])
def test_no_other_member_can_be_changed(member, value, code):
    permit = issue(KEY, [claims(), claims(attempt=2)])[0]
    assert refusal(edited(permit, lambda d: d.update({member: value}))) == code


@pytest.mark.parametrize("member", ["schema", "claims", "leaf_index", "tree_size", "proof", "root", "signature"])
def test_no_member_can_be_missing(member):
    (permit,) = issue(KEY, [claims()])
    assert refusal(edited(permit, lambda d: d.pop(member))) == "PERMIT_MALFORMED"


def test_a_permit_has_one_encoding():
    (permit,) = issue(KEY, [claims()])
    document = json.loads(permit)
    for other in (
        json.dumps(document).encode(),
        permit + b"\n",
        permit.replace(b'"attempt":1', b'"attempt":1.0'),
        permit.replace(b'"attempt":1', b'"attempt":1,"attempt":1'),
        permit.replace(b"zm-rail", b"zm\\u002drail"),
        b"", b"null", b"[]", b"\xff", b"[" * 4000, b"9" * (PERMIT_BYTES_MAX + 1),
    ):
        assert refusal(other) == "PERMIT_MALFORMED"


def test_a_signature_by_another_key_or_for_another_purpose_does_not_hold():
    (permit,) = issue(OTHER, [claims()])
    assert refusal(permit) == "PERMIT_SIGNATURE"
    document = json.loads(permit)
    payload = root_payload(document["root"], document["tree_size"])
    for signature in (sign(KEY, BATCH_TYPE, payload), KEY.sign(payload).hex()):
        assert refusal(edited(permit, lambda d, s=signature: d.update(signature=s))) == "PERMIT_SIGNATURE"
    assert check(edited(permit, lambda d: d.update(signature=sign(KEY, PERMIT_TYPE, payload))))


def test_a_key_that_the_release_does_not_list_or_lists_for_another_sidecar_is_unknown():
    (permit,) = issue(KEY, [claims()])
    assert refusal(permit, keys={}) == "PERMIT_KEY_UNKNOWN"
    assert refusal(permit, keys={KEY_ID: {**KEYS[KEY_ID], "sidecar": "other"}}) == "PERMIT_KEY_UNKNOWN"


def test_environment_and_audience_are_the_verifiers_own():
    (permit,) = issue(KEY, [claims()])
    assert refusal(permit, environment="staging") == "PERMIT_AUDIENCE"
    assert refusal(permit, audience="other-ledger") == "PERMIT_AUDIENCE"


@pytest.mark.parametrize(("seconds", "holds"), [(-3, False), (-2, True), (0, True), (31.9, True), (32, False)])
def test_a_permit_holds_from_iat_to_exp_give_or_take_the_skew(seconds, holds):
    (permit,) = issue(KEY, [claims()])
    now = NOW + timedelta(seconds=seconds)
    if holds:
        assert check(permit, now=now)
    else:
        assert refusal(permit, now=now) == "PERMIT_EXPIRED"


def test_a_signed_permit_that_lives_too_long_is_refused_by_the_verifier_too():
    payload = Claims(**claims(exp=int(NOW.timestamp()) + LIFETIME_S_MAX + 1))
    (permit,) = issue(KEY, [claims()])
    assert refusal(edited(permit, lambda d: d.update(claims=json.loads(encoded(payload))))) == "PERMIT_MALFORMED"


def test_purpose_and_body_are_those_that_were_permitted():
    (permit,) = issue(KEY, [claims()])
    assert refusal(permit, purpose="seal") == "PERMIT_PURPOSE"
    assert refusal(permit, body=BODY.replace(b"1250", b"1251")) == "PERMIT_BODY_MISMATCH"
    assert refusal(permit, body=BODY + b" ") == "PERMIT_BODY_MISMATCH"


def test_a_root_is_remembered_only_if_its_signature_held_and_only_for_its_key():
    roots = VerifiedRoots(size_max=2)
    permits = issue(KEY, [claims(attempt=n) for n in range(3)])
    assert [check(p, roots=roots).attempt for p in permits] == [0, 1, 2]
    forged = edited(permits[0], lambda d: d.update(signature="0" * 128))
    assert refusal(forged, roots=roots) == refusal(forged, roots=roots) == "PERMIT_SIGNATURE"
    moved = {KEY_ID: {"public_key": public_hex(OTHER), "sidecar": "zm-rail"}}
    assert refusal(permits[0], roots=roots, keys=moved) == "PERMIT_SIGNATURE"
    for attempt in range(5):
        check(issue(KEY, [claims(attempt=attempt)])[0], roots=roots)
    assert len(roots._seen) == 2


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 2**53 - 1)
ANY_CLAIMS = st.fixed_dictionaries({
    "version": st.just(1), "environment": st.sampled_from(["sandbox", "staging", "production"]), "sidecar": NAMES,
    "key_id": st.just(KEY_ID), "instruction_id": st.uuids().map(str), "attempt": COUNTS, "epoch": COUNTS,
    "purpose": st.sampled_from(["post", "reserve", "commit", "void", "return", "seal"]), "request_sha256": DIGESTS,
    "release_number": st.integers(1, 2**53 - 1), "policy_digest": DIGESTS, "attestation_leaf_hash": DIGESTS,
    "audience": st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128),
    "iat": st.just(int(NOW.timestamp())), "exp": st.just(int(NOW.timestamp()) + 60),
})


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY_CLAIMS, min_size=1, max_size=9))
def test_any_batch_verifies_and_its_encoding_is_rfc_8785(batch):
    for permit, wanted in zip(issue(KEY, batch), batch, strict=True):
        assert canonical_bytes(json.loads(permit)) == permit
        document = parse(permit)
        assert encoded(document.claims) == canonical_bytes(wanted)
        keys = {KEY_ID: {"public_key": public_hex(KEY), "sidecar": wanted["sidecar"]}}
        with pytest.raises(NotTrusted, match="PERMIT_BODY_MISMATCH"):
            check(permit, audience=wanted["audience"], environment=wanted["environment"], purpose=wanted["purpose"],
                  keys=keys)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_permit_with_any_byte_changed_is_refused(data):
    permit = issue(KEY, [claims(), claims(attempt=2), claims(attempt=3)])[data.draw(st.integers(0, 2))]
    at = data.draw(st.integers(0, len(permit) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != permit[at]))
    assert refusal(permit[:at] + bytes([byte]) + permit[at + 1:]).startswith("PERMIT_")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_permit_give_a_reason_and_never_another_error(data):
    assert refusal(data) == "PERMIT_MALFORMED"
