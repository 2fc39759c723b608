"""No changed token is ever verified; whatever bytes come, the answer is one code and never an exception (ATT-05)."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.reasons import by_code
from sidecar.attestation import Rejected
from tests.attestation.support import ISSUER, KID, NOW, attest, attestor, claims, client, presented, revoked, token

GOOD = token()
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def refused_with_a_code(text: str) -> None:
    answer = attest(text)
    assert isinstance(answer, Rejected), text
    assert by_code(answer.code).station == "attest"
    assert not answer.spendable


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 127))
def test_one_changed_character_anywhere(position, delta):
    """Every position, every other 7-bit character."""
    other = chr((ord(GOOD[position]) + delta) % 128)
    refused_with_a_code(GOOD[:position] + other + GOOD[position + 1 :])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([HEAD, PAYLOAD, SIGNATURE]), st.data())
def test_one_flipped_bit_behind_the_encoding(part, data):
    """The parts are decoded, a bit is flipped, and they are encoded well again."""
    raw = bytearray(decoded(part))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << (bit % 8)
    refused_with_a_code(".".join(b64(bytes(raw)) if each is part else each for each in (HEAD, PAYLOAD, SIGNATURE)))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_every_truncation(length):
    refused_with_a_code(GOOD[:length])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(b64), max_size=4).map(".".join))
def test_any_text_at_all(text):
    answer = attestor().attest(presented(text), revocations=revoked(), now=NOW)
    assert isinstance(answer, Rejected)
    refused_with_a_code(text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "cnf"]), JSON)
def test_any_value_of_any_claim_under_a_good_signature(name, value):
    """The issuer itself may be wrong: the answer is a code, or the value was as good as the right one."""
    try:
        text = token(**{name: value})
    except ValueError:
        return
    answer = attest(text)
    if isinstance(answer, Rejected):
        assert by_code(answer.code).station == "attest"
    else:
        right = {**claims(), "aud": claims()["aud"]}
        assert name in ("jti", "exp", "iat", "nbf") or value in (right[name], [right[name]])


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_header_and_payload_without_a_signature(value):
    for header, payload in ((value, claims()), ({"alg": "ES256", "kid": KID}, value), (value, {"iss": ISSUER})):
        text = ".".join([b64(json.dumps(header).encode()), b64(json.dumps(payload).encode()), b64(bytes(64))])
        refused_with_a_code(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000) | st.integers(0, len(client().der) - 1).map(lambda n: client().der[:n]))
def test_any_bytes_as_a_certificate(der):
    answer = attest(certificate_der=der)
    assert isinstance(answer, Rejected)
    assert answer.code in ("CERTIFICATE_MISSING", "CERTIFICATE_UNTRUSTED")


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(client().der) * 8 - 1))
def test_any_flipped_bit_of_the_certificate(bit):
    raw = bytearray(client().der)
    raw[bit // 8] ^= 1 << (bit % 8)
    assert isinstance(attest(certificate_der=bytes(raw)), Rejected)
