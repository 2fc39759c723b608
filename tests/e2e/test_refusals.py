"""Step 4 of the story, stations 2 to 4 and the ledger's own door: what must not pass does not (issue 3, NEG).

Each refused payment is an instruction row with its own reason code, and is posted never.
"""

from __future__ import annotations

import base64
import http.client
import json
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import permit
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.keys import key_id_of, load_private_key
from contracts.tls import client_context
from symphony.participant import Reply
from symphony.stack.layout import ENVIRONMENT, SIDECAR
from tests.e2e.support import Stack, attestation, message

pytestmark = pytest.mark.story
_NOW = int(datetime.now(UTC).timestamp())


def assert_refused_payment(stack: Stack, reply: Reply, code: str, *, tx_index: int = 0) -> dict[str, Any]:
    """Stations 2 to 4: an instruction row REFUSED with its reason, an attestation, and no posting ever."""
    assert (reply.status, reply.code) == (422, code), reply.body
    (entry,) = reply.body
    assert (entry["state"], entry["tx_index"]) == ("REFUSED", tx_index)
    row = stack.row(
        "sidecar", "SELECT * FROM symphony.payment_instructions WHERE instruction_id = %s", entry["instruction_id"]
    )
    assert (row["decision"], row["reason_code"], row["tx_index"]) == ("REFUSED", code, tx_index)
    assert attestation(stack, reply)["decision"] == "REJECT"
    posted = "SELECT count(*) AS n FROM ledger.postings WHERE instruction_id = %s"
    assert stack.row("ledger", posted, entry["instruction_id"])["n"] == 0
    return row


def test_a_message_that_speaks_for_another_bank(stack: Stack) -> None:
    assert_refused_payment(stack, stack.submit(message(sender="LWGBZMLUXXX", receiver="KFUBZMLUXXX")), "AGENT_MISMATCH")


def test_a_participant_that_is_not_on_the_allow_list(stack: Stack) -> None:
    reply = stack.submit(message(sender="KLMFZMLUXXX"), by="kalambo-finance")
    assert_refused_payment(stack, reply, "NOT_ALLOWED_PARTICIPANT")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (lambda: message("50000000.01"), "CAP_PAYMENT_VALUE"),
        (lambda: message(currency="XAU"), "CURRENCY_UNKNOWN"),
        (lambda: message(currency="AUD"), "NOT_ALLOWED_CURRENCY"),
        (lambda: message(receiver="OKVBNANXXXX"), "NOT_ALLOWED_AGENT"),
        (lambda: message(method="COVE"), "NOT_ALLOWED_SETTLEMENT_METHOD"),
        (lambda: message("0.00"), "AMOUNT_INVALID"),
        (lambda: message(settlement_date=(datetime.now(UTC) + timedelta(days=9)).date().isoformat()), "SETTLEMENT_DATE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_release_does_not_permit(stack: Stack, raw: Callable[[], bytes], code: str) -> None:
    assert_refused_payment(stack, stack.submit(raw()), code)


def test_the_cap_itself_is_permitted(stack: Stack) -> None:
    assert stack.submit(message("50000000.00")).status == 202


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"<Document", "MESSAGE_MALFORMED"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "MESSAGE_HOSTILE"),
        (b"plain text", "MESSAGE_MALFORMED"),
        (b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"/>', "MESSAGE_TYPE_UNSUPPORTED"),
    ],
    ids=["cut short", "entities", "no XML", "another type"],
)
def test_a_malformed_message(stack: Stack, raw: bytes, code: str) -> None:
    row = assert_refused_payment(stack, stack.submit(raw), code, tx_index=-1)
    assert row["amount_minor"] is None


def test_the_same_idempotency_key_with_another_body(stack: Stack) -> None:
    key = str(uuid.uuid4())
    assert stack.submit(key=key).status == 202
    reply = stack.submit(key=key)
    assert (reply.status, reply.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert attestation(stack, reply)["reject_reason_code"] == "IDEMPOTENCY_KEY_REUSED"


def test_a_refusal_is_final_for_its_idempotency_key(stack: Stack) -> None:
    raw, key = message("50000000.01"), str(uuid.uuid4())
    first, again = stack.submit(raw, key=key), stack.submit(raw, key=key)
    assert (again.status, again.code) == (422, "CAP_PAYMENT_VALUE")
    assert again.body[0]["repeated"]
    assert again.body[0]["instruction_id"] == first.body[0]["instruction_id"]


def test_two_participants_may_use_one_idempotency_key(stack: Stack) -> None:
    key = str(uuid.uuid4())
    assert stack.submit(key=key).status == 202
    reply = stack.submit(message(sender="LWGBZMLUXXX", receiver="KFUBZMLUXXX"), by="luangwa-bank", key=key)
    assert (reply.status, reply.body[0]["repeated"]) == (202, False)


def test_the_same_payment_under_a_fresh_idempotency_key(stack: Stack) -> None:
    """The first instruction's id is shown to the participant that sent it."""
    raw = message()
    (first,) = stack.submit(raw).accepted
    reply = stack.submit(raw)
    assert_refused_payment(stack, reply, "DUPLICATE_TRANSACTION")
    assert first in reply.body[0]["detail"]
    uetr = str(uuid.uuid4())
    assert stack.submit(message("1.00", uetr=uetr)).status == 202
    changed = stack.submit(message("2.00", uetr=uetr))
    assert changed.code == "DUPLICATE_TRANSACTION", "whatever the digest"


def test_the_first_id_is_shown_to_its_own_participant_only(crash_stack: Stack) -> None:
    raw = message()
    (first,) = crash_stack.submit(raw).accepted
    reply = crash_stack.submit(raw, by="luangwa-bank")
    assert reply.code == "DUPLICATE_TRANSACTION"
    assert first not in json.dumps(reply.body)


def test_a_true_retry_gives_the_first_result(stack: Stack) -> None:
    """Same key, same bytes, a fresh token: the first ids, and the state as it is now."""
    raw, key = message(), str(uuid.uuid4())
    first = stack.submit(raw, key=key)
    (instruction,) = first.accepted
    stack.participant().wait(instruction)
    again = stack.submit(raw, key=key)
    assert again.status == 202
    assert again.body[0]["repeated"]
    assert again.body[0]["state"] == "SUCCEEDED"
    same = ("instruction_id", "attestation_id", "policy_version", "policy_checksum")
    assert {name: again.body[0][name] for name in same} == {name: first.body[0][name] for name in same}
    assert stack.row("sidecar", "SELECT count(*) AS n FROM symphony.payment_instructions WHERE idempotency_key = %s", key)["n"] == 1


def test_twenty_retries_at_once_make_one_instruction(stack: Stack) -> None:
    raw, key = message(), str(uuid.uuid4())
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: stack.submit(raw, key=key), range(20)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.body[0]["instruction_id"] for reply in replies}) == 1
    assert sorted(reply.body[0]["repeated"] for reply in replies) == [False] + [True] * 19
    (instruction,) = {reply.body[0]["instruction_id"] for reply in replies}
    stack.participant().wait(instruction)
    assert stack.row("ledger", "SELECT count(*) AS n FROM ledger.postings WHERE instruction_id = %s AND purpose = 'post'", instruction)["n"] == 1


def test_twenty_keys_at_once_for_one_payment_post_it_once(stack: Stack) -> None:
    raw = message()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: stack.submit(raw), range(20)))
    assert sorted(str(reply.code) for reply in replies) == ["DUPLICATE_TRANSACTION"] * 19 + ["None"]


def test_twenty_bodies_at_once_under_one_key_are_one_and_nineteen_refusals(stack: Stack) -> None:
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: stack.submit(message(), key=key), range(20)))
    assert sorted(str(reply.code) for reply in replies) == ["IDEMPOTENCY_KEY_REUSED"] * 19 + ["None"]


def test_the_daily_cap_is_exact_however_many_come_at_once(stack: Stack) -> None:
    """Mosi Money may send 2,000,000.00 a day, 20,000.00 at a time: a hundred pass, not one more."""
    with ThreadPoolExecutor(20) as pool:
        sent = [message("20000.00", sender="MSIMZMLUXXX") for _ in range(115)]
        replies = list(pool.map(lambda raw: stack.submit(raw, by="mosi-money"), sent))
    assert Counter(str(reply.code) for reply in replies) == {"None": 100, "CAP_DAILY_VALUE": 15}
    over = next(reply for reply in replies if reply.code)
    assert_refused_payment(stack, over, "CAP_DAILY_VALUE")
    assert_refused_payment(stack, stack.submit(message("0.01", sender="MSIMZMLUXXX"), by="mosi-money"), "CAP_DAILY_VALUE")


# ---- the ledger's own door --------------------------------------------------------------------------


def posting(**changes: Any) -> dict[str, Any]:
    """A posting body of the sidecar's form."""
    return {
        "schema": "symphony.posting/1", "instruction_id": str(uuid.uuid4()), "purpose": "post", "kind": "transfer",
        "rail": "iso20022", "amount_minor": 100, "currency": "ZMW", "debit_agent": "KFUBZMLUXXX",
        "credit_agent": "LWGBZMLUXXX", "settlement_date": None, **changes,
    }  # fmt: skip


def permit_for(stack: Stack, body: dict[str, Any], **changes: Any) -> bytes:
    """A permit by the stack's own permit key."""
    key = load_private_key(stack.layout.folder / "sidecar" / "permit.pem")
    now = int(datetime.now(UTC).timestamp())
    wasm = stack.submit().body[0]["policy_checksum"]
    (made,) = permit.issue(key, [{
        "version": 1, "environment": ENVIRONMENT, "sidecar": SIDECAR, "key_id": key_id_of(key),
        "instruction_id": body["instruction_id"], "attempt": 1, "epoch": 1, "purpose": "post",
        "request_sha256": sha256_hex(canonical_bytes(body)), "release_number": 1, "policy_digest": wasm,
        "attestation_leaf_hash": "00" * 32, "audience": "core-ledger", "iat": now, "exp": now + 30, **changes,
    }])  # fmt: skip
    return made


def ask_ledger(stack: Stack, body: dict[str, Any], made: bytes | None, *, part: str = "adapter") -> tuple[int, dict[str, Any]]:
    """POST /v1/postings as the adapter does."""
    folder = stack.layout.folder / part
    context = client_context(folder / "client.pem", folder / "client-key.pem", stack.layout.ca)
    connection = http.client.HTTPSConnection("127.0.0.1", stack.layout.ports["ledger"], context=context, timeout=10)
    headers = {"content-type": "application/json"}
    if made is not None:
        headers["symphony-permit"] = base64.urlsafe_b64encode(made).rstrip(b"=").decode()
    with closing(connection):
        connection.request("POST", "/v1/postings", canonical_bytes(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def assert_not_posted(stack: Stack, body: dict[str, Any]) -> None:
    rows = "SELECT count(*) AS n FROM ledger.postings WHERE instruction_id = %s"
    assert stack.row("ledger", rows, body["instruction_id"])["n"] == 0


def test_the_ledger_acts_only_on_a_permit(stack: Stack) -> None:
    body = posting()
    status, answer = ask_ledger(stack, body, None)
    assert (status, answer["reason_code"]) == (403, "PERMIT_MISSING")
    assert_not_posted(stack, body)
    assert stack.json("reconcile", code=None)["ledger_refusals"]["PERMIT_MISSING"] >= 1


@pytest.mark.parametrize(
    "change", [{"amount_minor": 200}, {"credit_agent": "KFUBZMLKXXX"}, {"currency": "USD"}, {"debit_agent": "LWGBZMLUXXX", "credit_agent": "KFUBZMLUXXX"}],
    ids=["amount", "creditor", "currency", "turned round"],
)  # fmt: skip
def test_a_permit_for_another_amount_or_account(stack: Stack, change: dict[str, Any]) -> None:
    permitted = posting()
    made = permit_for(stack, permitted)
    asked = {**permitted, **change}
    status, answer = ask_ledger(stack, asked, made)
    assert (status, answer["reason_code"]) == (403, "PERMIT_BODY_MISMATCH")
    assert_not_posted(stack, asked)


def test_a_permit_of_a_key_that_is_not_the_releases(stack: Stack) -> None:
    body = posting()
    stranger = load_private_key(stack.layout.folder / "sidecar" / "evidence.pem")
    claims = json.loads(permit_for(stack, body))["claims"]
    (made,) = permit.issue(stranger, [{**claims, "key_id": key_id_of(stranger)}])
    status, answer = ask_ledger(stack, body, made)
    assert (status, answer["reason_code"]) == (403, "PERMIT_KEY_UNKNOWN")
    (made,) = permit.issue(stranger, [claims])
    status, answer = ask_ledger(stack, body, made)
    assert (status, answer["reason_code"]) == (403, "PERMIT_SIGNATURE")
    assert_not_posted(stack, body)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iat": _NOW - 3600, "exp": _NOW - 3570}, "PERMIT_EXPIRED"),
        ({"audience": "another-ledger"}, "PERMIT_AUDIENCE"),
        ({"purpose": "seal"}, "PERMIT_PURPOSE"),
        ({"policy_digest": "00" * 32}, "PERMIT_POLICY"),
        ({"release_number": 7}, "RELEASE_NOT_YET"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_permit_that_does_not_hold(stack: Stack, changes: dict[str, Any], code: str) -> None:
    body = posting()
    status, answer = ask_ledger(stack, body, permit_for(stack, body, **changes))
    assert answer["reason_code"] == code
    assert status >= 400
    assert_not_posted(stack, body)


def test_a_replayed_permit_posts_once(stack: Stack) -> None:
    body = posting()
    made = permit_for(stack, body)
    assert ask_ledger(stack, body, made)[0] == 201
    status, answer = ask_ledger(stack, body, made)
    assert (status, answer["repeated"]) == (200, True)
