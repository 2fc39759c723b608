"""Step 6 of the story: a lower cap rolled out and back by officers at their command lines, and a forged release refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest

from contracts.keys import load_private_key
from controlplane.context import Context
from controlplane.store import Database
from symphony.participant import Reply
from symphony.release.ceremony import Ceremony
from symphony.release.client import Officer
from symphony.release.gate import sign_gate
from symphony.release.propose import draft
from symphony.stack import prepare
from symphony.stack.environment import load_template
from symphony.stack.layout import ENVIRONMENT
from symphony.stack.release_one import release_files
from tests.e2e.support import Stack, message, running, stopped, until

pytestmark = pytest.mark.story
PROOF_S_MAX = 20
ORDER_EVENTS: LiteralString = "SELECT canonical_fields FROM symphony.evidence_events WHERE event_type = 'ORDER' ORDER BY stream_seq"


@pytest.fixture(scope="module")
def release_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: its releases change. The tests below are one story, in order."""
    with running(tmp_path_factory.mktemp("releases")) as up:
        yield up


def fleet(stack: Stack) -> dict[str, dict[str, Any]]:
    """The fleet by service."""
    return {entry["service"]: entry for entry in stack.json("fleet")}


def active_everywhere(stack: Stack, number: int) -> bool:
    """Whether every service runs a release."""
    return {entry["active_number"] for entry in fleet(stack).values()} == {number}


def test_a_lower_cap_is_proposed_approved_by_two_others_and_promoted(release_stack: Stack, tmp_path: Path) -> None:
    stack = release_stack
    assert stack.submit(message("2000.00")).status == 202
    template = json.loads((stack.folder / "environment.template.json").read_text())
    template["caps"]["ZMW"]["payment_minor_max"] = 100_000
    lower = tmp_path / "lower.json"
    lower.write_text(json.dumps(template))
    said = stack.symphony(
        "release", "propose", "--as", "bruno", "--reason", "a lower cap", "--ticket", "CHG-2", "--environment-data", str(lower)
    ).stdout
    assert "release 2 is PROPOSED" in said
    assert "RELEASE_" in stack.symphony("release", "promote", "2", "--as", "bruno", code=None).stderr, "not approved yet"
    assert "caps" in stack.symphony("release", "approve", "2", "--as", "alice").stdout, "an officer sees what changes"
    own = stack.symphony("release", "approve", "2", "--as", "bruno", code=None)
    assert own.returncode != 0, "the proposer's own approval does not count"
    assert "APPROVED" in stack.symphony("release", "approve", "2", "--as", "chanda").stdout
    held = held_back(stack)
    assert "release 2 is ACTIVE" in stack.symphony("release", "promote", "2", "--as", "bruno").stdout
    until(lambda: fleet(stack)["reference-rail"]["active_number"] == 2, timeout_s=PROOF_S_MAX, what="release 2 in the sidecar")
    os.kill(stack.pid("ledger"), signal.SIGKILL)  # what it had not read is lost with it
    until(lambda: active_everywhere(stack, 2), timeout_s=PROOF_S_MAX, what="release 2")
    reply = answered(stack, message("2000.00"))
    assert (reply.status, reply.code, reply.body[0]["policy_version"]) == (422, "CAP_PAYMENT_VALUE", 2)
    assert stack.submit(message("1000.00")).status == 202
    assert_voided(stack, held)


def test_the_impact_report_values_what_the_lower_cap_refuses_and_is_bound_into_the_release(release_stack: Stack) -> None:
    stack = release_stack
    found = stack.json("release", "impact", "2", "--fail-if", "flipped_value[ZMW] > 0", code=1)
    flips = stack.row("sidecar", "SELECT count(*) AS count, sum(amount_minor) AS value FROM symphony.payment_instructions "
        "WHERE decision = 'ALLOW' AND amount_minor > 100000")  # fmt: skip
    total = found["totals"]["allow_to_deny"]["ZMW"]
    assert (total["count"], int(total["value_minor"])) == (flips["count"], flips["value"])
    assert found["gates"] == [{"fail_if": "flipped_value[ZMW] > 0", "violated": True}]
    first, second = (stack.json("release", "show", number)["impact"] for number in ("1", "2"))
    assert first["nothing_recorded"], "the first release of a stack"
    assert second["totals"]["allow_to_deny"] == {"ZMW": {"count": 1, "value_minor": "200000"}}, "what was recorded when it was proposed"


def answered(stack: Stack, raw: bytes, key: str | None = None) -> Reply:
    """The answer of a sidecar that may be changing its release: a 503 is sent again under the same key."""
    key = key or str(uuid.uuid4())

    def reply() -> Reply | None:
        found = stack.submit(raw, key=key)
        return None if found.status == 503 else found

    got = until(reply, timeout_s=PROOF_S_MAX, what="an answer")
    assert isinstance(got, Reply)
    return got


def held_back(stack: Stack) -> list[str]:
    """Payments accepted under release 1 while the ledger hangs, so that none of them is posted."""
    os.kill(stack.pid("ledger"), signal.SIGSTOP)
    return [stack.submit(message("2000.00")).accepted[0] for _ in range(3)]


def assert_voided(stack: Stack, held: list[str]) -> None:
    """What an older release allowed is decided again before its permit; a deny is VOIDED and posted never."""
    until(lambda: stack.json("reconcile", code=None)["counts"]["voided"] == len(held), timeout_s=40, what="voiding")
    for one in held:
        state = stack.participant().wait(one)
        assert (state["state"], state["reason_code"]) == ("FAILED", "POLICY_VOIDED")
        assert stack.rows("ledger", "SELECT 1 FROM ledger.postings WHERE instruction_id = %s AND purpose = 'post'", one) == []
    assert stack.json("reconcile")["ok"]


def test_it_is_rolled_back_as_release_3(release_stack: Stack) -> None:
    stack = release_stack
    said = stack.symphony("release", "rollback", "--to", "1", "--as", "alice", "--reason", "too low").stdout
    assert "release 3 is PROPOSED" in said
    for officer in ("chanda", "dalitso"):
        stack.symphony("release", "approve", "3", "--as", officer)
    promoted = stack.symphony("release", "promote", "3", "--as", "dalitso", "--wait", "--timeout", str(PROOF_S_MAX))
    assert "2 of 2 active" in promoted.stderr
    assert active_everywhere(stack, 3), "the waiting ended with 0"
    assert stack.json("release", "status", "1")["complete"], "a newer one runs"
    reply = answered(stack, message("2000.00"))
    assert (reply.status, reply.body[0]["policy_version"]) == (202, 3)
    assert stack.participant().wait(reply.accepted[0])["state"] == "SUCCEEDED"
    assert [entry["status"] for entry in stack.json("release", "list")] == ["ACTIVE", "SUPERSEDED", "SUPERSEDED"]
    first, third = stack.json("release", "show", "1"), stack.json("release", "show", "3")
    assert first["targets"] == third["targets"]


def forge(stack: Stack, number: int) -> None:
    """Publish a release made without the officers' keys, by the control plane's own database login and online keys."""
    from controlplane.trust import services
    from controlplane.trust.signing import RoleFile
    from tests.releases.support import sign_file

    layout = stack.layout
    ceremony = Ceremony(layout.folder)
    online = [load_private_key(layout.folder / "controlplane" / "keys" / f"{name}.pem") for name in ("snapshot", "timestamp", "log")]
    template = load_template(layout.folder / "environment.template.json")
    template["caps"]["ZMW"]["payment_minor_max"] = 9_000_000_000
    files = release_files(layout, template=template, manifests=layout.folder / "manifests", schemas=None)
    stranger = Officer("mallory", online[2])
    gate = sign_gate(ceremony.gate, files, passed=["INV-018"], failed=[])
    made = draft(
        stranger, files, gate, environment=ENVIRONMENT, number=number, reason="a forgery", change_ticket="none", now=datetime.now(UTC)
    )
    url = prepare.database_url(layout, prepare.database(layout), "controlplane", "cp_owner")

    async def break_in() -> None:
        pool = Database(url, role="cp_owner")
        context = Context(
            pool=pool, environment=ENVIRONMENT, snapshot_key=online[0], timestamp_key=online[1], log_key=online[2], log_origin="x"
        )
        async with pool.transaction() as connection:
            newest = await services.newest_files(connection)
            file = RoleFile(ENVIRONMENT, number, sign_file(made.metadata, *online))
            await services.publish(connection, services.publication(context, newest, [file]))
        await pool.close()

    asyncio.run(break_in())


def test_a_release_forged_with_database_and_online_keys_is_refused_and_reported(release_stack: Stack) -> None:
    stack = release_stack
    forge(stack, 4)

    def refused() -> bool:
        return {(e["refused_number"], e["refused_code"]) for e in fleet(stack).values()} == {(4, "RELEASE_SIGNATURE")}

    until(refused, timeout_s=PROOF_S_MAX, what="the refusal")
    assert {entry["active_number"] for entry in fleet(stack).values()} == {3}
    reply = answered(stack, message("2000.00"))
    assert (reply.status, reply.body[0]["policy_version"]) == (202, 3)
    assert stack.participant().wait(reply.accepted[0])["state"] == "SUCCEEDED"
    assert stack.submit(message("60000000.00")).code == "CAP_PAYMENT_VALUE"
    events = "SELECT canonical_fields FROM symphony.evidence_events WHERE event_type = 'RELEASE_REFUSED'"
    assert {"number": 4, "reason_code": "RELEASE_SIGNATURE"} in [
        json.loads(row["canonical_fields"]) for row in stack.rows("sidecar", events)
    ]


def test_a_restart_on_a_hostile_control_plane_stays_on_what_is_held(release_stack: Stack) -> None:
    before = release_stack.pid("writer")
    os.kill(before, signal.SIGKILL)
    until(lambda: release_stack.pid("writer") != before, what="the restart")

    def served() -> bool:
        return release_stack.submit(message("2000.00")).status == 202

    until(served, what="service")
    assert release_stack.submit(message("2000.00")).body[0]["policy_version"] == 3
    until(lambda: release_stack.json("reconcile", code=None)["ok"], what="the count")


def refused_by_order(stack: Stack) -> bool:
    """Whether a fresh payment is refused by the halt."""
    return stack.submit(message("1.00")).code == "ORDER_HALTED"


def test_one_officer_halts_the_service_and_two_others_lift_it(release_stack: Stack, tmp_path: Path) -> None:
    """PIL-04, under a control plane that still serves a forged release: refused, asked for, restarted, lifted, paid once."""
    stack = release_stack
    before = stack.submit(message("2000.00")).accepted[0]
    assert stack.participant().wait(before)["state"] == "SUCCEEDED"
    issued = stack.symphony("order", "issue", "halt", "--as", "alice", "--reason", "a drill", "--rail", "iso20022").stdout
    assert "order 1 is ISSUED: halt of rail iso20022" in issued
    until(lambda: refused_by_order(stack), timeout_s=PROOF_S_MAX, what="the halt")
    accepted = stack.json("reconcile")["counts"]["accepted"]
    key, raw = str(uuid.uuid4()), message("2000.00")
    reply = stack.submit(raw, key=key)
    assert (reply.status, reply.code) == (503, "ORDER_HALTED")
    assert stack.participant().wait(before)["state"] == "SUCCEEDED", "queries go on"
    restart = stack.pid("writer")
    os.kill(restart, signal.SIGKILL)
    until(lambda: stack.pid("writer") != restart, what="the restart")
    until(lambda: refused_by_order(stack), timeout_s=PROOF_S_MAX, what="the halt after the restart")
    assert "orders=1" in stack.symphony("doctor", code=None).stdout
    until(lambda: fleet(stack)["reference-rail"]["mode"] == "halted", what="the halt in the fleet")
    said = stack.symphony("order", "lift", "1", "--as", "bruno", "--reason", "the drill is over").stdout
    assert "signed: 1 of 2" in said
    assert refused_by_order(stack)
    assert "order 1 is LIFTED" in stack.symphony("order", "lift", "1", "--as", "chanda").stdout
    paid = answered(stack, raw, key)
    assert paid.status == 202
    assert stack.participant().wait(paid.accepted[0])["state"] == "SUCCEEDED"
    counts = stack.json("reconcile")["counts"]
    assert counts["accepted"] == accepted + 1, "of all that was refused nothing is counted"
    until(lambda: (now := stack.json("reconcile")["counts"])["pending"] + now["in_hand"] == 0, what="every payment's end")
    actions = [json.loads(row["canonical_fields"])["action"] for row in stack.rows("sidecar", ORDER_EVENTS)]
    assert actions == ["obeyed", "lifted"]
    brought_in_a_folder(stack, tmp_path)


def brought_in_a_folder(stack: Stack, folder: Path) -> None:
    """Beside a control plane that is stopped: an order in a file is obeyed, and lifted by a file that two others signed."""
    (folder / "orders").mkdir()
    order, lift = folder / "orders" / "order.json", folder / "orders" / "lift.json"
    ask = ("order", "issue", "freeze", "--as", "bruno", "--reason", "x", "--participant", "kafue-bank")
    stack.symphony(*ask, "--number", "2", "--out", str(order))
    with stopped(stack.pid("controlplane")):
        assert "order.json: obeyed" in stack.symphony("release", "load", str(folder)).stdout
        assert answered(stack, message("1.00")).code == "ORDER_FROZEN"
        for officer, reason in (("alice", ("--reason", "over")), ("chanda", ())):
            stack.symphony("order", "lift", "2", "--as", officer, *reason, "--order", str(order), "--file", str(lift))
        assert "lift.json: lifted" in stack.symphony("release", "load", str(folder)).stdout
        assert answered(stack, message("1.00")).status == 202
