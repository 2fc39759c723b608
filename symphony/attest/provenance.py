"""``provenance.json``: an in-toto statement with SLSA provenance version 1 over a release's files, signed by the build key.

No time and no random id stand in it and its signature is deterministic: the same build gives the same bytes. What it claims is the
builder's word; what is checked of it is in ``contracts.release.build``, and ``release verify-build`` repeats the build itself.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from contracts import software
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import Misused
from contracts.keys import INTOTO_TYPE
from contracts.release.build import SBOM
from contracts.release.envelope import make_build_envelope
from contracts.release.model import GATED_TARGETS
from symphony.opa import OPA_VERSION, version_of
from symphony.policy_build import capabilities
from symphony.release.ceremony import build_key_id

BUILD_TYPE = "urn:symphony:build:release:1"
BUILDER = "urn:symphony:builder:unnamed"
"""Who built it, where nobody says: a CI names itself with ``--builder``."""
_BUILDER = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]{1,200}")


def provenance(
    files: Mapping[str, bytes], sbom: bytes, key: ec.EllipticCurvePrivateKey, *, source: Mapping[str, Any],
    builder: str = BUILDER, opa: Path | None = None,
) -> bytes:  # fmt: skip
    """The signed statement. ``files``: at least the gated targets; ``source``: ``{"commit", "dirty"}`` of the policy's checkout.

    ``opa``: the program that compiled the policy here; ``None`` where the recorded pair was taken. Raises ``Misused``.
    """
    if not _BUILDER.fullmatch(builder):
        raise Misused("CONFIGURATION", f"a builder is a URI, not {builder[:80]!r}", next_step="--builder urn:example:ci:release")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_described(name, files[name]) for name in GATED_TARGETS],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"commit": source["commit"], "dirty": source["dirty"]},
                "internalParameters": {
                    "python": platform.python_version(), "symphony": metadata.version(software.DISTRIBUTION),
                    "symphony_code_sha256": software.code_sha256(), "opa": version_of(opa) if opa else OPA_VERSION,
                },
                "resolvedDependencies": _materials(source["commit"], opa),
            },
            "runDetails": {"builder": {"id": builder}, "byproducts": [_described(SBOM, sbom)]},
        },
    }  # fmt: skip
    return orjson.dumps(make_build_envelope(key, build_key_id(key), INTOTO_TYPE, canonical_bytes(statement)))


def _materials(commit: str | None, opa: Path | None) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [] if commit is None else [{"name": "source", "digest": {"gitCommit": commit}}]
    out.append(_described("capabilities.json", capabilities().read_bytes()))
    if opa is None:
        return [*out, _described("BUILD.json", capabilities().with_name("BUILD.json").read_bytes())]
    return [*out, _described("opa", opa.read_bytes())]


def _described(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256_hex(data)}}
