"""Step 4 of the story, station 1: a token, certificate or participant that does not hold is refused, with its own code.

Each refusal is an attestation row and evidence, and takes no idempotency key (ATT-01 to ATT-09, D1, D3, NEG).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from contracts.keys import load_private_key
from contracts.tls import client_context
from symphony.participant import Participant, Reply
from symphony.release.ceremony import SECURITY_OFFICER
from symphony.release.client import ControlPlane
from symphony.release.revoke import revoke
from symphony.stack.certificates import load_credential, load_key, new_key
from symphony.stack.layout import ENVIRONMENT, ISSUER, ISSUER_KID
from symphony.stack.token_issuer import issue_token, sign_claims
from tests.e2e.support import Stack, attestation, message, until

pytestmark = pytest.mark.story
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NOW = int(datetime.now(UTC).timestamp())


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
    folder = stack.layout.folder / "security" / SECURITY_OFFICER
    control = ControlPlane.for_folder(stack.layout.url("controlplane"), folder, stack.layout.ca)
    now = datetime.now(UTC)
    full = [
        {"reason": "a test", "revoked_at": now.isoformat(timespec="microseconds").replace("+00:00", "Z"), "until": None, **entry}
        for entry in entries
    ]
    revoke(control, load_private_key(folder / "key.pem"), ENVIRONMENT, full, root=stack.layout.root.read_bytes(), now=now)
