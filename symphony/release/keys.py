"""An officer's key by URI: a file, a PKCS#11 token, OpenBao or Vault. What it signs is verified here before it is used.

    file:/path/key.pem  or a path alone                 a PKCS#8 PEM file
    pkcs11:token=T;object=NAME?module-path=/lib.so      an Ed25519 key on a token (RFC 7512); extra ``symphony[pkcs11]``
    hv:NAME  or  hv:NAME/VERSION                        an ed25519 key of the transit engine; extra ``symphony[openbao]``

Officers' keys are Ed25519 (rule 5 of ``contracts.release.trust``). ``hsm:`` of securesystemslib signs with P-256 and P-384 only, so
it is refused by name. All kinds come as ``Ed25519PrivateKey``, so that nobody who signs knows where the key is.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import Signer, SSlibKey

from contracts.errors import CannotEvaluate, Misused
from contracts.keys import load_private_key

PIN_VARIABLE = "SYMPHONY_PIN"
SCHEMES = "file:, pkcs11:, hv:"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(.*)", re.DOTALL)
Ask = Callable[[str], str]
"""Asks the person for a secret by its name (``PIN of token officers``)."""


def officer_key(uri: str, ask: Ask | None = None) -> Ed25519PrivateKey:
    """The key. Raises ``Misused CONFIGURATION`` for a URI that names none here, ``CannotEvaluate`` where it cannot be reached."""
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return load_private_key(Path(uri))
    scheme, rest = match[1], match[2]
    if scheme in {"file", "file2"}:
        return load_private_key(Path(rest.removeprefix("//")))
    if scheme == "pkcs11":
        from symphony.release.pkcs11 import Pkcs11Signer

        return signing_elsewhere(Pkcs11Signer.from_uri(uri, ask or ask_pin), uri)
    if scheme == "hv":
        return _of_vault(rest)
    if scheme == "hsm":
        raise Misused(
            "CONFIGURATION", "hsm: keys are P-256 or P-384, officers' keys are Ed25519",
            next_step="name an Ed25519 key of the token: pkcs11:token=…;object=…?module-path=…",
        )  # fmt: skip
    raise Misused("CONFIGURATION", f"a key of kind {scheme}: is not built", next_step=f"use one of {SCHEMES}")


def ask_pin(name: str) -> str:
    """``SYMPHONY_PIN``, else the person at the terminal."""
    held = os.environ.get(PIN_VARIABLE)
    if held:
        return held
    if not sys.stdin.isatty():
        raise Misused("CONFIGURATION", f"no {name}", next_step=f"set {PIN_VARIABLE}, or pin-source=file:… in the URI")
    return str(click.prompt(name, hide_input=True, err=True))


class SignsElsewhere(Ed25519PrivateKey):
    """A key whose private half never comes here: a signer of securesystemslib behind the interface of a key.

    Each signature is verified under the public half before it is given on (``CannotEvaluate CONFIGURATION`` where it does not
    hold), so that a token with another key says so on this machine.
    """

    def __init__(self, signer: Signer, public: Ed25519PublicKey, uri: str) -> None:
        self._signer, self._public, self._uri = signer, public, uri

    def sign(self, data: Any) -> bytes:
        """The signature (64 bytes)."""
        try:
            signature = bytes.fromhex(self._signer.sign(bytes(data)).signature)
        except (CannotEvaluate, KeyboardInterrupt):
            raise
        except Exception as error:
            raise unreachable(self._uri, error) from error
        try:
            self._public.verify(signature, bytes(data))
        except InvalidSignature as error:
            raise CannotEvaluate(
                "CONFIGURATION", f"{_short(self._uri)} signed with another key than its public half",
                next_step="look at what stands under this name in the token",
            ) from error  # fmt: skip
        return signature

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""
        return self._public

    def private_bytes(self, *_form: Any, **_more: Any) -> bytes:
        """Never."""
        self._never()

    def private_bytes_raw(self) -> bytes:
        """Never."""
        self._never()

    def __copy__(self) -> SignsElsewhere:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> SignsElsewhere:
        return self

    def _never(self) -> NoReturn:
        raise CannotEvaluate("CONFIGURATION", f"the private half of {_short(self._uri)} does not leave its place")


def signing_elsewhere(signer: Signer, uri: str) -> SignsElsewhere:
    """A signer as a key. Raises ``Misused CONFIGURATION`` for a key that is not Ed25519."""
    public = signer.public_key
    if not isinstance(public, SSlibKey) or (public.keytype, public.scheme) != ("ed25519", "ed25519"):
        raise Misused("CONFIGURATION", f"{_short(uri)} is no Ed25519 key", next_step="officers' keys are Ed25519")
    return SignsElsewhere(signer, Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.keyval["public"])), uri)


def library(name: str, extra: str) -> Any:
    """An optional library. Raises ``CannotEvaluate CONFIGURATION`` that names the extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CannotEvaluate(
            "CONFIGURATION", f"{name} is not installed", next_step=f"pip install 'symphony[{extra}]'"
        ) from error


def unreachable(uri: str, error: Exception) -> CannotEvaluate:
    """What a token or server said, as an error of ours; never a secret of the URI."""
    return CannotEvaluate(
        "CONFIGURATION", f"{_short(uri)}: {type(error).__name__} {str(error)[:200]}".rstrip(),
        next_step="look whether the token or server is there, the name right and the PIN or token good",
    )  # fmt: skip


def _short(uri: str) -> str:
    return uri.partition("?")[0][:200]


def _of_vault(rest: str) -> SignsElsewhere:
    """``VaultSigner`` of securesystemslib; address and token are hvac's own (VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT)."""
    import base64

    hvac = library("hvac", "openbao")
    from securesystemslib.signer import VaultSigner

    name, _, version = rest.partition("/")
    uri = f"hv:{rest}"
    if not name or (version and not version.isdecimal()):
        raise Misused("CONFIGURATION", f"{uri} names no key", next_step="hv:NAME or hv:NAME/VERSION")
    try:
        keys = hvac.Client().secrets.transit.read_key(name)["data"]["keys"]
        chosen = version or max(keys, key=int)
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(keys[chosen]["public_key"]))
        return signing_elsewhere(VaultSigner(name, SSlibKey.from_crypto(public), int(chosen)), uri)
    except Exception as error:
        raise unreachable(uri, error) from error
