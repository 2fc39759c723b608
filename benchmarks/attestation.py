"""Attestations per second on one core, beside PyJWT doing its share of the same work in the same run.

    python -m benchmarks.attestation [--tokens 2000] [--rounds 5]

Method: as many tokens as asked are signed beforehand (ES256, each of its own jti, 50 participants with a certificate
each). Each round attests all of them once by every way, the ways in turn, on one thread, timed by process CPU time; the
best round counts. Nothing is cached per token; certificates are held from a first request, as on a kept connection.

* ``attest``: station 1 whole (certificate, revocations, token, claims, binding, participant, request rules).
* ``recheck``: what the writer does again.
* ``pyjwt``: signature and claims by PyJWT with a prepared key, then the binding and the participant by hand; no
  certificate check, no revocations, no strictness beyond PyJWT's own.
* ``signature``: the ES256 verification alone, by ``cryptography``: the floor.

Results go to ``var/bench/attestation.json``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sidecar.attestation import Attestor, Presented, Rejected, RevocationView
from symphony.stack import credentials as dev

PARTICIPANTS = 50
ISSUER, KID, AUDIENCE = "https://issuer.example", "issuer-1", "urn:symphony:sandbox:bench"
OUTPUT = Path(__file__).resolve().parent.parent / "var" / "bench" / "attestation.json"
BODY = b"<Document/>" * 200


@dataclass(frozen=True)
class Setting:
    """Everything that the four ways share."""

    attestor: Attestor
    view: RevocationView
    now: datetime
    public: ec.EllipticCurvePublicKey
    requests: list[tuple[str, dev.Credential]]
    participants: dict[str, str]


def setting(tokens: int) -> Setting:
    """A release with 50 participants, and as many tokens as asked."""
    now = datetime.now(UTC)
    ca, key = dev.make_ca("Bench CA", now=now), dev.new_key()
    names = [f"bank-{n}" for n in range(PARTICIPANTS)]
    certificates = [dev.participant_credential(ca, "sandbox", name, now=now) for name in names]
    data = {
        "environment": "sandbox",
        "certificate_authorities": [ca.pem],
        "issuers": [dev.issuer_entry(ISSUER, {KID: key})],
        "participants": [{"id": name, "status": "active", "clients": [f"{name}-gateway"]} for name in names],
    }
    manifest = {
        "audience": AUDIENCE,
        "clock_skew_s": 30,
        "sidecar": {
            "attestation": {"pop_modes": ["mtls"], "token_lifetime_s_max": 600},
            "ages_max_s": {"revocations": 3600},
        },
    }
    requests = []
    for n in range(tokens):
        name, certificate = names[n % PARTICIPANTS], certificates[n % PARTICIPANTS]
        x5t = certificate.x5t_s256
        requests.append((dev.issue_token(key, KID, ISSUER, AUDIENCE, f"{name}-gateway", x5t, now, 600), certificate))
    entries = [
        {"kind": "certificate", "id": f"{n:064x}", "reason": "", "revoked_at": "", "until": None} for n in range(1000)
    ]
    return Setting(
        attestor=Attestor(data, manifest, environment="sandbox"),
        view=RevocationView.of(entries, now),
        now=now,
        public=key.public_key(),
        requests=requests,
        participants={f"{name}-gateway": name for name in names},
    )


def ways(of: Setting) -> dict[str, Callable[[], int]]:
    """Each way attests all requests once and says how many it took."""
    digest = hashlib.sha256(BODY).hexdigest()
    presented = [
        Presented(certificate.der, f"Bearer {token}", "k", "application/xml", BODY, digest, "c")
        for token, certificate in of.requests
    ]
    pairs = [(request.authorization[7:], request.certificate_der) for request in presented if request.authorization]
    bound = [(token, certificate.x5t_s256) for token, certificate in of.requests]
    split = [_signature_parts(token) for token, _ in of.requests]

    def attest() -> int:
        answers = [of.attestor.attest(request, revocations=of.view, now=of.now) for request in presented]
        return sum(not isinstance(answer, Rejected) for answer in answers)

    def recheck() -> int:
        taken = 0
        for token, der in pairs:
            answer = of.attestor.recheck(
                token, der or b"", revocations=of.view, now=of.now, body_sha256=digest, idempotency_key="k"
            )
            taken += not isinstance(answer, Rejected)
        return taken

    def by_pyjwt() -> int:
        taken = 0
        options: Any = {"require": ["iss", "aud", "sub", "exp", "iat", "nbf", "jti"]}
        for token, x5t in bound:
            claims = pyjwt.decode(
                token, of.public, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER, leeway=30, options=options
            )
            taken += claims["cnf"]["x5t#S256"] == x5t and claims["sub"] in of.participants
        return taken

    def signature() -> int:
        for signed, der in split:
            of.public.verify(der, signed, ec.ECDSA(hashes.SHA256()))
        return len(split)

    return {"attest": attest, "recheck": recheck, "pyjwt": by_pyjwt, "signature": signature}


def _signature_parts(token: str) -> tuple[bytes, bytes]:
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return signed.encode(), encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def measure(of: Setting, rounds: int) -> dict[str, Any]:
    """Microseconds of CPU per token and tokens per second, by way, and the ratios."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways(of).items():
            begun = time.process_time()
            taken = way()
            spent = time.process_time() - begun
            if taken != len(of.requests):
                raise RuntimeError(f"{name} took {taken} of {len(of.requests)}")
            best[name] = min(spent, best.get(name, spent))
    count = len(of.requests)
    return {
        "tokens": count,
        "rounds": rounds,
        "us_per_token": {name: round(spent / count * 1e6, 1) for name, spent in best.items()},
        "attests_per_s": round(count / best["attest"]),
        "rechecks_per_s": round(count / best["recheck"]),
        "pyjwt_per_s": round(count / best["pyjwt"]),
        "ratio_to_pyjwt": round(best["pyjwt"] / best["attest"], 2),
        "over_the_signature_us": round((best["attest"] - best["signature"]) / count * 1e6, 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = measure(setting(options.tokens), options.rounds)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
