"""An officer's key by URI: what is taken, what is refused by name, and that a signature is checked before it is used (SEC-08)."""

from __future__ import annotations

import base64
import copy
import importlib
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from contracts.errors import CannotEvaluate, Misused
from contracts.keys import REQUEST_TYPE, key_id_of, new_private_key, public_hex, signer_of
from contracts.release.envelope import open_envelope
from symphony.release import keys, pkcs11
from symphony.release.client import Officer
from symphony.release.keys import SignsElsewhere, officer_key
from tests.conftest import missing

URI = "pkcs11:token=officers;object=bruno?module-path=/lib.so"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("hsm:2", "officers' keys are Ed25519"), ("gcpkms:projects/x", "not built"), ("sigstore:me", "not built"),
        ("pkcs11:object=bruno?module-path=/lib.so", "names token and object"), ("pkcs11:token=officers?module-path=/lib.so", "names token"),
        ("pkcs11:token=officers;object=bruno", "no PKCS#11 module"), (f"{URI}&pin-value=1234", "pin-value"), ("hv:", "names no key"),
        ("hv:bruno/newest", "names no key"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_a_uri_that_names_no_key_here_is_refused_with_the_way_out(uri: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    monkeypatch.setattr(keys, "library", lambda *_: None)
    with pytest.raises(Misused) as refused:
        officer_key(uri)
    assert says in refused.value.detail
    assert refused.value.next_step
    assert "1234" not in str(refused.value)


@pytest.mark.parametrize(("uri", "extra"), [(URI, "pkcs11"), ("hv:bruno", "openbao")], ids=["pkcs11", "openbao"])
def test_a_missing_library_names_its_extra(uri: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(CannotEvaluate) as refused:
        officer_key(uri)
    assert f"symphony[{extra}]" in refused.value.next_step


def test_a_pin_is_never_asked_for_where_nobody_sits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(keys.PIN_VARIABLE, raising=False)
    with pytest.raises(Misused, match="no PIN of token officers"):
        keys.ask_pin("PIN of token officers")
    monkeypatch.setenv(keys.PIN_VARIABLE, "1234")
    assert keys.ask_pin("PIN") == "1234"
    (tmp_path / "pin").write_text("5678\n")
    address = pkcs11.Address.of(f"{URI}&pin-source=file:{tmp_path}/pin")
    assert pkcs11.Pkcs11Signer(address, CryptoSigner.generate_ed25519().public_key, keys.ask_pin)._secret() == "5678"


def test_a_file_is_named_by_its_path_or_by_file(tmp_path: Path) -> None:
    key = new_private_key(tmp_path / "key.pem")
    for uri in (str(tmp_path / "key.pem"), f"file:{tmp_path}/key.pem", f"file://{tmp_path}/key.pem"):
        assert public_hex(officer_key(uri)) == public_hex(key)
    with pytest.raises(CannotEvaluate, match="no readable private key"):
        officer_key("file:/nowhere/key.pem")


def test_a_token_with_another_key_than_it_shows_signs_nothing() -> None:
    shown, held = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    liar = keys.signing_elsewhere(held, "pkcs11:token=t;object=o?pin-source=/secret")
    liar._public = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(CannotEvaluate, match="another key than its public half") as refused:
        liar.sign(b"a release")
    assert "/secret" not in str(refused.value)
    with pytest.raises(Misused, match="no Ed25519 key"):
        keys.signing_elsewhere(CryptoSigner.generate_ecdsa(), "pkcs11:token=t;object=o")
    assert keys.signing_elsewhere(shown, "x:").public_key() != liar.public_key()


def test_the_private_half_never_leaves_its_place() -> None:
    key = keys.signing_elsewhere(CryptoSigner.generate_ed25519(), "pkcs11:token=t;object=o")
    assert copy.deepcopy(key) is key
    for ask in (key.private_bytes_raw, lambda: key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )):  # fmt: skip
        with pytest.raises(CannotEvaluate, match="does not leave its place"):
            ask()


class Transit(BaseHTTPRequestHandler):
    """The two calls of the transit engine that are used, as the API's documentation has them; its keys are real."""

    keys: dict[str, Ed25519PrivateKey]
    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        """``read_key``: raw public keys in base64, by version."""
        versions = {
            number: {"public_key": base64.b64encode(bytes.fromhex(public_hex(key))).decode(), "name": "ed25519"}
            for number, key in self.keys.items()
        }
        self._answer({"data": {"type": "ed25519", "keys": versions}} if self.path == "/v1/transit/keys/bruno" else None)

    def do_POST(self) -> None:
        """``sign_data``: ``vault:v<N>:<base64>``."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        key = self.keys.get(str(body.get("key_version")))
        signature = base64.b64encode(key.sign(base64.b64decode(body["input"]))).decode() if key else ""
        self._answer({"data": {"signature": f"vault:v{body.get('key_version')}:{signature}"}} if key else None)

    do_PUT = do_POST  # noqa: N815 - the name that http.server calls

    def _answer(self, document: Any) -> None:
        status = 403 if self.headers.get("x-vault-token") != "s.token" else 404 if document is None else 200
        content = json.dumps(document if status == 200 else {"errors": ["no"]}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def transit(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Transit]]:
    """A fake of OpenBao's API on loopback; no real OpenBao was asked."""
    kind = type("Here", (Transit,), {"keys": {str(n): Ed25519PrivateKey.generate() for n in (1, 2, 10)}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("VAULT_TOKEN", "s.token")
    try:
        yield kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_key_of_openbao_signs_as_a_key_in_a_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        importlib.import_module("hvac")
    except ImportError:
        missing("hvac (make setup)")
    with transit(monkeypatch) as engine:
        key = officer_key("hv:bruno")
        assert isinstance(key, SignsElsewhere)
        assert key_id_of(key) == key_id_of(engine.keys["10"]), "the newest version, counted as a number"
        assert key_id_of(officer_key("hv:bruno/1")) == key_id_of(engine.keys["1"])
        envelope = Officer("bruno", key).ask("approve", "sandbox", 1, "00" * 32)
        payload, _ = open_envelope(envelope, REQUEST_TYPE, {key_id_of(key): public_hex(key)}, "ENVELOPE_INVALID")
        assert json.loads(payload)["action"] == "approve"
        assert signer_of(key).sign(b"role").keyid == key_id_of(key)
        assert {one["key_version"] for one in engine.asked} == {10}
        monkeypatch.setenv("VAULT_TOKEN", "s.other")
        for uri in ("hv:bruno", "hv:chanda"):
            with pytest.raises(CannotEvaluate) as refused:
                officer_key(uri)
            assert "s.other" not in str(refused.value)
