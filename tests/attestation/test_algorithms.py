"""Every algorithm of the allow-list, with keys of its own kind only (ATT-16: two schemes, no schema change)."""

from __future__ import annotations

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sidecar.attestation import Attestor
from tests.attestation.support import (
    ISSUER,
    NOW,
    accepted,
    bearer,
    claims,
    environment_data,
    manifest,
    presented,
    refused,
    revoked,
)

KEYS = {
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
    "RS256": RSAKey.generate_key(2048, {"kid": "RS256"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "PS256"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "EdDSA"}),
}


def attestor(algorithms: list[str], **of_key: str) -> Attestor:
    keys = [{**key.as_dict(private=False), **of_key} for key in KEYS.values()]
    entry = {"issuer": ISSUER, "algorithms": algorithms, "jwks": {"keys": keys}}
    return Attestor({**environment_data(), "issuers": [entry]}, manifest(), environment="sandbox")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def signed(alg: str, kid: str) -> str:
    registry = jws.JWSRegistry(algorithms=list(KEYS))
    return jwt.encode({"alg": alg, "kid": kid}, claims(), KEYS[kid], registry=registry)


def answer(of: Attestor, text: str):
    return of.attest(presented(bearer(text)), revocations=revoked(), now=NOW)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("alg", list(KEYS))
def test_a_listed_algorithm_with_its_own_key_is_taken_and_recorded(alg):
    of = attestor(list(KEYS))
    assert accepted(answer(of, signed(alg, alg))).signature_alg == alg


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("alg", list(KEYS))
def test_an_algorithm_that_the_issuer_does_not_list_is_refused(alg):
    others = [name for name in KEYS if name != alg]
    refused(answer(attestor(others), signed(alg, alg)), "TOKEN_ALGORITHM")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_key_is_used_only_for_its_kind_and_its_own_alg():
    of = attestor(list(KEYS))
    header_of_another = signed("ES256", "ES256").split(".")
    for kid in ("RS256", "EdDSA"):
        bent = signed(kid, kid).split(".")
        import base64

        header = base64.urlsafe_b64encode(f'{{"alg":"ES256","kid":"{kid}"}}'.encode()).rstrip(b"=").decode()
        refused(answer(of, ".".join([header, *bent[1:]])), "TOKEN_ALGORITHM")
    assert header_of_another
    refused(answer(attestor(list(KEYS), alg="PS256"), signed("RS256", "RS256")), "TOKEN_ALGORITHM")
    accepted(answer(attestor(list(KEYS), alg="PS256"), signed("PS256", "PS256")))


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_tampered_signature_of_every_algorithm_is_refused():
    of = attestor(list(KEYS))
    for alg in KEYS:
        head, payload, signature = signed(alg, alg).split(".")
        middle = "A" if signature[20] != "A" else "B"
        refused(answer(of, f"{head}.{payload}.{signature[:20]}{middle}{signature[21:]}"), "TOKEN_SIGNATURE")
        refused(answer(of, f"{head}.{payload}.{signature[:40]}"), "TOKEN_SIGNATURE")
