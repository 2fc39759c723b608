"""The archive of an OPA bundle: a tar in gzip with exactly one form, so that no two readers can see different files.

Rules, each with a refusal in ``tests/policy/test_bundle_archive.py``:

* one gzip member, nothing behind it, bounded before it is unpacked (``ARCHIVE_BYTES_MAX``, ``FILES_MAX``);
* plain files only: no links, folders, devices, extension headers;
* names are relative, lower case, plain ASCII, ``<folder>/<name>.rego`` or one of the two documents, each once: so
  no ``./a``, ``/a``, ``../a``, ``._a``, no two names that differ by case;
* the tar's bytes are those that ``pack`` makes of the files found: whatever else a tar can say is a refusal.

Errors: ``NotTrusted RELEASE_BUNDLE``.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib

from contracts.errors import NotTrusted

MANIFEST = ".manifest"
SIGNATURES = ".signatures.json"
PACKED_BYTES_MAX = 4 * 1024 * 1024
ARCHIVE_BYTES_MAX = 8 * 1024 * 1024
"""What may come out of the gzip: a bomb stops here."""

FILES_MAX = 256
NAME_CHARACTERS_MAX = 100
"""What a tar holds without an extension header."""

_REGO_NAME = re.compile(r"(?:[a-z0-9][a-z0-9_-]*/){0,8}[a-z0-9][a-z0-9_-]*\.rego")


def is_rego_name(name: str) -> bool:
    """Whether a name may stand in a bundle as Rego."""
    return len(name) <= NAME_CHARACTERS_MAX and _REGO_NAME.fullmatch(name) is not None


def pack(files: dict[str, bytes]) -> bytes:
    """The packed bytes of a set of files: the same files give the same bytes."""
    return gzip.compress(_tar(files), compresslevel=9, mtime=0)


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files by name. Raises ``NotTrusted RELEASE_BUNDLE`` for all but what ``pack`` makes."""
    tar = _gunzip(packed)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            for count, member in enumerate(archive, start=1):
                _check_member(member, count, files)
                file = archive.extractfile(member)
                files[member.name] = file.read() if file else b""
    except (tarfile.TarError, ValueError, EOFError, OSError, UnicodeError) as error:
        raise _not_trusted(f"not a tar: {error}") from error
    if _tar(files) != tar:
        raise _not_trusted("the tar is not in its one form: something stands beside or behind its files")
    return files


def _gunzip(packed: bytes) -> bytes:
    if len(packed) > PACKED_BYTES_MAX:
        raise _not_trusted(f"over {PACKED_BYTES_MAX} bytes")
    reader = zlib.decompressobj(wbits=31)
    try:
        tar = reader.decompress(packed, ARCHIVE_BYTES_MAX + 1)
    except zlib.error as error:
        raise _not_trusted(f"not gzip: {error}") from error
    if len(tar) > ARCHIVE_BYTES_MAX:
        raise _not_trusted(f"unpacks to over {ARCHIVE_BYTES_MAX} bytes")
    if not reader.eof:
        raise _not_trusted("the gzip is cut short")
    if reader.unused_data:
        raise _not_trusted("something stands behind the gzip")
    return tar


def _check_member(member: tarfile.TarInfo, count: int, seen: dict[str, bytes]) -> None:
    name = member.name
    if count > FILES_MAX:
        raise _not_trusted(f"more than {FILES_MAX} files")
    if member.type != tarfile.REGTYPE:
        raise _not_trusted(f"{name[:80]!r} is not a plain file")
    if not is_rego_name(name) and name not in (MANIFEST, SIGNATURES):
        raise _not_trusted(f"a file named {name[:80]!r}")
    if name in seen:
        raise _not_trusted(f"{name!r} stands twice in the archive")


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return out.getvalue()


def _not_trusted(detail: str) -> NotTrusted:
    return NotTrusted("RELEASE_BUNDLE", detail)
