"""What an officer checks before he signs: the bytes, downloaded and held to every rule on his own machine.

* the custodians' metadata from his own pinned root, the role file and every target by its digest;
* its SBOM and provenance hold, where the proposal names them or a service of it demands them;
* Rego and Wasm are a pair: rebuilt here, or the pair that his own checkout records (``symphony.policy_build``);
* the difference to the approved release before it (``symphony.release.diff``), computed here from verified bytes. What was only
  proposed is no measure: else a change could hide in a proposal that nobody approved.

Nothing that the control plane says is believed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from contracts import opa_bundle
from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.release import rules
from contracts.release.build import check_build, named
from contracts.release.contents import Contents, verify_contents
from contracts.release.model import Role
from contracts.release.trust import Trust, root_of, trust_of
from symphony import policy_build
from symphony.release.client import ControlPlane
from symphony.release.diff.build import Difference, difference

STEPS_BACK_MAX = 200
"""Releases looked at for the approved one before."""


@dataclass(frozen=True, slots=True)
class Download:
    """A release's bytes by path, and what they verified to be."""

    trust: Trust
    role: Role
    metadata: bytes
    files: Mapping[str, bytes]
    contents: Contents


@dataclass(frozen=True, slots=True)
class Review:
    """A release as this officer's machine found it to be; ``base`` is the approved release that it is compared with."""

    release: Download
    pair: policy_build.Checked
    base: Download | None
    difference: Difference


def review(
    control: ControlPlane,
    environment: str,
    number: int,
    *,
    root: bytes,
    now: datetime,
    policies: Path = policy_build.POLICIES,
    opa: Path | None = None,
) -> Review:
    """Download and check a release. ``root`` is the officer's own pinned root.

    Raises ``NotTrusted`` for a rule that does not hold, ``CannotEvaluate RELEASE_NOT_REBUILT`` (exit 3) when there is
    no ``opa`` and the policy is not the recorded pair.
    """
    found = downloaded(control, environment, number, root)
    trust, role, files = found.trust, found.role, found.files
    if now >= role.activate_before:
        raise NotTrusted("RELEASE_LATE", f"activate_before is {role.activate_before.isoformat()}")
    rego = opa_bundle.verify(files["policy.tar.gz"], trust.build_key_pem, trust.build_key_id)
    rego = {name: data for name, data in rego.items() if name.endswith(".rego")}
    pair = policy_build.check_pair(rego, files["policy.wasm"], opa=opa, folder=policies)
    check_build(trust, role, found.contents, attachments(control, found))
    base = approved_before(control, found, root)
    return Review(found, pair, base, compared(base, found))


def attachments(control: ControlPlane, release: Download) -> dict[str, bytes]:
    """SBOM, provenance and what else of its build a proposal names, held to the signed digests; empty where it names none."""
    role, out = release.role, {}
    for name, digest in named(release.contents.proposal).items():
        out[name] = control.get_bytes(f"/v1/releases/{role.environment}/{role.number}/targets/{name}")
        if sha256_hex(out[name]) != digest:
            raise NotTrusted("RELEASE_DIGEST", f"{name} is not what was signed")
    return out


def compared(base: Download | None, found: Download) -> Difference:
    """What changes from one release to another. Of release 1 nothing is compared; of a later one without a base all is new."""
    if base is None:
        return Difference(()) if found.role.number == 1 else difference({}, found.files, ("(none)", str(found.role.number)))
    return difference(base.files, found.files, (str(base.role.number), str(found.role.number)))


def approved_before(control: ControlPlane, found: Download, root: bytes) -> Download | None:
    """The last release before it whose published role file has the officers' threshold, downloaded and verified."""
    environment, number = found.role.environment, found.role.number
    for earlier in range(number - 1, max(0, number - 1 - STEPS_BACK_MAX), -1):
        published = control.published(environment, earlier)
        if published is None:
            continue
        try:
            role = rules.verify_role(found.trust, published, environment)
            base = downloaded(control, environment, earlier, root)
        except NotTrusted:
            continue  # by officers of another time, or forged: an older one is the measure then
        if (role.number, role.digest) == (earlier, base.role.digest):
            return base
    return None


def downloaded(control: ControlPlane, environment: str, number: int, root: bytes) -> Download:
    """The bytes of a release, held to every rule but the approvals. Raises ``NotTrusted RELEASE_*``."""
    pinned = root_of(root)
    roots, targets, _ = control.trust(environment, pinned.version)
    trust = trust_of(root_of(root, roots), targets, environment)
    shown = control.release(environment, number)
    try:
        metadata = base64.b64decode(shown["metadata"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise CannotEvaluate("RELEASE_UNREACHABLE", "the control plane shows no role file") from error
    role = rules.read_role(trust, metadata, environment)
    if role.number != number:
        raise NotTrusted("RELEASE_SHAPE", f"asked for release {number}, got {role.number}")
    address = f"/v1/releases/{environment}/{number}/targets"
    files = {path: control.get_bytes(f"{address}/{path}") for path in role.targets}
    return Download(trust, role, metadata, files, verify_contents(trust, role, files))
