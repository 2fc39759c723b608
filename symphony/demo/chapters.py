"""Steps 2, 3, 4, 6 and 7 of the story."""

from __future__ import annotations

import base64
import copy
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from contracts import permit
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import CannotEvaluate
from contracts.keys import key_id_of, load_private_key
from contracts.times import SystemClock
from contracts.tls import client_context
from rails.iso20022.samples import freshen
from symphony import places
from symphony.demo.tell import Teller
from symphony.participant import Participant, Reply
from symphony.release.ceremony import SECURITY_OFFICER, Ceremony, revocation
from symphony.release.client import ControlPlane
from symphony.release.revoke import revoke
from symphony.stack import release_one, up
from symphony.stack.credentials import load_credential
from symphony.stack.environment import load_template
from symphony.stack.export import export
from symphony.stack.gate import check_stack
from symphony.stack.layout import ENVIRONMENT, LEDGER, SERVICE, SIDECAR, Layout, write_json
from symphony.stack.reading import named, reader

WAIT_S = 30.0
REAL_MESSAGES_MAX = 40
REVOKED = "drakensberg-bank"
LOWERED_MINOR = 100_000
CHANGING_S_MAX = 10.0
_AMOUNT = re.compile(rb"(<IntrBkSttlmAmt[^>]*>)[^<]*<")


def example(name: str) -> bytes:
    """One of our own messages, dated now, with new ids."""
    raw = (places.folder("examples") / "messages" / name).read_bytes()
    return freshen(raw, SystemClock().now(), mark=f"-{uuid.uuid4().hex[:8]}")


def wait(probe: Any, what: str) -> Any:
    """The first true value of a probe. Raises ``CannotEvaluate`` after the bound."""
    deadline = time.monotonic() + WAIT_S
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise CannotEvaluate("OUTCOME_UNKNOWN", f"waited {WAIT_S:.0f} s for {what}")
        time.sleep(0.1)
    return value


def active(layout: Layout) -> dict[str, dict[str, Any]]:
    """The fleet by service."""
    services = release_one.control_plane(layout, "alice").get("/v1/fleet")["services"]
    return {entry["service"]: entry for entry in services}


def wait_active(layout: Layout, number: int) -> None:
    """Wait until sidecar and ledger report a release as active, and the acceptor decides under it."""
    wait(
        lambda: all(active(layout)[name]["active_number"] == number for name in (SERVICE, LEDGER)), f"release {number}"
    )
    wait(lambda: f"release={number}" in _ready(layout), f"the acceptor on release {number}")


def _ready(layout: Layout) -> str:
    context = client_context(
        layout.folder / "participants/kafue-bank/client.pem",
        layout.folder / "participants/kafue-bank/client-key.pem",
        layout.ca,
    )
    with httpx.Client(verify=context) as client:
        return client.get(layout.url("acceptor") + "/health/ready").text


def fleet_runs(layout: Layout, teller: Teller) -> None:
    """The control plane shows the release active in sidecar and ledger."""
    found = wait(lambda: active(layout) if {SERVICE, LEDGER} <= set(active(layout)) else None, "the first reports")
    for name in (SERVICE, LEDGER):
        entry = found[name]
        teller.claim(
            entry["active_number"] == entry["desired_number"], f"{name} runs release {entry['active_number']}",
            f"metadata {str(entry['active_digest'])[:16]}…, as the officers signed it",
        )  # fmt: skip


def allowed(layout: Layout, teller: Teller) -> None:
    """Our own messages: several versions, with and without header, one and several transactions."""
    senders = {"zm-": "kafue-bank", "tz-": "serengeti-bank", "de-": "rheinufer-bank"}
    for name in (
        "zm-domestic-02.xml",
        "zm-domestic-08.xml",
        "zm-bulk-08.xml",
        "tz-cross-border-08.xml",
        "de-cross-border-08.xml",
    ):
        sender = Participant(layout, senders[name[:3]])
        reply = sender.submit(example(f"valid/{name}"))
        teller.claim(reply.status == 202, f"{name}: 202, {len(reply.accepted)} recorded", _entry(reply))
        ended = [sender.wait(identifier) for identifier in reply.accepted]
        teller.claim(
            all(e["state"] == "SUCCEEDED" for e in ended),
            f"{name}: posted, permit checked",
            _posting(layout, reply.accepted[0]),
        )
        sender.close()
    sender = Participant(layout, "kafue-bank")
    reply = sender.submit(example("valid/zm-domestic-08.xml"), accept="application/xml")
    sender.close()
    teller.claim(
        "<TxSts>ACTC</TxSts>" in reply.body, "asked for XML, the answer is a pacs.002 with ACTC", reply.content_type
    )


def _entry(reply: Reply) -> str:
    entry = reply.body[0]
    return f"instruction {entry['instruction_id']}, release {entry['policy_version']}, policy {entry['policy_checksum'][:12]}…"


def _posting(layout: Layout, identifier: str) -> str:
    with reader(layout, "ledger") as ledger:
        rows = [r for r in ledger.execute(named("postings")).fetchall() if str(r["instruction_id"]) == identifier]
    row = rows[0]
    amount = f"{row['amount_minor']} {row['currency']}"
    return f"{row['debit_agent']} -{amount}, {row['credit_agent']} +{amount}; sum {row['balance']}"


def real_messages(folder: Path, teller: Teller) -> None:
    """Messages that nobody here wrote, unchanged, on a second stack that admits every agent; only where they lie
    beside."""
    data = places.folder("examples").parent.parent / "shared" / "data" / "iso20022"
    if not data.is_dir():
        teller.line("no ../shared/data beside this checkout: real messages are left out")
        return
    if up.is_ready(folder):
        up.down(folder)
    up.detached(folder, [f"--manifests={places.folder('examples') / 'wide'}"], lambda _line: None)
    try:
        sender = Participant(Layout.open(folder), "wide")
        files = [path for path in sorted(data.rglob("*.xml")) if b"pacs.008.001" in path.read_bytes()][
            :REAL_MESSAGES_MAX
        ]
        replies = [sender.submit(path.read_bytes()) for path in files]
        posted = [sender.wait(identifier)["state"] for reply in replies for identifier in reply.accepted]
        sender.close()
    finally:
        up.down(folder)
    codes = Counter(reply.code for reply in replies if not reply.accepted)
    teller.claim(
        all(state == "SUCCEEDED" for state in posted) and all(reply.status < 500 for reply in replies),
        f"{len(files)} real pacs.008 files, unchanged, on a second stack that admits any agent: {len(posted)} payments posted",
        ", ".join(f"{code} {count}" for code, count in sorted(codes.items())),
    )  # fmt: skip


def refused(layout: Layout, teller: Teller) -> None:
    """Each refusal with its own code, each recorded."""
    kafue = Participant(layout, "kafue-bank")
    try:
        _station_one(layout, kafue, teller)
        _later_stations(layout, kafue, teller)
        _ledger_alone(layout, teller)
    finally:
        kafue.close()


def _expect(teller: Teller, layout: Layout, reply: Reply, code: str, text: str) -> None:
    attestation = reply.body.get("attestation_id") if isinstance(reply.body, dict) else reply.body[0]["attestation_id"]
    with reader(layout, "sidecar") as sidecar:
        row = sidecar.execute(named("attestation"), (attestation,)).fetchone() if attestation else None
    teller.claim(
        reply.code == code and row is not None, f"{text}: {reply.status} {reply.code}", f"attestation {attestation}"
    )


def _station_one(layout: Layout, kafue: Participant, teller: Teller) -> None:
    token, key = kafue.token(), str(uuid.uuid4())
    first = example("valid/zm-domestic-08.xml")
    original = kafue.submit(first, key=key, token=token)
    _expect(teller, layout, kafue.submit(first, key=key, token=token), "TOKEN_REPLAYED", "the same token again")
    again = kafue.submit(first, key=key)
    teller.claim(
        again.body[0]["instruction_id"] == original.body[0]["instruction_id"] and again.body[0]["repeated"],
        "a true retry (same key, fresh token) returns the first result", again.body[0]["instruction_id"],
    )  # fmt: skip
    stolen = Participant(layout, "kafue-bank", certificate_of="luangwa-bank")
    _expect(teller, layout, stolen.submit(first), "POP_MISMATCH", "a token bound to another certificate")
    stolen.close()
    _expect(teller, layout, kafue.submit(example("valid/zm-branch-08.xml"), key=key),
            "IDEMPOTENCY_KEY_REUSED", "the same idempotency key with another body")  # fmt: skip
    _revoke(layout, teller)
    _expect(
        teller, layout, kafue.submit(first), "DUPLICATE_TRANSACTION", "the same payment under a fresh idempotency key"
    )


def _revoke(layout: Layout, teller: Teller) -> None:
    """The security officer revokes a certificate; the sidecar learns of it by itself."""
    folder = layout.participant(REVOKED)
    fingerprint = load_credential(folder / "client.pem", folder / "client-key.pem").sha256
    control = ControlPlane.for_folder(
        layout.url("controlplane"), layout.folder / "security" / SECURITY_OFFICER, layout.ca
    )
    with reader(layout, "sidecar") as sidecar:
        known = sidecar.execute(named("revoked"), (fingerprint,)).fetchone()
    if known is None:
        now = SystemClock().now()
        entry = revocation("certificate", fingerprint, "key compromised (demo)", now)
        ceremony = Ceremony(layout.folder, (ENVIRONMENT,))
        revoke(control, ceremony.security_officer, ENVIRONMENT, [entry], root=layout.root.read_bytes(), now=now)
    sender = Participant(layout, REVOKED)
    message = example("valid/za-cross-border-13.xml")
    reply = wait(
        lambda: r if (r := sender.submit(message)).code == "CERTIFICATE_REVOKED" else None, "the revocation to arrive"
    )
    sender.close()
    _expect(teller, layout, reply, "CERTIFICATE_REVOKED", "a revoked certificate")


def _later_stations(layout: Layout, kafue: Participant, teller: Teller) -> None:
    _expect(
        teller,
        layout,
        kafue.submit(example("valid/tz-cross-border-08.xml")),
        "AGENT_MISMATCH",
        "a message that speaks for another bank",
    )
    stranger = Participant(layout, "kalambo-finance")
    message = example("valid/zm-domestic-08.xml").replace(b"KFUBZMLUXXX", b"KLMFZMLUXXX")
    _expect(
        teller,
        layout,
        stranger.submit(message),
        "NOT_ALLOWED_PARTICIPANT",
        "a participant that is not on the allow-list",
    )
    stranger.close()
    big = _AMOUNT.sub(rb"\g<1>9999999999.00<", example("valid/zm-domestic-08.xml"))
    _expect(teller, layout, kafue.submit(big), "CAP_PAYMENT_VALUE", "an amount over the cap")
    _expect(teller, layout, kafue.submit(example("bad/cut-short.xml")), "MESSAGE_MALFORMED", "a malformed message")


def _ledger_alone(layout: Layout, teller: Teller) -> None:
    """Straight to the ledger, around the sidecar: no permit, and a permit for another amount."""
    folder = layout.folder / "adapter"
    context = client_context(folder / "client.pem", folder / "client-key.pem", layout.ca)
    body = {
        "schema": "symphony.posting/1", "instruction_id": str(uuid.uuid4()), "purpose": "post", "kind": "transfer",
        "rail": "iso20022", "amount_minor": 100, "currency": "ZMW", "debit_agent": "KFUBZMLUXXX",
        "credit_agent": "LWGBZMLUXXX", "settlement_date": None,
    }  # fmt: skip
    header = {"symphony-permit": base64.urlsafe_b64encode(_permit_for(layout, body)).rstrip(b"=").decode()}
    other = canonical_bytes({**body, "amount_minor": 100_000_000})
    with httpx.Client(base_url=layout.url("ledger"), verify=context) as client:
        for text, headers, code in (
            ("without a permit", {}, "PERMIT_MISSING"),
            ("with a permit for another amount", header, "PERMIT_BODY_MISMATCH"),
        ):
            answer = client.post("/v1/postings", content=other, headers={"content-type": "application/json", **headers})
            teller.claim(
                answer.status_code == 403 and answer.json()["reason_code"] == code,
                f"a direct call to the ledger {text}: 403 {code}", "nothing is posted",
            )  # fmt: skip
            with reader(layout, "ledger") as ledger:
                rows = ledger.execute(named("refusals_of_body"), (bytes.fromhex(sha256_hex(other)), code)).fetchall()
            teller.claim(len(rows) == 1, f"{code} is on the ledger's own record", f"refusal {rows[0]['refusal_id']}"
                         if rows else "no row")  # fmt: skip


def _permit_for(layout: Layout, body: dict[str, Any]) -> bytes:
    key = load_private_key(layout.folder / "sidecar" / "permit.pem")
    entry, now = active(layout)[SERVICE], int(SystemClock().now().timestamp())
    shown = release_one.control_plane(layout, "alice").release(ENVIRONMENT, entry["active_number"])
    claims = {
        "version": 1, "environment": ENVIRONMENT, "sidecar": SIDECAR, "key_id": key_id_of(key),
        "instruction_id": body["instruction_id"], "attempt": 1, "epoch": 1, "purpose": "post",
        "request_sha256": sha256_hex(canonical_bytes(body)), "release_number": entry["active_number"],
        "policy_digest": shown["checksum"], "attestation_leaf_hash": "0" * 64, "audience": LEDGER, "iat": now, "exp":
        now + 30,
    }  # fmt: skip
    return permit.issue(key, [claims])[0]


def publish(layout: Layout, template: dict[str, Any], reason: str, teller: Teller) -> int:
    """Propose, approve twice, promote, wait until it is active everywhere; its number."""
    files = release_one.release_files(layout, template=template, manifests=layout.folder / "manifests", schemas=None)
    gate = release_one.gate_result(layout, files, *check_stack(layout))
    draft = release_one.propose_as(layout, "alice", files, gate, reason=reason, change_ticket="CHG-DEMO")
    return finish(layout, draft.number, teller)


def finish(layout: Layout, number: int, teller: Teller) -> int:
    """Approve a proposed release twice, promote it, wait until it is active everywhere."""
    for name in ("bruno", "chanda"):
        release_one.approve_as(layout, name, number, teller.line)
    release_one.promote_as(layout, "alice", number)
    wait_active(layout, number)
    return number


def lower_cap_and_back(layout: Layout, teller: Teller) -> None:
    """A release with a lower cap, then a rollback by a further release."""
    kafue = Participant(layout, "kafue-bank")
    before = active(layout)[SERVICE]["active_number"]
    template = copy.deepcopy(load_template(layout.folder / "environment.template.json"))
    template["caps"]["ZMW"]["payment_minor_max"] = LOWERED_MINOR
    write_json(layout.folder / "lower-cap.template.json", template)
    number = publish(layout, template, "lower the cap for one payment in ZMW", teller)
    reply = _patiently(kafue, example("valid/zm-domestic-08.xml"))
    teller.claim(
        reply.code == "CAP_PAYMENT_VALUE",
        f"under release {number} the payment that passed is refused",
        "CAP_PAYMENT_VALUE",
    )
    back = _roll_back(layout, before)
    finish(layout, back, teller)
    reply = _patiently(kafue, example("valid/zm-domestic-08.xml"))
    teller.claim(
        reply.status == 202,
        f"release {back} has the digests of release {before}: it passes again",
        "rolled back forwards",
    )
    kafue.close()


def _patiently(client: Participant, raw: bytes) -> Reply:
    """The answer; a sidecar that is just changing its release says 503, and is asked again, as every client does."""
    key, deadline = str(uuid.uuid4()), time.monotonic() + CHANGING_S_MAX
    while True:
        reply = client.submit(raw, key=key)
        if reply.status != 503 or time.monotonic() > deadline:
            return reply
        time.sleep(0.2)


def _roll_back(layout: Layout, to: int) -> int:
    from symphony.release.client import Officer
    from symphony.release.rollback import rollback

    return rollback(
        release_one.control_plane(layout, "dalitso"), Officer.from_folder(layout.officer("dalitso")), environment=ENVIRONMENT,
        to=to, reason="the lower cap stopped salaries", change_ticket="CHG-DEMO", root=layout.root.read_bytes(),
        now=SystemClock().now(),
    ).number  # fmt: skip


def evidence(layout: Layout, teller: Teller) -> None:
    """Export, verify, change one byte, remove one record."""
    from symphony.demo.story import remove

    packet = layout.folder / "packet"
    remove(packet)
    files = export(layout, packet, officer="alice", begin=None, end=None)
    code, text = _verify(packet)
    teller.claim(
        code == 0, f"the packet ({files} files) verifies with its own verify.py, exit 0", text.splitlines()[-2]
    )
    teller.line(text.splitlines()[-1])
    lines = (packet / "records.jsonl").read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    changed = lines.copy()
    changed[middle] = changed[middle].replace(b'"recorded_at":', b'"recorded_aT":', 1)  # every record has it
    _tampered(packet, changed, teller, "one byte changed", "record")
    _tampered(packet, lines[:middle] + lines[middle + 1 :], teller, "one record removed", "gap")


def _tampered(packet: Path, lines: list[bytes], teller: Teller, text: str, word: str) -> None:
    from symphony.demo.story import remove

    broken = packet.with_name("packet-broken")
    remove(broken)
    subprocess.run(["cp", "-r", str(packet), str(broken)], check=True)
    (broken / "records.jsonl").write_bytes(b"".join(lines))
    code, said = _verify(broken)
    found = [line for line in said.splitlines() if word in line.lower() and not line.startswith("ok")]
    teller.claim(code == 5 and bool(found), f"{text}: exit {code}", found[0].strip()[:140] if found else said[-200:])
    remove(broken)


def _verify(packet: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(packet / "verify.py"), str(packet)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip()
