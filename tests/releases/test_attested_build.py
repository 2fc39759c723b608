"""ATT-19: a release carries SBOM and signed provenance, and a service whose manifest demands them runs nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, SymphonyError
from contracts.keys import INTOTO_TYPE
from contracts.release import FileRecord, FolderSource, load_held
from contracts.release.build import BYTES_MAX, FIELD_OF, PROVENANCE, SBOM, named, software_of, verify_build
from contracts.release.envelope import make_build_envelope, make_envelope
from contracts.release.rules import read_role
from contracts.release.trust import root_of, trust_of
from contracts.software import Software, installed
from symphony.attest import attached
from symphony.attest.provenance import provenance
from symphony.attest.sbom import sbom
from symphony.release.ceremony import build_key_id
from symphony.release.diff.build import difference
from symphony.release.orders import export
from symphony.release.propose import Draft, send
from symphony.release.review import downloaded, review
from symphony.release.rollback import rollback
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE, Mirror, World, manifests

SOURCE = {"commit": "c" * 40, "dirty": False}


@cache
def bill() -> bytes:
    """The SBOM of this very interpreter."""
    return sbom(commit="d" * 40)


def demanding() -> dict[str, dict[str, Any]]:
    """Manifests of which the sidecar's demands an attested build."""
    out = manifests()
    out[SERVICE]["attested_build"] = {"required": True}
    return out


def build_of(world: World, files: Mapping[str, bytes], sbom_bytes: bytes | None = None, **changes: Any) -> dict[str, bytes]:
    """SBOM and provenance of a release's files, by the build key."""
    data = sbom_bytes or bill()
    key = changes.pop("key", world.ceremony.build)
    return {SBOM: data, PROVENANCE: provenance(files, data, key, source=SOURCE, **changes)}


def attested(world: World, number: int = 1, *, cap_minor: int = 1_000_000, **changes: Any) -> Draft:
    """A release whose sidecar demands an attested build, with one."""
    files = world.files(cap_minor=cap_minor, manifests=demanding())
    return world.draft(number, files, build=changes.pop("build", None) or build_of(world, files, **changes))


def refused(code: str, call: Callable[[], object], *words: str) -> None:
    with pytest.raises(SymphonyError) as caught:
        call()
    assert caught.value.code == code
    assert all(word in str(caught.value) for word in words), caught.value


def resigned(world: World, envelope: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A provenance changed and signed again by the build key: a builder that errs or lies."""
    statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    change(statement)
    key = world.ceremony.build
    return canonical_bytes(make_build_envelope(key, build_key_id(key), INTOTO_TYPE, canonical_bytes(statement)))


def test_a_demanding_service_takes_an_attested_release_and_starts_on_it_again_offline(mirror: Mirror) -> None:
    mirror.put_release(attested(mirror.world))
    assert mirror.follower().refresh() is not None
    folder = mirror.world.folder / "follower"
    held = {
        "environment": ENVIRONMENT, "service": SERVICE, "folder": folder, "root_bytes": mirror.world.root,
        "record": FileRecord(folder / "accepted.json"), "clock": mirror.world.clock,
    }  # fmt: skip
    assert load_held(**held) is not None
    (kept,) = folder.glob(f"held/1-*/build/{SBOM}")
    kept.write_bytes(kept.read_bytes().replace(b'"version":1}', b'"version":2}'))
    refused("RELEASE_DIGEST", lambda: load_held(**held), SBOM)
    kept.unlink()
    refused("RELEASE_DIGEST", lambda: load_held(**held), SBOM)


def test_a_service_that_demands_nothing_takes_a_release_with_or_without_a_build(mirror: Mirror) -> None:
    """N-1: what is named is no target, so that a follower of the version before does not stumble over it."""
    follower = mirror.follower()
    mirror.put_release(mirror.world.draft(1))
    assert follower.refresh() is not None
    files = mirror.world.files(cap_minor=7)
    made = mirror.world.draft(2, files, build=build_of(mirror.world, files))
    assert not {SBOM, PROVENANCE} & set(made.files)
    mirror.put_release(made)
    second = follower.refresh()
    assert second is not None
    assert second.number == 2
    assert not list((mirror.world.folder / "follower").glob("held/*/build")), "nobody asked for it"


OTHERS: dict[str, tuple[Callable[[Software], Software], str]] = {
    "another version": (lambda here: replace(here, version="0.0.9"), "symphony 0.0.9, not"),
    "other code": (lambda here: replace(here, code_sha256="0" * 64), "other code of symphony"),
    "a package missing": (lambda here: _without(here, "orjson"), "orjson"),
    "a package too many": (lambda here: replace(here, packages={**here.packages, "stowaway": "1"}), "stowaway 1 is too many"),
    "a package of another version": (lambda here: replace(here, packages={**here.packages, "orjson": "0"}), "orjson 0, not"),
}


def _without(here: Software, name: str) -> Software:
    return replace(here, packages={other: version for other, version in here.packages.items() if other != name})


@pytest.mark.parametrize("what", OTHERS)
def test_a_service_that_runs_something_else_than_the_sbom_takes_nothing_and_keeps_the_old_release(
    mirror: Mirror, what: str
) -> None:
    change, words = OTHERS[what]
    follower = mirror.follower(software=lambda: change(installed()))
    mirror.put_release(mirror.world.draft(1))
    assert follower.refresh() is not None
    mirror.put_release(attested(mirror.world, 2))
    refused("RELEASE_SBOM", follower.refresh, words)
    assert follower.refused == (2, "RELEASE_SBOM")
    assert follower.active is not None
    assert follower.active.number == 1


def test_a_service_that_was_changed_meanwhile_does_not_start_on_the_release_that_it_holds(mirror: Mirror) -> None:
    mirror.put_release(attested(mirror.world))
    assert mirror.follower().refresh() is not None
    restarted = mirror.follower(software=lambda: replace(installed(), code_sha256="0" * 64))
    refused("RELEASE_SBOM", restarted.start, "other code")
    refused("RELEASE_SBOM", restarted.refresh)
    assert restarted.active is None


def test_a_demanded_build_that_is_not_named_or_not_served_or_swapped_is_refused(mirror: Mirror) -> None:
    world, follower = mirror.world, mirror.follower()
    mirror.put_release(world.draft(1, world.files(manifests=demanding())))
    refused("RELEASE_PROVENANCE", follower.refresh, "names no provenance")
    mirror.put_release(made := attested(world, 2))
    place = mirror.folder / "targets" / ENVIRONMENT / "2" / f"{sha256_hex(made.build[SBOM])}.{SBOM}"
    place.write_bytes(made.build[SBOM].replace(b"CycloneDX", b"CycloneDy"))
    refused("RELEASE_DIGEST", follower.refresh, SBOM)
    assert not list((world.folder / "follower").glob(f"held/*/build/{SBOM}")), "what is not what was signed is not kept"
    place.write_bytes(b" " * (BYTES_MAX[SBOM] + 1))
    refused("RELEASE_DIGEST", follower.refresh)
    place.unlink()
    refused("RELEASE_UNREACHABLE", follower.refresh)
    place.write_bytes(made.build[SBOM])
    assert follower.refresh() is not None


def test_a_service_refuses_a_proposal_that_names_half_a_build(mirror: Mirror) -> None:
    mirror.put_release(mirror.world.draft(1, build={SBOM: bill()}))
    refused("RELEASE_PROPOSAL", mirror.follower().refresh, "build names other things")


@pytest.mark.parametrize("build", [
    None, [], {}, {"sbom_sha256": "0" * 64}, {"sbom_sha256": "0" * 64, "provenance_sha256": "G" * 64},
    {"sbom_sha256": "0" * 64, "provenance_sha256": "0" * 64, "more": "0" * 64},
], ids=["null", "list", "empty", "no provenance", "no digest", "one more"])  # fmt: skip
def test_a_proposal_that_names_a_build_in_another_form_is_refused(build: object) -> None:
    with pytest.raises(NotTrusted) as caught:
        named({"build": build})
    assert caught.value.code == "RELEASE_PROPOSAL"
    assert named({}) == {}


Made = Callable[[World, dict[str, bytes]], dict[str, bytes]]


def _other_key(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    return build_of(world, files, key=ec.generate_private_key(ec.SECP256R1()))


def _by(name: str) -> Made:
    def made(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
        """By a key that the custodians name for something else."""
        key = world.ceremony.gate if name == "gate" else world.ceremony.officer(name)
        payload = base64.b64decode(json.loads(build_of(world, files)[PROVENANCE])["payload"])
        return {SBOM: bill(), PROVENANCE: canonical_bytes(make_envelope(key, INTOTO_TYPE, payload))}

    return made


def _forged(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    """Another's signature under the build key's id."""
    key = ec.generate_private_key(ec.SECP256R1())
    payload = base64.b64decode(json.loads(build_of(world, files)[PROVENANCE])["payload"])
    envelope = make_build_envelope(key, build_key_id(world.ceremony.build), INTOTO_TYPE, payload)
    return {SBOM: bill(), PROVENANCE: canonical_bytes(envelope)}


def _other_id(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    """The build key's own signature under an id that the custodians do not name."""
    payload = base64.b64decode(json.loads(build_of(world, files)[PROVENANCE])["payload"])
    envelope = make_build_envelope(world.ceremony.build, "0" * 64, INTOTO_TYPE, payload)
    return {SBOM: bill(), PROVENANCE: canonical_bytes(envelope)}


def _other_type(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    payload = base64.b64decode(json.loads(build_of(world, files)[PROVENANCE])["payload"])
    key = world.ceremony.build
    return {SBOM: bill(), PROVENANCE: canonical_bytes(make_build_envelope(key, build_key_id(key), "text/plain", payload))}


def _twice(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    envelope = json.loads(build_of(world, files)[PROVENANCE])
    return {SBOM: bill(), PROVENANCE: canonical_bytes({**envelope, "signatures": envelope["signatures"] * 2})}


def _lifted(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
    return build_of(world, {**files, "policy.wasm": b"of another release"})


def _changed(change: Callable[[dict[str, Any]], None]) -> Made:
    def made(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
        return {SBOM: bill(), PROVENANCE: resigned(world, build_of(world, files)[PROVENANCE], change)}

    return made


def _with_sbom(change: Callable[[dict[str, Any]], None]) -> Made:
    def made(world: World, files: dict[str, bytes]) -> dict[str, bytes]:
        document = json.loads(bill())
        change(document)
        return build_of(world, files, canonical_bytes(document))

    return made


def _double(document: dict[str, Any]) -> None:
    first = document["components"][0]
    document["components"].append({**first, "version": "999", "purl": first["purl"].replace(first["version"], "999")})


WRONG: dict[str, tuple[str, Made]] = {
    "another key": ("RELEASE_PROVENANCE", _other_key),
    "the gate's key": ("RELEASE_PROVENANCE", _by("gate")),
    "the proposer's key": ("RELEASE_PROVENANCE", _by("alice")),
    "a forged signature": ("RELEASE_PROVENANCE", _forged),
    "another key's id": ("RELEASE_PROVENANCE", _other_id),
    "another payload type": ("RELEASE_PROVENANCE", _other_type),
    "signed twice": ("RELEASE_PROVENANCE", _twice),
    "no envelope": ("RELEASE_PROVENANCE", lambda world, files: {**build_of(world, files), PROVENANCE: b"{}"}),
    "lifted from another release": ("RELEASE_PROVENANCE", _lifted),
    "about fewer files": ("RELEASE_PROVENANCE", _changed(lambda s: s["subject"].pop())),
    "about a file twice": ("RELEASE_PROVENANCE", _changed(lambda s: s["subject"].append(s["subject"][0]))),
    "beside another SBOM": ("RELEASE_PROVENANCE", lambda world, files: {
        **build_of(world, files), SBOM: bill().replace(b'"version":1}', b'"version":1 }'),
    }),
    "another predicate": ("RELEASE_PROVENANCE", _changed(lambda s: s.update(predicateType="https://slsa.dev/provenance/v0.2"))),
    "a field that nobody knows": ("RELEASE_PROVENANCE", _changed(lambda s: s.update(more=1))),
    "an SBOM of another form": ("RELEASE_SBOM", _with_sbom(lambda d: d.update(specVersion="1.5"))),
    "an SBOM without code": ("RELEASE_SBOM", _with_sbom(lambda d: d["metadata"]["component"].pop("hashes"))),
    "an SBOM with a package twice": ("RELEASE_SBOM", _with_sbom(_double)),
    "an SBOM with a package under another name": ("RELEASE_SBOM", _with_sbom(lambda d: d["components"][0].update(name="other"))),
}  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Keys for the tests that only verify."""
    return World(tmp_path_factory.mktemp("known") / "stack")


@pytest.mark.parametrize("what", WRONG)
def test_a_build_that_does_not_hold_is_refused(known: World, what: str) -> None:
    code, make = WRONG[what]
    files = known.files()
    made = known.draft(1, files, build=make(known, files))
    trust = trust_of(root_of(known.root), known.trust["targets.json"], ENVIRONMENT)
    role = read_role(trust, made.metadata, ENVIRONMENT)
    proposal = {"build": {FIELD_OF[name]: sha256_hex(data) for name, data in made.build.items()}}
    refused(code, lambda: verify_build(trust, role, proposal, made.build))


def test_a_build_that_holds_says_who_built_it_of_which_commit(known: World) -> None:
    files = known.files()
    made = known.draft(1, files, build=build_of(known, files, builder="urn:example:ci:7"))
    trust = trust_of(root_of(known.root), known.trust["targets.json"], ENVIRONMENT)
    proposal = {"build": {FIELD_OF[name]: sha256_hex(data) for name, data in made.build.items()}}
    found = verify_build(trust, read_role(trust, made.metadata, ENVIRONMENT), proposal, made.build)
    assert f"built by urn:example:ci:7 of commit {'c' * 40} (clean)" in found.sentence
    assert found.software == installed(), "the SBOM of this interpreter is what runs here"
    assert made.build == build_of(known, files, builder="urn:example:ci:7"), "the same inputs, the same bytes"


def test_the_control_plane_keeps_and_serves_a_build_and_an_officer_is_told(running: Running, tmp_path: Path) -> None:
    world, control = running.world, running.control("bruno")
    files = world.files(manifests=demanding())
    made = world.draft(1, files, build=build_of(world, files))

    def sent(draft: Draft) -> Callable[[], object]:
        return lambda: send(running.control("alice"), world.officer("alice"), draft, "a test")

    refused("RELEASE_PROVENANCE", sent(world.draft(1, files)), "names no provenance")
    refused("RELEASE_DIGEST", sent(replace(made, build={SBOM: made.build[SBOM]})), PROVENANCE)
    lifted = build_of(world, {**files, "policy.wasm": b"another"})
    refused("RELEASE_PROVENANCE", sent(world.draft(1, files, build=lifted)), "other bytes")
    refused("RELEASE_PROVENANCE", lambda: running.proposed(files=files, build=lifted), "other bytes")
    assert not control.releases(ENVIRONMENT), "nothing half-done"
    running.release(files=files, build=made.build)
    found = downloaded(control, ENVIRONMENT, 1, world.root)
    assert attached.said(control, found)[0].startswith("built by urn:symphony:builder:unnamed of commit cccc")
    follower_folder = tmp_path / "exported"
    assert export(running.source(), follower_folder, root=world.root, environment=ENVIRONMENT)[0] == 1
    from tests.releases.support import follower

    assert follower(world, running.source(), tmp_path / "one").refresh() is not None
    assert follower(world, FolderSource(follower_folder), tmp_path / "two").refresh() is not None
    running.release(cap_minor=7)
    assert attached.said(control, downloaded(control, ENVIRONMENT, 2, world.root)) == [
        "no SBOM and no provenance are bound into this release"
    ]
    rollback(
        running.control("alice"), world.officer("alice"), environment=ENVIRONMENT, to=1, reason="back", change_ticket="CHG-3",
        root=world.root, now=world.clock.now(),
    )  # fmt: skip
    third = review(control, ENVIRONMENT, 3, root=world.root, now=world.clock.now())
    assert attached.document(control, third.release) == attached.document(control, found)


def test_an_officer_is_told_that_a_service_no_longer_demands_its_build(world: World) -> None:
    one, other = world.files(), world.files(manifests=demanding())
    for before, after, effect in ((one, other, "tighter"), (other, one, "looser")):
        (change,) = difference(before, after).changes
        assert (change.effect, "reference-rail demands an attested build" in change.words) == (effect, True)


def test_an_sbom_is_cyclonedx_by_its_own_schema_and_lists_what_a_lock_pins(root: Path) -> None:
    image = sbom(commit=None, runtime_lock=root / "requirements" / "runtime.txt")
    listed = software_of(image).packages
    assert listed["orjson"] == installed().packages["orjson"]
    assert "pytest" not in listed
    components = {component["name"]: component for component in json.loads(image)["components"]}
    assert all(components[name]["hashes"] for name in listed)
    assert components["opa"]["scope"] == "excluded"
    assert sbom(commit=None, runtime_lock=root / "requirements" / "runtime.txt") == image
    validation = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is in requirements/dev.txt")
    from cyclonedx.schema import SchemaVersion

    for document in (image, bill()):
        assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None


@pytest.mark.parametrize("line", ["orjson", "orjson>=3", "-r other.txt", "orjson==3; python_version < '3.12'"])
def test_a_lock_that_pins_no_exact_version_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock.txt").write_text(f"click==8.1\n{line}\n")
    refused("CONFIGURATION", lambda: sbom(commit=None, runtime_lock=tmp_path / "lock.txt"), line[:20])
