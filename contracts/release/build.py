"""What a release was built from and with: its SBOM and signed provenance, which a proposal names by digest (ATT-19).

They are no targets: a follower of the version before refuses a target that it does not know. The control plane keeps their bytes
beside the targets and serves them as it serves those; whoever reads them holds them to the digests in the signed proposal, so that
the officers' signatures cover them. A proposal without the field is one of an older version and stays valid.

* ``sbom.cdx.json``: CycloneDX 1.6, of what runs: Symphony by the digest of its code, each Python distribution by version;
* ``provenance.json``: a DSSE envelope by the build key over an in-toto statement (SLSA provenance 1) whose subjects are exactly
  this release's policy, bundle and invariants, and whose by-product is exactly that SBOM;
* ``provenance.sigstore.json``, where configured: a Sigstore bundle over the provenance, for officers (``symphony.attest``).

A service whose manifest says ``attested_build: {"required": true}`` starts and activates nothing without the first two, nor
where its own software is not that of the SBOM: see ``Attested``. The build key is no officer's, by the custodians' rule 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contracts import schemas
from contracts.canonical import parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import INTOTO_TYPE
from contracts.release.envelope import open_build_envelope
from contracts.release.model import GATED_TARGETS, Role
from contracts.release.trust import Trust
from contracts.software import DIFFERENCES_SHOWN, Software, normalised

SBOM, PROVENANCE, SIGSTORE = "sbom.cdx.json", "provenance.json", "provenance.sigstore.json"
FIELD_OF = {SBOM: "sbom_sha256", PROVENANCE: "provenance_sha256", SIGSTORE: "sigstore_sha256"}
BYTES_MAX = {SBOM: 4 * 1024 * 1024, PROVENANCE: 256 * 1024, SIGSTORE: 256 * 1024}
_PYPI = "pkg:pypi/"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Documents(Protocol):
    """``contracts.release.contents.Contents``, as far as it is asked here."""

    @property
    def proposal(self) -> Mapping[str, Any]:
        """The signed proposal."""

    @property
    def manifests(self) -> Mapping[str, Mapping[str, Any]]:
        """By service."""


Fetch = Callable[[str, str, int], bytes]
"""Bytes by name, digest and bound."""


@dataclass(frozen=True, slots=True)
class Build:
    """A release's provenance that holds. ``commit`` and ``dirty`` are what the builder says; ``software`` is the SBOM's."""

    builder: str
    commit: str | None
    dirty: bool | None
    key_id: str
    sbom_sha256: str
    software: Software

    @property
    def sentence(self) -> str:
        """What an officer is told."""
        state = {True: "with uncommitted changes", False: "clean", None: "state not told"}[self.dirty]
        source = f"of commit {self.commit} ({state})" if self.commit else "of no commit that it names"
        return (
            f"built by {self.builder} {source}, signed by build key {self.key_id[:16]}…; "
            f"SBOM {self.sbom_sha256[:16]}…: symphony {self.software.version} and {len(self.software.packages)} packages"
        )


def named(proposal: Mapping[str, Any]) -> dict[str, str]:
    """Digest by name of what a proposal names; empty where it names nothing. Raises ``NotTrusted RELEASE_PROPOSAL``."""
    if "build" not in proposal:
        return {}
    build, required = proposal["build"], {FIELD_OF[SBOM], FIELD_OF[PROVENANCE]}
    if not isinstance(build, dict) or not required <= set(build) <= set(FIELD_OF.values()):
        raise NotTrusted("RELEASE_PROPOSAL", "build names other things than an SBOM, a provenance and a Sigstore bundle")
    if any(not (isinstance(digest, str) and _SHA256.fullmatch(digest)) for digest in build.values()):
        raise NotTrusted("RELEASE_PROPOSAL", "build names something that is no digest")
    return {name: build[field] for name, field in FIELD_OF.items() if field in build}


def verify_build(trust: Trust, role: Role, proposal: Mapping[str, Any], files: Mapping[str, bytes]) -> Build:
    """Provenance and SBOM of a release, by every rule. ``files`` by name.

    Raises ``NotTrusted``: ``RELEASE_PROVENANCE``, ``RELEASE_SBOM``, ``RELEASE_DIGEST`` for other bytes than those signed.
    """
    digests = named(proposal)
    if not digests:
        raise NotTrusted("RELEASE_PROVENANCE", "the proposal names no provenance and no SBOM")
    for name in (SBOM, PROVENANCE):
        if sha256_hex(files.get(name, b"")) != digests[name]:
            raise NotTrusted("RELEASE_DIGEST", f"{name} is not there, or not what was signed")
    statement = _statement(trust, files[PROVENANCE])
    _check_about(role, statement, digests[SBOM])
    details = statement["predicate"]
    source = details["buildDefinition"]["externalParameters"]
    return Build(
        builder=details["runDetails"]["builder"]["id"], commit=source["commit"], dirty=source["dirty"],
        key_id=trust.build_key_id,
        sbom_sha256=digests[SBOM], software=software_of(files[SBOM]),
    )  # fmt: skip


def _statement(trust: Trust, data: bytes) -> dict[str, Any]:
    code = "RELEASE_PROVENANCE"
    if len(data) > BYTES_MAX[PROVENANCE]:
        raise NotTrusted(code, f"{PROVENANCE} is over {BYTES_MAX[PROVENANCE]} bytes")
    payload = open_build_envelope(data, INTOTO_TYPE, trust.build_key_id, trust.build_key_pem, code)
    return _by_schema("symphony.provenance/1", payload, PROVENANCE, code)


def _check_about(role: Role, statement: Mapping[str, Any], sbom_sha256: str) -> None:
    """Lifted from another release, over other bytes, or beside another SBOM: none of it passes."""
    subjects = [(one["name"], one["digest"]) for one in statement["subject"]]
    if sorted(subjects, key=str) != sorted(((name, {"sha256": role.targets[name].sha256}) for name in GATED_TARGETS), key=str):
        raise NotTrusted("RELEASE_PROVENANCE", "the provenance is about other bytes than this release's")
    products = [(one["name"], one["digest"]) for one in statement["predicate"]["runDetails"]["byproducts"]]
    if products != [(SBOM, {"sha256": sbom_sha256})]:
        raise NotTrusted("RELEASE_PROVENANCE", "the provenance names another SBOM than the proposal")


def software_of(sbom: bytes) -> Software:
    """What an SBOM says that runs. Raises ``NotTrusted RELEASE_SBOM``."""
    document = _by_schema("symphony.sbom/1", sbom, SBOM, "RELEASE_SBOM")
    own, packages = document["metadata"]["component"], {}
    for component in document["components"]:
        if not component["purl"].startswith(_PYPI) or component.get("scope") == "excluded":
            continue
        name = normalised(component["name"])
        if name in packages or component["purl"] != f"{_PYPI}{name}@{component['version'].replace('+', '%2B')}":
            raise NotTrusted("RELEASE_SBOM", f"{name[:100]} stands there twice, or under another name")
        packages[name] = component["version"]
    return Software(own["version"], own["hashes"][0]["content"], packages)


def _by_schema(schema_id: str, data: bytes, name: str, code: str) -> dict[str, Any]:
    try:
        value = parse_json(data, bytes_max=BYTES_MAX[name])
        schemas.check(schema_id, value, code=code)
    except Refused as error:
        raise NotTrusted(code, f"{name}: {error.detail}") from error
    return dict(value)


def check_build(trust: Trust, role: Role, contents: Documents, files: Mapping[str, bytes]) -> Build | None:
    """For who proposes, keeps or approves: what is named holds, and nothing is missing that a service of the release demands.

    ``None`` where nothing is named or demanded. Raises as ``verify_build``.
    """
    if "build" not in contents.proposal and not any(map(demanded, contents.manifests.values())):
        return None
    missing = [name for name in named(contents.proposal) if name not in files]
    if missing:
        raise NotTrusted("RELEASE_DIGEST", f"the bytes of {missing[0]} were not sent")
    large = [name for name, data in files.items() if len(data) > BYTES_MAX[name]]
    if large:
        raise NotTrusted("RELEASE_PROVENANCE", f"{large[0]} is over {BYTES_MAX[large[0]]} bytes")
    return verify_build(trust, role, contents.proposal, files)


def demanded(manifest: Mapping[str, Any]) -> bool:
    """Whether a service's manifest asks for an attested build."""
    return bool(manifest.get("attested_build", {}).get("required", False))


def check_software(build: Build, here: Software) -> None:
    """What runs here is what the SBOM lists, no more and no less. Raises ``NotTrusted RELEASE_SBOM``."""
    found = build.software.differences(here)
    if found:
        more = f" and {len(found) - DIFFERENCES_SHOWN} more" if len(found) > DIFFERENCES_SHOWN else ""
        raise NotTrusted("RELEASE_SBOM", f"this service is not what the SBOM lists: {'; '.join(found[:DIFFERENCES_SHOWN])}{more}")


@dataclass(frozen=True, slots=True)
class Attested:
    """Rule 17 in a service. ``kept`` gives bytes held with the release, ``keep`` holds them, ``here`` tells what runs;
    ``fetch`` brings what is not held (``None`` offline).
    """

    kept: Callable[[str], bytes]
    keep: Callable[[str, bytes], None]
    here: Callable[[], Software]
    fetch: Fetch | None

    def check(self, trust: Trust, role: Role, proposal: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        """Nothing is asked where the manifest asks for nothing. Raises ``NotTrusted`` as ``verify_build``, and ``RELEASE_SBOM``."""
        if not demanded(manifest):
            return
        files = {}
        for name, digest in named(proposal).items():
            if name != SIGSTORE:  # for officers
                files[name] = self.kept(name)
                if self.fetch is not None and sha256_hex(files[name]) != digest:
                    files[name] = self.fetch(name, digest, BYTES_MAX[name])
                    self.keep(name, files[name])
        check_software(verify_build(trust, role, proposal, files), self.here())
