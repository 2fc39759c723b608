"""POST /v1/postings over real TLS sockets: what is posted, and every refusal (story 3 and 4 of the issue)."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from uuid import uuid4

import psycopg
import pytest

from contracts.canonical import canonical_bytes, sha256_hex
from services.ledger import config
from tests.ledger.support import AGENTS, Sidecar, posting, release, sealing


def take(ledger, follower, verified):
    """Make a release the one in force, at once."""
    follower.active = follower.published = verified
    ledger.ledger.window.adopt(verified)


def code(answer):
    status, document = answer
    assert document["status"] == status
    return document["reason_code"]


def test_a_permitted_payment_is_posted_as_balanced_double_entry(client, sidecar, world):
    body = posting()
    status, document = client.post(body, sidecar.permit(body))
    instruction = json.loads(body)["instruction_id"]
    assert status == 201
    assert set(document) == {"posting_id", "instruction_id", "status", "posted_at"}
    assert (document["instruction_id"], document["status"]) == (instruction, "posted")
    assert world.journal() == [(instruction, "D", AGENTS[0], -1250), (instruction, "C", AGENTS[1], 1250)]


def test_an_identical_repeat_gives_the_same_posting_whatever_the_attempt(client, sidecar, world):
    body = posting()
    _, first = client.post(body, sidecar.permit(body))
    for attempt in (1, 2, 7):
        status, again = client.post(body, sidecar.permit(body, attempt=attempt))
        assert status == 200
        assert again == first | {"repeated": True}
    assert len(world.journal()) == 2


def test_other_content_for_a_posted_instruction_is_a_conflict(client, sidecar, world):
    instruction = str(uuid4())
    body, other = posting(instruction), posting(instruction, amount_minor=9)
    assert client.post(body, sidecar.permit(body))[0] == 201
    assert code(client.post(other, sidecar.permit(other, attempt=2))) == "POSTING_CONFLICT"
    assert code(client.post(other, sidecar.permit(other, attempt=1))) == "PERMIT_SUPERSEDED"
    assert len(world.journal()) == 2


def test_a_permit_is_superseded_by_a_higher_pair_and_by_equal_with_other_bytes_or_purpose(client, sidecar, world):
    instruction = str(uuid4())
    body, other = posting(instruction), posting(instruction, amount_minor=9)
    refused = posting(instruction, currency="XAU")  # seen, and refused for its account
    assert code(client.post(refused, sidecar.permit(refused, epoch=2))) == "ACCOUNT_UNKNOWN"
    for epoch, attempt, document in ((1, 9, body), (2, 0, body), (2, 1, other), (2, 1, sealing(instruction))):
        answer = client.post(document, sidecar.permit(document, epoch=epoch, attempt=attempt))
        assert code(answer) == "PERMIT_SUPERSEDED"
    assert world.journal() == []
    assert client.post(body, sidecar.permit(body, epoch=2, attempt=2))[0] == 201


def test_after_a_seal_nothing_older_posts_and_a_higher_pair_may(client, sidecar, world):
    instruction = str(uuid4())
    body = posting(instruction)
    status, sealed = client.post(sealing(instruction), sidecar.permit(sealing(instruction), epoch=2, attempt=2))
    assert (status, sealed) == (200, {"instruction_id": instruction, "sealed": True, "posted": False, "posting": None})
    for epoch, attempt in ((1, 1), (1, 99), (2, 1), (2, 2)):
        assert code(client.post(body, sidecar.permit(body, epoch=epoch, attempt=attempt))) == "PERMIT_SUPERSEDED"
    assert client.post(sealing(instruction), sidecar.permit(sealing(instruction), epoch=2, attempt=2))[0] == 200
    assert world.journal() == []
    status, posted = client.post(body, sidecar.permit(body, epoch=2, attempt=3))
    assert status == 201
    _, sealed = client.post(sealing(instruction), sidecar.permit(sealing(instruction), epoch=3, attempt=1))
    assert sealed == {"instruction_id": instruction, "sealed": True, "posted": True, "posting": posted}
    with psycopg.connect(world.database.admin) as connection:
        wanted = "SELECT epoch, attempt, posting_id::text FROM ledger.seals WHERE instruction_id = %s ORDER BY 1"
        seals = connection.execute(wanted, (instruction,)).fetchall()
    assert seals == [(2, 2, None), (3, 1, posted["posting_id"])]


def test_no_permit_no_posting(client, world):
    assert code(client.post(posting(), None)) == "PERMIT_MISSING"
    assert client.post(posting(), None)[0] == 403
    assert world.journal() == []


def test_a_permit_for_another_amount_is_refused(client, sidecar, world):
    instruction = str(uuid4())
    permitted, sent = posting(instruction), posting(instruction, amount_minor=125_000)
    status, document = client.post(sent, sidecar.permit(permitted))
    assert (status, document["reason_code"]) == (403, "PERMIT_BODY_MISMATCH")
    assert world.journal() == []


@pytest.mark.parametrize(("changes", "wanted"), [
    ({"environment": "staging"}, "PERMIT_AUDIENCE"),
    ({"audience": "other-ledger"}, "PERMIT_AUDIENCE"),
    ({"key_id": "0" * 64}, "PERMIT_KEY_UNKNOWN"),
    ({"sidecar": "other-rail"}, "PERMIT_KEY_UNKNOWN"),
    ({"purpose": "seal"}, "PERMIT_PURPOSE"),
    ({"policy_digest": "0" * 64}, "PERMIT_POLICY"),
    ({"instruction_id": "01900000-0000-7000-8000-000000000000"}, "PERMIT_BODY_MISMATCH"),
    ({"request_sha256": "0" * 64}, "PERMIT_BODY_MISMATCH"),
    ({"release_number": 2}, "RELEASE_NOT_YET"),
])
def test_a_signed_permit_whose_claims_do_not_fit_is_refused(client, sidecar, world, changes, wanted):
    body = posting()
    assert code(client.post(body, sidecar.permit(body, **changes))) == wanted
    assert world.journal() == []


def test_a_permit_by_an_unknown_or_a_revoked_key_is_refused(client, sidecar, clock, follower, ledger, world):
    body = posting()
    assert code(client.post(body, Sidecar(clock).permit(body))) == "PERMIT_KEY_UNKNOWN"
    forger = Sidecar(clock)
    forger.key_id = sidecar.key_id
    assert code(client.post(body, forger.permit(body))) == "PERMIT_SIGNATURE"
    entry = {"kind": "permit_key", "id": sidecar.key_id, "reason": "lost", "revoked_at": "", "until": None}
    take(ledger, follower, release([sidecar], clock=clock, revocations=[entry], revocations_version=2))
    assert code(client.post(body, sidecar.permit(body))) == "PERMIT_KEY_UNKNOWN"
    assert world.journal() == []


def test_a_permit_runs_out(client, sidecar, clock, world):
    body = posting()
    permit = sidecar.permit(body)
    clock.advance(33)
    assert code(client.post(body, permit)) == "PERMIT_EXPIRED"
    clock.advance(-70)
    assert code(client.post(body, permit)) == "PERMIT_EXPIRED"
    assert world.journal() == []


@pytest.mark.parametrize("header", ["", "!", "e30", "e31=", "eyJ9", "a" * 6000, "e30\u00e9"])
def test_a_header_that_is_no_permit_is_refused(client, header):
    answer = client.request("POST", "/v1/postings", posting(), [("Symphony-Permit", header.encode("latin-1"))])
    assert code(answer) == "PERMIT_MALFORMED"


def test_two_permits_and_a_padded_one_are_refused(client, sidecar):
    body = posting()
    text = urlsafe_b64encode(sidecar.permit(body)).decode()
    assert code(client.request("POST", "/v1/postings", body, [("Symphony-Permit", text.rstrip("="))] * 2)) \
        == "PERMIT_MALFORMED"
    padded = text if text.endswith("=") else text + "="
    assert code(client.request("POST", "/v1/postings", body, [("Symphony-Permit", padded)])) == "PERMIT_MALFORMED"


@pytest.mark.parametrize("purpose", ["reserve", "commit", "void", "return"])
def test_the_other_purposes_are_in_the_api_and_say_that_they_are_not_built(client, sidecar, purpose):
    instruction = str(uuid4())
    if purpose in {"commit", "void"}:
        body = canonical_bytes({"schema": "symphony.posting/1", "instruction_id": instruction, "purpose": purpose})
    else:
        body = posting(instruction, purpose=purpose)
    status, document = client.post(body, sidecar.permit(body))
    assert (status, document["reason_code"]) == (501, "PURPOSE_NOT_BUILT")
    assert client.post(body, None)[0] == 403


@pytest.mark.parametrize("changes", [
    {"amount_minor": 0}, {"amount_minor": -1}, {"amount_minor": "12"}, {"amount_minor": True},
    {"currency": "zmw"}, {"currency": "ZMWX"}, {"debit_agent": "x"}, {"debit_agent": "OTHR:a\x00b"},
    {"credit_agent": "OTHR:a\nb"}, {"kind": "return"}, {"rail": "ISO"}, {"settlement_date": "2026-02-30"},
    {"settlement_date": "24.11.2026"}, {"purpose": "pay"}, {"schema": "symphony.posting/2"}, {"memo": "x"},
    {"instruction_id": "1"},
])
def test_a_body_outside_the_schema_is_refused_even_with_a_permit(client, sidecar, world, changes):
    body = posting(**changes)
    good = posting()
    permit = sidecar.permit(good, request_sha256=sha256_hex(body))
    assert code(client.post(body, permit)) == "POSTING_INVALID"
    assert world.journal() == []


@pytest.mark.parametrize("member", ["schema", "instruction_id", "purpose", "kind", "rail", "amount_minor", "currency",
                                    "debit_agent", "credit_agent", "settlement_date"])
def test_no_member_of_a_post_can_be_missing(client, sidecar, member):
    document = json.loads(posting())
    document.pop(member)
    assert code(client.post(canonical_bytes(document), sidecar.permit(posting()))) == "POSTING_INVALID"


def test_a_body_has_one_encoding(client, sidecar, world):
    body = posting()
    for other in (
        json.dumps(json.loads(body)).encode(), body + b"\n", body.replace(b"1250", b"1250.0"),
        body.replace(b'"amount_minor":1250', b'"amount_minor":1,"amount_minor":1250'),
        body.replace(b"ZMW", b"\\u005aMW"), body.replace(b"1250", b"9007199254740992"),
        b"", b"[]", b"null", b"\xff", b"[" * 2000,
    ):
        permit = sidecar.permit(body, request_sha256=sha256_hex(other))
        assert code(client.post(other, permit)) == "POSTING_INVALID"
    assert world.journal() == []


def test_bounds_of_body_and_headers(ledger, connect, sidecar):
    body = posting()
    long = b" " * (config.BODY_BYTES_MAX + 1)
    assert code(connect(ledger.port).post(long, sidecar.permit(body))) == "BODY_TOO_LARGE"
    permit = urlsafe_b64encode(sidecar.permit(body)).rstrip(b"=")
    chunked = [("transfer-encoding", "chunked"), ("Symphony-Permit", permit)]
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(long), long)
    streaming = connect(ledger.port)
    streaming._connection.putrequest("POST", "/v1/postings")
    for name, value in chunked:
        streaming._connection.putheader(name, value)
    streaming._connection.endheaders(framed)
    answer = streaming._connection.getresponse()
    assert (answer.status, json.loads(answer.read())["reason_code"]) == (413, "BODY_TOO_LARGE")
    many = [(f"x-{n}", "y" * 1000) for n in range(20)]
    assert code(connect(ledger.port).post(body, sidecar.permit(body), many)) == "REQUEST_INVALID"


def test_accounts_are_opened_for_listed_agents_and_money_only(client, sidecar, world):
    for member, value in (("debit_agent", "NOTLISTEDXX"), ("credit_agent", "NOTLISTEDXX"), ("currency", "XAU"),
                          ("currency", "USD")):  # fmt: skip
        body = posting(**{member: value})
        assert code(client.post(body, sidecar.permit(body))) == "ACCOUNT_UNKNOWN"
    assert world.journal() == []
    with psycopg.connect(world.database.admin) as connection:
        unlisted = "SELECT count(*) FROM ledger.accounts WHERE agent = 'NOTLISTEDXX' OR currency <> 'ZMW'"
        assert connection.execute(unlisted).fetchone() == (0,)


def test_any_agent_only_where_a_sandbox_release_says_so(client, sidecar, ledger, clock, follower):
    wild = {"wildcards": {"agents": True, "currencies": False, "settlement_methods": False, "dates": False}}
    body = posting(debit_agent="CLR:ZMNFS:4711", credit_agent="NOTLISTEDXX")
    take(ledger, follower, release([sidecar], clock=clock, data=wild, environment="production"))
    assert not ledger.ledger.window.active.admits("CLR:ZMNFS:4711", "NOTLISTEDXX", "ZMW")
    take(ledger, follower, release([sidecar], clock=clock, data=wild))
    assert client.post(body, sidecar.permit(body))[0] == 201


def test_a_repeat_is_answered_even_if_the_release_no_longer_admits_the_agent(client, sidecar, ledger, clock, follower):
    body = posting()
    _, first = client.post(body, sidecar.permit(body))
    take(ledger, follower, release([sidecar], 2, clock, data={"agents": []}))
    assert client.post(body, sidecar.permit(body, release_number=2, attempt=2)) == (200, first | {"repeated": True})


def test_both_sides_may_be_one_account(client, sidecar, world):
    body = posting(credit_agent=AGENTS[0])
    assert client.post(body, sidecar.permit(body))[0] == 201
    assert [line[3] for line in world.journal()] == [-1250, 1250]


def test_twenty_threads_that_post_one_instruction_get_one_posting(ledger, connect, sidecar, world):
    body, answers, barrier = posting(), [], threading.Barrier(20)
    permits = [sidecar.permit(body, attempt=1) for _ in range(20)]

    def send(permit):
        connection = connect(ledger.port)
        connection.request("GET", "/health/live")
        barrier.wait()
        answers.append(connection.post(body, permit))
        connection.close()

    threads = [threading.Thread(target=send, args=(permit,)) for permit in permits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200] * 19 + [201]
    assert len({document["posting_id"] for _, document in answers}) == 1
    assert len(world.journal()) == 2


def test_a_problem_document_has_its_type_and_the_callers_correlation_id(client):
    _, document = client.request("POST", "/v1/postings", posting(), [("Symphony-Correlation-Id", "abc-1")])
    assert document["correlation_id"] == "abc-1" == client.headers["symphony-correlation-id"]
    assert client.headers["content-type"] == "application/problem+json"
    assert document["type"] == "urn:symphony:reason:PERMIT_MISSING"
    _, document = client.request("POST", "/v1/postings", posting(), [("Symphony-Correlation-Id", "<script>")])
    assert document["correlation_id"] != "<script>"


def test_unknown_addresses_and_methods_are_problem_documents(client):
    assert code(client.request("GET", "/v1/nothing")) == "NOT_FOUND"
    assert code(client.request("DELETE", "/v1/postings")) == "METHOD_NOT_ALLOWED"
