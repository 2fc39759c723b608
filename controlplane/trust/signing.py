"""The online half of TUF as pure functions: the next snapshot and timestamp over what is published.

Snapshot and timestamp can withhold; they can never invent a release: its signatures are the officers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from contracts.canonical import sha256_hex
from contracts.keys import signer_of


@dataclass(frozen=True, slots=True)
class RoleFile:
    """One version of one role: exactly the bytes that are served."""

    role: str
    version: int
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the file's bytes."""
        return sha256_hex(self.content)


def next_snapshot(
    newest: Mapping[str, RoleFile], changed: Sequence[RoleFile], key: Ed25519PrivateKey, expires: datetime
) -> RoleFile:
    """The snapshot after the newest one, with the changed roles in it."""
    before = newest.get("snapshot")
    version = before.version + 1 if before else 1
    files = {**newest, **{file.role: file for file in changed}}
    meta = {
        f"{role}.json": MetaFile(file.version, len(file.content), {"sha256": file.sha256})
        for role, file in files.items()
        if role not in {"root", "snapshot", "timestamp"}
    }
    metadata = Metadata(Snapshot(version=version, expires=whole_seconds(expires), meta=meta))
    metadata.sign(signer_of(key))
    return RoleFile("snapshot", version, metadata.to_bytes())


def next_timestamp(before: RoleFile | None, snapshot: RoleFile, key: Ed25519PrivateKey, expires: datetime) -> RoleFile:
    """The timestamp after ``before`` that vouches for a snapshot."""
    version = before.version + 1 if before else 1
    meta = MetaFile(snapshot.version, len(snapshot.content), {"sha256": snapshot.sha256})
    metadata = Metadata(Timestamp(version=version, expires=whole_seconds(expires), snapshot_meta=meta))
    metadata.sign(signer_of(key))
    return RoleFile("timestamp", version, metadata.to_bytes())


def is_due(file: RoleFile, now: datetime, left_min: timedelta) -> bool:
    """Whether a role file has less than ``left_min`` to run."""
    metadata: Metadata[Any] = Metadata.from_bytes(file.content)
    return bool(metadata.signed.expires - now < left_min)


def whole_seconds(moment: datetime) -> datetime:
    """TUF writes no fractions."""
    return moment.replace(microsecond=0)
