"""The client certificate of a request (ATT-02 step 2): present, in time, of a release's authority, for clients.

Rules, in this order; TLS checks the chain at the handshake, but a held connection outlives certificate and release:

* a certificate was presented (``CERTIFICATE_MISSING``) and can be read (``CERTIFICATE_UNTRUSTED``);
* it is inside its own validity, bounds included (``CERTIFICATE_EXPIRED``);
* an authority of the release issued it, itself or through another listed one, all in time, extended key usage names
  clientAuth and nothing is contradicted by path length, key usage or name constraints (``CERTIFICATE_UNTRUSTED``);
* a name of ours in it (``spiffe://symphony/<environment>/participant/<id>``) is of this environment and of a
  participant: never a process's or an officer's certificate (``CERTIFICATE_UNTRUSTED``).

Not here: intermediates that the peer sends (list them in the release), OCSP, CRL (the durable table is the authority).
X.509: RFC 5280, by ``cryptography.x509.verification``. Thumbprint: RFC 8705 section 3.1.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.errors import NotTrusted, Refused
from sidecar.attestation.limits import CERTIFICATES_CACHED_MAX

IDENTITY_PREFIX = "spiffe://symphony/"

_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises for a certificate that it cannot read; extensions are read late."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose chain holds between the two times (the narrowest validity of the chain)."""

    sha256: str
    x5t_s256: str
    not_before: datetime
    not_after: datetime
    chain_not_before: datetime
    chain_not_after: datetime
    participant_id: str | None


def x5t_s256(der: bytes) -> str:
    """The ``x5t#S256`` of a certificate: base64url without padding of SHA-256 over the DER."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode("ascii")


class Certificates:
    """Checks client certificates against one release's authorities; verified chains are held, times are not."""

    def __init__(self, authorities: Sequence[str], *, environment: str) -> None:
        """``authorities`` as PEM. Raises ``NotTrusted RELEASE_MANIFEST`` for one that cannot be read."""
        self._environment = environment
        self._held: dict[bytes, Certificate] = {}
        try:
            roots = [x509.load_pem_x509_certificate(pem.encode("ascii")) for pem in authorities]
        except ValueError as error:
            raise NotTrusted("RELEASE_MANIFEST", f"certificate_authorities: {error}") from error
        self._store = verification.Store(roots) if roots else None

    def check(self, der: bytes | None, now: datetime) -> Certificate:
        """The certificate's facts. Raises ``Refused`` with one of the codes above."""
        if not der:
            raise Refused("CERTIFICATE_MISSING")
        held = self._held.get(der)
        if held is None:
            held = self._verified(der, now)
            while len(self._held) >= CERTIFICATES_CACHED_MAX:
                self._held.pop(next(iter(self._held)))
            self._held[der] = held
        _demand_current(held.not_before, held.not_after, now)
        if not held.chain_not_before <= now <= held.chain_not_after:
            raise Refused("CERTIFICATE_UNTRUSTED", "an authority of the chain is outside its validity")
        return held

    def _verified(self, der: bytes, now: datetime) -> Certificate:
        try:
            leaf = x509.load_der_x509_certificate(der)
            uris = _identities(leaf)
        except _UNREADABLE as error:
            raise Refused("CERTIFICATE_UNTRUSTED", f"not a certificate: {type(error).__name__}") from error
        _demand_current(leaf.not_valid_before_utc, leaf.not_valid_after_utc, now)
        chain = self._chain(leaf, now)
        return Certificate(
            sha256=hashlib.sha256(der).hexdigest(),
            x5t_s256=x5t_s256(der),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            chain_not_before=max(link.not_valid_before_utc for link in chain),
            chain_not_after=min(link.not_valid_after_utc for link in chain),
            participant_id=self._participant(uris),
        )

    def _chain(self, leaf: x509.Certificate, now: datetime) -> list[x509.Certificate]:
        if self._store is None:
            raise Refused("CERTIFICATE_UNTRUSTED", "the release lists no certificate authority")
        builder = verification.PolicyBuilder().store(self._store).time(now)
        builder = builder.extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
        try:
            return builder.build_client_verifier().verify(leaf, []).chain
        except (verification.VerificationError, *_UNREADABLE) as error:
            raise Refused("CERTIFICATE_UNTRUSTED", f"the chain does not hold: {str(error)[:160]}") from error

    def _participant(self, uris: list[str]) -> str | None:
        if not uris:
            return None
        prefix = f"{IDENTITY_PREFIX}{self._environment}/participant/"
        if len(uris) > 1 or not uris[0].startswith(prefix) or not uris[0][len(prefix) :]:
            raise Refused("CERTIFICATE_UNTRUSTED", f"the certificate is not a participant's of {self._environment}")
        return uris[0][len(prefix) :]


def _demand_current(not_before: datetime, not_after: datetime, now: datetime) -> None:
    if now > not_after:
        raise Refused("CERTIFICATE_EXPIRED", f"the certificate ended at {not_after:%Y-%m-%dT%H:%M:%SZ}")
    if now < not_before:
        raise Refused("CERTIFICATE_EXPIRED", f"the certificate begins at {not_before:%Y-%m-%dT%H:%M:%SZ}")


def _identities(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [uri for uri in uris if uri.lower().startswith(IDENTITY_PREFIX)]


def _demand_client(_policy: verification.Policy, _leaf: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("extended key usage is not clientAuth")


_CA_POLICY = verification.ExtensionPolicy.webpki_defaults_ca()
_LEAF_POLICY = (
    verification.ExtensionPolicy.webpki_defaults_ee()
    .require_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, _demand_client)
    .may_be_present(x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None)
)
