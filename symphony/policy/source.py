"""The Rego of a working folder, read once: bounded, UTF-8, nothing from outside the folder (POL-05).

Everything else works on these bytes, in a folder of its own: what is checked is what is built, though files change
meanwhile. JSON beside the Rego is not data of the policy and is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.bundle_archive import is_rego_name
from contracts.errors import Misused, Refused
from symphony.policy_build import REGO_FILES_MAX

REGO_BYTES_MAX = 2 * 1024 * 1024
"""All Rego of a policy, tests included; ours has 20 KB, one of 500 lines has 30."""

ENTRIES_MAX = 10_000
"""Files and folders looked at, so that a wrong FOLDER (``/``) ends soon."""

TEST_SUFFIX = "_test.rego"


@dataclass(frozen=True, slots=True)
class Source:
    """Rego by its path below the folder."""

    files: dict[str, bytes]

    @property
    def governing(self) -> dict[str, bytes]:
        """What decides: the tests left out."""
        return {name: content for name, content in self.files.items() if not name.endswith(TEST_SUFFIX)}

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The files in a fresh folder, gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="symphony-policy-") as place:
            for name, content in self.files.items():
                path = Path(place) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield Path(place)


def load(folder: Path) -> Source:
    """Read a working folder. ``Misused`` for no folder; ``Refused RELEASE_POLICY`` for what cannot be a policy."""
    if not folder.is_dir():
        raise Misused("CONFIGURATION", f"{folder} is no folder", next_step="name the folder with the policy's Rego")
    base, files, total = folder.resolve(), {}, 0
    for path in _rego_below(folder):
        name = path.relative_to(folder).as_posix()
        if not path.resolve().is_relative_to(base):
            raise _refused(f"{name} is a link that leads out of {folder}", "copy the file into the folder")
        if not path.is_file() or not is_rego_name(name):
            raise _refused(f"{name!r} is no file with a plain name", "use letters, digits, '-', '_' and '/' in names")
        total += path.stat().st_size
        if total > REGO_BYTES_MAX:
            raise _refused(f"over {REGO_BYTES_MAX} bytes of Rego at {name}", "keep lists in data, not in Rego")
        files[name] = _text(path, name)
    source = Source(files)
    if not source.governing:
        raise Misused("CONFIGURATION", f"{folder} holds no Rego", next_step="name the folder with the policy's Rego")
    if len(files) > REGO_FILES_MAX:
        raise _refused(f"{folder} holds {len(files)} Rego files, over {REGO_FILES_MAX}", "keep lists in data")
    return source


def _rego_below(folder: Path) -> list[Path]:
    found = []
    for count, path in enumerate(folder.rglob("*")):
        if count >= ENTRIES_MAX:
            raise _refused(f"{folder} holds over {ENTRIES_MAX} files and folders", "name the folder with the Rego only")
        if path.is_symlink() and path.is_dir() and not path.resolve().is_relative_to(folder.resolve()):
            raise _refused(f"{path.name} is a link that leads out of {folder}", "copy the files into the folder")
        if path.suffix == ".rego":
            found.append(path)
    return sorted(found)


def _text(path: Path, name: str) -> bytes:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(f"{name} is not UTF-8: byte {error.start}", "save the file as UTF-8") from error
    return content


def _refused(detail: str, next_step: str) -> Refused:
    return Refused("RELEASE_POLICY", detail, next_step=next_step)
