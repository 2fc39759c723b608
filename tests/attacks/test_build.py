"""What was built (rule 17): a service that demands an attested build is shown another's, a forged one, or none (ATT-19)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.keys import INTOTO_TYPE
from contracts.release.build import PROVENANCE, SBOM
from contracts.release.envelope import make_envelope
from contracts.software import installed
from tests.attacks.attacker import Attacker
from tests.attacks.index import attack
from tests.releases.support import ENVIRONMENT
from tests.releases.test_attested_build import build_of, demanding

BUILD = "17 contracts.release.build"


def passes_on(attacker: Attacker, make: Any) -> None:
    """Officers were deceived into signing it; ``make`` gives the build of the release's files."""
    files = attacker.world.files(cap_minor=7, manifests=demanding())
    attacker.passes_on(attacker.world.draft(2, files, build=make(files)))


@attack("a release without provenance for a service that demands it", by=BUILD, code="RELEASE_PROVENANCE")
def test_no_provenance(attacker: Attacker) -> None:
    passes_on(attacker, lambda _files: {})
    attacker.is_refused()


@attack("provenance forged with the online keys", by=BUILD, code="RELEASE_PROVENANCE")
def test_provenance_by_the_online_keys(attacker: Attacker) -> None:
    def make(files: Mapping[str, bytes]) -> dict[str, bytes]:
        build = build_of(attacker.world, files)
        payload = base64.b64decode(json.loads(build[PROVENANCE])["payload"])
        return {**build, PROVENANCE: canonical_bytes(make_envelope(attacker.key("log"), INTOTO_TYPE, payload))}

    passes_on(attacker, make)
    attacker.is_refused()


@attack("provenance by another key on the same curve", by=BUILD, code="RELEASE_PROVENANCE")
def test_provenance_by_another_key(attacker: Attacker) -> None:
    passes_on(attacker, lambda files: build_of(attacker.world, files, key=ec.generate_private_key(ec.SECP256R1())))
    attacker.is_refused()


@attack("provenance lifted from another release", by=BUILD, code="RELEASE_PROVENANCE")
def test_provenance_of_another_release(attacker: Attacker) -> None:
    passes_on(attacker, lambda files: build_of(attacker.world, {**files, "policy.wasm": b"another's"}))
    attacker.is_refused()


@attack("an SBOM beside provenance that names another", by=BUILD, code="RELEASE_PROVENANCE")
def test_another_sbom_beside_it(attacker: Attacker) -> None:
    def make(files: Mapping[str, bytes]) -> dict[str, bytes]:
        build = build_of(attacker.world, files)
        return {**build, SBOM: build[SBOM] + b" "}

    passes_on(attacker, make)
    attacker.is_refused()


@attack("an SBOM swapped on its way", by="17 contracts.release.repository", code="RELEASE_DIGEST")
def test_an_sbom_swapped_on_its_way(attacker: Attacker) -> None:
    passes_on(attacker, lambda files: build_of(attacker.world, files))
    (served,) = (attacker.mirror.folder / "targets" / ENVIRONMENT / "2").glob(f"*.{SBOM}")
    assert sha256_hex(served.read_bytes()) == served.name.partition(".")[0]
    served.write_bytes(served.read_bytes() + b" ")
    attacker.is_refused()


@attack("a service with a package that its SBOM does not list", by=BUILD, code="RELEASE_SBOM")
def test_a_package_that_nobody_listed(attacker: Attacker) -> None:
    here = installed()
    attacker.victim._software = lambda: replace(here, packages={**here.packages, "stowaway": "1"})
    passes_on(attacker, lambda files: build_of(attacker.world, files))
    attacker.is_refused()
