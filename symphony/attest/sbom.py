"""``sbom.cdx.json``: CycloneDX 1.6 of what runs a release, the same bytes for the same software: no time, no random serial.

Symphony itself stands in ``metadata.component`` by version and by the digest of its code (``contracts.software``); each Python
distribution as a component with its licence and, where a lock lists that very version, the hashes that the lock permits; the
``opa`` that compiles the policy as ``excluded``: it builds and does not run. What is read of it: ``contracts.release.build``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts import software
from contracts.canonical import canonical_bytes
from contracts.errors import Misused
from symphony.opa import OPA_VERSION

LICENCE_CHARS_MAX = 100
LOCK_BYTES_MAX = 4 * 1024 * 1024
_PINNED = re.compile(r"^(?P<name>\w[\w.-]*)(?:\[[^\]]*\])?==(?P<version>\w[\w.!+-]*)(?P<rest>.*)$", re.ASCII)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Locked:
    """One line of a lock: the exact version and the SHA-256 (hex) of every file that it permits."""

    version: str
    hashes: tuple[str, ...]


def read_lock(path: Path) -> dict[str, Locked]:
    """A lock with hashes, by normalised name. Raises ``Misused CONFIGURATION`` for a line that pins nothing."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LOCK_BYTES_MAX)
    except (OSError, UnicodeError) as error:
        detail = f"no lock in {path}: {error}"
        raise Misused("CONFIGURATION", detail, next_step="--runtime-lock requirements/runtime.txt") from error
    out = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _PINNED.match(line.strip())
        if found is None or ";" in found["rest"]:
            detail = f"{path}: no exact version of one package: {line.strip()[:80]}"
            raise Misused("CONFIGURATION", detail, next_step="a lock for the very machine that runs it, without markers")
        out[software.normalised(found["name"])] = Locked(found["version"], tuple(sorted(set(_HASH.findall(found["rest"])))))
    return out


def sbom(*, commit: str | None, locks: Iterable[Path] = (), runtime_lock: Path | None = None) -> bytes:
    """The SBOM of this interpreter's distributions, or of exactly a lock's (``runtime_lock``: a sidecar's image is made from it).

    ``locks``: where hashes of what is installed are looked up. ``commit``: of Symphony's own checkout, as a note.
    """
    here = software.distributions()
    if runtime_lock is not None:
        versions = {name: (pinned.version, pinned.hashes) for name, pinned in read_lock(runtime_lock).items()}
    else:
        known = [read_lock(path) for path in locks]
        versions = {name: (found.version, _hashes(known, name, found.version)) for name, found in here.items()}
    versions.pop(software.DISTRIBUTION, None)
    components = [_component(name, *versions[name], here.get(name)) for name in sorted(versions)]
    return canonical_bytes({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": _own(commit)}, "components": [*components, _opa()],
    })  # fmt: skip


def _hashes(known: Iterable[Mapping[str, Locked]], name: str, version: str) -> tuple[str, ...]:
    found = (lock[name].hashes for lock in known if name in lock and lock[name].version == version)
    return next(found, ())


def _component(name: str, version: str, hashes: tuple[str, ...], here: metadata.Distribution | None) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{quote(version, safe='')}"
    out: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required"}
    if hashes:
        out["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in hashes]
    licence = _licence(here) if here is not None and here.version == version else None
    return out if licence is None else {**out, "licenses": [licence]}


def _licence(found: metadata.Distribution) -> dict[str, Any] | None:
    """As the distribution says it of itself: an SPDX expression, else names."""
    told = found.metadata
    if told["License-Expression"]:
        return {"expression": str(told["License-Expression"])}
    names = [line.rpartition(":: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")]
    name = (str(told["License"] or "").splitlines() or [""])[0].strip() or " and ".join(names)
    return {"license": {"name": name[:LICENCE_CHARS_MAX]}} if name else None


def _own(commit: str | None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "type": "application", "bom-ref": "symphony", "name": "symphony", "version": metadata.version(software.DISTRIBUTION),
        "hashes": [{"alg": "SHA-256", "content": software.code_sha256()}], "licenses": [{"expression": "Apache-2.0"}],
    }  # fmt: skip
    return out if commit is None else {**out, "properties": [{"name": "symphony:commit", "value": commit}]}


def _opa() -> dict[str, Any]:
    purl = f"pkg:golang/github.com/open-policy-agent/opa@v{OPA_VERSION}"
    return {
        "type": "application", "bom-ref": purl, "name": "opa", "version": OPA_VERSION, "purl": purl, "scope": "excluded",
        "licenses": [{"expression": "Apache-2.0"}],
    }  # fmt: skip
