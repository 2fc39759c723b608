"""Requests for INV-028: what has no certificate, no token or no signature, and one that is right."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from contracts.canonical import sha256_hex
from contracts.times import SystemClock
from sidecar.attestation import Attestor, Presented, Rejected, RevocationView, Verified
from symphony import places
from symphony.stack.credentials import issue_token, issuer_entry, make_ca, new_key, participant_credential
from symphony.stack.environment import NARROW, load_template, manifests_in
from symphony.stack.layout import ENVIRONMENT, SERVICE

ISSUER, KID = "https://issuer.invalid", "k1"
BODY = b"<Document/>"


def cases() -> Iterator[tuple[str, str, Verified | Rejected]]:
    """``(name, expected code, answer)`` of station 1 for each request."""
    now = SystemClock().now()
    authority, issuer = make_ca("invariant", now=now), new_key()
    template = load_template(places.folder("examples") / NARROW)
    name = template["participants"][0]["id"]
    client = template["participants"][0]["clients"][0]
    credential = participant_credential(authority, ENVIRONMENT, name, now=now)
    manifest = manifests_in(None)[SERVICE]
    data: dict[str, Any] = {
        **template, "issuers": [issuer_entry(ISSUER, {KID: issuer})], "certificate_authorities": [authority.pem],
        "permit_keys": [], "evidence_keys": [], "log_keys": [],
    }  # fmt: skip
    attestor = Attestor(data, manifest, environment=ENVIRONMENT)
    token = issue_token(issuer, KID, ISSUER, manifest["audience"], client, credential.x5t_s256, now)
    head, claims, signature = token.split(".")
    stranger = issue_token(new_key(), KID, ISSUER, manifest["audience"], client, credential.x5t_s256, now)
    unbound = issue_token(issuer, KID, ISSUER, manifest["audience"], client, "A" * 43, now)
    long_lived = issue_token(issuer, KID, ISSUER, manifest["audience"], client, credential.x5t_s256, now, 86_400)

    def ask(certificate: bytes | None, authorization: str | None) -> Verified | Rejected:
        presented = Presented(certificate, authorization, "key-1", "application/xml", BODY, sha256_hex(BODY), "c")
        return attestor.attest(presented, revocations=RevocationView.of([], now), now=now)

    der = credential.der
    yield "no certificate", "CERTIFICATE_MISSING", ask(None, f"Bearer {token}")
    yield "no token", "TOKEN_MISSING", ask(der, None)
    yield "alg none", "TOKEN_ALGORITHM", ask(der, f"Bearer {_unsigned(head)}.{claims}.")
    yield "no signature", "TOKEN_MALFORMED", ask(der, f"Bearer {head}.{claims}")
    yield "another's signature", "TOKEN_SIGNATURE", ask(der, f"Bearer {stranger}")
    yield "another's binding", "POP_MISMATCH", ask(der, f"Bearer {unbound}")
    yield "too long a life", "TOKEN_LIFETIME", ask(der, f"Bearer {long_lived}")
    yield "a right one", "VERIFIED", ask(der, f"Bearer {head}.{claims}.{signature}")


def _unsigned(head: str) -> str:
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**header, "alg": "none"}).encode()).rstrip(b"=").decode()
