"""Vectors that nobody here wrote: Wycheproof ECDSA, RFC 7520 keys, RFC 8705 thumbprint, RFC 9449 proof."""

from __future__ import annotations

import base64
import json
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, RSAKey

from sidecar.attestation import x5t_s256
from sidecar.attestation.issuers import Issuers
from sidecar.attestation.tokens import verify_token
from tests.attestation.support import attest, refused


def issuers_of(public: dict, algorithms: list[str]) -> Issuers:
    return Issuers([{"issuer": "i", "algorithms": algorithms, "jwks": {"keys": [{**public, "kid": "k"}]}}])


def fixed_length(der_signature: bytes) -> bytes | None:
    """The JWS form of a DER signature; ``None`` where there is none, which is a refusal before ours."""
    try:
        r, s = decode_dss_signature(der_signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        return None


def test_wycheproof_ecdsa_through_our_key_path(shared_data: Path):
    """Every P-256 vector whose signature has a JWS form: valid verifies, invalid does not."""
    file = shared_data / "crypto/wycheproof/ecdsa_secp256r1_sha256_test.json"
    valid = invalid = without_form = 0
    for group in json.loads(file.read_text())["testGroups"]:
        public = ECKey.import_key(group["publicKeyPem"]).as_dict(private=False)
        key = issuers_of(public, ["ES256"]).key_for("i", "ES256", "k")
        for case in group["tests"]:
            signature = fixed_length(bytes.fromhex(case["sig"]))
            if signature is None:
                assert case["result"] == "invalid"
                without_form += 1
                continue
            holds = key.verify("ES256", bytes.fromhex(case["msg"]), signature)
            strict = case["result"] == "valid" or set(case["flags"]) <= DER_ONLY
            assert holds is strict, case
            valid, invalid = valid + holds, invalid + (not holds)
    assert valid + invalid + without_form == 484
    assert valid > 150
    assert invalid > 30


DER_ONLY = {"BerEncodedSignature", "InvalidEncoding", "MissingZero"}
"""Invalid only as DER; the JWS form carries the two numbers and has no second encoding."""


def test_rfc_8705_thumbprint(shared_data: Path):
    folder = shared_data / "tokens/rfc"
    pem = (folder / "rfc8705_appendix_a.pem").read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    cnf = json.loads((folder / "rfc8705_appendix_a.json").read_text())["cnf"]
    assert x5t_s256(der) == cnf["x5t#S256"]


def test_rfc_8705_certificate_is_not_of_our_authority(shared_data: Path):
    pem = (shared_data / "tokens/rfc/rfc8705_appendix_a.pem").read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    answer = attest(certificate_der=der)
    assert answer.code in ("CERTIFICATE_EXPIRED", "CERTIFICATE_UNTRUSTED")


def test_rfc_9449_proof_is_no_access_token(shared_data: Path):
    """A DPoP proof carries its own key and another type: never a token."""
    proof = json.loads((shared_data / "tokens/rfc/rfc9449_token_endpoint_proof.json").read_text())["dpop"]
    refused(attest(proof), "TOKEN_MALFORMED")


def test_joserfc_tokens_verify_or_not_by_algorithm(shared_data: Path):
    """Tokens of another project: the listed algorithm verifies, every other has no key to stand on."""
    folder = shared_data / "tokens/joserfc"
    verified = []
    for case in json.loads((folder / "jwt_use_jws.json").read_text())["tests"]:
        alg = case["header"]["alg"]
        if alg != "RS256":
            refused(attest(case["token"]), "TOKEN_ALGORITHM")
            continue
        public = RSAKey.import_key((folder / case["public_key"]).read_text()).as_dict(private=False)
        head, payload, signature = case["token"].split(".")
        key = issuers_of(public, [alg]).key_for("i", alg, "k")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        assert key.verify(alg, f"{head}.{payload}".encode(), raw)
        assert not key.verify(alg, f"{head}.{payload}x".encode(), raw)
        verified.append(alg)
    assert verified == ["RS256"]


def test_rfc_7520_signatures(shared_data: Path):
    """The RSA and the symmetric key of RFC 7520: the first is taken, the second never."""
    from contracts.errors import NotTrusted

    folder = shared_data / "tokens/joserfc"
    rsa = json.loads((folder / "RFC7520-RSA-public.json").read_text())
    secret = json.loads((folder / "RFC7520-oct-sig.json").read_text())
    rsa.pop("kid")
    key = issuers_of(rsa, ["RS256"]).key_for("i", "RS256", "k")
    case = json.loads((folder / "jws_rfc7520.json").read_text())["tests"][0]
    head, payload, signature = case["compact"].split(".")
    assert key.verify("RS256", f"{head}.{payload}".encode(), base64.urlsafe_b64decode(signature + "=="))
    refused(attest(case["compact"]), "TOKEN_MALFORMED")
    with pytest.raises(NotTrusted):
        issuers_of(secret, ["RS256"])


def test_a_whole_token_made_elsewhere_is_read_by_our_path():
    """PyJWT signs, we verify: two libraries, one format."""
    import jwt as pyjwt

    from symphony.stack import credentials as dev

    key = dev.new_key()
    issuers = Issuers([dev.issuer_entry("i", {"k": key})])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = pyjwt.encode({"iss": "i"}, dev.key_pem(key), algorithm="ES256", headers={"kid": "k"})
    assert verify_token(text, issuers).claims == {"iss": "i"}
