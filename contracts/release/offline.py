"""The release that a follower holds in its folder, for a process beside it that fetches nothing."""

from __future__ import annotations

from pathlib import Path

from contracts.release.follower import ReleaseFollower, SelfTest
from contracts.release.model import VerifiedRelease
from contracts.release.record import AcceptedRecord
from contracts.release.source import NotThere
from contracts.times import Clock


def load_held(
    *,
    environment: str,
    service: str,
    folder: Path,
    root_bytes: bytes,
    record: AcceptedRecord,
    clock: Clock,
    self_test: SelfTest | None = None,
) -> VerifiedRelease | None:
    """The release held in a folder, verified offline (``ReleaseFollower.start`` without a source)."""
    return ReleaseFollower(
        environment=environment,
        service=service,
        folder=folder,
        root_bytes=root_bytes,
        source=_Nowhere(),
        record=record,
        clock=clock,
        self_test=self_test,
    ).start()


class _Nowhere:
    """A source that has nothing."""

    def fetch(self, path: str, length_max: int) -> bytes:
        """Never gives a byte."""
        del length_max
        raise NotThere(path)
