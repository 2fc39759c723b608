"""Break-glass at a running control plane: sealed, opened by two, closed, reviewed by a third; unreviewed, promotions freeze."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SymphonyError
from contracts.evidence import parse_record
from contracts.release import ReleaseFollower
from symphony.cli import main
from symphony.release import emergency as tools
from symphony.release.emergency import EmergencyDraft
from tests.releases.glass import BOUNDS, opened
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, follower

pytestmark = pytest.mark.needs_schema("controlplane", 7)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(SymphonyError) as error:
        call()
    return error.value.code


def proposed(shared: Running, name: str = "alice") -> EmergencyDraft:
    files = shared.world.files()
    return tools.seal(
        shared.control(name), shared.world.officer(name), files, shared.world.gate(files), BOUNDS, environment=ENVIRONMENT,
        reason="the rail is down", change_ticket="CHG-9", root=shared.world.root, now=shared.world.clock.now(),
    )  # fmt: skip


def look(shared: Running, name: str, number: int) -> tools.Look:
    return tools.look(shared.control(name), ENVIRONMENT, number, root=shared.world.root)


def approve(shared: Running, name: str, number: int) -> str:
    return tools.approve(shared.control(name), shared.world.officer(name), look(shared, name, number))


def acted(shared: Running, act: Callable[..., Any], name: str, number: int, **more: Any) -> dict[str, Any]:
    """An act of an officer's: open, close, review."""
    arguments = {"reason": f"{name} says so", "now": shared.world.clock.now(), **more}
    found: dict[str, Any] = act(shared.control(name), shared.world.officer(name), look(shared, name, number), **arguments)
    return found


def active(shared: Running) -> int:
    found = [r["number"] for r in shared.control("alice").releases(ENVIRONMENT) if r["status"] == "ACTIVE"]
    return int(found[0]) if found else shared.release().number


def opens(shared: Running, number: int, *names: str) -> dict[str, Any]:
    """Opened by officers, one after another; the last answer."""
    over = active(shared)
    return [acted(shared, tools.open_, name, number, over=over) for name in names or ("alice", "bruno")][-1]


def sealed(shared: Running) -> int:
    """The next emergency, sealed; none is left open before it."""
    active(shared)
    number = proposed(shared).number
    assert [approve(shared, name, number) for name in ("bruno", "chanda")] == ["PROPOSED", "SEALED"]
    return number


def state(shared: Running, number: int) -> dict[str, Any]:
    return next(one for one in tools.listed(shared.control("alice"), ENVIRONMENT)["emergencies"] if one["number"] == number)


def leaves(shared: Running, number: int) -> list[dict[str, Any]]:
    rows = shared.rows("SELECT record FROM symphony.log_leaves WHERE kind = 'emergency' ORDER BY index")
    return [one for one in (parse_record(bytes(record)) for (record,) in rows) if one["number"] == number]


@pytest.fixture
def service(shared: Running, tmp_path: Path) -> ReleaseFollower:
    """A sidecar's follower of the running control plane."""
    active(shared)
    made = follower(shared.world, shared.source(), tmp_path / "service")
    made.refresh()
    return made


def in_force(service: ReleaseFollower) -> int:
    assert service.active is not None
    return service.active.in_force[1]


def test_the_whole_way_from_sealed_to_reviewed_and_every_step_is_a_leaf(shared: Running, service: ReleaseFollower) -> None:
    number = sealed(shared)
    service.refresh()
    assert (in_force(service), service.emergency_policy is None) == (0, False)
    answer = opens(shared, number, "alice")
    assert (answer["state"], answer["signatures"], answer["needed"]) == ("SEALED", 1, 2)
    service.refresh()
    assert in_force(service) == 0, "one officer opens nothing"
    answer = opens(shared, number, "bruno")
    assert (answer["state"], answer["signatures"]) == ("OPEN", 2)
    service.refresh()
    assert in_force(service) == number
    assert acted(shared, tools.close, "dalitso", number)["state"] == "CLOSED"
    service.refresh()
    assert in_force(service) == 0
    assert acted(shared, tools.review, "chanda", number)["reviewed"]
    events = [one["event"] for one in leaves(shared, number)]
    assert events == ["PROPOSED", "APPROVED", "SEALED", "OPENING", "OPENED", "CLOSED", "REVIEWED"]
    both = next(one for one in leaves(shared, number) if one["event"] == "OPENED")
    assert sorted(both["key_ids"]) == sorted(shared.world.officer(name).key_id for name in ("alice", "bruno"))


def test_what_is_sealed_is_not_served_and_what_is_open_is(shared: Running) -> None:
    number = sealed(shared)
    source, digest = shared.source(), look(shared, "bruno", number).sealed.role.targets["policy.wasm"].sha256
    target = f"targets/{ENVIRONMENT}-emergency/{number}/{digest}.policy.wasm"
    assert code_of(lambda: source.fetch(target, 10**6)) == "RELEASE_UNREACHABLE"
    assert code_of(lambda: source.fetch(f"emergency/{ENVIRONMENT}/{number}.json", 10**6)) == "RELEASE_UNREACHABLE"
    assert code_of(lambda: shared.control("esnart").get_bytes(f"/v1/emergencies/{ENVIRONMENT}/{number}/targets/policy.wasm")) == (
        "OFFICER_UNKNOWN"
    )
    opens(shared, number)
    assert source.fetch(target, 10**6)
    acted(shared, tools.close, "alice", number)
    acted(shared, tools.review, "dalitso", number)


def test_nobody_approves_his_own_nor_twice_nor_opens_twice(shared: Running) -> None:
    active(shared)
    number = proposed(shared).number
    assert code_of(lambda: approve(shared, "alice", number)) == "OFFICER_IS_PROPOSER"
    assert approve(shared, "bruno", number) == "PROPOSED"
    assert code_of(lambda: approve(shared, "bruno", number)) == "RELEASE_SIGNATURE"
    assert code_of(lambda: opens(shared, number, "alice")) == "RELEASE_SIGNATURE", "not sealed: refused on the officer's machine"
    assert approve(shared, "chanda", number) == "SEALED"
    first = opens(shared, number, "alice")
    envelope = look(shared, "alice", number).shown["pending"][-1]
    address = f"/v1/emergencies/{ENVIRONMENT}/{number}/opening"
    assert first["state"] == "SEALED"
    assert code_of(lambda: shared.control("alice").post(address, {"envelope": envelope})) == "EMERGENCY_STATE"
    assert code_of(lambda: shared.control("bruno").post(address, {"envelope": envelope})) == "ENVELOPE_INVALID", "not his own"
    assert state(shared, number)["state"] == "SEALED"


def test_an_opening_of_both_at_once_of_another_release_or_of_before_is_refused(shared: Running) -> None:
    number, over = sealed(shared), active(shared)
    found, world = look(shared, "alice", number), shared.world
    address = f"/v1/emergencies/{ENVIRONMENT}/{number}/opening"

    def post(name: str, *signers: str, **changes: Any) -> str:
        envelope = opened(world, EmergencyDraft(ENVIRONMENT, number, found.metadata, {}), *signers, sealed=found.sealed, **changes)
        return code_of(lambda: shared.control(name).post(address, {"envelope": envelope}))

    assert post("alice", "alice", "bruno", over=over) == "ENVELOPE_INVALID"
    assert post("alice", "alice", over=over + 1) == "EMERGENCY_STATE"
    assert post("alice", "alice", over=over, now=world.clock.now() + timedelta(minutes=5)) == "EMERGENCY_TIME"
    assert state(shared, number)["state"] == "SEALED"
    assert [act["act"] for act in state(shared, number)["acts"]] == ["APPROVED", "APPROVED", "SEALED"]


def test_unreviewed_promotions_freeze_until_one_who_did_not_open_reviews(shared: Running) -> None:
    number = sealed(shared)
    opens(shared, number)
    made = shared.proposed(cap_minor=77)
    shared.signed(made)
    clock = shared.world.clock
    try:
        clock.moved += timedelta(seconds=BOUNDS.review_within_s + 1)
        assert state(shared, number)["state"] == "OVER"
        assert code_of(lambda: shared.promoted(made)) == "EMERGENCY_UNREVIEWED"
        assert tools.listed(shared.control("alice"), ENVIRONMENT)["promotions_wait_for"] == [number]
        assert code_of(lambda: acted(shared, tools.review, "bruno", number)) == "EMERGENCY_OWN"
        assert code_of(lambda: acted(shared, tools.close, "alice", number)) == "EMERGENCY_STATE", "it is over"
        assert acted(shared, tools.review, "chanda", number)["reviewed"]
        assert shared.promoted(made) == made.digest
    finally:
        clock.moved -= timedelta(seconds=BOUNDS.review_within_s + 1)


def test_no_other_is_sealed_while_one_is_open_and_the_next_promotion_ends_it(shared: Running, service: ReleaseFollower) -> None:
    number = sealed(shared)
    opens(shared, number)
    service.refresh()
    assert in_force(service) == number
    after = proposed(shared).number
    assert approve(shared, "bruno", after) == "PROPOSED"
    assert code_of(lambda: approve(shared, "chanda", after)) == "EMERGENCY_STATE"
    shared.release(cap_minor=88)
    service.refresh()
    assert (in_force(service), state(shared, number)["state"]) == (0, "OVER")
    acted(shared, tools.review, "dalitso", number)
    assert approve(shared, "chanda", after) == "SEALED"
    service.refresh()
    assert in_force(service) == 0


def test_officers_break_the_glass_by_command(
    shared: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On machines of their own: seal, approve, open, list, close, review; a wrong cap is usage, a wrong officer is refused."""
    active(shared)
    files = shared.world.files()
    for name in ("policy.wasm", "policy.tar.gz", "invariants.json"):
        (tmp_path / name).write_bytes(files[name])
    (tmp_path / "gate.json").write_bytes(shared.world.gate(files))
    monkeypatch.setenv("SYMPHONY_URL", shared.url)
    monkeypatch.setenv("SYMPHONY_CA", str(shared.ca))
    monkeypatch.setenv("SYMPHONY_ROOT", str(shared.world.folder / "trust" / "1.root.json"))

    def say(officer: str, *words: str) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setenv("SYMPHONY_OFFICER_FOLDER", str(shared.world.folder / "officers" / officer))
        code = main(["emergency", *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    sealing = ("seal", "--targets", str(tmp_path), "--gate", str(tmp_path / "gate.json"), "--reason", "rail down")
    assert say("alice", *sealing, "--cap", "ZMW:12.50:1:1")[0] == 2
    assert say("alice", *sealing, "--cap", "ZMW:500:5000:10", "--valid-hours", "25")[0] == 2
    assert say("alice", *sealing, "--cap", "zmw:500:5000:10")[0] == 5
    code, said = say("alice", *sealing, "--cap", "ZMW:500:5000:10")
    number = said.split()[1]
    assert (code, "is PROPOSED" in said) == (0, True), said
    code, said = say("alice", "approve", number)
    assert (code, "OFFICER_IS_PROPOSER" in said) == (1, True)
    code, said = say("bruno", "approve", number)
    assert (code, "ZMW: payment_minor_max=500" in said) == (0, True), said
    assert f"emergency {number} is SEALED" in say("chanda", "approve", number)[1]
    code, said = say("bruno", "open", number, "--reason", "the rail is down")
    assert (code, "1 of 2 officers have signed" in said) == (0, True), said
    code, said = say("dalitso", "open", number, "--reason", "the rail is down")
    assert (code, f"emergency {number} is OPEN until" in said) == (0, True), said
    code, said = say("alice", "list")
    assert (code, f"{number}  OPEN " in said) == (0, True), said
    assert f"emergency {number} is CLOSED" in say("alice", "close", number, "--reason", "the rail is back")[1]
    code, said = say("bruno", "review", number, "--finding", "all well")
    assert (code, "EMERGENCY_OWN" in said) == (1, True), said
    code, said = say("chanda", "review", number, "--finding", "three payments, all due")
    assert (code, f"emergency {number} is reviewed" in said) == (0, True), said
