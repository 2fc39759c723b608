"""The stock ``tuf.ngclient.Updater`` over a release source: refresh, delegated roles, targets by digest.

Every exception of TUF becomes one of ours:

    UnsignedMetadataError → RELEASE_SIGNATURE        ExpiredMetadataError → RELEASE_EXPIRED
    BadVersionNumberError → RELEASE_ROLLBACK         LengthOrHashMismatchError, too long → RELEASE_DIGEST
    DownloadError → RELEASE_UNREACHABLE              any other RepositoryError → RELEASE_SHAPE

One ``Updater`` a refresh, one refresh at a time (python-tuf's own rule); blocking.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuf.api import exceptions
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.release import limits
from contracts.release.model import Target
from contracts.release.source import NotThere, ReleaseSource

_METADATA, _TARGETS = "symphony:metadata/", "symphony:targets/"


class Repository:
    """The TUF client of one service. ``folder`` is its own: metadata cache and targets by digest."""

    def __init__(self, *, root: bytes, source: ReleaseSource, folder: Path, metadata_timeout_s: float) -> None:
        self._root, self._source, self._folder = root, source, folder
        self._metadata_timeout_s = metadata_timeout_s
        self._asked = source
        self._updater: Updater | None = None
        self._fetcher: _SourceFetcher | None = None

    def refresh(self, source: ReleaseSource | None = None) -> None:
        """Root, timestamp, snapshot, targets by TUF; ``source`` stands in for the own one until the next refresh.

        Raises ``NotTrusted`` or ``CannotEvaluate`` ``RELEASE_*``.
        """
        config = UpdaterConfig(
            max_root_rotations=limits.ROOT_ROTATIONS_MAX,
            max_delegations=8,
            root_max_length=limits.ROOT_BYTES_MAX,
            timestamp_max_length=limits.TIMESTAMP_BYTES_MAX,
            snapshot_max_length=limits.SNAPSHOT_BYTES_MAX,
            targets_max_length=limits.ROLE_BYTES_MAX,
        )
        self._asked = source or self._source
        with _our_errors():
            self._metadata.mkdir(parents=True, exist_ok=True)
            fetcher = _SourceFetcher(source or self._source, self._metadata_timeout_s)
            updater = Updater(
                str(self._metadata),
                _METADATA,
                target_base_url=_TARGETS,
                fetcher=fetcher,
                config=config,
                bootstrap=self._root,
            )
            updater.refresh()
        self._updater, self._fetcher = updater, fetcher

    def role(self, name: str) -> bytes:
        """The verified bytes of a delegated role, as the snapshot names it."""
        assert self._updater is not None, "refresh first"
        inside = "list" if name.endswith("-revocations") else "0/none"
        with _our_errors():
            self._updater.get_targetinfo(f"{name}/{inside}")
        return self.file(name)

    def file(self, role: str) -> bytes:
        """The bytes that TUF verified and kept for a role."""
        try:
            return (self._metadata / f"{role}.json").read_bytes()
        except OSError as error:
            raise NotTrusted("RELEASE_SHAPE", f"the repository has no {role}") from error

    def roots(self) -> list[bytes]:
        """The roots after the pinned one, oldest first."""
        files = sorted((self._metadata / "root_history").glob("*.root.json"), key=lambda f: int(f.name.split(".")[0]))
        contents = [file.read_bytes() for file in files]
        return contents[contents.index(self._root) + 1 :] if self._root in contents else []

    def beside(self, path: str, length_max: int) -> bytes:
        """A file beside the metadata, from where the last refresh was; nothing vouches for it. Raises ``NotThere``."""
        return self._asked.fetch(path, length_max)

    def download(self, prefix: str, targets: Mapping[str, Target], folder: Path) -> None:
        """Every target into ``folder/<sha256>``; what is there already and right is not fetched again."""
        assert self._updater is not None, "refresh first"
        with _our_errors():
            folder.mkdir(parents=True, exist_ok=True)
        for path, target in targets.items():
            with _our_errors():
                info = self._updater.get_targetinfo(prefix + path)
                if info is None:
                    raise NotTrusted("RELEASE_SHAPE", f"{path} is not a target that the client finds")
                file = str(folder / target.sha256)
                if self._updater.find_cached_target(info, file) is None:
                    self._updater.download_target(info, file)

    def attachment(self, prefix: str, name: str, sha256: str, bytes_max: int) -> bytes:
        """Bytes that a proposal names by digest and that are no target, from where that release's targets lie."""
        assert self._fetcher is not None, "refresh first"
        with _our_errors():
            data = self._fetcher.download_bytes(f"{_TARGETS}{prefix}{sha256}.{name}", bytes_max)
        if sha256_hex(data) != sha256:
            raise NotTrusted("RELEASE_DIGEST", f"{name} is not what was signed")
        return data

    @property
    def _metadata(self) -> Path:
        return self._folder / "metadata"


class _SourceFetcher(FetcherInterface):
    """TUF's fetcher over a source: one deadline for all metadata of a refresh, one for all that it fetches."""

    def __init__(self, source: ReleaseSource, metadata_timeout_s: float) -> None:
        self._source = source
        self._started = time.monotonic()
        self._metadata_timeout_s = metadata_timeout_s

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """As ``FetcherInterface.download_file``; the bound goes down to the source."""
        timeout_s = self._metadata_timeout_s if url.startswith(_METADATA) else limits.REFRESH_TIMEOUT_S
        if time.monotonic() >= self._started + timeout_s:
            raise exceptions.DownloadError("the refresh took too long")
        try:
            data = self._source.fetch(url.removeprefix("symphony:"), max_length)
        except NotThere as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        except NotTrusted as error:
            raise exceptions.DownloadLengthMismatchError(str(error)) from error
        except SymphonyError as error:
            raise exceptions.DownloadError(str(error)) from error
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            yield file

    def _fetch(self, url: str) -> Iterator[bytes]:
        with self.download_file(url, limits.TARGET_BYTES_MAX) as file:
            yield file.read()


_CODES: tuple[tuple[type[Exception], Callable[[str, str], SymphonyError], str], ...] = (
    (exceptions.UnsignedMetadataError, NotTrusted, "RELEASE_SIGNATURE"),
    (exceptions.ExpiredMetadataError, NotTrusted, "RELEASE_EXPIRED"),
    (exceptions.BadVersionNumberError, NotTrusted, "RELEASE_ROLLBACK"),
    (exceptions.LengthOrHashMismatchError, NotTrusted, "RELEASE_DIGEST"),
    (exceptions.DownloadLengthMismatchError, NotTrusted, "RELEASE_DIGEST"),
    (exceptions.DownloadError, CannotEvaluate, "RELEASE_UNREACHABLE"),
    (exceptions.RepositoryError, NotTrusted, "RELEASE_SHAPE"),
    (OSError, CannotEvaluate, "CONFIGURATION"),
    (ValueError, NotTrusted, "RELEASE_SHAPE"),
)


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except SymphonyError:
        raise
    except tuple(kind for kind, _, _ in _CODES) as error:
        _, make, code = next(row for row in _CODES if isinstance(error, row[0]))
        raise make(code, str(error)) from error
