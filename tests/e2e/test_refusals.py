"""Step 4 of the story: what must not pass does not, each with its own reason code, each recorded (issue 3, NEG)."""

from __future__ import annotations

import base64
import http.client
import json
import uuid
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
from symphony.participant import Participant, Reply
from symphony.release.revoke import revoke
from symphony.stack.certificates import Credential, issue, load_credential, load_key, new_key
from symphony.stack.layout import ENVIRONMENT, ISSUER, ISSUER_KID, SIDECAR
from symphony.stack.release_one import control_plane
from symphony.stack.token_issuer import issue_token, sign_claims
from tests.e2e.support import ROOT, Stack, message, until

pytestmark = pytest.mark.story
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def attestation(stack: Stack, reply: Reply) -> dict[str, Any]:
    """The attestation row that a refusal names."""
    identifier = reply.body["attestation_id"] if isinstance(reply.body, dict) else reply.body[0]["attestation_id"]
    return stack.row("sidecar", "SELECT * FROM symphony.ingress_attestations WHERE attestation_id = %s", identifier)


def assert_refused_at_the_door(stack: Stack, reply: Reply, status: int, code: str) -> None:
    """Station 1: a problem document, an attestation REJECT, and nothing that takes the idempotency key."""
    assert (reply.status, reply.code, reply.content_type) == (status, code, "application/problem+json")
    assert reply.body["next_step"]
    row = attestation(stack, reply)
    assert (row["decision"], row["reject_reason_code"]) == ("REJECT", code)
    taken = "SELECT count(*) AS n FROM symphony.payment_instructions WHERE attestation_id = %s"
    assert stack.row("sidecar", taken, row["attestation_id"])["n"] == 0
    evidence = json.loads(bytes(row["evidence"]))
    assert (evidence["decision"], evidence["reason_code"]) == ("REJECT", code)


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


def test_a_replayed_token(stack: Stack) -> None:
    token = stack.participant().token()
    assert stack.submit(token=token).status == 202
    assert_refused_at_the_door(stack, stack.submit(token=token), 401, "TOKEN_REPLAYED")


def test_a_replayed_token_in_another_form_of_its_signature(stack: Stack) -> None:
    """(r, n - s) verifies as (r, s) does; base64url has spare bits: neither makes a token new."""
    token = stack.participant().token()
    head, claims, signature = token.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    malleated = base64.urlsafe_b64encode(other).rstrip(b"=").decode()
    assert stack.submit(token=token).status == 202
    assert_refused_at_the_door(stack, stack.submit(token=f"{head}.{claims}.{malleated}"), 401, "TOKEN_REPLAYED")
    spare = signature[:-1] + chr(ord(signature[-1]) ^ 1)
    refused = stack.submit(token=f"{head}.{claims}.{spare}")
    assert refused.code in {"TOKEN_REPLAYED", "TOKEN_MALFORMED", "TOKEN_SIGNATURE"}
    assert_refused_at_the_door(stack, refused, 401, str(refused.code))


def test_a_replayed_token_is_refused_with_a_known_idempotency_key_too(stack: Stack) -> None:
    raw, key, token = message(), str(uuid.uuid4()), stack.participant().token()
    assert stack.submit(raw, key=key, token=token).status == 202
    assert_refused_at_the_door(stack, stack.submit(raw, key=key, token=token), 401, "TOKEN_REPLAYED")


def test_one_token_sent_twenty_times_at_once_is_taken_once(stack: Stack) -> None:
    token = stack.participant().token()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: stack.submit(token=token), range(20)))
    assert sorted(str(reply.code) for reply in replies) == ["None"] + ["TOKEN_REPLAYED"] * 19


def test_a_token_bound_to_another_certificate(stack: Stack) -> None:
    with closing(Participant(stack.layout, "kafue-bank", certificate_of="luangwa-bank")) as thief:
        assert_refused_at_the_door(stack, thief.submit(message()), 401, "POP_MISMATCH")
        token = stack.participant().token()
        assert_refused_at_the_door(stack, thief.submit(message(), token=token), 401, "POP_MISMATCH")
    assert stack.submit(token=token).status == 202, "a thief must not be able to spend it"


def test_no_certificate_and_a_header_that_claims_one(stack: Stack) -> None:
    """ATT-02: only the connection's certificate counts; what a header says is ignored."""
    certificate = load_credential(
        stack.layout.participant("kafue-bank") / "client.pem", stack.layout.participant("kafue-bank") / "client-key.pem"
    )
    pem = certificate.pem.replace("\n", "")
    spoofed = {
        "X-Client-Cert": pem, "X-SSL-Client-Cert": pem, "X-Forwarded-Client-Cert": f"Cert={pem}", "Ssl-Client-Verify": "SUCCESS",
        "X-Forwarded-For": "10.0.0.1", "Client-Cert": f":{base64.b64encode(certificate.der).decode()}:",
    }  # fmt: skip
    import ssl

    context = ssl.create_default_context(cafile=str(stack.layout.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", stack.layout.ports["acceptor"], context=context, timeout=10)
    with closing(connection):
        connection.request("POST", "/v1/instructions", message(), {
            "authorization": f"Bearer {stack.participant().token()}", "idempotency-key": "k", "content-type": "application/xml",
            **spoofed,
        })  # fmt: skip
        answer = connection.getresponse()
        body = json.loads(answer.read())
    assert (answer.status, body["reason_code"]) == (401, "CERTIFICATE_MISSING")
    row = stack.row(
        "sidecar", "SELECT * FROM symphony.ingress_attestations WHERE attestation_id = %s", body["attestation_id"]
    )
    assert (row["reject_reason_code"], row["presented_cert_fingerprint_sha256"]) == ("CERTIFICATE_MISSING", None)


def test_a_certificate_of_an_authority_that_the_release_does_not_list(stack: Stack) -> None:
    """Our processes' authority is not the participants': refused in the handshake or with a code, never served."""
    import httpx

    folder = stack.layout.folder / "adapter"
    context = client_context(folder / "client.pem", folder / "client-key.pem", stack.layout.ca)
    with httpx.Client(base_url=stack.layout.url("acceptor"), verify=context, timeout=10) as client, pytest.raises(httpx.HTTPError):
        client.post("/v1/instructions", content=message())


def _token(stack: Stack, **changes: Any) -> str:
    """A token of the stack's issuer with some claims changed; ``None`` leaves one out."""
    now = int(datetime.now(UTC).timestamp())
    held = load_credential(
        stack.layout.participant("kafue-bank") / "client.pem", stack.layout.participant("kafue-bank") / "client-key.pem"
    )
    claims = {
        "iss": ISSUER, "aud": "reference-rail", "sub": "kafue-bank-payments", "iat": now, "nbf": now, "exp": now + 300,
        "jti": str(uuid.uuid4()), "cnf": {"x5t#S256": held.x5t_s256}, **changes,
    }  # fmt: skip
    key = load_key(stack.layout.folder / "issuer" / "key.pem")
    return sign_claims(key, {"alg": "ES256", "kid": ISSUER_KID, "typ": "at+jwt"}, {k: v for k, v in claims.items() if v is not None})


_NOW = int(datetime.now(UTC).timestamp())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://other.invalid"}, "TOKEN_ISSUER"),
        ({"aud": "another-rail"}, "TOKEN_AUDIENCE"),
        ({"exp": _NOW - 600, "iat": _NOW - 900, "nbf": _NOW - 900}, "TOKEN_EXPIRED"),
        ({"nbf": _NOW + 3600, "iat": _NOW + 3600, "exp": _NOW + 3900}, "TOKEN_NOT_YET_VALID"),
        ({"exp": _NOW + 86_400}, "TOKEN_LIFETIME"),
        ({"jti": None}, "TOKEN_CLAIMS"),
        ({"cnf": None}, "POP_MISSING"),
        ({"sub": "nobody"}, "PARTICIPANT_UNKNOWN"),
        ({"sub": "luangwa-bank-payments"}, "CERTIFICATE_PARTICIPANT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_token_with_a_claim_that_does_not_hold(stack: Stack, changes: dict[str, Any], code: str) -> None:
    reply = stack.submit(token=_token(stack, **changes))
    assert_refused_at_the_door(stack, reply, 403 if code == "PARTICIPANT_UNKNOWN" else 401, code)


def test_a_token_of_another_key(stack: Stack) -> None:
    held = load_credential(
        stack.layout.participant("kafue-bank") / "client.pem", stack.layout.participant("kafue-bank") / "client-key.pem"
    )
    forged = issue_token(
        new_key(), ISSUER_KID, ISSUER, "reference-rail", "kafue-bank-payments", held.x5t_s256, datetime.now(UTC)
    )
    assert_refused_at_the_door(stack, stack.submit(token=forged), 401, "TOKEN_SIGNATURE")


def test_a_suspended_participant(stack: Stack) -> None:
    reply = stack.submit(message(sender="BGWBZMLUXXX"), by="bangweulu-bank")
    assert_refused_at_the_door(stack, reply, 403, "PARTICIPANT_REVOKED")


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


# ---- revocation: in a stack of its own participants -------------------------------------------------


def test_a_revoked_certificate(stack: Stack) -> None:
    """Published by the security officer; refused within seconds, on a held connection too, and recorded."""
    participant = stack.participant("drakensberg-bank")
    raw = message(sender="DRKBZAJJXXX", receiver="KFUBZMLUXXX", currency="ZAR")
    assert participant.submit(raw).status == 202
    layout = stack.layout
    held = load_credential(
        layout.participant("drakensberg-bank") / "client.pem", layout.participant("drakensberg-bank") / "client-key.pem"
    )
    _revoke(stack, [{"kind": "certificate", "id": held.sha256}])

    def refused() -> Reply | None:
        reply = participant.submit(message(sender="DRKBZAJJXXX", receiver="KFUBZMLUXXX", currency="ZAR"))
        return reply if reply.status != 202 else None

    reply = until(refused, what="the revocation")
    assert_refused_at_the_door(stack, reply, 401, "CERTIFICATE_REVOKED")
    assert stack.submit().status == 202, "the others go on"


def test_a_revoked_participant(stack: Stack) -> None:
    participant = stack.participant("rheinufer-bank")
    assert participant.submit(message(sender="RHUBDEFFXXX", receiver="KFUBZMLUXXX", currency="EUR")).status == 202
    _revoke(stack, [{"kind": "participant", "id": "rheinufer-bank"}])

    def refused() -> Reply | None:
        reply = participant.submit(message(sender="RHUBDEFFXXX", receiver="KFUBZMLUXXX", currency="EUR"))
        return reply if reply.status != 202 else None

    reply = until(refused, what="the revocation")
    assert (reply.status, reply.code) == (403, "PARTICIPANT_REVOKED")


def _revoke(stack: Stack, entries: list[dict[str, Any]]) -> None:
    from symphony.release.ceremony import SECURITY_OFFICER
    from symphony.release.client import ControlPlane

    folder = stack.layout.folder / "security" / SECURITY_OFFICER
    control = ControlPlane.for_folder(stack.layout.url("controlplane"), folder, stack.layout.ca)
    now = datetime.now(UTC)
    full = [
        {"reason": "a test", "revoked_at": now.isoformat(timespec="microseconds").replace("+00:00", "Z"), "until": None, **entry}
        for entry in entries
    ]
    revoke(control, load_private_key(folder / "key.pem"), ENVIRONMENT, full, root=stack.layout.root.read_bytes(), now=now)


__all__ = ["ROOT", "Credential", "control_plane", "issue"]
