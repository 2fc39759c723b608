"""``policy.wasm`` of a release is what its Rego compiles to: rebuilt here with the pinned ``opa`` (POL-05, design section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import opa_bundle
from contracts.canonical import sha256_hex
from symphony.opa import OPA_VERSION, find_opa
from symphony.policy_build import capabilities, rebuild, rego_digest
from symphony.release.client import ControlPlane
from symphony.release.review import downloaded


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Digests (SHA-256, hex) as signed and as built here; ``revision`` is the name that the bundle gives its Rego."""

    environment: str
    number: int
    rego: str
    revision: str
    bundle: str
    signed: str
    built: str
    capabilities: str

    @property
    def equal(self) -> bool:
        """The Wasm is the Rego's, and the bundle names the Rego that it holds."""
        return self.signed == self.built and self.revision == self.rego

    def document(self) -> dict[str, Any]:
        """As JSON (``symphony.verify_build/1``)."""
        return {
            "schema": "symphony.verify_build/1", "environment": self.environment, "number": self.number, "equal": self.equal,
            "policy_wasm": {"signed_sha256": self.signed, "rebuilt_sha256": self.built},
            "bundle": {"sha256": self.bundle, "revision": self.revision, "rego_sha256": self.rego},
            "opa_version": OPA_VERSION, "capabilities_sha256": self.capabilities,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For the screen."""
        wasm = "the same bytes" if self.signed == self.built else f"OTHER BYTES, {self.built}"
        named = "names its Rego" if self.revision == self.rego else f"NAMES OTHER REGO, {self.revision}"
        verdict = (
            "is what its Rego compiles to" if self.equal else "IS NOT what its Rego compiles to: do not approve it"
        )
        return [
            f"policy.wasm    {self.signed} signed; rebuilt here with opa {OPA_VERSION}: {wasm}",
            f"policy.tar.gz  {self.bundle}, {named}: {self.rego}",
            f"capabilities   {self.capabilities} (of this machine's Symphony)",
            f"release {self.number} {verdict}",
        ]


def rebuild_of(
    control: ControlPlane, environment: str, number: int, *, root: bytes, opa: Path | None = None
) -> Rebuilt:
    """Download, verify and rebuild. Raises ``CannotEvaluate RELEASE_NOT_REBUILT`` without the pinned ``opa``, before anything."""
    program = opa or find_opa()
    found = downloaded(control, environment, number, root)
    files = opa_bundle.verify(found.files["policy.tar.gz"], found.trust.build_key_pem, found.trust.build_key_id)
    rego = {name: data for name, data in files.items() if name.endswith(".rego")}
    return Rebuilt(
        environment=environment, number=number, rego=rego_digest(rego), revision=opa_bundle.revision_of(files),
        bundle=sha256_hex(found.files["policy.tar.gz"]), signed=sha256_hex(found.files["policy.wasm"]),
        built=sha256_hex(rebuild(rego, program)), capabilities=sha256_hex(capabilities().read_bytes()),
    )  # fmt: skip
