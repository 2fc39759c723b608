"""Station 1: who, intact, fresh, bound (ATT-01 to ATT-09, ATT-15, ATT-16). One answer, one code per cause.

The order (ATT-02; size, rate and correlation id come before, in the acceptor):

1. the certificate: present, in time, of a release's authority, for clients        ``certificates``
2. durable revocations: fresh enough, the certificate not among them               ``revocations``
3. the token: form, algorithm, issuer, key, signature                              ``tokens``, ``issuers``
4. its key not revoked; claims by type; audience; exp, nbf, iat; lifetime          ``claims``
5. proof of possession: bound to the presented certificate                         ``claims``
   -- from here on a refusal spends the token (``spendable``), before it never --
6. the participant of the subject: known, active, not revoked, the certificate's   ``participants``
7. the request: idempotency key, content type, body                                ``requests``

Replay is not judged here: the insert into ``seen_jti`` shares the accept transaction (D4); ``jti_hash`` is its key.
Pure: no clock, no I/O; keys and chains are held per release, so make one ``Attestor`` per release and keep it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from contracts.errors import NotTrusted, Refused
from contracts.release.staleness import revocations_age_s_max
from sidecar.attestation.certificates import Certificate, Certificates
from sidecar.attestation.claims import Claims, check_binding, check_times, read_claims
from sidecar.attestation.issuers import Issuers
from sidecar.attestation.participants import Participants
from sidecar.attestation.requests import CONTENT_TYPES, check_request, valid_idempotency_key
from sidecar.attestation.revocations import RevocationView
from sidecar.attestation.tokens import SignedToken, bearer_token, verify_token
from sidecar.attestation.values import Presented, Rejected, Verified

_Facts = dict[str, Any]


class Attestor:
    """Attests requests against one release. Safe to share between tasks and threads."""

    def __init__(
        self,
        environment_data: dict[str, Any],
        manifest: dict[str, Any],
        *,
        environment: str,
        content_types: frozenset[str] = CONTENT_TYPES,
    ) -> None:
        """Import the keys of a release. Raises ``NotTrusted``: RELEASE_ENVIRONMENT, RELEASE_MANIFEST (ATT-04)."""
        if environment_data["environment"] != environment:
            raise NotTrusted("RELEASE_ENVIRONMENT", f"the data is of {environment_data['environment']}")
        settings = manifest.get("sidecar")
        if settings is None or "mtls" not in settings["attestation"]["pop_modes"]:
            raise NotTrusted("RELEASE_MANIFEST", "the manifest is not of a sidecar with proof of possession by mtls")
        self._audience: str = manifest["audience"]
        self._skew_s: int = manifest["clock_skew_s"]
        self._lifetime_s_max: int = settings["attestation"]["token_lifetime_s_max"]
        self._revocations_age_s_max: int = revocations_age_s_max(manifest)
        self._content_types = content_types
        self._certificates = Certificates(environment_data["certificate_authorities"], environment=environment)
        self._issuers = Issuers(environment_data["issuers"])
        self._participants = Participants(environment_data["participants"])

    def attest(self, presented: Presented, *, revocations: RevocationView, now: datetime) -> Verified | Rejected:
        """Judge one request. ``now`` is aware UTC from the one injected clock."""
        facts: _Facts = {
            "body_sha256": presented.body_sha256,
            "idempotency_key": valid_idempotency_key(presented.idempotency_key),
        }
        try:
            certificate = self._certificate(presented.certificate_der, revocations, now, facts)
            self._identity(bearer_token(presented.authorization), certificate, revocations, now, facts)
            check_request(presented, self._content_types)
        except Refused as error:
            return Rejected(code=error.code, detail=error.detail, **facts)
        return Verified(**facts)

    def recheck(
        self,
        token: str,
        certificate_der: bytes,
        *,
        revocations: RevocationView,
        now: datetime,
        body_sha256: str,
        idempotency_key: str,
    ) -> Verified | Rejected:
        """The writer's own check, from the token and the certificate alone (stations 1 to 6 of the order).

        It takes no identity on the acceptor's word: use the facts of this answer, with ``revocations`` as the commit
        sees them. ``body_sha256`` and ``idempotency_key`` are carried through, for the writer to fill in.
        """
        facts: _Facts = {"body_sha256": body_sha256, "idempotency_key": idempotency_key}
        try:
            certificate = self._certificate(certificate_der, revocations, now, facts)
            self._identity(token, certificate, revocations, now, facts)
        except Refused as error:
            return Rejected(code=error.code, detail=error.detail, **facts)
        return Verified(**facts)

    def _certificate(self, der: bytes | None, revocations: RevocationView, now: datetime, facts: _Facts) -> Certificate:
        if der:
            facts["certificate_sha256"] = hashlib.sha256(der).hexdigest()
        certificate = self._certificates.check(der, now)
        facts["x5t_s256"] = certificate.x5t_s256
        revocations.demand_fresh(now, age_s_max=self._revocations_age_s_max, skew_s=self._skew_s)
        if revocations.is_revoked("certificate", certificate.sha256, now):
            raise Refused("CERTIFICATE_REVOKED")
        return certificate

    def _identity(
        self, token: str, certificate: Certificate, revocations: RevocationView, now: datetime, facts: _Facts
    ) -> None:
        facts["token_sha256"] = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        signed = verify_token(token, self._issuers)
        if any(revocations.is_revoked("token_key", id_, now) for id_ in signed.key.revocation_ids):
            raise Refused("KEY_REVOKED")
        claims = read_claims(signed.claims, audience=self._audience)
        facts.update(_signed_facts(signed, claims))
        check_times(claims, now, skew_s=self._skew_s, lifetime_s_max=self._lifetime_s_max)
        check_binding(claims, certificate.x5t_s256)
        facts.update(
            pop_mode="mtls",
            jti_hash=claims.jti_hash,
            token_expires_at=claims.expires_at,
            token_day=claims.expires_at.date(),
            spendable=True,
        )
        facts["participant_id"] = self._participants.of(claims.sub, certificate, revocations, now)


def _signed_facts(signed: SignedToken, claims: Claims) -> _Facts:
    return {
        "jwt_iss": claims.iss,
        "jwt_aud": claims.aud,
        "jwt_kid": signed.header.kid,
        "signature_alg": signed.header.alg,
        "client_id": claims.sub,
    }
