"""Ed25519 on a PKCS#11 token (CKM_EDDSA), found by an RFC 7512 URI; ``python-pkcs11`` is the extra ``symphony[pkcs11]``.

    pkcs11:token=officers;object=alice?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin

``token`` and ``object`` (or ``id``) name the key; the module is ``module-path`` or PYKCS11LIB, as for securesystemslib.
The public half must lie beside the private one under the same name. A PIN in the URI (``pin-value``) is refused: a process list
shows it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from contracts.errors import CannotEvaluate, Misused, SymphonyError
from symphony.release.keys import library, unreachable

PUBLIC_BYTES = 32
EXAMPLE = "pkcs11:token=officers;object=alice?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True, slots=True)
class Address:
    """What a URI says. ``key_id`` is empty where the key is named by its label."""

    token: str
    label: str
    key_id: bytes
    module: str
    pin_file: str

    @classmethod
    def of(cls, uri: str) -> Address:
        """Read a URI. Raises ``Misused CONFIGURATION``."""
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        parts = dict(one.partition("=")[::2] for one in path.split(";") if one)
        more = dict(one.partition("=")[::2] for one in query.split("&") if one)
        odd = sorted({*parts} - {"token", "object", "id", "type"}) + sorted({*more} - {"module-path", "pin-source"})
        if odd:
            raise Misused("CONFIGURATION", f"{odd[0]} in a pkcs11: URI is not taken", next_step=f"such as {EXAMPLE}")
        if not parts.get("token") or not (parts.get("object") or parts.get("id")):
            raise Misused("CONFIGURATION", "a pkcs11: URI names token and object, or token and id", next_step=EXAMPLE)
        module = unquote(more.get("module-path", "")) or os.environ.get("PYKCS11LIB", "")
        if not module:
            raise Misused(
                "CONFIGURATION", "no PKCS#11 module", next_step="add ?module-path=/path/lib.so, or set PYKCS11LIB"
            )
        return cls(
            unquote(parts["token"]), unquote(parts.get("object", "")), unquote_to_bytes(parts.get("id", "")), module,
            unquote(more.get("pin-source", "")).removeprefix("file:"),
        )  # fmt: skip


@dataclass(eq=False, repr=False, slots=True)
class Pkcs11Signer(Signer):
    """A signer over one key of a token; the PIN is asked for at the first signature and kept in this process only."""

    address: Address
    key: SSlibKey
    secrets: SecretsHandler
    _pin: str = field(default="", init=False)

    @classmethod
    def from_uri(cls, uri: str, ask: SecretsHandler) -> Pkcs11Signer:
        """With the public half that the token shows. Raises ``Misused`` or ``CannotEvaluate`` ``CONFIGURATION``."""
        address = Address.of(uri)
        lib = library("pkcs11", "pkcs11")
        try:
            with _token(lib, address).open() as session:
                found = _object(lib, session, address, lib.ObjectClass.PUBLIC_KEY)
                point = bytes(found[lib.Attribute.EC_POINT])[-PUBLIC_BYTES:]  # an OCTET STRING, or the bare point
            return cls(address, SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(point)), ask)
        except SymphonyError:
            raise
        except Exception as error:
            raise unreachable(uri, error) from error

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> Pkcs11Signer:
        """securesystemslib's way in: the key that the URI names must be the one that is expected."""
        if secrets_handler is None:
            raise ValueError("a token asks for a PIN")
        signer = cls.from_uri(priv_key_uri, secrets_handler)
        if signer.public_key != public_key:
            raise ValueError("the token holds another key than the one expected")
        return signer

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self.key

    def sign(self, payload: bytes) -> Signature:
        """Sign on the token; nothing is hashed before (pure Ed25519)."""
        lib = library("pkcs11", "pkcs11")
        self._pin = self._pin or self._secret()
        with _token(lib, self.address).open(user_pin=self._pin) as session:
            key = _object(lib, session, self.address, lib.ObjectClass.PRIVATE_KEY)
            return Signature(self.key.keyid, bytes(key.sign(payload, mechanism=lib.Mechanism.EDDSA)).hex())

    def _secret(self) -> str:
        if not self.address.pin_file:
            return self.secrets(f"PIN of token {self.address.token}")
        try:
            return Path(self.address.pin_file).read_text("utf-8").strip()
        except OSError as error:
            raise CannotEvaluate("CONFIGURATION", f"no PIN in {self.address.pin_file}: {error.strerror}") from error


def _token(lib: Any, address: Address) -> Any:
    return lib.lib(address.module).get_token(token_label=address.token)


def _object(lib: Any, session: Any, address: Address, kind: Any) -> Any:
    named = {lib.Attribute.LABEL: address.label} if address.label else {}
    named |= {lib.Attribute.ID: address.key_id} if address.key_id else {}
    wanted = {lib.Attribute.CLASS: kind, lib.Attribute.KEY_TYPE: lib.KeyType.EC_EDWARDS, **named}
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        what = "public" if kind == lib.ObjectClass.PUBLIC_KEY else "private"
        raise CannotEvaluate(
            "CONFIGURATION", f"token {address.token} has {len(found)} {what} Ed25519 keys of this name, not one",
            next_step="name it by object= and id=; officers' keys are Ed25519",
        )  # fmt: skip
    return found[0]
