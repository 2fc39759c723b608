"""The custodians' word as it is published, verified from a pinned root: from a control plane or from a folder, offline.

A folder is a mirror (``metadata/`` with TUF's file names) or flat: ``<N>.root.json``, ``<N>.targets.json`` or ``targets.json``,
``<N>.<env>-revocations.json``. Root, targets, snapshot and timestamp are verified; expiry is not asked for: it is what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.release.limits import ROLE_BYTES_MAX, ROOT_ROTATIONS_MAX
from contracts.release.trust import ENVIRONMENTS, parse, root_of, trust_of
from symphony.release.client import ControlPlane

Get = Callable[[str], bytes | None]
"""A metadata file by its name without ``.json``; ``None`` when there is none."""


@dataclass(frozen=True, slots=True)
class Published:
    """What is published. ``roots`` from the pinned one to the newest; ``roles`` are the delegated roles' files by name."""

    roots: tuple[bytes, ...]
    root: Root
    targets_bytes: bytes
    targets: Targets
    roles: Mapping[str, bytes]
    snapshot: Snapshot | None
    timestamp: Timestamp | None

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments that the custodians delegate."""
        delegated = self.targets.delegations.roles if self.targets.delegations else None
        return tuple(name for name in ENVIRONMENTS if name in (delegated or {}))


def of_control_plane(control: ControlPlane, pinned: bytes) -> Published:
    """What a control plane serves. Raises ``NotTrusted RELEASE_*`` for what does not verify from the pinned root."""

    def get(name: str) -> bytes | None:
        try:
            return control.get_bytes(f"/tuf/metadata/{name}.json")
        except SymphonyError as error:
            if error.code == "NOT_FOUND":
                return None
            raise

    return read(get, pinned)


def of_folder(folder: Path, pinned: bytes | None = None) -> Published:
    """What a folder holds; its oldest root is the pinned one where none is named."""
    place = folder / "metadata" if (folder / "metadata").is_dir() else folder

    def get(name: str) -> bytes | None:
        path = place / f"{name}.json"
        return path.read_bytes() if path.is_file() and path.stat().st_size <= ROLE_BYTES_MAX else None

    if pinned is None:
        pinned = get(f"{min(versions(place, 'root'), default=0)}.root")
    if pinned is None:
        raise CannotEvaluate("CONFIGURATION", f"{folder} holds no root", next_step="name a folder of metadata: --from")
    return read(get, pinned) if get("timestamp") is not None else _flat(get, place, pinned)


def versions(folder: Path, role: str) -> list[int]:
    """The versions of a role that lie in a folder."""
    heads = [path.name.split(".")[0] for path in folder.glob(f"*.{role}.json")]
    return sorted(int(head) for head in heads if head.isascii() and head.isdigit())


def read(get: Get, pinned: bytes) -> Published:
    """The newest of everything, as snapshot and timestamp name it."""
    roots, root = _roots(get, pinned)
    timestamp = parse(_there(get("timestamp"), "timestamp"), Timestamp)
    _by(root, "timestamp", timestamp)
    snapshot_bytes = _there(get(f"{timestamp.signed.snapshot_meta.version}.snapshot"), "snapshot")
    snapshot = parse(snapshot_bytes, Snapshot)
    _by(root, "snapshot", snapshot)
    _same(timestamp.signed.snapshot_meta.hashes, snapshot_bytes, "snapshot")
    found = {}
    for name, meta in snapshot.signed.meta.items():
        role = name.removesuffix(".json")
        found[role] = _there(get(f"{meta.version}.{role}"), role)
        _same(meta.hashes, found[role], role)
    targets = _there(found.pop("targets", None), "targets")
    return _published(roots, root, targets, found, (snapshot.signed, timestamp.signed))


def _flat(get: Get, place: Path, pinned: bytes) -> Published:
    roots, root = _roots(get, pinned)

    def newest(role: str) -> bytes | None:
        return get(f"{max(versions(place, role), default=0)}.{role}") or get(role)

    names = [f"{environment}{kind}" for environment in ENVIRONMENTS for kind in ("", "-revocations")]
    found = {name: data for name in names if (data := newest(name)) is not None}
    return _published(roots, root, _there(newest("targets"), "targets"), found, (None, None))


def _published(
    roots: list[bytes], root: Root, targets: bytes, roles: dict[str, bytes],
    online: tuple[Snapshot | None, Timestamp | None],
) -> Published:  # fmt: skip
    made = Published(tuple(roots), root, targets, parse(targets, Targets).signed, roles, *online)
    for environment in made.environments:
        trust_of(root, targets, environment)
    return made


def _roots(get: Get, pinned: bytes) -> tuple[list[bytes], Root]:
    roots = [pinned]
    version = parse(pinned, Root).signed.version
    while len(roots) <= ROOT_ROTATIONS_MAX and (data := get(f"{version + len(roots)}.root")) is not None:
        roots.append(data)
    return roots, root_of(pinned, roots[1:])


def _by(root: Root, role: str, metadata: Metadata[Snapshot] | Metadata[Timestamp]) -> None:
    try:
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise NotTrusted("RELEASE_SIGNATURE", f"{role}: {error}") from error


def _same(hashes: Mapping[str, str] | None, data: bytes, role: str) -> None:
    if hashes is None or hashes.get("sha256") != sha256_hex(data):
        raise NotTrusted("RELEASE_DIGEST", f"{role} is not the file that was named")


def _there(data: bytes | None, role: str) -> bytes:
    if data is None:
        raise CannotEvaluate("RELEASE_UNREACHABLE", f"no {role} is published")
    return data
