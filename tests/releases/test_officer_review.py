"""What an officer looks at before he signs, and what keeps him from signing (POL-05, POL-07; design section 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.canonical import sha256_hex
from contracts.keys import new_private_key
from symphony import policy_build
from symphony.cli import main
from symphony.commands import release_review
from symphony.release import client
from symphony.release.promote import promote
from symphony.release.review import Download, compared
from tests.releases.running import Running, control_plane
from tests.releases.support import ENVIRONMENT, World, environment_data
from tests.support.database import TestPostgres

pytestmark = pytest.mark.usefixtures("opa")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, postgres: TestPostgres) -> Iterator[Running]:
    """Release 1 is active, with a cap of 10,000.00; 2 raises it and nobody approved it; 3 raises it and adds an agent."""
    world, database = World(tmp_path_factory.mktemp("office") / "stack"), postgres.new_database("controlplane")
    with control_plane(world, database.writer) as running:
        running.release()
        running.proposed(cap_minor=90_000_000)
        data = environment_data(cap_minor=90_000_000)
        data["permitted"]["agents"].append("LWGBZMLUXXX")
        running.proposed(files=world.files(environment_data=data), source={"commit": "c0ffee", "dirty": True})
        yield running
    postgres.drop(database)


@pytest.fixture
def say(office: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """``symphony release …`` as an officer on a machine of his own, without a stack's folder: (exit code, what is said)."""
    folder, pinned = office.world.folder, office.world.folder / "trust" / "1.root.json"
    monkeypatch.setenv("SYMPHONY_URL", office.url)
    monkeypatch.setenv("SYMPHONY_CA", str(office.ca))
    monkeypatch.setenv("SYMPHONY_ROOT", str(pinned))

    def run(*words: str, officer: str = "bruno") -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setenv("SYMPHONY_OFFICER_FOLDER", str(folder / "officers" / officer))
        code = main(["release", *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def doctored(world: World) -> dict[str, bytes]:
    """Files whose policy.wasm allows everything: real Wasm, of other Rego than the bundle holds."""
    open_rego = {"payments/decisions.rego": b"package symphony.payments\n\nimport rego.v1\n\ndecisions := {}\n"}
    return {**world.files(), "policy.wasm": policy_build.rebuild(open_rego)}


def test_a_change_cannot_hide_in_a_proposal_that_nobody_approved(say: Any) -> None:
    """Release 3 is compared with release 1, the last that was approved, though release 2 says the same cap already."""
    code, said = say("show", "3", "-o", "json")
    found = json.loads(said)
    assert (code, found["compared_with"]) == (0, 1)
    assert [one["words"] for one in found["changes"]] == [
        "cap per payment of ZMW: 10,000.00 → 900,000.00", "permitted agents: added LWGBZMLUXXX",
    ]  # fmt: skip
    assert found["counts"] == {"looser": 2, "tighter": 0, "neutral": 0, "not_classified": 0}


def test_two_releases_are_compared_in_either_order(say: Any) -> None:
    code, there = say("diff", "1", "3")
    assert code == 0
    assert "cap per payment of ZMW: 10,000.00 → 900,000.00 (looser)" in there
    assert "2 changes: 2 looser, 0 tighter" in there
    assert "from commit c0ffee (with uncommitted changes), as its proposer says" in there
    code, back = say("diff", "3", "1", "-o", "json")
    found = json.loads(back)
    assert (code, found["from"]["number"], found["to"]["number"]) == (0, 3, 1)
    assert found["counts"] == {"looser": 0, "tighter": 2, "neutral": 0, "not_classified": 0}
    assert found["from"]["source"] == {"commit": "c0ffee", "dirty": True}
    assert say("diff", "1", "1")[1].endswith("nothing changes: every digest that counts is the same\n")


def test_a_release_that_is_not_there_is_said_so(say: Any) -> None:
    code, said = say("diff", "1", "77")
    assert code == 1
    assert "no release 77" in said
    assert say("diff", "1", "0")[0] == 2


def test_an_address_without_the_rest_is_a_usage_error(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMPHONY_ROOT")
    code, said = say("show", "1")
    assert code == 2
    assert "with --url also name --root" in said


def test_a_build_is_proven_by_whoever_has_the_pinned_opa(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = say("verify-build", "1", "-o", "json")
    found = json.loads(said)
    assert (code, found["equal"]) == (0, True)
    assert found["policy_wasm"]["signed_sha256"] == found["policy_wasm"]["rebuilt_sha256"]
    assert found["bundle"]["revision"] == found["bundle"]["rego_sha256"] == policy_build.rego_digest()
    monkeypatch.setenv("SYMPHONY_OPA", "/nowhere/opa")
    code, said = say("verify-build", "1")
    assert code == 3
    assert "RELEASE_NOT_REBUILT" in said


def test_a_wasm_that_is_not_what_the_rego_says_is_refused_by_every_officer(
    office: Running, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else of it is in order: proposed by an officer, its digests signed by the gate (NEG of design section 4)."""
    made = office.proposed(files=doctored(office.world))
    number = str(made.number)
    code, said = say("verify-build", number)
    assert code == 1
    assert sha256_hex(made.files["policy.wasm"]) in said
    assert "IS NOT what its Rego compiles to" in said
    code, said = say("approve", number, "--yes")
    assert (code, "RELEASE_DIGEST" in said) == (5, True)
    monkeypatch.setenv("SYMPHONY_OPA", "/nowhere/opa")
    code, said = say("approve", number, "--yes")
    assert (code, "RELEASE_NOT_REBUILT" in said) == (3, True)
    assert office.control("alice").release(ENVIRONMENT, made.number)["approvals"] == []


def test_an_officer_is_asked_before_he_signs_on_a_terminal(say: Any, office: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    asked: list[str] = []
    monkeypatch.setattr(release_review.sys, "stdin", Terminal())
    monkeypatch.setattr(release_review.click, "confirm", asked.append)
    code, said = say("approve", "3")
    assert (code, asked) == (1, ["sign release 3 as bruno?"])
    assert said.endswith("not signed\n")
    assert office.control("alice").release(ENVIRONMENT, 3)["approvals"] == []
    code, said = say("approve", "3", "--yes")
    assert (code, len(asked)) == (0, 1)
    assert "permitted agents: added LWGBZMLUXXX (looser)" in said
    assert "rebuilt here with opa" in said
    assert said.endswith("release 3 is PROPOSED\n")


def test_the_key_may_lie_elsewhere_and_must_be_an_officers(say: Any, office: Running, tmp_path: Path) -> None:
    """POL-07: whose certificate it is says nothing about the key."""
    own = office.world.folder / "officers" / "chanda" / "key.pem"
    elsewhere, stranger = tmp_path / "own.pem", tmp_path / "stranger.pem"
    elsewhere.write_bytes(own.read_bytes())
    new_private_key(stranger)
    code, said = say("approve", "2", "--key", str(stranger), officer="chanda")
    assert (code, "OFFICER_UNKNOWN" in said) == (1, True)
    code, said = say("approve", "2", "--key", f"file:{office.world.folder}/officers/alice/key.pem", officer="chanda")
    assert (code, "OFFICER_IS_PROPOSER" in said) == (1, True)
    code, said = say("approve", "2", "--key", f"file:{elsewhere}", officer="chanda")
    assert (code, said.endswith("release 2 is PROPOSED\n")) == (0, True)


def test_a_later_release_without_an_approved_one_before_it_shows_all_of_it(office: Running) -> None:
    files = office.world.files()
    later, first = (cast("Download", SimpleNamespace(role=SimpleNamespace(number=number), files=files)) for number in (2, 1))
    assert compared(None, first).changes == ()
    found = compared(None, later)
    assert "policy.wasm added as the Rego" in " ".join(one.words for one in found.changes)
    assert len(found.rego) == len(policy_build.rego_files())


def test_what_a_hostile_control_plane_says_is_one_line(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = json.dumps({"reason_code": "NOT_FOUND", "detail": "no release\x1b[2J\nrelease 9 is ACTIVE"}).encode()
    monkeypatch.setattr(client.http.client.HTTPSConnection, "request", lambda *_a, **_k: None)
    answer = SimpleNamespace(status=404, read=lambda _bytes: problem)
    monkeypatch.setattr(client.http.client.HTTPSConnection, "getresponse", lambda _self: answer)
    _, said = say("show", "9")
    assert "no release\\x1b[2J\\nrelease 9 is ACTIVE" in said
    assert "\x1b" not in said


def test_the_base_is_the_release_in_force_from_then_on(say: Any, office: Running) -> None:
    made = office.proposed(cap_minor=90_000_000)
    office.approved(made.number, "bruno", "chanda")
    promote(office.control("alice"), office.world.officer("alice"), ENVIRONMENT, made.number)
    after = office.proposed(cap_minor=90_000_001)
    found = json.loads(say("show", str(after.number), "-o", "json")[1])
    assert (found["compared_with"], len(found["changes"])) == (made.number, 1)
