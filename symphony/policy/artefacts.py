"""``policy.wasm`` and ``policy.tar.gz`` of a working folder, as a release has them (POL-05, POL-06)."""

from __future__ import annotations

from pathlib import Path

from contracts import opa_bundle
from contracts.canonical import sha256_hex
from contracts.errors import Misused
from symphony.policy.source import Source
from symphony.policy_build import rebuild, rego_digest
from symphony.release.ceremony import build_key_id
from symphony.stack.credentials import load_key


def write(source: Source, out: Path, key: Path | None) -> list[tuple[Path, str]]:
    """Write the files into a folder; each path with its SHA-256. Without a build key there is no bundle."""
    files = {"policy.wasm": rebuild(source.governing)}
    if key is not None:
        try:
            build_key = load_key(key)
        except (ValueError, TypeError, OSError) as error:
            raise Misused("CONFIGURATION", f"{key} is no private key: {error}", next_step="name a P-256 key") from error
        revision = rego_digest(source.governing)
        files["policy.tar.gz"] = opa_bundle.build(source.governing, revision, build_key, build_key_id(build_key))
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return [(out / name, sha256_hex(content)) for name, content in files.items()]
