"""Checkpoints of the evidence log: C2SP tlog-checkpoint in a C2SP signed note, signed with Ed25519.

Rules:

* the text is origin, tree size in decimal, root in base64, then extension lines; each line ends with a newline;
* a signature line is ``— <key name> <base64(key id || signature)>`` with the key id
  ``SHA-256(name || 0x0A || 0x01 || public key)[:4]``; the key name is the origin; lines of unknown keys are passed
  over (witnesses, other algorithms), a failing line of a known key refuses the note;
* one extension line, ``streams <sha256>``, binds the canonical JSON ``{stream: {"logged": n, "signed": m}}``: what
  is in the log of each stream, and the highest number that its sidecar signed for. A missing tail shows there.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.errors import NotTrusted
from contracts.keys import public_hex

NOTE_BYTES_MAX = 16 * 1024
SIGNATURES_MAX = 64
_ED25519 = b"\x01"
_DASH = "\u2014"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head and what it binds."""

    origin: str
    size: int
    root: bytes
    streams_sha256: str


def key_id(name: str, public_key: str) -> bytes:
    """The four bytes that name an Ed25519 key in a signature line; ``public_key`` in hex."""
    return sha256(name.encode() + b"\n" + _ED25519 + bytes.fromhex(public_key)).digest()[:4]


def make(key: Ed25519PrivateKey, checkpoint: Checkpoint) -> str:
    """The signed note of a checkpoint."""
    text = (
        f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
        f"streams {checkpoint.streams_sha256}\n"
    )
    signature = base64.b64encode(key_id(checkpoint.origin, public_hex(key)) + key.sign(text.encode())).decode()
    return f"{text}\n{_DASH} {checkpoint.origin} {signature}\n"


def verify(note: str, *, origin: str, public_key: str) -> Checkpoint:
    """The checkpoint of a note that the log's key signed; else ``NotTrusted PACKET_INVALID``."""
    text, signatures = _split(note)
    raw = bytes.fromhex(public_key)
    mine = [signature for name, identifier, signature in signatures
            if name == origin and identifier == key_id(origin, public_key)]  # fmt: skip
    if not mine:
        raise NotTrusted("PACKET_INVALID", "no signature of the log's key on the checkpoint")
    try:
        for signature in mine:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, text.encode())
    except InvalidSignature as error:
        raise NotTrusted("PACKET_INVALID", "the checkpoint's signature does not verify") from error
    found = _parse(text)
    if found.origin != origin:
        raise NotTrusted("PACKET_INVALID", "the checkpoint is of another log")
    return found


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(note) > NOTE_BYTES_MAX or any(character < " " and character != "\n" for character in note):
        raise NotTrusted("PACKET_INVALID", "not a signed note: too long, or control characters")
    text, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines[-1] or len(lines) - 1 > SIGNATURES_MAX:
        raise NotTrusted("PACKET_INVALID", "not a signed note")
    return text + "\n", [_signature(line) for line in lines[:-1]]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    try:
        dash, name, encoded = parts
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotTrusted("PACKET_INVALID", "not a signature line") from error
    if dash != _DASH or not name or len(raw) < 5:
        raise NotTrusted("PACKET_INVALID", "not a signature line")
    return name, raw[:4], raw[4:]


def _parse(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    try:
        origin, size, root, *extensions = lines
        decoded = base64.b64decode(root, validate=True)
        streams = [line[8:] for line in extensions if line.startswith("streams ")]
        found = Checkpoint(origin, int(size), decoded, streams[0])
    except (ValueError, IndexError, binascii.Error) as error:
        raise NotTrusted("PACKET_INVALID", "not a checkpoint") from error
    if str(found.size) != size or found.size < 0 or len(decoded) != 32 or len(streams) != 1 or not all(lines):
        raise NotTrusted("PACKET_INVALID", "not a checkpoint")
    return found
