"""Participant, request rules, what spends a token, replay keys, the writer's own check (ATT-01, ATT-07, NEG-21)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, fields

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from contracts.errors import NotTrusted
from contracts.reasons import by_code
from sidecar.attestation import Rejected, Verified, presented_of, writer_check
from tests.attestation.support import (
    BODY,
    CLIENT,
    ISSUER,
    NOW,
    PARTICIPANT,
    accepted,
    attest,
    attestor,
    client,
    environment_data,
    manifest,
    refused,
    revoked,
    token,
)

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_a_stranger_with_a_good_token_is_unknown_and_spends_it():
    answer = refused(attest(token(sub="stranger")), "PARTICIPANT_UNKNOWN", spendable=True)
    assert answer.participant_id is None
    assert answer.jti_hash is not None


def test_a_suspended_participant_is_refused():
    answer = refused(attest(token(sub="shut-gateway")), "CERTIFICATE_PARTICIPANT", spendable=True)
    assert answer.participant_id is None


def test_a_suspended_participant_with_its_own_certificate_is_refused():
    from symphony.stack import credentials as dev
    from tests.attestation.support import ca

    own = dev.participant_credential(ca(), "sandbox", "shut", now=NOW)
    text = token(sub="shut-gateway", cnf={"x5t#S256": own.x5t_s256})
    refused(attest(text, certificate_der=own.der), "PARTICIPANT_REVOKED", spendable=True)


def test_a_revoked_participant_is_refused():
    answer = refused(attest(view=revoked(("participant", PARTICIPANT))), "PARTICIPANT_REVOKED", spendable=True)
    assert answer.client_id == CLIENT
    accepted(attest(view=revoked(("participant", "fnb"))))


@pytest.mark.parametrize("key", [None, "", "a b", " a", "a\n", "é", "x" * 65, "a, b", "\x7f"])
def test_an_idempotency_key_has_one_form(key):
    answer = refused(attest(idempotency_key=key), "IDEMPOTENCY_KEY_INVALID", spendable=True)
    assert answer.idempotency_key is None
    assert answer.participant_id == PARTICIPANT


@pytest.mark.parametrize("key", ["a", "x" * 64, "!~", "6f1c-22/7:#"])
def test_idempotency_keys_that_are_taken(key):
    assert accepted(attest(idempotency_key=key)).idempotency_key == key


@pytest.mark.parametrize("kind", [None, "", "application/json", "application/xmlx", "application/xml, text/xml"])
def test_a_content_type_that_the_rail_does_not_take(kind):
    refused(attest(content_type=kind), "CONTENT_TYPE_UNSUPPORTED", spendable=True)


@pytest.mark.parametrize("kind", ["application/xml", "text/xml", "Application/XML; charset=utf-8", "text/xml;q=1"])
def test_content_types_that_are_taken(kind):
    accepted(attest(content_type=kind))


def test_an_empty_body_is_refused():
    refused(attest(body=b""), "BODY_EMPTY", spendable=True)


def test_a_refusal_before_proof_of_possession_never_spends():
    """A stranger who saw a token cannot spend it: without the certificate nothing of it is a key."""
    for answer in (
        attest(certificate_der=None),
        attest(token(cnf={"x5t#S256": "other"})),
        attest(token(exp=1, iat=0)),
        attest(token(aud="other")),
        attest(view=revoked(("token_key", "issuer-1"))),
    ):
        assert isinstance(answer, Rejected)
        refused(answer, answer.code, spendable=False)


def test_every_answer_has_a_code_of_station_one():
    for answer in (attest(certificate_der=None), attest("x"), attest(body=b"")):
        assert isinstance(answer, Rejected)
        assert by_code(answer.code).station == "attest"


def test_refused_and_verified_have_the_same_facts():
    """One record for both: ATT-09."""
    assert {f.name for f in fields(Verified)} == {f.name for f in fields(Rejected)} - {"code", "detail"}


# --- replay keys (D4, ATT-07, NEG-21) ----------------------------------------------------------------------------


def test_the_same_token_has_the_same_key_whoever_sends_what():
    text = token()
    first, second = accepted(attest(text)), accepted(attest(text, body=b"<x/>", idempotency_key="other"))
    assert first.jti_hash == second.jti_hash
    assert accepted(attest(token(jti="other"))).jti_hash != first.jti_hash


def test_the_key_is_over_issuer_and_jti_length_prefixed():
    issuer, jti = ISSUER.encode(), b"6f1c"
    raw = len(issuer).to_bytes(8, "big") + issuer + len(jti).to_bytes(8, "big") + jti
    assert accepted(attest()).jti_hash == hashlib.sha256(raw).hexdigest()


def test_a_second_signature_over_the_same_claims_is_the_same_token():
    """Replay cannot be had by asking for, or making, another signature."""
    first, second = token(), token()
    assert first != second
    one, two = accepted(attest(first)), accepted(attest(second))
    assert (one.jti_hash, one.token_day) == (two.jti_hash, two.token_day)
    assert one.token_sha256 != two.token_sha256


def test_the_malleated_signature_is_valid_and_the_same_token():
    """(r, n-s) verifies wherever (r, s) does; the key of ``seen_jti`` does not move."""
    head, payload, signature = token().split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, P256_ORDER - s)) == (r, P256_ORDER - s)
    other = base64.urlsafe_b64encode(raw[:32] + (P256_ORDER - s).to_bytes(32, "big")).rstrip(b"=").decode()
    assert other != signature
    one, two = accepted(attest(f"{head}.{payload}.{signature}")), accepted(attest(f"{head}.{payload}.{other}"))
    assert (one.jti_hash, one.token_day) == (two.jti_hash, two.token_day)


# --- the writer ---------------------------------------------------------------------------------------------------


def test_the_writer_finds_the_same_facts_by_itself():
    text = token()
    said = accepted(attest(text))
    data, service = environment_data(), manifest()
    found = writer_check(
        text, client().der, data, service, NOW,
        revocations=revoked(), body_sha256=said.body_sha256, idempotency_key=said.idempotency_key,
    )  # fmt: skip
    assert asdict(found) == asdict(said)


@pytest.mark.parametrize(
    ("text", "view", "code"),
    [
        ("a.b.c", revoked(), "TOKEN_MALFORMED"),
        (None, revoked(("certificate", client().sha256)), "CERTIFICATE_REVOKED"),
        (None, revoked(("participant", PARTICIPANT)), "PARTICIPANT_REVOKED"),
        (None, revoked(as_of=NOW.replace(year=2025)), "REVOCATIONS_STALE"),
    ],
)
def test_the_writer_refuses_by_itself(text, view, code):
    with pytest.raises(NotTrusted) as error:
        writer_check(text or token(), client().der, environment_data(), manifest(), NOW, revocations=view)
    assert error.value.code == code


def test_the_writer_holds_the_keys_of_few_releases():
    from sidecar.attestation import attestor_of, writer

    data, service = environment_data(), manifest()
    assert attestor_of(data, service) is attestor_of(data, service)
    for _ in range(10):
        attestor_of(environment_data(), manifest())
    assert len(writer._held) <= 4
    assert attestor_of(data, service) is not None


# --- the ASGI scope (ATT-17) --------------------------------------------------------------------------------------


def test_a_certificate_in_a_header_is_ignored():
    """ATT-17: whatever a proxy or a caller puts there."""
    pem = client().pem.replace("\n", "%0A").encode()
    names = (b"x-forwarded-client-cert", b"x-ssl-client-cert", b"client-cert", b"x-client-cert", b"tls.peer_der")
    scope = {"headers": [(name, pem) for name in names] + [(b"authorization", f"Bearer {token()}".encode())]}
    got = presented_of(scope, BODY, correlation_id="c")
    assert got.certificate_der is None
    refused(attestor().attest(got, revocations=revoked(), now=NOW), "CERTIFICATE_MISSING")


def test_a_header_that_stands_twice_is_refused():
    good = [
        (b"authorization", f"Bearer {token()}".encode()),
        (b"content-type", b"text/xml"),
        (b"idempotency-key", b"k"),
    ]
    scope = {"extensions": {"tls.peer_der": client().der}}

    def answer(headers):
        got = presented_of({**scope, "headers": headers}, BODY, correlation_id="c")
        return attestor().attest(got, revocations=revoked(), now=NOW)

    assert accepted(answer(good)).body_sha256 == hashlib.sha256(BODY).hexdigest()
    refused(answer([*good, good[0]]), "TOKEN_MALFORMED")
    refused(answer([*good, good[1]]), "CONTENT_TYPE_UNSUPPORTED", spendable=True)
    refused(answer([*good, good[2]]), "IDEMPOTENCY_KEY_INVALID", spendable=True)
