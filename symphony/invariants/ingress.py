"""Requests for INV-028 and INV-TRUST-001: what station 1 must refuse, each with its code, and one that it must take.

The keys are made here and live as long as the check; examples' participants, the repository's own service manifest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from contracts.canonical import sha256_hex
from contracts.release.staleness import revocations_age_s_max
from contracts.times import SystemClock, rfc3339
from sidecar.attestation import Attestor, Presented, RevocationView
from symphony import places
from symphony.stack.credentials import issue_token, issuer_entry, make_ca, new_key, participant_credential
from symphony.stack.environment import NARROW, load_template, manifests_in
from symphony.stack.layout import ENVIRONMENT, SERVICE

ISSUER, KID = "https://issuer.invalid", "k1"
BODY = b"<Document/>"
VERIFIED = "VERIFIED"
DAY_S = 86_400

Case = tuple[str, str, str]
"""A request's name, the code that is due (``VERIFIED`` for a right one), the code that came."""


class _Station:
    """Station 1 of this code, with one participant that it knows."""

    def __init__(self) -> None:
        self.now = SystemClock().now()
        authority, self.issuer = make_ca("invariant", now=self.now), new_key()
        template = load_template(places.folder("examples") / NARROW)
        participant = template["participants"][0]
        self.participant, self.client = participant["id"], participant["clients"][0]
        self.credential = participant_credential(authority, ENVIRONMENT, self.participant, now=self.now)
        self.manifest = manifests_in(None)[SERVICE]
        data: dict[str, Any] = {
            **template, "issuers": [issuer_entry(ISSUER, {KID: self.issuer})], "certificate_authorities": [authority.pem],
            "permit_keys": [], "evidence_keys": [], "log_keys": [],
        }  # fmt: skip
        self.attestor = Attestor(data, self.manifest, environment=ENVIRONMENT)

    def token(self, *, key: Any = None, bound_to: str | None = None, life_s: int | None = None) -> str:
        thumbprint = bound_to or self.credential.x5t_s256
        life = () if life_s is None else (life_s,)
        audience = self.manifest["audience"]
        return issue_token(key or self.issuer, KID, ISSUER, audience, self.client, thumbprint, self.now, *life)

    def ask(
        self,
        certificate: bytes | None,
        token: str | None,
        entries: Sequence[Mapping[str, Any]] = (),
        *,
        as_of: datetime | None = None,
        none_yet: bool = False,
    ) -> str:
        authorization = None if token is None else f"Bearer {token}"
        presented = Presented(certificate, authorization, "key-1", "application/xml", BODY, sha256_hex(BODY), "c")
        view = RevocationView.of(entries, None if none_yet else as_of or self.now)
        return str(getattr(self.attestor.attest(presented, revocations=view, now=self.now), "code", VERIFIED))


def unsigned() -> list[Case]:
    """INV-028: no request without certificate, token and signature, all of one party, within the token's longest life."""
    station = _Station()
    der, token = station.credential.der, station.token()
    head, claims, _ = token.split(".")
    return [
        ("no certificate", "CERTIFICATE_MISSING", station.ask(None, token)),
        ("no token", "TOKEN_MISSING", station.ask(der, None)),
        ("alg none", "TOKEN_ALGORITHM", station.ask(der, f"{_without_algorithm(head)}.{claims}.")),
        ("no signature", "TOKEN_MALFORMED", station.ask(der, f"{head}.{claims}")),
        ("another's signature", "TOKEN_SIGNATURE", station.ask(der, station.token(key=new_key()))),
        ("another's binding", "POP_MISMATCH", station.ask(der, station.token(bound_to="A" * 43))),
        ("too long a life", "TOKEN_LIFETIME", station.ask(der, station.token(life_s=DAY_S))),
        ("a right one", VERIFIED, station.ask(der, token)),
    ]


def revoked() -> list[Case]:
    """INV-TRUST-001: what is revoked is refused, and so is everything when nobody vouches for the revocations now."""
    station = _Station()
    der, token = station.credential.der, station.token()
    age = timedelta(seconds=revocations_age_s_max(station.manifest) + 1)

    def with_entry(kind: str, identifier: str) -> str:
        moment = rfc3339(station.now)
        entry = {"kind": kind, "id": identifier, "reason": "check", "revoked_at": moment, "until": None}
        return station.ask(der, token, [entry])

    return [
        ("a revoked certificate", "CERTIFICATE_REVOKED", with_entry("certificate", sha256_hex(der))),
        ("a revoked token key", "KEY_REVOKED", with_entry("token_key", KID)),
        ("a revoked participant", "PARTICIPANT_REVOKED", with_entry("participant", station.participant)),
        ("no revocations yet", "REVOCATIONS_STALE", station.ask(der, token, none_yet=True)),
        ("old revocations", "REVOCATIONS_STALE", station.ask(der, token, as_of=station.now - age)),
        ("revocations of the future", "REVOCATIONS_STALE", station.ask(der, token, as_of=station.now + age)),
        ("another's certificate revoked", VERIFIED, with_entry("certificate", "0" * 64)),
    ]


def _without_algorithm(head: str) -> str:
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**header, "alg": "none"}).encode()).rstrip(b"=").decode()
