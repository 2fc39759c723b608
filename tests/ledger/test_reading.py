"""The ledger's own books over HTTP, for reconciliation; who may connect."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest

from contracts.times import rfc3339
from services.ledger import config
from tests.ledger.support import AGENTS, Certificates, Running, posting, release, sealing


def post(client, sidecar, **changes):
    body = posting(**changes)
    status, document = client.post(body, sidecar.permit(body))
    assert status == 201
    return document


def page(client, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    status, document = client.request("GET", f"/v1/postings?{text}")
    assert status == 200, document
    return document


def test_postings_are_listed_with_both_agents_by_time_and_page_by_page(world, client, sidecar, monkeypatch):
    begun = rfc3339(datetime.now(UTC))
    time.sleep(0.002)  # posted_at has milliseconds, rounded down
    made = [post(client, sidecar, amount_minor=n + 1) for n in range(5)]
    listed = page(client, **{"from": begun})["postings"]
    assert [p["posting_id"] for p in listed] == [document["posting_id"] for document in made]
    assert [p["amount_minor"] for p in listed] == [1, 2, 3, 4, 5]
    assert listed[0] | {"posting_id": 0, "instruction_id": 0, "posted_at": 0} == {
        "posting_id": 0, "instruction_id": 0, "posted_at": 0, "amount_minor": 1, "currency": "ZMW",
        "debit_agent": AGENTS[0], "credit_agent": AGENTS[1], "settlement_date": "2026-11-24", "rail": "iso20022",
        "release_number": 1, "sidecar": "zm-rail", "attestation_leaf_hash": "d" * 64,
    }  # fmt: skip
    monkeypatch.setattr(config, "PAGE_SIZE", 2)
    seen, cursor = [], None
    while True:
        document = page(client, **({"from": begun} | ({"cursor": cursor} if cursor else {})))
        seen += document["postings"]
        cursor = document["next"]
        if cursor is None:
            break
    assert seen == listed


def test_from_is_inclusive_and_to_exclusive(client, sidecar):
    at = post(client, sidecar)["posted_at"]
    moment = datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    after = rfc3339(moment + timedelta(milliseconds=1))
    ids = {p["posted_at"] for p in page(client, **{"from": at, "to": after})["postings"]}
    assert ids == {at}
    assert at not in {p["posted_at"] for p in page(client, to=at)["postings"]}
    just_after = rfc3339(moment + timedelta(microseconds=1))
    assert at not in {p["posted_at"] for p in page(client, **{"from": just_after})["postings"]}


def test_a_page_says_up_to_when_it_is_complete(client):
    complete = page(client)["complete_before"]
    assert complete < rfc3339(datetime.now(UTC) - timedelta(milliseconds=config.TRANSACTION_TIMEOUT_MS))


@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=2026-11-24", "cursor=1", "since=1", "from=&", "cursor=a&cursor=b"]
)
def test_a_query_that_is_not_ours_is_refused(client, query):
    status, document = client.request("GET", f"/v1/postings?{query}")
    assert (status, document["reason_code"]) == (400, "REQUEST_INVALID")


def test_accounts_have_derived_balances_that_sum_to_zero(client, sidecar):
    post(client, sidecar, amount_minor=700)
    post(client, sidecar, amount_minor=300, debit_agent=AGENTS[1], credit_agent=AGENTS[2])
    status, document = client.request("GET", "/v1/accounts")
    assert (status, document["next"]) == (200, None)
    accounts = {account["agent"]: account for account in document["accounts"]}
    assert sum(account["balance_minor"] for account in accounts.values()) == 0
    for account in accounts.values():
        assert account["balance_minor"] == account["credits_minor"] - account["debits_minor"]
    assert accounts[AGENTS[2]]["balance_minor"] == 300
    for cursor in ("x", "-1", "9" * 19):
        assert client.request("GET", f"/v1/accounts?cursor={cursor}")[0] == 400


def test_health(client):
    assert client.request("GET", "/health/live") == (200, {"status": "live"})
    status, document = client.request("GET", "/health/ready")
    assert (status, document["status"], document["release_number"]) == (200, "ready", 1)


def test_without_a_client_certificate_or_with_a_strangers_there_is_no_connection(
    ledger, certificates, connect, tmp_path
):
    bare = ssl.create_default_context(cafile=str(certificates.ca))
    for context in (bare, Certificates(tmp_path).client("stranger")):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(ledger.port, context).request("GET", "/health/live")


def test_a_certificate_that_runs_out_or_is_revoked_ends_a_held_connection(
    world, ledger, certificates, connect, sidecar
):
    held = connect(ledger.port, certificates.client("short", days=0.5))
    assert held.request("GET", "/health/live")[0] == 200
    world.clock.advance(13 * 3600)
    body = posting()
    for answer in (held.post(body, sidecar.permit(body)), held.request("GET", "/v1/postings")):
        assert (answer[0], answer[1]["reason_code"]) == (401, "CERTIFICATE_EXPIRED")
    world.clock.advance(-13 * 3600)
    certificate = ssl.PEM_cert_to_DER_cert((certificates.folder / "short.pem").read_text())
    entry = {"kind": "certificate", "id": hashlib.sha256(certificate).hexdigest(), "reason": "lost",
             "revoked_at": "", "until": None}  # fmt: skip
    world.follower.active = world.follower.published = release([sidecar], clock=world.clock, revocations=[entry])
    ledger.ledger.window.adopt(world.follower.active)
    for answer in (held.post(body, sidecar.permit(body)), held.request("GET", "/v1/accounts")):
        assert (answer[0], answer[1]["reason_code"]) == (401, "CERTIFICATE_REVOKED")


def test_a_local_list_of_clients_keeps_every_other_certificate_out(world, certificates, connect, sidecar):
    allowed = ssl.PEM_cert_to_DER_cert((certificates.folder / "adapter.pem").read_text())
    digest = hashlib.sha256(allowed).hexdigest()
    with Running(world.database.writer, certificates, world.follower, world.clock, clients=(digest,)) as running:
        running.ledger.window.adopt(world.follower.active)
        listed = connect(running.port)
        assert listed.request("GET", "/v1/postings")[0] == 200
        other = connect(running.port, certificates.client("participant"))
        body = posting()
        for answer in (other.request("GET", "/v1/postings"), other.post(body, sidecar.permit(body))):
            assert (answer[0], answer[1]["reason_code"]) == (401, "CERTIFICATE_UNTRUSTED")
        listed.close()
        other.close()


def test_a_seal_is_no_posting(world, client, sidecar):
    instruction = json.loads(posting())["instruction_id"]
    assert client.post(sealing(instruction), sidecar.permit(sealing(instruction)))[0] == 200
    assert world.journal() == []


def test_a_head_without_an_end_is_cut_off(ledger, client_tls):
    with socket.create_connection(("127.0.0.1", ledger.port)) as plain, client_tls.wrap_socket(
        plain, server_hostname="127.0.0.1"
    ) as connection:
        connection.settimeout(10)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            for _ in range(1000):
                connection.sendall(b"x-filler: " + b"y" * 1000 + b"\r\n")
            assert connection.recv(1) == b""
            raise ConnectionResetError
