"""The libraries we sign and canonicalise with, against every published vector (DSSE, RFC 8785, Wycheproof)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from contracts import keys
from contracts.canonical import canonical_bytes
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import NotTrusted

JCS_VECTORS, ED25519_VECTORS, ECDSA_VECTORS = 3, 151, 484


def test_canonical_json_gives_the_bytes_of_rfc_8785(shared_data: Path) -> None:
    folder = shared_data / "crypto/jcs"
    inputs = sorted((folder / "input").glob("*.json"))
    for path in inputs:
        expected = (folder / "output" / path.name).read_bytes()
        assert expected == bytes.fromhex((folder / "outhex" / path.with_suffix(".txt").name).read_text())
        value = json.loads(path.read_text("utf-8"))
        assert canonical_bytes(value) == expected, path.name
        assert fast_canonical_bytes(value) == expected, path.name
    assert len(inputs) == JCS_VECTORS


def test_dsse_encoding_and_signature_are_those_of_the_protocol(shared_data: Path) -> None:
    vector = json.loads((shared_data / "crypto/dsse/protocol_vector.json").read_text())
    encoded = keys.pae(vector["payload_type"], vector["serialized_body"].encode())
    assert encoded == vector["pae"].encode()
    public = ec.EllipticCurvePublicNumbers(
        int(vector["key"]["x_decimal"]), int(vector["key"]["y_decimal"]), ec.SECP256R1()
    ).public_key()
    raw = base64.b64decode(vector["envelope"]["signatures"][0]["sig"])
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public.verify(signature, encoded, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(signature, encoded + b" ", ec.ECDSA(hashes.SHA256()))


def test_every_ed25519_vector_of_wycheproof(shared_data: Path) -> None:
    document = json.loads((shared_data / "crypto/wycheproof/ed25519_test.json").read_text())
    seen = 0
    for group in document["testGroups"]:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
        assert keys.public_hex(public) == group["publicKey"]["pk"]
        for case in group["tests"]:
            seen += 1
            try:
                public.verify(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
                verified = True
            except InvalidSignature:
                verified = False
            assert verified is (case["result"] == "valid"), case["tcId"]
    assert seen == document["numberOfTests"] == ED25519_VECTORS


def test_every_p256_vector_of_wycheproof(shared_data: Path) -> None:
    document = json.loads((shared_data / "crypto/wycheproof/ecdsa_secp256r1_sha256_test.json").read_text())
    seen = 0
    for group in document["testGroups"]:
        public = serialization.load_pem_public_key(group["publicKeyPem"].encode())
        assert isinstance(public, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            seen += 1
            try:
                public.verify(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]), ec.ECDSA(hashes.SHA256()))
                verified = True
            except InvalidSignature:
                verified = False
            assert verified is (case["result"] == "valid"), case["tcId"]
    assert seen == document["numberOfTests"] == ECDSA_VECTORS


@pytest.mark.parametrize("signature", ["", "zz", "00" * 63, "00" * 64, "00" * 65])
def test_an_unusable_signature_is_refused_and_never_an_error(signature: str) -> None:
    with pytest.raises(NotTrusted):
        keys.verify("11" * 32, keys.BATCH_TYPE, b"{}", signature, code="BATCH_SIGNATURE")
