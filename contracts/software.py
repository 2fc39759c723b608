"""What this process runs: Symphony's own code and every Python distribution beside it, to be held to an SBOM (ATT-19).

``code_sha256`` names the code by its bytes, the same in a checkout and from an installed wheel: a commit id would be a claim.
It is worked out once a process, when it is first asked for. Not here: which SBOM it is held to (``contracts.release.build``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from contracts.canonical import length_prefixed, sha256_hex

DISTRIBUTION = "symphony"
PARTS = ("contracts", "controlplane", "rails", "services", "sidecar", "symphony")
"""The import packages of the distribution."""
SUFFIXES = (".py", ".sql")
DIFFERENCES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Software:
    """Symphony's version and the digest of its code; ``packages``: normalised name to version, itself left out."""

    version: str
    code_sha256: str
    packages: Mapping[str, str]

    def differences(self, other: Software) -> list[str]:
        """In words, what is otherwise in ``other``: nothing where they are the same."""
        out = [] if self.version == other.version else [f"symphony {other.version}, not {self.version}"]
        if self.code_sha256 != other.code_sha256:
            out.append(f"other code of symphony, {other.code_sha256[:16]}…, not {self.code_sha256[:16]}…")
        for name in sorted({*self.packages, *other.packages}):
            here, there = self.packages.get(name), other.packages.get(name)
            if there is None:
                out.append(f"{name} {here} is missing")
            elif here is None:
                out.append(f"{name} {there} is too many")
            elif here != there:
                out.append(f"{name} {there}, not {here}")
        return out


def normalised(name: str) -> str:
    """A distribution's name in its one form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def installed() -> Software:
    """What this interpreter has: 0.3 s, asked for where an SBOM is demanded."""
    packages = {name: found.version for name, found in distributions().items() if name != DISTRIBUTION}
    return replace(itself(), packages=packages)


@cache
def itself() -> Software:
    """Symphony alone, without the packages beside it."""
    return Software(metadata.version(DISTRIBUTION), code_sha256(), {})


def distributions() -> dict[str, metadata.Distribution]:
    """Every distribution by normalised name; of two with one name that which Python imports, the first on its path."""
    out: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name:
            out.setdefault(normalised(name), found)
    return out


def code_sha256(folder: Path | None = None) -> str:
    """SHA-256 (hex) over names and bytes of Symphony's own code below ``folder``, by default where it is imported from."""
    base = folder or Path(__file__).resolve().parent.parent
    files = {
        path.relative_to(base).as_posix(): path
        for part in PARTS for suffix in SUFFIXES for path in (base / part).rglob(f"*{suffix}")
    }  # fmt: skip
    parts = (text for name in sorted(files) for text in (name, sha256_hex(files[name].read_bytes())))
    return sha256_hex(length_prefixed("symphony.code/1", *parts))
