"""A release from a plain git checkout, such as in somebody's CI: no stack's folder, no checkout of Symphony (POL-01, POL-05).

    DIR/policies/                       Rego with its tests; policy.wasm is built from it here (without opa: the recorded pair)
    DIR/environments/<env>.json         environment data, whole; or DIR/environment.json
    DIR/manifests/                      service manifests
    DIR/invariants/                     the manifest of invariants
    DIR/schemas/                        the rail's XSDs; without the folder those of the installed package

What is taken is what lies there: the commit and whether these files differ from it go into the signed proposal as ``source``.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import opa_bundle
from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.errors import CannotEvaluate, Misused, NotTrusted, Refused
from contracts.release.contents import GATED, check_gate_statement
from contracts.release.limits import TARGET_BYTES_MAX
from contracts.schemas import check
from symphony.invariants import load_manifest, release_form
from symphony.invariants.anchors import git
from symphony.policy.source import load
from symphony.policy_build import committed_wasm, rebuild, rego_digest
from symphony.release.ceremony import build_key_id
from symphony.stack.credentials import load_key
from symphony.stack.environment import manifests_in
from symphony.stack.release_one import schema_folder

PARTS = ("policies", "environments", "environment.json", "manifests", "invariants", "schemas")
"""What a release is made from; other files of the checkout do not make it dirty."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder of this form, for one environment."""

    folder: Path
    environment: str

    @property
    def policies(self) -> Path:
        """Where the Rego is."""
        return self.folder / "policies"

    def targets(self, *, bundle: Path | None, build_key: Path | None) -> dict[str, bytes]:
        """Every target of a release but its proposal and gate result; the bundle from a file, or signed here by a build key.

        Raises ``Misused`` for what is not there or is no key, ``Refused`` for what breaks a rule.
        """
        source = load(self.policies)
        files = {
            "policy.wasm": self._wasm(source.governing), "policy.tar.gz": _bundle(source.governing, bundle, build_key),
            "environment.json": canonical_bytes(self._environment_data()),
            "invariants.json": canonical_bytes(release_form(load_manifest(self._part("invariants").resolve()))),
        }  # fmt: skip
        for name, manifest in manifests_in(self._part("manifests")).items():
            files[f"services/{name}.json"] = canonical_bytes(manifest)
        schemas = self.folder / "schemas"
        found = schema_folder(schemas if schemas.is_dir() else None)
        return files | {f"schemas/{name}.xsd": data for name, data in found.items()}

    def source(self) -> dict[str, Any]:
        """``{"commit", "dirty"}``; without git ``{"commit": None, "dirty": None}``: nothing is claimed."""
        head = git(self.folder, "rev-parse", "HEAD")
        there = [name for name in PARTS if (self.folder / name).exists()]
        changes = git(self.folder, "status", "--porcelain", "--untracked-files=all", "--ignored=matching", "--", *there)
        return {"commit": head, "dirty": None if head is None or changes is None else bool(changes)}

    def _part(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_dir():
            raise Misused("CONFIGURATION", f"{self.folder} has no folder {name}", next_step="name the checkout: --from DIR")
        return path

    def _wasm(self, rego: dict[str, bytes]) -> bytes:
        try:
            return rebuild(rego)
        except CannotEvaluate:
            if not (self.policies / "BUILD.json").is_file():
                raise
            return committed_wasm(self.policies)

    def _environment_data(self) -> dict[str, Any]:
        own = self.folder / "environments" / f"{self.environment}.json"
        path = own if own.is_file() else self.folder / "environment.json"
        if not path.is_file():
            raise Misused("CONFIGURATION", f"neither {own} nor {path} is there", next_step="name the checkout: --from DIR")
        try:
            document = parse_json(path.read_bytes(), bytes_max=TARGET_BYTES_MAX)
        except Refused as error:
            raise Refused("RELEASE_MANIFEST", f"{path}: {error.detail}", next_step="mend the file") from error
        check("symphony.environment/1", document, code="RELEASE_MANIFEST")
        if document["environment"] != self.environment:
            raise Refused(
                "RELEASE_ENVIRONMENT", f"{path} is of {document['environment']}, not of {self.environment}",
                next_step=f"--env, or environments/{self.environment}.json",
            )  # fmt: skip
        return dict(document)


def write(files: dict[str, bytes], out: Path) -> None:
    """The targets as files below a folder, as ``symphony invariants check --release`` reads them."""
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def demand_gate_of(files: dict[str, bytes], gate: bytes) -> None:
    """The result speaks of these very files; told before the policy's checks, which take longer. Its signature is held later.

    Raises ``NotTrusted RELEASE_GATE``.
    """
    try:
        statement = parse_json(base64.b64decode(parse_json(gate)["payload"]))
    except (Refused, KeyError, TypeError, ValueError) as error:
        raise NotTrusted("RELEASE_GATE", "the file is no signed gate result") from error
    check_gate_statement(statement, {name: sha256_hex(files[name]) for name in GATED})


def _bundle(rego: dict[str, bytes], bundle: Path | None, build_key: Path | None) -> bytes:
    if bundle is not None:
        if bundle.stat().st_size > TARGET_BYTES_MAX:
            raise Refused("RELEASE_BUNDLE", f"{bundle} is over {TARGET_BYTES_MAX} bytes")
        return bundle.read_bytes()
    if build_key is None:
        raise Misused(
            "CONFIGURATION", "no policy.tar.gz and no build key", next_step="--bundle release/policy.tar.gz, or --build-key FILE"
        )
    try:
        key = load_key(build_key)
    except (ValueError, TypeError, OSError) as error:
        raise Misused("CONFIGURATION", f"{build_key} is no private key: {error}", next_step="name a P-256 key") from error
    return opa_bundle.build(rego, rego_digest(rego), key, build_key_id(key))
