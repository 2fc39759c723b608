"""The ceremony and the changes by the command line, as custodians on machines of their own meet them: files go round, keys do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.keys import key_id_of, load_private_key, public_hex
from contracts.release.trust import root_of, trust_of
from symphony import cli
from symphony.drill.world import World
from symphony.release.ceremony import CUSTODIANS, OFFICERS
from tests.support.database import TestPostgres

PLAN = """\
schema: symphony.trust/1
custodians: {{threshold: 2, keys: {{{custodians}}}}}
officers: {{{officers}}}
security_officers: {{{security}}}
gate: {{ci: {gate}}}
build: build.pub
online: {{snapshot: {snapshot}, timestamp: {timestamp}}}
environments:
  sandbox: {{approvals: 2, officers: [{names}], security_officers: [esnart, faith]}}
valid_days: 400
"""


def run(*arguments: object) -> int:
    """The command line."""
    return cli.main([str(one) for one in arguments])


@dataclass
class Ceremony:
    """A control plane without any trust, the plan, and where each one's key lies."""

    world: World
    plan: Path
    drafts: Path

    def key(self, name: str) -> Path:
        """A person's key."""
        return self.world.person(name) / "key.pem"

    @property
    def where(self) -> tuple[object, ...]:
        """The options by which a custodian reaches the control plane from anywhere."""
        return ("--url", self.world.plane.url, "--identity", self.world.person("custodian-1"), "--ca", self.world.ca)

    @property
    def rooted(self) -> tuple[object, ...]:
        """The same with the root that he pinned."""
        return (*self.where, "--root", self.drafts / "1.root.json")


def plan_of(world: World, folder: Path) -> Path:
    """A plan of the world's keys; the build key by its file."""

    def inline(names: Any) -> str:
        return ", ".join(f"{name}: {public_hex(load_private_key(world.person(name) / 'key.pem'))}" for name in names)

    assert run("trust", "key", "new", folder / "build", "--kind", "build") == 0
    shutil.copy(folder / "build", world.folder / "build" / "key.pem")
    made = folder / "plan.yml"
    made.write_text(PLAN.format(
        custodians=inline(CUSTODIANS), officers=inline(OFFICERS), security=inline(("esnart", "faith")), names=", ".join(OFFICERS),
        gate=public_hex(world.ceremony.gate), **{r: public_hex(world.ceremony.online(r)) for r in ("snapshot", "timestamp")},
    ))  # fmt: skip
    return made


@pytest.fixture(scope="module")
def held(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceremony]:
    """The ceremony, held to its end: drafted, signed by two custodians and a security officer, published."""
    folder = tmp_path_factory.mktemp("ceremony")
    database = postgres.new_database("controlplane")
    with World(folder / "world", database.writer, reviews=False, publishes=False) as world:
        made = Ceremony(world, plan_of(world, folder), folder / "drafts")
        assert run("trust", "draft", made.plan, "--out", made.drafts) == 0
        assert run("trust", "sign", made.drafts, "--key", made.key("custodian-1"), "--yes") == 0
        assert run("trust", "publish", made.drafts, *made.where) == 6, "a signature is missing"
        for name in ("custodian-2", "esnart"):
            assert run("trust", "sign", made.drafts, "--key", made.key(name), "--yes") == 0
        assert run("trust", "publish", made.drafts, *made.where) == 0
        world.trust = {"1.root.json": (made.drafts / "1.root.json").read_bytes()}
        world.release()
        yield made
    postgres.drop(database)


def test_a_ceremony_in_steps_ends_in_a_release_that_sidecars_run(held: Ceremony, capsys: pytest.CaptureFixture[str]) -> None:
    sidecar = held.world.sidecar("one")
    assert sidecar.refresh() is not None
    assert run("trust", "status", *held.rooted, "-o", "json", "--fail-on-warn") == 0
    document = json.loads(capsys.readouterr().out)
    roles = {one["name"]: one for one in document["roles"]}
    assert {name: roles[name]["may_lose"] for name in ("root", "targets", "sandbox", "sandbox-revocations", "timestamp")} == {
        "root": 1, "targets": 1, "sandbox": 1, "sandbox-revocations": 1, "timestamp": 0,
    }  # fmt: skip
    said = {one["name"]: one.get("in_release") for one in document["environments"]["sandbox"]}
    assert said == {"alice": "proposed", "bruno": "approved", "chanda": "approved", "dalitso": None}
    assert (document["red"], document["warnings"], document["root_version"]) == ([], [], 1)


def test_a_change_is_drafted_signed_on_copies_and_published(held: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trust", "key", "new", tmp_path / "naledi") == 0
    before = held.world.published().root.version
    drafts, copy = tmp_path / "drafts", tmp_path / "copy"
    assert run(
        "trust", "rotate", *held.rooted, "--add-custodian", f"naledi={tmp_path / 'naledi.pub'}", "--remove-custodian", "custodian-3",
        "--out", drafts,
    ) == 0  # fmt: skip
    assert "+ custodian naledi" in capsys.readouterr().out
    shutil.copytree(drafts, copy)
    assert run("trust", "sign", drafts, "--key", held.key("custodian-1"), "--yes") == 0
    assert run("trust", "sign", copy, "--key", held.key("custodian-2"), "--yes") == 0
    assert run("trust", "publish", drafts, *held.where) == 6
    said = capsys.readouterr().out
    assert f"root {before + 1}: 1 of 2 signatures; still to sign: " in said
    assert "naledi" in said.split("still to sign: ")[-1]
    assert run("trust", "publish", drafts, "--with", copy, *held.where) == 0
    assert held.world.published().root.version == before + 1
    assert run("trust", "sign", drafts, "--key", held.key("bruno"), "--yes") == 1, "an officer signs none of it"
    assert run("trust", "status", "--from", held.drafts) == 0


def test_an_officer_goes_only_with_the_renewal_that_does_without_him(held: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    removal = ("trust", "remove-officer", "bruno", "--env", "sandbox", *held.rooted)
    assert run(*removal, "--out", tmp_path / "a") == 1
    said = capsys.readouterr()
    assert "does not stand: sandbox: 1 of 2 approvals, not counting the proposer's (RELEASE_SIGNATURE)" in said.out
    assert "TRUST_BREAKS_RELEASE" in said.err
    assert "--with-renewal N" in said.err
    assert not (tmp_path / "a").exists()
    active = max(one["number"] for one in held.world.control("alice").releases("sandbox"))
    number = held.world.renewed(active, "alice", ["chanda", "dalitso"])
    renewal = ("--with-renewal", number, "--officer-key", held.key("alice"))
    assert run(*removal, *renewal, "--dry-run") == 0
    assert run(*removal, *renewal, "--out", tmp_path / "b") == 0
    for name in ("custodian-1", "custodian-2"):
        assert run("trust", "sign", tmp_path / "b", "--key", held.key(name), "--yes") == 0
    assert run("trust", "publish", tmp_path / "b", *held.where) == 1, "without its renewal the control plane refuses it"
    assert run("trust", "publish", tmp_path / "b", *held.where, *renewal) == 0
    assert run("trust", "status", *held.rooted) == 1, "with three officers and two approvals no key may be lost"
    assert "red: sandbox: no key may be lost; name one more: symphony trust enrol-officer" in capsys.readouterr().out
    sidecar = held.world.sidecar("late")
    sidecar.refresh()
    assert sidecar.active is not None
    assert sidecar.active.number == number


def test_a_new_officer_is_enrolled_with_his_certificate(held: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held.world.enrolment("femi")
    folder = held.world.person("femi")
    enrol = ("trust", "enrol-officer", "femi", "--env", "sandbox", *held.rooted, "--out", tmp_path / "c")
    assert run(*enrol) == 2, "whose key?"
    assert run(*enrol, "--key", public_hex(load_private_key(folder / "key.pem")), "--certificate", folder / "client.pem") == 0
    for name in ("custodian-1", "custodian-2"):
        assert run("trust", "sign", tmp_path / "c", "--key", held.key(name), "--yes") == 0
    assert run("trust", "publish", tmp_path / "c", *held.where) == 0
    made = held.world.proposed("alice", 5)
    assert held.world.approved(made.number, "femi", "chanda") == "APPROVED"


@pytest.mark.parametrize(("change", "code"), [
    (("threshold: 2", "threshold: 0"), 2), (("schema: symphony.trust/1", "schema: x"), 2), (("gate: {", "gates: {"), 2),
    (("approvals: 2", "approvals: 3"), 5), (("officers: [alice", "officers: [zed"), 1), (("build.pub", "nothing"), 2),
    (("online: {snapshot: ", "online: {snapshot: x"), 2), (("sandbox:", "moon:"), 2),
], ids=["threshold", "schema", "field", "more-approvals-than-custodians", "stranger", "no-build-key", "no-key", "environment"])  # fmt: skip
def test_a_plan_that_cannot_stand_is_refused_before_anybody_signs(
    held: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], code: int
) -> None:
    text = held.plan.read_text()
    assert change[0] in text
    shutil.copy(held.plan.with_name("build.pub"), tmp_path)
    (tmp_path / "plan.yml").write_text(text.replace(*change))
    assert run("trust", "draft", tmp_path / "plan.yml", "--out", tmp_path / "out") == code
    assert "next: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_key_in_two_offices_is_no_plan(held: Ceremony, tmp_path: Path) -> None:
    text = held.plan.read_text()
    gate = text.split("gate: {ci: ")[1][:64]
    shutil.copy(held.plan.with_name("build.pub"), tmp_path)
    (tmp_path / "plan.yml").write_text(text.replace(gate, text.split("officers: {alice: ")[1][:64]))
    assert run("trust", "draft", tmp_path / "plan.yml", "--out", tmp_path / "out") == 5


def test_a_development_folder_has_every_key_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trust", "init", "--dir", tmp_path / "d", "--env", "sandbox", "--env", "production") == 0
    assert run("trust", "init", "--dir", tmp_path / "d") == 2
    capsys.readouterr()
    assert run("trust", "status", "--from", tmp_path / "d" / "trust", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["environments"]) == ["sandbox", "production"]
    trust = tmp_path / "d" / "trust"
    root = root_of((trust / "1.root.json").read_bytes())
    assert len(trust_of(root, (trust / "targets.json").read_bytes(), "production").officers) == 4


def test_a_key_is_private_and_never_written_over(tmp_path: Path) -> None:
    assert run("trust", "key", "new", tmp_path / "k") == 0
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    kept = (tmp_path / "k").read_bytes()
    assert run("trust", "key", "new", tmp_path / "k") == 2
    assert (tmp_path / "k").read_bytes() == kept
    assert (tmp_path / "k.pub").read_text().strip() == public_hex(load_private_key(tmp_path / "k"))
    assert len(key_id_of(load_private_key(tmp_path / "k"))) == 64


@pytest.mark.parametrize(("arguments", "code"), [
    (("trust", "status", "--from", "/nowhere"), 2), (("trust", "status", "--url", "https://127.0.0.1:1"), 2),
    (("trust", "sign", ".", "--key", "/nowhere"), 2), (("trust", "rotate", "--add-custodian", "naledi"), 2),
    (("trust", "remove-officer", "x"), 2), (("drill", "nothing"), 2), (("trust", "status", "--dir", "/nowhere/at/all"), 3),
], ids=["folder", "url", "key", "pair", "env", "drill", "stack"])  # fmt: skip
def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments) == code
    assert "Traceback" not in capsys.readouterr().err
