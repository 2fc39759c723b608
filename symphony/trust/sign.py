"""Signing drafts, each custodian on his own machine: what is there to sign, by whom, what is still missing.

A folder of drafts holds ``published-root.json`` (but at the first ceremony) and the files to sign, under TUF's names.
A root needs the threshold of the root before it and its own; targets the new root's custodians; a list a security officer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, Root, Targets

from contracts.errors import Misused, NotTrusted, Refused
from contracts.keys import key_id_of, signer_of
from contracts.release.limits import ROLE_BYTES_MAX
from contracts.release.trust import parse, root_of, trust_of
from symphony.trust.change import PUBLISHED_ROOT, names_of
from symphony.trust.published import versions

FILES_MAX = 16


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of drafts: ``before`` is the published root (none at the first ceremony)."""

    path: Path
    before: bytes | None
    root: bytes | None
    targets: bytes
    lists: Mapping[str, bytes]

    @classmethod
    def read(cls, path: Path) -> Folder:
        """The newest of each file. Raises ``Misused CONFIGURATION``."""
        before = _read(path / PUBLISHED_ROOT) if (path / PUBLISHED_ROOT).exists() else None
        roots = versions(path, "root")
        if not versions(path, "targets") or not (roots or before):
            raise Misused("CONFIGURATION", f"{path} holds no drafts", next_step="symphony trust draft, rotate or enrol-officer")
        root = _read(path / f"{roots[-1]}.root.json") if roots else None
        names = sorted({file.name.split(".")[1] for file in path.glob("*.*-revocations.json")})[:FILES_MAX]
        newest = {name: _read(path / f"{max(versions(path, name))}.{name}.json") for name in names}
        return cls(path, before, root, _read(path / f"{max(versions(path, 'targets'))}.targets.json"), newest)

    @property
    def files(self) -> dict[str, bytes]:
        """What is to be signed, by file name."""
        named = {"root": self.root, "targets": self.targets, **self.lists}
        return {f"{Metadata.from_bytes(data).signed.version}.{name}.json": data for name, data in named.items() if data is not None}

    @property
    def newest_root(self) -> Root:
        """The root that targets stand under."""
        return parse(self.root or self.before or b"", Root).signed

    def signers(self, role: str) -> dict[str, str]:
        """Key ids that may sign a role, with names."""
        targets = parse(self.targets, Targets).signed
        named = names_of(self.newest_root) | names_of(targets)
        if role == "root":
            before = parse(self.before, Root).signed if self.before else None
            named = (names_of(before) if before else {}) | named
            key_ids = [*(before.roles["root"].keyids if before else ()), *self.newest_root.roles["root"].keyids]
        elif role == "targets":
            key_ids = self.newest_root.roles["targets"].keyids
        else:
            key_ids = targets.get_delegated_role(role).keyids
        return {key_id: named.get(key_id, "?") for key_id in key_ids}

    def missing(self) -> list[str]:
        """What is not signed enough yet, a sentence each."""
        out = []
        if self.root is not None:
            delegators = [parse(data, Root).signed for data in (self.before, self.root) if data is not None]
            out += [self._lacks(one, "root", self.root) for one in delegators]
        out.append(self._lacks(self.newest_root, "targets", self.targets))
        out += [self._lacks(parse(self.targets, Targets).signed, name, data) for name, data in self.lists.items()]
        return list(dict.fromkeys(line for line in out if line))

    def check(self) -> None:
        """Everything holds as it would at publication. Raises ``NotTrusted RELEASE_*``."""
        root = root_of(self.before or self.root or b"", [self.root] if self.before and self.root else [])
        for name in parse(self.targets, Targets).signed.delegations.roles or ():  # type: ignore[union-attr] # parse checked
            if "-" not in name:
                trust_of(root, self.targets, name)

    def _lacks(self, delegator: Root | Targets, role: str, data: bytes) -> str:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
        found = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        if found.verified:
            return ""
        named = self.signers(role)
        still = ", ".join(named.get(key_id, "?") for key_id in sorted(found.unsigned))
        return f"{role} {metadata.signed.version}: {len(found.signed)} of {found.threshold} signatures; still to sign: {still}"


def sign_folder(folder: Folder, key: Ed25519PrivateKey) -> list[str]:
    """Add a key's signature to every draft that it may sign; the names of the files. Raises ``Refused OFFICER_UNKNOWN``."""
    signed = sign_where_named(folder, key)
    if not signed:
        known = sorted({name for file in folder.files for name in folder.signers(file.split(".")[1]).values()})
        raise Refused("OFFICER_UNKNOWN", f"that key signs none of these drafts; who does: {', '.join(known)}")
    return signed


def sign_where_named(folder: Folder, key: Ed25519PrivateKey) -> list[str]:
    """The same, where a key that signs nothing is no error."""
    key_id = key_id_of(key)
    named = [name for name in folder.files if key_id in folder.signers(name.split(".")[1])]
    for name in named:
        (folder.path / name).write_bytes(signed_by(folder.files[name], key))
    return named


def signed_by(data: bytes, *keys: Ed25519PrivateKey) -> bytes:
    """A role file with these keys' signatures added."""
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    for key in keys:
        metadata.sign(signer_of(key), append=True)
    return metadata.to_bytes()


def merged(files: Iterable[bytes]) -> bytes:
    """One file with the signatures of all copies. Raises ``NotTrusted RELEASE_FORKED`` when the signed parts differ."""
    read: list[Metadata[Any]] = [Metadata.from_bytes(data) for data in files]
    first, *others = read
    for other in others:
        if other.signed_bytes != first.signed_bytes:
            raise NotTrusted("RELEASE_FORKED", "the copies are of different drafts")
        first.signatures |= other.signatures
    return first.to_bytes()


def merge_folders(into: Path, others: Iterable[Path]) -> None:
    """Take the signatures of other copies of a folder of drafts into one."""
    for name in Folder.read(into).files:
        copies = [_read(path / name) for path in (into, *others)]
        (into / name).write_bytes(merged(copies))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Misused("CONFIGURATION", f"{path}: {error.strerror}") from error
    if len(data) > ROLE_BYTES_MAX:
        raise Misused("CONFIGURATION", f"{path} is over {ROLE_BYTES_MAX} bytes")
    return data

