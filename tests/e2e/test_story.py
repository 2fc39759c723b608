"""Steps 1 to 3 and 7 of the story, over real sockets: a payment accepted, posted, evidenced, verified (issue 3)."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from lxml import etree

from contracts.times import parse_rfc3339
from rails.iso20022.samples import Payment, freshen
from symphony.participant import Participant, participant_for
from symphony.stack import prepare
from tests.e2e.support import ROOT, Stack, message, symphony, until

pytestmark = pytest.mark.story
EXAMPLES = sorted((ROOT / "examples" / "messages" / "valid").glob("*.xml"))
LINES = """
    SELECT l.side, l.amount_minor, a.agent, a.currency FROM ledger.postings AS p
    JOIN ledger.lines AS l USING (posting_id) JOIN ledger.accounts AS a USING (account_id)
    WHERE p.instruction_id = %s AND p.purpose = 'post' ORDER BY l.side
"""


def test_everything_runs_and_release_1_is_active_everywhere(stack: Stack) -> None:
    found = stack.json("doctor")
    assert found["ok"], found["parts"]
    assert {"controlplane", "ledger", "adapter", "writer", "shipper", "acceptor", "postgres"} <= {
        part["name"] for part in found["parts"]
    }
    fleet = {entry["service"]: entry for entry in stack.json("fleet")}
    assert {name: (entry["desired_number"], entry["active_number"], entry["ready"]) for name, entry in fleet.items()} == {
        "reference-rail": (1, 1, True), "core-ledger": (1, 1, True),
    }  # fmt: skip
    assert [entry["status"] for entry in stack.json("release", "list")] == ["ACTIVE"]
    shown = stack.json("release", "show", "1")
    assert [approval["actor"] for approval in shown["approvals"]] == ["bruno", "chanda"]


def test_the_three_databases_are_migrated_and_of_their_own_logins(stack: Stack) -> None:
    for kind, owner in (("controlplane", "cp_owner"), ("sidecar", "sc_owner"), ("ledger", "ld_owner")):
        url = prepare.database_url(stack.layout, prepare.database(stack.layout), kind, owner)
        with psycopg.connect(url) as connection:
            (applied,) = connection.execute("SELECT count(*) FROM symphony_migrations.applied").fetchone() or (0,)
        assert applied == len(list((ROOT / "migrations" / kind).glob("*.sql")))


def test_a_payment_is_accepted_with_what_governed_it(stack: Stack) -> None:
    """REC-02: 202 with instruction id, attestation id, release number and policy checksum; the commit is before it."""
    reply = stack.submit()
    assert (reply.status, reply.content_type) == (202, "application/json")
    (entry,) = reply.body
    assert (entry["state"], entry["tx_index"], entry["repeated"], entry["reason_code"]) == ("RECORDED", 0, False, None)
    release = stack.json("release", "show", "1")
    assert entry["policy_version"] == 1
    row = stack.row(
        "sidecar", "SELECT * FROM symphony.payment_instructions WHERE instruction_id = %s", entry["instruction_id"]
    )
    assert str(row["attestation_id"]) == entry["attestation_id"]
    assert (row["policy_version"], row["policy_checksum"]) == (1, entry["policy_checksum"])
    assert (row["participant_id"], row["amount_minor"], row["currency"]) == ("kafue-bank", 125_000, "ZMW")
    assert abs((parse_rfc3339(entry["received_at"]) - datetime.now(UTC)).total_seconds()) < 30
    target = "SELECT sha256 FROM symphony.release_targets WHERE number = 1 AND path = 'policy.wasm'"
    assert stack.row("controlplane", target)["sha256"] == entry["policy_checksum"]
    assert release["status"] == "ACTIVE"


def test_it_is_posted_as_balanced_double_entry_between_the_settlement_accounts(stack: Stack) -> None:
    (instruction,) = stack.submit(message("18400.50")).accepted
    ended = stack.participant().wait(instruction)
    assert ended["state"] == "SUCCEEDED"
    lines = stack.rows("ledger", LINES, instruction)
    assert [(line["agent"], line["currency"]) for line in lines] == [("LWGBZMLUXXX", "ZMW"), ("KFUBZMLUXXX", "ZMW")]
    assert sorted(abs(line["amount_minor"]) for line in lines) == [1_840_050, 1_840_050]
    assert sum(line["amount_minor"] for line in lines) == 0
    posting = stack.row(
        "ledger", "SELECT * FROM ledger.postings WHERE instruction_id = %s AND purpose = 'post'", instruction
    )
    assert str(posting["posting_id"]) == ended["rail_reference"]
    assert (posting["release_number"], posting["epoch"] >= 1, posting["attempt"]) == (1, True, 1)


def test_its_whole_life_is_shown_and_in_the_log(stack: Stack) -> None:
    (instruction,) = stack.submit().accepted
    stack.participant().wait(instruction)
    found = until(
        lambda: next(
            (f for f in [stack.json("payment", "show", instruction)] if "not shipped" not in str(f["events"])), None
        ),
        what="shipping",
    )
    assert [event["what"] for event in found["events"]][:4] == [
        "attested", "accepted and recorded", "DISPATCHING", "posted in the ledger",
    ]  # fmt: skip
    assert found["events"][-1]["what"] == "DISPATCHED"
    assert "log leaf" in found["events"][0]["detail"]
    said = stack.symphony("payment", "show", instruction).stdout
    assert "SUCCEEDED" in said
    assert "Chilufya" not in said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_valid_example_is_posted(stack: Stack, path: Path) -> None:
    """Versions 02 to 13, with and without header, Zambian and foreign participants, several transactions."""
    raw = freshen(path.read_bytes(), datetime.now(UTC), mark=f"-{path.stem[-8:]}")
    sender = participant_for(stack.layout, path)
    reply = stack.submit(raw, by=sender)
    assert reply.status == 202, reply.body
    assert {entry["state"] for entry in reply.body} == {"RECORDED"}
    states = {stack.participant(sender).wait(one)["state"] for one in reply.accepted}
    assert states == {"SUCCEEDED"}


@pytest.mark.parametrize(
    ("amount", "status", "codes"), [("10.00", "ACTC", set()), ("50000000.01", "RJCT", {"AM14"})], ids=["taken", "refused"]
)
def test_pacs_002_when_asked_for_xml(stack: Stack, amount: str, status: str, codes: set[str]) -> None:
    raw = message(amount)
    reply = stack.submit(raw, accept="application/xml")
    assert reply.status == (202 if status == "ACTC" else 422)
    assert reply.content_type.startswith("application/xml")
    tree = etree.fromstring(reply.body.encode())
    sent = etree.fromstring(raw)
    said = {etree.QName(element).localname: element.text for element in tree.iter() if element.text and element.text.strip()}
    asked = {etree.QName(element).localname: element.text for element in sent.iter() if element.text}
    assert etree.QName(tree).namespace.endswith("pacs.002.001.12") or "pacs.002" in etree.tostring(tree).decode()
    assert said["OrgnlMsgId"] == asked["MsgId"]
    assert said["OrgnlEndToEndId"] == asked["EndToEndId"]
    assert said["TxSts"] == status
    assert {said["Cd"]} if codes else set() == codes


def test_a_message_with_some_refused_is_taken_in_part(stack: Stack) -> None:
    path = ROOT / "examples" / "messages" / "partly" / "zero-among-three-08.xml"
    reply = stack.submit(freshen(path.read_bytes(), datetime.now(UTC), mark="-partly"))
    assert reply.status == 202
    assert [entry["reason_code"] for entry in reply.body].count("AMOUNT_INVALID") == 1
    assert len(reply.accepted) == 2
    rows = stack.rows(
        "sidecar", "SELECT tx_index, decision, reason_code FROM symphony.payment_instructions WHERE attestation_id = %s ORDER BY 1",
        reply.body[0]["attestation_id"],
    )  # fmt: skip
    assert [(row["tx_index"], row["reason_code"]) for row in rows] == [
        (entry["tx_index"], entry["reason_code"]) for entry in reply.body
    ]


def test_a_hundred_payments_in_one_message(stack: Stack) -> None:
    """One instruction each, in one commit; one more than the manifest permits is refused as a whole."""
    payments = tuple(
        Payment(amount="2.00", tx_id=f"T{n}", instruction_id=f"I{n}", end_to_end_id=f"E{n}", uetr=str(uuid.uuid4())) for n in range(101)
    )
    reply = stack.submit(message(payments=payments[:100]))
    assert (reply.status, len(reply.accepted)) == (202, 100)
    assert [entry["tx_index"] for entry in reply.body] == list(range(100))
    assert {stack.participant().wait(one)["state"] for one in reply.accepted} == {"SUCCEEDED"}
    assert stack.submit(message(payments=payments)).code == "TOO_MANY_TRANSACTIONS"


def test_the_state_is_shown_to_its_own_participant_only(stack: Stack) -> None:
    (instruction,) = stack.submit().accepted
    assert stack.participant("luangwa-bank").status(instruction).status == 404
    assert stack.participant().status(instruction).body["instruction_id"] == instruction


def test_the_command_line_submits_and_counts(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "one.xml"
    path.write_bytes(message("77.00"))
    found = stack.json("submit", str(path), "--wait")
    assert (found["http_status"], found["participant"], found["ended"][0]["state"]) == (202, "kafue-bank", "SUCCEEDED")
    path.write_bytes(message("99999999.00"))
    refused = stack.json("submit", str(path), code=1)
    assert refused["reason_code"] == "CAP_PAYMENT_VALUE"


def test_the_count_is_taken(stack: Stack) -> None:
    def counted() -> bool:
        found = stack.json("reconcile", code=None)
        assert found["ok"], found["problems"]
        return bool(found["counts"]["evidence_not_shipped"] == 0 and found["counts"]["in_hand"] == 0)

    stack.submit()
    until(counted, what="reconciliation of everything")


def test_a_participants_client_needs_no_more_than_its_own_folder(stack: Stack) -> None:
    with closing(Participant(stack.layout, "serengeti-bank")) as client:
        reply = client.submit(message(sender="SRGBTZTZXXX", receiver="KFUBZMLUXXX", currency="TZS"))
        assert reply.status == 202


def verified(packet: Path) -> tuple[int, str]:
    """What a packet's own ``verify.py`` says, in a Python that knows nothing of Symphony."""
    done = subprocess.run(
        [sys.executable, "-I", str(packet / "verify.py"), str(packet)], capture_output=True, text=True, check=False, cwd=packet.parent,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_packet_verifies_by_itself_and_names_what_was_changed_or_removed(stack: Stack, tmp_path: Path) -> None:
    """EVD-08: one changed byte names its record, one removed record names the gap; both exit 5."""
    (instruction,) = stack.submit().accepted
    stack.participant().wait(instruction)
    until(lambda: stack.json("reconcile", code=None)["counts"]["evidence_not_shipped"] == 0, what="shipping")
    packet = tmp_path / "packet"
    stack.symphony("evidence", "export", "--out", str(packet))
    code, said = verified(packet)
    assert (code, said.splitlines()[-2].startswith("OK (")) == (0, True), said
    assert "does not show that the recorded facts are true" in said
    assert symphony("evidence", "verify", str(packet)).returncode == 0
    assert "already" in stack.symphony("evidence", "export", "--out", str(packet), code=None).stderr
    records = packet / "records.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    chosen = next(n for n, line in enumerate(lines) if instruction.encode() in line and b"evidence/attestation" in line)
    seq = json.loads(lines[chosen])["seq"]
    changed = lines[chosen].replace(b'"amount_minor":125000', b'"amount_minor":125001')
    assert changed != lines[chosen]
    records.write_bytes(b"".join([*lines[:chosen], changed, *lines[chosen + 1 :]]))
    code, said = verified(packet)
    assert (code, f"stream=reference-rail-1 seq={seq} " in said) == (5, True), said
    records.write_bytes(b"".join(lines[:chosen] + lines[chosen + 1 :]))
    code, said = verified(packet)
    assert (code, "gap" in said or "missing" in said) == (5, True), said
