"""The last-known-good releases on disk: written whole before they count, re-verified from the bytes at every start.

    folder/held/<number>-<digest>/{file.json, targets.json, roots.json}    a release's role and what it stands on
    folder/held/<number>-<digest>/build/<name>         its SBOM and provenance, where the service's manifest demands them
    folder/held/<number>-<digest>/trust.json           newer custodians' metadata that it still stands on, in one file
    folder/held/revocations/{…}                                           the newest revocation list, likewise
    folder/held/emergency/{…}                                   the emergency release opened last, likewise
    folder/targets/<sha256>                                               target bytes, shared by releases
    folder/lease.json                                                     the timestamp last confirmed, and when

The folder proves nothing by itself: which of its releases may be started is the durable record's to say (rule 11).
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import NotTrusted
from contracts.release.limits import TARGET_BYTES_MAX
from contracts.release.model import Target
from contracts.release.record import write_durably
from contracts.times import parse_rfc3339, rfc3339

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
REVOCATIONS, EMERGENCY = "revocations", "emergency"


@dataclass(frozen=True, slots=True)
class Held:
    """One signed file, with the custodians' metadata that it stands on."""

    file: bytes
    targets: bytes
    roots: tuple[bytes, ...]


def place_of(number: int, digest: str) -> str:
    """The folder name of a release."""
    return f"{number}-{digest[:32]}"


class HeldReleases:
    """The folder of one service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.targets_folder = folder / "targets"

    def save(self, place: str, held: Held) -> None:
        """Keep signed files; a release's targets must be in ``targets_folder`` already."""
        final = self._folder / "held" / place
        roots = [base64.b64encode(root).decode() for root in held.roots]
        write_durably(final / "targets.json", held.targets)
        write_durably(final / "roots.json", json.dumps(roots).encode())
        write_durably(final / "file.json", held.file)
        (final / "trust.json").unlink(missing_ok=True)  # of an earlier time

    def save_trust(self, place: str, held: Held) -> None:
        """Newer custodians' metadata for a release that is held: one file, so that a crash leaves the old or the new."""
        value = {name: [base64.b64encode(data).decode() for data in files] for name, files in (
            ("targets", (held.targets,)), ("roots", held.roots),
        )}  # fmt: skip
        write_durably(self._folder / "held" / place / "trust.json", json.dumps(value).encode())

    def save_build(self, place: str, name: str, data: bytes) -> None:
        """Keep an SBOM or a provenance; it goes with its release."""
        write_durably(self._folder / "held" / place / "build" / name, data)

    def load_build(self, place: str, name: str) -> bytes:
        """The bytes, empty where they are not held. Nothing is verified here."""
        try:
            with (self._folder / "held" / place / "build" / name).open("rb") as handle:
                return handle.read(TARGET_BYTES_MAX + 1)
        except OSError:
            return b""

    def load(self, place: str) -> Held | None:
        """Signed files; ``None`` when they are not held. Nothing is verified here."""
        folder = self._folder / "held" / place
        try:
            file = (folder / "file.json").read_bytes()
            if (newer := folder / "trust.json").exists():
                value = json.loads(newer.read_text())
                (targets,), roots = value["targets"], value["roots"]
                return Held(file, base64.b64decode(targets), tuple(base64.b64decode(root) for root in roots))
            roots = tuple(base64.b64decode(root) for root in json.loads((folder / "roots.json").read_text()))
            return Held(file, (folder / "targets.json").read_bytes(), roots)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def files(self, targets: Mapping[str, Target]) -> dict[str, bytes]:
        """The bytes of targets by path. Raises ``NotTrusted RELEASE_DIGEST`` where one is missing."""
        out = {}
        for path, target in targets.items():
            try:
                with (self.targets_folder / target.sha256).open("rb") as handle:
                    out[path] = handle.read(target.length + 1)
            except OSError as error:
                raise NotTrusted("RELEASE_DIGEST", f"{path} is not held: {error}") from error
        return out

    def prune(self, places: Iterable[str], digests: set[str]) -> None:
        """Remove every release but these, and every target but these."""
        kept = {REVOCATIONS, EMERGENCY, *places}
        for place in (self._folder / "held").iterdir():
            if place.name not in kept:
                shutil.rmtree(place, ignore_errors=True)
        for file in self.targets_folder.iterdir():
            if file.name not in digests:
                file.unlink(missing_ok=True)

    def save_lease(self, fetched_at: datetime, timestamp: bytes) -> None:
        """Keep the timestamp that was confirmed, and when."""
        value = {"fetched_at": rfc3339(fetched_at), "timestamp": base64.b64encode(timestamp).decode()}
        write_durably(self._folder / "lease.json", json.dumps(value).encode())

    def load_lease(self) -> tuple[datetime, bytes]:
        """The time and the timestamp; long past and empty when there is none."""
        try:
            value = json.loads((self._folder / "lease.json").read_text())
            return parse_rfc3339(value["fetched_at"]), base64.b64decode(value["timestamp"])
        except (OSError, ValueError, KeyError, TypeError):
            return NEVER, b""
