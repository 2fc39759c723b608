"""One release, one participant and its credentials, built once, which tests bend."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from contracts.times import rfc3339
from sidecar.attestation import Attestor, Presented, Rejected, RevocationView, Verified
from symphony.stack import credentials as dev

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
ISSUER, KID, AUDIENCE = "https://issuer.zanaco.example", "issuer-1", "urn:symphony:sandbox:zeca-book"
CLIENT, PARTICIPANT = "zanaco-gateway", "zanaco"
SKEW_S, LIFETIME_S_MAX, REVOCATIONS_AGE_S_MAX = 30, 600, 60
BODY = b"<Document/>"


@cache
def ca() -> dev.Credential:
    """The release's certificate authority."""
    return dev.make_ca("Sandbox CA", now=NOW - timedelta(days=30))


@cache
def client() -> dev.Credential:
    """The participant's certificate."""
    return dev.participant_credential(ca(), "sandbox", PARTICIPANT, now=NOW - timedelta(days=1), days=30)


@cache
def issuer_key() -> Any:
    """The token issuer's key."""
    return dev.new_key()


def environment_data() -> dict[str, Any]:
    """What station 1 reads of ``environment.json``."""
    return {
        "environment": "sandbox",
        "certificate_authorities": [ca().pem],
        "issuers": [dev.issuer_entry(ISSUER, {KID: issuer_key()})],
        "participants": [
            {"id": PARTICIPANT, "status": "active", "clients": [CLIENT, "zanaco-backup"]},
            {"id": "fnb", "status": "active", "clients": ["fnb-gateway"]},
            {"id": "shut", "status": "suspended", "clients": ["shut-gateway"]},
        ],
    }


def manifest() -> dict[str, Any]:
    """What station 1 reads of the service manifest."""
    return {
        "audience": AUDIENCE,
        "clock_skew_s": SKEW_S,
        "sidecar": {
            "attestation": {"pop_modes": ["mtls"], "token_lifetime_s_max": LIFETIME_S_MAX},
            "ages_max_s": {"revocations": REVOCATIONS_AGE_S_MAX, "usage": 60},
        },
    }


@cache
def attestor() -> Attestor:
    """An attestor of the release above."""
    return Attestor(environment_data(), manifest(), environment="sandbox")


def epoch(moment: datetime = NOW) -> int:
    """Whole seconds since 1970."""
    return int(moment.timestamp())


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims at NOW; a change to ``...`` removes the claim."""
    base: dict[str, Any] = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": CLIENT, "iat": epoch(), "nbf": epoch(), "exp": epoch() + 300,
        "jti": "6f1c", "cnf": {"x5t#S256": client().x5t_s256},
    }  # fmt: skip
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def token(*, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
    """A token signed by the issuer, with claims and header bent."""
    full = {"alg": "ES256", "kid": KID, "typ": "at+jwt", **(header or {})}
    return dev.sign_claims(
        key or issuer_key(), {name: value for name, value in full.items() if value is not ...}, claims(**changes)
    )


def presented(authorization: str | None, **changes: Any) -> Presented:
    """A good request with this Authorization header."""
    base = Presented(
        certificate_der=client().der,
        authorization=authorization,
        idempotency_key="pay-1",
        content_type="application/xml",
        body=BODY,
        body_sha256=hashlib.sha256(BODY).hexdigest(),
        correlation_id="c-1",
    )
    return replace(base, **changes)


def bearer(text: str) -> str:
    """The Authorization header of a token."""
    return f"Bearer {text}"


def revoked(*entries: tuple[str, str], until: datetime | None = None, as_of: datetime = NOW) -> RevocationView:
    """A revocation view with these (kind, id)."""
    return RevocationView.of(
        [
            {
                "kind": kind, "id": id_, "reason": "test", "revoked_at": rfc3339(NOW),
                "until": None if until is None else rfc3339(until),
            }
            for kind, id_ in entries
        ],
        as_of,
    )  # fmt: skip


def attest(text: str | None = None, *, now: datetime = NOW, view: RevocationView | None = None, **changes: Any):
    """Attest a good request whose token is ``text`` (a fresh good one by default), bent by ``changes``."""
    request = presented(bearer(token() if text is None else text), **changes)
    return attestor().attest(request, revocations=view or revoked(as_of=now), now=now)


def accepted(answer: Verified | Rejected) -> Verified:
    """The answer, which must be an acceptance."""
    assert isinstance(answer, Verified), answer
    return answer


def refused(answer: Verified | Rejected, code: str, *, spendable: bool = False) -> Rejected:
    """The answer, which must be this refusal, spending the token or not."""
    assert isinstance(answer, Rejected), answer
    assert (answer.code, answer.spendable) == (code, spendable), answer
    if not answer.spendable:
        assert answer.jti_hash is answer.token_day is answer.token_expires_at is answer.pop_mode is None
        assert answer.participant_id is None
    return answer


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A deep copy with one value replaced; ``path`` as ``a/0/b``."""
    out = copy.deepcopy(data)
    *parents, last = path.split("/")
    place: Any = out
    for step in parents:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[int(last) if isinstance(place, list) else last] = value
    return out
