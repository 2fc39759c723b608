"""SBOM and provenance of a release: made where it is built, carried beside its proposal, read again by whoever approves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from contracts.errors import CannotEvaluate, Misused, SymphonyError
from contracts.release.build import BYTES_MAX, PROVENANCE, SBOM, SIGSTORE, Build, check_build, named
from symphony import places
from symphony.attest.provenance import BUILDER, provenance
from symphony.attest.sbom import sbom
from symphony.invariants.anchors import git
from symphony.invariants.plain import plain
from symphony.opa import find_opa
from symphony.release.client import ControlPlane
from symphony.release.review import Download, attachments

FOLDER = "build"
"""Of ``release collect --attest``: beside the targets, none of them."""


def made(
    files: Mapping[str, bytes], key: ec.EllipticCurvePrivateKey, source: Mapping[str, Any], *, builder: str = BUILDER,
    runtime_lock: Path | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """SBOM and signed provenance of a release's files, by name. Raises ``Misused`` for a lock or a builder that is none."""
    try:
        opa: Path | None = find_opa()
    except CannotEvaluate:
        opa = None
    bill = sbom(commit=own_source()["commit"], locks=_locks(), runtime_lock=runtime_lock)
    return {SBOM: bill, PROVENANCE: provenance(files, bill, key, source=source, builder=builder, opa=opa)}


def own_source() -> dict[str, Any]:
    """``{"commit", "dirty"}`` of the checkout that this Symphony runs from; both ``None`` where it was installed."""
    folder = places.folder("policies").parent
    if not (folder / ".git").exists():
        return {"commit": None, "dirty": None}
    head = git(folder, "rev-parse", "HEAD")
    changes = git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": head, "dirty": None if head is None or changes is None else bool(changes)}


def _locks() -> list[Path]:
    try:
        return [path for name in ("runtime", "dev") if (path := places.folder("requirements") / f"{name}.txt").is_file()]
    except CannotEvaluate:
        return []


def from_folder(folder: Path, bundle: Path | None = None) -> dict[str, bytes]:
    """What ``release collect --attest`` wrote, with a Sigstore bundle over the provenance. Raises ``Misused``."""
    paths = {SBOM: folder / SBOM, PROVENANCE: folder / PROVENANCE, **({SIGSTORE: bundle} if bundle else {})}
    return {name: _read(path, BYTES_MAX[name]) for name, path in paths.items()}


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise Misused("CONFIGURATION", f"{path}: {error.strerror}", next_step="symphony release collect --attest") from error
    if len(data) > bytes_max:
        raise Misused("CONFIGURATION", f"{path} is over {bytes_max} bytes", next_step="name another file")
    return data


def of_release(control: ControlPlane, release: Download) -> Build | None:
    """A release's build, by every rule; ``None`` where none is named or demanded. Raises ``NotTrusted RELEASE_*``."""
    return check_build(release.trust, release.role, release.contents, attachments(control, release))


def said(control: ControlPlane, release: Download) -> list[str]:
    """A release's build in a line; what is missing or does not hold is said, never passed over."""
    try:
        build = of_release(control, release)
    except SymphonyError as error:
        return [f"the provenance of this release does not hold: {error}"]
    if build is None:
        return ["no SBOM and no provenance are bound into this release"]
    return [plain(build.sentence)]


def document(control: ControlPlane, release: Download) -> dict[str, Any] | None:
    """The same as JSON, for ``release show -o json``. Raises ``NotTrusted RELEASE_*``."""
    build = of_release(control, release)
    if build is None:
        return None
    return {
        "builder": build.builder, "commit": build.commit, "dirty": build.dirty, "key_id": build.key_id,
        "sbom_sha256": build.sbom_sha256, "symphony": build.software.version, "packages": len(build.software.packages),
        "sigstore_sha256": named(release.contents.proposal).get(SIGSTORE),
    }  # fmt: skip
