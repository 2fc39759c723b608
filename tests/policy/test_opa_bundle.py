"""The bundle's signature: each weak spot that others had, refused here (POL-06; findings, GHSA-g2pf-6v5v-qcc8)."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from contracts import opa_bundle
from contracts.bundle_archive import MANIFEST, SIGNATURES, pack, unpack
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, Refused

KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
OTHER = ec.derive_private_key(0x0BAD, ec.SECP256R1())
KEY_ID = sha256_hex(b"the build key")
FILES = {"payments/a.rego": b"package symphony.a\n", "payments/b.rego": b"package symphony.b\n"}


def pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def built(**changes: Any) -> bytes:
    return opa_bundle.build(FILES, "r-1", KEY, KEY_ID, **changes)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(claims: Any, *, header: dict[str, Any] | None = None, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    """A JWT with any header and claims, signed ES256."""
    head = {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"} if header is None else header
    payload = claims if isinstance(claims, bytes) else canonical_bytes(claims)
    signed = f"{b64(canonical_bytes(head))}.{b64(payload)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def content() -> dict[str, bytes]:
    files = unpack(built())
    del files[SIGNATURES]
    return files


def claims(of: dict[str, bytes] | None = None, /, **changes: Any) -> dict[str, Any]:
    held = content() if of is None else of
    listed = [{"name": n, "hash": sha256_hex(held[n]), "algorithm": "SHA-256"} for n in sorted(held)]
    return {"files": listed, "keyid": KEY_ID, "scope": "symphony", **changes}


def with_token(*tokens: Any, files: dict[str, bytes] | None = None, **document: Any) -> bytes:
    held = content() if files is None else files
    return pack({**held, SIGNATURES: json.dumps({"signatures": list(tokens), **document}).encode()})


def refused(bundle: bytes, *, key: Any = None, key_id: str = KEY_ID, scope: str = "symphony") -> str:
    with pytest.raises(NotTrusted) as caught:
        opa_bundle.verify(bundle, pem(KEY.public_key()) if key is None else key, key_id, scope)
    assert caught.value.code == "RELEASE_BUNDLE"
    return caught.value.detail


def test_what_was_built_verifies_and_gives_its_files():
    files = opa_bundle.verify(built(), KEY.public_key(), KEY_ID)
    assert {name: files[name] for name in FILES} == FILES
    assert json.loads(files[MANIFEST]) == {"revision": "r-1", "roots": ["symphony"], "rego_version": 1}
    assert opa_bundle.revision_of(files) == "r-1"
    assert SIGNATURES not in files


def test_the_same_files_revision_and_key_give_the_same_bytes():
    assert built() == built()
    assert built() != opa_bundle.build(FILES, "r-2", KEY, KEY_ID)


def test_a_token_made_by_hand_in_the_one_form_verifies():
    """Else every refusal below could come from this file's own mistakes."""
    assert opa_bundle.verify(with_token(token(claims())), pem(KEY.public_key()).encode(), KEY_ID)


HEADERS: dict[str, dict[str, Any]] = {
    "no algorithm": {"kid": KEY_ID, "typ": "JWT"},
    "none": {"alg": "none", "kid": KEY_ID, "typ": "JWT"},
    "None in capitals": {"alg": "NONE", "kid": KEY_ID, "typ": "JWT"},
    "another algorithm": {"alg": "ES384", "kid": KEY_ID, "typ": "JWT"},
    "no key id": {"alg": "ES256", "typ": "JWT"},
    "an unknown key id": {"alg": "ES256", "kid": "0" * 64, "typ": "JWT"},
    "an empty key id": {"alg": "ES256", "kid": "", "typ": "JWT"},
    "its own key": {"alg": "ES256", "kid": KEY_ID, "typ": "JWT", "jwk": {"kty": "EC"}},
    "an address of keys": {"alg": "ES256", "kid": KEY_ID, "typ": "JWT", "jku": "https://example.org/jwks"},
    "a critical extension": {"alg": "ES256", "kid": KEY_ID, "typ": "JWT", "crit": ["b64"], "b64": False},
    "a chain": {"alg": "ES256", "kid": KEY_ID, "typ": "JWT", "x5c": []},
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_with_anything_else_is_refused(what):
    assert "header" in refused(with_token(token(claims(), header=HEADERS[what])))


def test_no_algorithm_and_no_signature_is_refused():
    unsigned = token(claims(), header=HEADERS["none"]).rsplit(".", 1)[0] + "."
    refused(with_token(unsigned))
    refused(with_token(token(claims()).rsplit(".", 1)[0] + "."))


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512"])
def test_hmac_with_the_public_key_as_its_secret_is_refused(name):
    signed = f"{b64(canonical_bytes({'alg': name, 'kid': KEY_ID, 'typ': 'JWT'}))}.{b64(canonical_bytes(claims()))}"
    mac = hmac.digest(pem(KEY.public_key()).encode(), signed.encode(), "sha" + name[2:])
    assert "header" in refused(with_token(f"{signed}.{b64(mac)}"))


def test_another_keys_signature_is_refused():
    assert "does not verify" in refused(with_token(token(claims(), key=OTHER)))
    assert "does not verify" in refused(built(), key=OTHER.public_key())


def test_a_signature_over_other_claims_is_refused():
    head, _, signature = token(claims()).split(".")
    other = b64(canonical_bytes(claims(scope="symphony ")))
    assert "does not verify" in refused(with_token(f"{head}.{other}.{signature}"))


@pytest.mark.parametrize("spoil", [
    lambda t: t + "=", lambda t: t.replace(".", "..", 1), lambda t: t + ".x", lambda t: " " + t, lambda t: t + "\n",
    lambda t: t[:-1] + chr(ord(t[-1]) + 1), lambda t: "", lambda t: "é.é.é", lambda t: t.replace(".", ".+", 1),
])
def test_a_token_written_in_another_way_is_refused(spoil: Callable[[str], str]):
    refused(with_token(spoil(token(claims()))))


CLAIMS: dict[str, Callable[[], Any]] = {
    "another scope": lambda: claims(scope="other"),
    "no scope": lambda: {k: v for k, v in claims().items() if k != "scope"},
    "an empty scope": lambda: claims(scope=""),
    "another key": lambda: claims(keyid="0" * 64),
    "no key": lambda: {k: v for k, v in claims().items() if k != "keyid"},
    "expired": lambda: claims(exp=1),
    "not yet valid": lambda: claims(nbf=4_000_000_000),
    "issued": lambda: claims(iat=1_700_000_000),
    "no files": lambda: {k: v for k, v in claims().items() if k != "files"},
    "files that are no list": lambda: claims(files={}),
    "a list": list,
    "no JSON": lambda: b"{",
    "a claim twice": lambda: b'{"scope":"other",' + canonical_bytes(claims())[1:],
    "more than can be read": lambda: claims(files=[{"name": "x" * 200_000}]),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_claims_with_anything_else_are_refused(what):
    refused(with_token(token(CLAIMS[what]())))


def test_empty_expectations_match_nothing():
    assert "scope" in refused(with_token(token(claims(scope=""))), scope="")
    empty = with_token(token(claims(keyid=""), header={"alg": "ES256", "kid": "", "typ": "JWT"}))
    assert "another key" in refused(empty, key_id="")


def test_another_scope_or_key_id_expected_is_refused():
    assert "scope" in refused(built(), scope="production")
    assert "header" in refused(built(), key_id="0" * 64)


def test_a_file_that_is_not_listed_is_refused():
    held = content()
    signed = token(claims(held))
    assert "listed 0 times" in refused(with_token(signed, files={**held, "payments/c.rego": b"package symphony.c\n"}))


def test_a_listed_file_that_is_not_there_is_refused():
    held = content()
    signed = token(claims(held))
    del held["payments/b.rego"]
    assert "not there" in refused(with_token(signed, files=held))


def test_a_changed_file_is_refused():
    held = content()
    signed = token(claims(held))
    assert "SHA-256" in refused(with_token(signed, files={**held, "payments/a.rego": b"package symphony.x\n"}))


def test_a_file_listed_twice_or_by_another_digest_is_refused():
    listed = claims()["files"]
    assert "2 times" in refused(with_token(token(claims(files=[*listed, listed[-1]]))))
    second = {**listed[-1], "hash": "0" * 64}
    assert "2 times" in refused(with_token(token(claims(files=[*listed, second]))))
    upper, dotted = listed[-1]["hash"].upper(), "./" + listed[-1]["name"]
    for change in ({"algorithm": "MD5"}, {"algorithm": ""}, {"hash": upper}, {"name": dotted}):
        refused(with_token(token(claims(files=[*listed[:-1], {**listed[-1], **change}]))))
    for wrong in (7, None, "payments/b.rego", {}):
        refused(with_token(token(claims(files=[*listed[:-1], wrong]))))


@pytest.mark.parametrize("document", [
    b"", b"[]", b"{}", b'{"signatures": []}', b'{"signatures": null}', b'{"signatures": [7]}', b'{"signatures": "x"}',
    b'{"signatures": ["a.b.c"], "plugin": "mine"}', b'{"signatures": [], "signatures": ["a.b.c"]}', b"\xff",
])
def test_a_signatures_file_of_another_shape_is_refused(document):
    refused(pack({**content(), SIGNATURES: document}))


def test_two_tokens_or_a_plugin_are_refused_even_when_they_verify():
    good = token(claims())
    assert "exactly one" in refused(with_token(good, good))
    assert "exactly one" in refused(with_token(good, plugin="_default"))


def test_a_bundle_without_signatures_or_manifest_is_refused():
    assert "no .signatures.json" in refused(pack(content()))
    files = {name: content()[name] for name in FILES}
    assert "no .manifest" in refused(with_token(token(claims(files)), files=files))


@pytest.mark.parametrize("manifest", [
    b"{}", b"[]", b"{", b'{"revision": "r-1", "roots": ["symphony"], "rego_version": 1}',
    canonical_bytes({"revision": "r-1", "roots": [""], "rego_version": 1}),
    canonical_bytes({"revision": "r-1", "roots": ["symphony", "system"], "rego_version": 1}),
    canonical_bytes({"revision": "r-1", "roots": ["symphony"], "rego_version": 0}),
    canonical_bytes({"revision": "r-1", "roots": ["symphony"], "rego_version": 1, "wasm": []}),
    canonical_bytes({"revision": "", "roots": ["symphony"], "rego_version": 1}),
    canonical_bytes({"revision": "a\u2028b", "roots": ["symphony"], "rego_version": 1}),
    canonical_bytes({"roots": ["symphony"], "rego_version": 1}),
])
def test_a_manifest_of_another_form_is_refused_though_signed(manifest):
    held = {**content(), MANIFEST: manifest}
    refused(with_token(token(claims(held)), files=held))


def test_a_key_that_is_no_public_p256_key_is_refused():
    private = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for key in ("", "nonsense", private, ed, ec.derive_private_key(7, ec.SECP384R1()).public_key()):
        assert "build key" in refused(built(), key=key)


def test_a_bundle_cut_short_or_edited_is_refused():
    bundle = built()
    for size in (0, 20, len(bundle) // 2, len(bundle) - 1):
        refused(bundle[:size])
    for position in range(12, len(bundle), 97):
        edited = bytearray(bundle)
        edited[position] ^= 0x10
        refused(bytes(edited))


@pytest.mark.parametrize(("files", "revision"), [
    ({}, "r"), ({"A.rego": b""}, "r"), ({"../a.rego": b""}, "r"), ({"data.json": b"{}"}, "r"), (FILES, ""),
    (FILES, "a b"), (FILES, "x" * 129), ({f"a{n}.rego": b"" for n in range(201)}, "r"),
])
def test_what_could_not_be_verified_is_not_built(files, revision):
    with pytest.raises(Refused):
        opa_bundle.build(files, revision, KEY, KEY_ID)


def test_a_build_key_on_another_curve_is_refused():
    with pytest.raises(Refused):
        opa_bundle.build(FILES, "r", ec.derive_private_key(7, ec.SECP384R1()), KEY_ID)


def test_one_file_and_two_hundred_are_built_and_verify():
    one = {"a.rego": b"package symphony.a\n"}
    many = {f"a{n}.rego": b"package symphony.a\n" for n in range(opa_bundle.FILES_MAX)}
    for files in (one, many):
        assert set(opa_bundle.verify(opa_bundle.build(files, "r-1", KEY, KEY_ID), KEY.public_key(), KEY_ID)) == {*files, MANIFEST}


def test_a_part_that_is_not_canonical_is_refused_though_signed_that_way():
    """The last character of base64url has bits that say nothing: two texts, one meaning."""
    payload = next(json.dumps(claims(), indent=n).encode() for n in range(1, 9) if len(json.dumps(claims(), indent=n)) % 3)
    head, part = b64(canonical_bytes({"alg": "ES256", "kid": KEY_ID, "typ": "JWT"})), b64(payload)
    other = part[:-1] + chr(ord(part[-1]) + 1)
    assert base64.urlsafe_b64decode(other + "==") == payload
    for text, holds in ((part, True), (other, False)):
        r, s = decode_dss_signature(KEY.sign(f"{head}.{text}".encode(), ec.ECDSA(hashes.SHA256())))
        bundle = with_token(f"{head}.{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")
        if holds:
            assert opa_bundle.verify(bundle, KEY.public_key(), KEY_ID)
        else:
            assert "canonical" in refused(bundle)


def test_claims_may_be_as_long_as_the_bound(monkeypatch):
    length = len(token(claims()).split(".")[1])
    monkeypatch.setattr(opa_bundle, "CLAIMS_BYTES_MAX", length)
    assert opa_bundle.verify(with_token(token(claims())), KEY.public_key(), KEY_ID)
    monkeypatch.setattr(opa_bundle, "CLAIMS_BYTES_MAX", length - 1)
    assert "claims over" in refused(with_token(token(claims())))
