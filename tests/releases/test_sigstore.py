"""A Sigstore bundle over the provenance, checked offline against a private trust root: by whom, for whom, over which bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import sha256_hex
from contracts.errors import SymphonyError
from contracts.release.build import BYTES_MAX, PROVENANCE, SBOM, SIGSTORE
from symphony.attest.provenance import provenance
from symphony.attest.sbom import sbom
from symphony.attest.sigstore import Expected, said
from symphony.cli import main
from symphony.release.propose import send
from tests.releases.running import Running
from tests.releases.sigstore_world import IDENTITY, ISSUER, PrivateSigstore
from tests.releases.support import ENVIRONMENT

DATA = b'{"payload": "a provenance"}'


@pytest.fixture(scope="module")
def private() -> PrivateSigstore:
    """Its keys."""
    pytest.importorskip("sigstore", reason="sigstore is in requirements/dev.txt")
    return PrivateSigstore()


@pytest.fixture
def expected(private: PrivateSigstore, tmp_path: Path) -> Expected:
    """What an officer's machine is configured with."""
    return Expected(private.trusted_root(tmp_path / "trusted_root.json"), IDENTITY, ISSUER)


def refused(code: str, call: Callable[[], object], *words: str) -> None:
    with pytest.raises(SymphonyError) as caught:
        call()
    assert caught.value.code == code
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_bundle_by_the_expected_identity_holds_and_says_by_whom(private: PrivateSigstore, expected: Expected) -> None:
    build = {PROVENANCE: DATA, SIGSTORE: private.bundle(DATA)}
    assert said(build, expected) == [f"its provenance is signed by {IDENTITY}, for whom {ISSUER} vouched (Sigstore)"]


def test_a_bundle_by_another_or_over_other_bytes_or_none_does_not(private: PrivateSigstore, expected: Expected) -> None:
    bundle = private.bundle(DATA)
    for other, words in (
        ({PROVENANCE: DATA}, "no Sigstore bundle is attached"),
        ({PROVENANCE: DATA + b" ", SIGSTORE: bundle}, "does not hold"),
        ({PROVENANCE: DATA, SIGSTORE: private.bundle(DATA, identity="eve@bank.example")}, "eve@bank.example"),
        ({PROVENANCE: DATA, SIGSTORE: private.bundle(DATA, issuer="https://other.example")}, "issuer"),
        ({PROVENANCE: DATA, SIGSTORE: PrivateSigstore().bundle(DATA)}, "does not hold"),
        ({PROVENANCE: DATA, SIGSTORE: b"{}"}, "does not hold"),
        ({PROVENANCE: DATA, SIGSTORE: b"no JSON"}, "does not hold"),
    ):
        refused("RELEASE_PROVENANCE", lambda build=other: expected.check(build), words)


@pytest.mark.parametrize("part", ["ct_key", "rekor_key", "ca_key"])
def test_a_log_or_an_authority_that_the_root_does_not_name_is_believed_nothing(
    private: PrivateSigstore, expected: Expected, part: str
) -> None:
    foreign = PrivateSigstore(now=private.now, **{
        name: getattr(PrivateSigstore() if name == part else private, name) for name in ("ct_key", "rekor_key", "ca_key")
    })  # fmt: skip
    refused("RELEASE_PROVENANCE", lambda: expected.check({PROVENANCE: DATA, SIGSTORE: foreign.bundle(DATA)}), "does not hold")


def _swap(entry: dict[str, Any], other: dict[str, Any], name: str) -> None:
    entry[name] = other[name]


@pytest.mark.parametrize("name", ["canonicalizedBody", "inclusionPromise", "inclusionProof"])
def test_a_log_entry_of_another_signing_is_refused(private: PrivateSigstore, expected: Expected, name: str) -> None:
    bundle, other = (json.loads(private.bundle(data)) for data in (DATA, b"another"))
    entries = [one["verificationMaterial"]["tlogEntries"][0] for one in (bundle, other)]
    _swap(entries[0], entries[1], name)
    refused("RELEASE_PROVENANCE", lambda: expected.check({PROVENANCE: DATA, SIGSTORE: json.dumps(bundle).encode()}))


def test_without_configuration_a_bundle_is_said_to_be_unchecked_and_half_of_it_is_refused(tmp_path: Path) -> None:
    assert said({PROVENANCE: DATA}, None) == []
    assert "NOT checked" in said({PROVENANCE: DATA, SIGSTORE: b"{}"}, None)[0]
    assert Expected.of(None, None, None) is None
    refused("CONFIGURATION", lambda: Expected.of(tmp_path / "root.json", "ci@bank.example", None), "an identity and its issuer")


def test_a_trusted_root_that_is_none_is_told(private: PrivateSigstore, tmp_path: Path) -> None:
    build = {PROVENANCE: DATA, SIGSTORE: private.bundle(DATA)}
    refused("CONFIGURATION", lambda: Expected(tmp_path / "none.json", IDENTITY, ISSUER).check(build), "no Sigstore trusted root")
    (tmp_path / "root.json").write_text("{}")
    refused("CONFIGURATION", lambda: Expected(tmp_path / "root.json", IDENTITY, ISSUER).check(build), "no Sigstore trusted root")


def test_an_officer_approves_only_what_the_configured_identity_signed(
    running: Running, private: PrivateSigstore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a real control plane; the bundle travels beside the proposal, and its digest is signed with it."""
    world = running.world
    files = world.files()
    bill = sbom(commit=None)
    build = {SBOM: bill, PROVENANCE: provenance(files, bill, world.ceremony.build, source={"commit": None, "dirty": None})}
    build[SIGSTORE] = private.bundle(build[PROVENANCE])
    too_large = build | {SIGSTORE: b" " * (BYTES_MAX[SIGSTORE] + 1)}
    refused("RELEASE_PROVENANCE", lambda: running.proposed(files=files, build=too_large), "is over")
    half = replace(made := world.draft(1, files, build=build), build={name: build[name] for name in (SBOM, PROVENANCE)})
    refused("RELEASE_DIGEST", lambda: send(running.control("alice"), world.officer("alice"), half, "a test"), SIGSTORE)
    send(running.control("alice"), world.officer("alice"), made, "a test")
    folder, root = world.folder, str(private.trusted_root(tmp_path / "trusted_root.json"))

    def ask(verb: str, *more: str) -> tuple[int, str]:
        code = main([
            "release", verb, "1", "--url", running.url, "--ca", str(running.ca), "--root", str(folder / "trust" / "1.root.json"),
            "--officer-folder", str(folder / "officers" / "bruno"), *more,
        ])  # fmt: skip
        said_here = capsys.readouterr()
        return code, said_here.out + said_here.err

    whom = ("--sigstore-trusted-root", root, "--sigstore-issuer", ISSUER, "--sigstore-identity")
    assert "NOT checked" in ask("show")[1]
    assert ask("approve", "--yes", *whom[:4])[0] == 2
    code, told = ask("approve", "--yes", *whom, "eve@bank.example")
    assert (code, "RELEASE_PROVENANCE" in told) == (5, True)
    assert running.control("alice").release(ENVIRONMENT, 1)["approvals"] == []
    code, told = ask("approve", "--yes", *whom, IDENTITY)
    assert (code, f"signed by {IDENTITY}" in told, "built by urn:symphony:builder:unnamed" in told) == (0, True, True)
    assert json.loads(ask("show", "-o", "json", *whom, IDENTITY)[1])["build"]["sigstore_sha256"] == sha256_hex(build[SIGSTORE])
