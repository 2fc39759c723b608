"""python-tuf's own client on our repository: it finds the active release by itself, from nothing but a pinned root."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot
from tuf.ngclient import Updater

from contracts.canonical import sha256_hex
from contracts.keys import key_id_of, signer_of
from symphony.release.revoke import publish_trust
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, World
from tests.releases.test_end_to_end import PlainFetcher


class Watched(PlainFetcher):
    """The plain fetcher, and a list of what was asked for."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked.append(url.partition("/tuf/")[2])
        return super()._fetch(url)


class Client:
    """A stock client in a folder of its own, made anew for each refresh."""

    def __init__(self, running: Running, folder: Path, root: bytes) -> None:
        self.running, self.folder, self.root = running, folder, root
        self.fetcher = Watched(running.service_context())
        for name in ("metadata", "targets"):
            (folder / name).mkdir(parents=True)

    def active(self) -> tuple[int, dict[str, bytes]]:
        """The active release's number, and the bytes of its policy in both forms."""
        updater = Updater(
            str(self.folder / "metadata"), f"{self.running.url}/tuf/metadata/", str(self.folder / "targets"),
            f"{self.running.url}/tuf/targets/", self.fetcher, bootstrap=self.root,
        )  # fmt: skip
        updater.refresh()
        snapshot: Metadata[Snapshot] = Metadata.from_file(str(self.folder / "metadata" / "snapshot.json"))
        number = snapshot.signed.meta[f"{ENVIRONMENT}.json"].version
        out = {}
        for path in ("policy.wasm", "policy.tar.gz", "environment.json"):
            info = updater.get_targetinfo(f"{ENVIRONMENT}/{number}/{path}")
            assert info is not None, path
            out[path] = Path(updater.download_target(info)).read_bytes()
        return number, out

    @property
    def root_version(self) -> int:
        """Of the root that the client trusts by now."""
        root: Metadata[Root] = Metadata.from_file(str(self.folder / "metadata" / "root.json"))
        return root.signed.version


def published(made: Any) -> dict[str, bytes]:
    """What the client is to find of a release."""
    return {path: made.files[path] for path in ("policy.wasm", "policy.tar.gz", "environment.json")}


def test_it_finds_and_verifies_the_active_release_under_consistent_names(running: Running, tmp_path: Path) -> None:
    client = Client(running, tmp_path / "client", running.world.root)
    first = running.release()
    assert client.active() == (1, published(first))
    wasm = sha256_hex(first.files["policy.wasm"])
    assert {"metadata/timestamp.json", "metadata/1.targets.json", f"metadata/1.{ENVIRONMENT}.json"} <= set(
        client.fetcher.asked
    )
    assert f"targets/{ENVIRONMENT}/1/{wasm}.policy.wasm" in client.fetcher.asked
    second = running.release(cap_minor=500)
    assert client.active() == (2, published(second))


def test_it_believes_no_other_custodians(running: Running, tmp_path: Path) -> None:
    running.release()
    stranger = World(tmp_path / "stranger")
    with pytest.raises(RepositoryError):
        Client(running, tmp_path / "client", stranger.root).active()


def rotated(world: World) -> tuple[bytes, bytes]:
    """Root 2, in which a new key stands for custodian-2's, and targets 2 that need the new key."""
    new, old = Ed25519PrivateKey.generate(), world.ceremony.custodian("custodian-2")
    first, third = (world.ceremony.custodian(name) for name in ("custodian-1", "custodian-3"))
    root: Metadata[Root] = Metadata.from_bytes(world.root)
    root.signed.version = 2
    root.signatures.clear()
    for role in ("root", "targets"):
        root.signed.revoke_key(key_id_of(old), role)
        root.signed.add_key(SSlibKey.from_crypto(new.public_key()), role)
    for key in (first, old, new):
        root.sign(signer_of(key), append=True)
    targets: Metadata[Any] = Metadata.from_bytes(world.trust["targets.json"])
    targets.signed.version = 2
    targets.signatures.clear()
    for key in (new, third):
        targets.sign(signer_of(key), append=True)
    return root.to_bytes(), targets.to_bytes()


def test_it_follows_a_change_of_custodian_from_the_old_root_and_the_cached_one(
    running: Running, tmp_path: Path
) -> None:
    cached = Client(running, tmp_path / "cached", running.world.root)
    running.release()
    cached.active()
    root, targets = rotated(running.world)
    publish_trust(running.control("custodian-1"), [running.world.root, root], targets)
    second = running.release(cap_minor=500)
    fresh = Client(running, tmp_path / "fresh", running.world.root)
    for client in (cached, fresh):
        assert client.active() == (2, published(second))
        assert client.root_version == 2
        assert "metadata/2.targets.json" in client.fetcher.asked
