"""The durable record of the highest release ever accepted (rule 10): what makes a rollback impossible."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from contracts.errors import CannotEvaluate, NotTrusted


class AcceptedRecord(Protocol):
    """Kept by the service, in its database or in a file; must survive a crash once ``accept`` returned."""

    def highest(self) -> tuple[int, str] | None:
        """The highest number ever accepted and its metadata digest."""

    def accept(self, number: int, metadata_digest: str) -> None:
        """Keep a number that is higher than the highest, or the same with the same digest."""


class FileRecord:
    """The record in one file, replaced whole and synced; for services without a database of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self) -> tuple[int, str] | None:
        """See ``AcceptedRecord``. A record that cannot be read is never taken for an empty one."""
        try:
            value = json.loads(self._path.read_text("utf-8"))
            return int(value["number"]), str(value["metadata_digest"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotEvaluate("CONFIGURATION", f"the record of accepted releases {self._path}: {error}") from error

    def accept(self, number: int, metadata_digest: str) -> None:
        """See ``AcceptedRecord``."""
        before = self.highest()
        if before is not None and (number < before[0] or (number == before[0] and metadata_digest != before[1])):
            raise NotTrusted("RELEASE_ROLLBACK", f"release {number} after {before[0]}")
        write_durably(self._path, json.dumps({"number": number, "metadata_digest": metadata_digest}).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file whole: written beside, synced, renamed, folder synced. Raises ``CannotEvaluate CONFIGURATION``."""
    try:
        _write_durably(path, data)
    except OSError as error:
        raise CannotEvaluate("CONFIGURATION", f"{path} cannot be written: {error}") from error


def _write_durably(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
