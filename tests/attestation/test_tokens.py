"""The token as a signed JWT, read strictly (ATT-02 step 4, ATT-05, NEG-22)."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization

from sidecar.attestation import Attestor
from sidecar.attestation.limits import TOKEN_BYTES_MAX
from symphony.stack import credentials as dev
from tests.attestation.support import (
    CLIENT,
    ISSUER,
    KID,
    NOW,
    PARTICIPANT,
    accepted,
    attest,
    attestor,
    bearer,
    changed,
    claims,
    environment_data,
    issuer_key,
    manifest,
    presented,
    refused,
    revoked,
    token,
)


def b64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: dict, payload: str | None = None) -> str:
    return f"{b64(json.dumps(header))}.{b64(payload or json.dumps(claims()))}"


def with_parts(*, header: str | None = None, payload: str | None = None, signature: str | None = None) -> str:
    parts = token().split(".")
    return ".".join(
        new if new is not None else old for new, old in zip((header, payload, signature), parts, strict=True)
    )


def test_a_good_token_gives_the_identity():
    answer = accepted(attest())
    assert (answer.participant_id, answer.client_id) == (PARTICIPANT, CLIENT)
    assert (answer.jwt_iss, answer.jwt_kid, answer.signature_alg) == (ISSUER, KID, "ES256")
    assert (answer.db_role, answer.pop_mode, answer.spendable) == ("ingest", "mtls", True)
    assert answer.token_expires_at.timestamp() == claims()["exp"]
    assert str(answer.token_day) == "2026-11-24"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "TOKEN_MISSING"),
        ("", "TOKEN_MISSING"),
        ("Bearer", "TOKEN_MISSING"),
        ("Bearer ", "TOKEN_MISSING"),
        ("Basic dXNlcjpwYXNz", "TOKEN_MISSING"),
        ("DPoP a.b.c", "POP_UNSUPPORTED"),
        ("Bearer  a.b.c", "TOKEN_MALFORMED"),
        ("Bearer a.b.c, Bearer a.b.c", "TOKEN_MALFORMED"),
    ],
)
def test_the_authorization_header_is_one_bearer_token(authorization, code):
    refused(attestor().attest(presented(authorization), revocations=revoked(), now=NOW), code)


def test_the_scheme_is_of_any_case():
    accepted(attestor().attest(presented(f"bEARER {token()}"), revocations=revoked(), now=NOW))


@pytest.mark.parametrize(
    "text",
    [
        "a", "a.b", "a.b.c.d", "..", "é.b.c", "a.b.c\n",
        "a" * (TOKEN_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_no_compact_jws_is_malformed(text):
    refused(attest(text), "TOKEN_MALFORMED")


def test_the_size_bound_is_exact(monkeypatch):
    good = token()
    monkeypatch.setattr("sidecar.attestation.tokens.TOKEN_BYTES_MAX", len(good))
    accepted(attest(good))
    monkeypatch.setattr("sidecar.attestation.tokens.TOKEN_BYTES_MAX", len(good) - 1)
    refused(attest(good), "TOKEN_MALFORMED")


@pytest.mark.parametrize("part", ["header", "payload"])
@pytest.mark.parametrize(
    "bad",
    [
        "", b64("[]"), b64("1"), b64("null"), b64('"x"'), b64("{"), b64('{"a":1,"a":1}'), b64('{"a":NaN}'),
        b64(b"\xff\xfe"),
        b64('{"a":1}'.encode("utf-16")), b64("\ufeff{}"), b64("[" * 6000), b64('{"iat":' + "9" * 5000 + "}"),
    ],
)  # fmt: skip
def test_header_and_payload_are_strict_json_objects(part, bad):
    refused(attest(with_parts(**{part: bad})), "TOKEN_MALFORMED")


def test_a_json_webtoken_in_the_other_serialization_is_malformed():
    header, payload, signature = token().split(".")
    refused(attest(json.dumps({"protected": header, "payload": payload, "signature": signature})), "TOKEN_MALFORMED")


def test_no_second_spelling_of_base64url_is_taken():
    """Padding, the other alphabet, white space and spare bits: all decode to the same bytes elsewhere."""
    header, payload, signature = token().split(".")
    spare = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert base64.urlsafe_b64decode(spare + "==") == base64.urlsafe_b64decode(signature + "==")
    for bent in (
        f"{header}.{payload}.{spare}",
        f"{header}.{payload}.{signature}==",
        f"{header}.{payload}.{signature}\t",
        f"{header}.{payload}.{signature[:40]} {signature[40:]}",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}%.{signature}",
    ):
        refused(attest(bent), "TOKEN_MALFORMED")
    for _ in range(64):
        key = dev.new_key()
        text = dev.sign_claims(key, {"alg": "ES256", "kid": KID}, claims())
        if "-" in text or "_" in text.split(".")[2]:
            break
    refused(attest(text.replace("-", "+").replace("_", "/")), "TOKEN_MALFORMED")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"crit": ["exp"]}, "TOKEN_MALFORMED"),
        ({"crit": []}, "TOKEN_MALFORMED"),
        ({"b64": False}, "TOKEN_MALFORMED"),
        ({"typ": "dpop+jwt"}, "TOKEN_MALFORMED"),
        ({"typ": 1}, "TOKEN_MALFORMED"),
        ({"kid": 1}, "TOKEN_MALFORMED"),
        ({"kid": ""}, "TOKEN_MALFORMED"),
        ({"kid": "k" * 129}, "TOKEN_MALFORMED"),
        ({"kid": "other"}, "TOKEN_ALGORITHM"),
        ({"alg": "none"}, "TOKEN_ALGORITHM"),
        ({"alg": "None"}, "TOKEN_ALGORITHM"),
        ({"alg": "HS256"}, "TOKEN_ALGORITHM"),
        ({"alg": "ES384"}, "TOKEN_ALGORITHM"),
        ({"alg": "RS256"}, "TOKEN_ALGORITHM"),
        ({"alg": "EdDSA"}, "TOKEN_ALGORITHM"),
        ({"alg": ["ES256"]}, "TOKEN_ALGORITHM"),
        ({"alg": None}, "TOKEN_ALGORITHM"),
    ],
)
def test_what_a_header_may_not_say(header, code):
    text = unsigned({"alg": "ES256", "kid": KID, "typ": "JWT", **header})
    refused(attest(f"{text}.{b64(bytes(64))}"), code)


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_types_that_are_taken(typ):
    accepted(attest(token(header={"typ": typ})))


def test_a_header_without_algorithm_or_key_id_is_refused():
    refused(attest(f"{unsigned({'kid': KID})}.{b64(bytes(64))}"), "TOKEN_ALGORITHM")
    refused(attest(f"{unsigned({'alg': 'ES256'})}.{b64(bytes(64))}"), "TOKEN_MALFORMED")


def test_an_unsigned_token_is_refused():
    """ATT-05: alg none, and an empty signature under a listed algorithm."""
    refused(attest(f"{unsigned({'alg': 'none', 'kid': KID})}."), "TOKEN_ALGORITHM")
    refused(attest(with_parts(signature="")), "TOKEN_SIGNATURE")


def test_a_public_key_as_hmac_secret_is_refused():
    """The classic confusion of algorithms, with every form of the public key as the secret."""
    public = issuer_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps(dev.public_jwk(issuer_key(), KID)).encode()
    for secret in (pem, pem.strip(), der, jwk):
        text = unsigned({"alg": "HS256", "kid": KID})
        signature = hmac.digest(secret, text.encode(), "sha256")
        refused(attest(f"{text}.{b64(signature)}"), "TOKEN_ALGORITHM")
        text = unsigned({"alg": "ES256", "kid": KID})
        refused(attest(f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"), "TOKEN_SIGNATURE")


def test_a_key_that_the_token_brings_is_never_used():
    own = dev.new_key()
    header = {"jwk": dev.public_jwk(own, KID), "jku": "https://evil.example/jwks"}
    text = unsigned({"alg": "ES256", "kid": KID, **header})
    signature = dev.sign_claims(own, {"alg": "ES256", "kid": KID}, claims()).split(".")[2]
    refused(attest(f"{text}.{signature}"), "TOKEN_SIGNATURE")


def test_a_signature_by_another_key_is_refused_and_says_nothing_of_the_claims():
    answer = refused(attest(token(key=dev.new_key())), "TOKEN_SIGNATURE")
    assert answer.client_id is answer.jwt_iss is answer.jwt_kid is None
    assert answer.token_sha256 is not None


@pytest.mark.parametrize("length", [0, 63, 65, 70, 128])
def test_an_es256_signature_is_64_bytes(length):
    refused(attest(with_parts(signature=b64(bytes(length)))), "TOKEN_SIGNATURE")


def test_the_issuer_is_listed():
    refused(attest(token(iss="https://other.example")), "TOKEN_ISSUER")
    refused(attest(token(iss=...)), "TOKEN_CLAIMS")
    refused(attest(token(iss=1)), "TOKEN_CLAIMS")


def test_an_issuer_is_held_to_its_own_keys_and_algorithms():
    """Two issuers with the same kid: neither speaks for the other."""
    other_key = dev.new_key()
    other = dev.issuer_entry("https://other.example", {KID: other_key, "second": other_key})
    data = environment_data()
    two = Attestor({**data, "issuers": [*data["issuers"], other]}, manifest(), environment="sandbox")

    def answer(text):
        return two.attest(presented(bearer(text)), revocations=revoked(), now=NOW)

    accepted(answer(token()))
    accepted(answer(token(key=other_key, iss="https://other.example")))
    refused(answer(token(key=other_key)), "TOKEN_SIGNATURE")
    refused(answer(token(iss="https://other.example")), "TOKEN_SIGNATURE")
    refused(answer(token(key=other_key, header={"kid": "second"})), "TOKEN_ALGORITHM")


def test_a_token_key_is_revoked_by_its_id_or_its_thumbprint():
    key = attestor()._issuers.key_for(ISSUER, "ES256", KID)
    assert len(set(key.revocation_ids)) == 3
    for id_ in key.revocation_ids:
        answer = refused(attest(view=revoked(("token_key", id_))), "KEY_REVOKED")
        assert answer.client_id is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("issuers/0/jwks/keys/0/kid", 1),
        ("issuers/0/jwks/keys/0/kty", "oct"),
        ("issuers/0/jwks/keys/0/use", "enc"),
        ("issuers/0/jwks/keys/0/x", "AAAA"),
        ("issuers/0/jwks/keys/0/crv", "P-384"),
        ("issuers/0/jwks/keys/0", {"kty": "oct", "kid": "h", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ"}),
        ("issuers/0/jwks/keys/0", {"kty": "EC", "kid": "h"}),
        ("certificate_authorities", ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]),
    ],
)
def test_a_release_with_an_unusable_key_is_not_taken(path, value):
    """ATT-04: no start with an invalid key set, in any environment."""
    from contracts.errors import NotTrusted

    with pytest.raises(NotTrusted) as error:
        Attestor(changed(environment_data(), path, value), manifest(), environment="sandbox")
    assert error.value.code == "RELEASE_MANIFEST"


@pytest.mark.filterwarnings("ignore:Key size:joserfc.errors.SecurityWarning")
def test_a_release_that_contradicts_itself_is_not_taken():
    from joserfc.jwk import ECKey, RSAKey

    from contracts.errors import NotTrusted

    data = environment_data()
    private = ECKey.generate_key("P-256", {"kid": "p"}).as_dict(private=True)
    weak = RSAKey.generate_key(1024, {"kid": "w"}).as_dict(private=False)
    key = data["issuers"][0]["jwks"]["keys"][0]
    for bad in (
        {**data, "issuers": data["issuers"] * 2},
        changed(data, "issuers/0/jwks/keys", [key, key]),
        changed(data, "issuers/0/jwks/keys/0", private),
        changed(data, "issuers/0/jwks/keys/0", weak),
        changed(data, "participants/1/clients", [CLIENT]),
    ):
        with pytest.raises(NotTrusted) as error:
            Attestor(bad, manifest(), environment="sandbox")
        assert error.value.code == "RELEASE_MANIFEST"
    with pytest.raises(NotTrusted) as error:
        Attestor(data, manifest(), environment="production")
    assert error.value.code == "RELEASE_ENVIRONMENT"
    with pytest.raises(NotTrusted):
        Attestor(data, {"audience": "x", "clock_skew_s": 1}, environment="sandbox")
