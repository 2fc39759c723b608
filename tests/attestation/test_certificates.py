"""The client certificate: present, in time, of a listed authority, for clients, not revoked (ATT-02 step 2, NEG-19)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.attestation import Attestor
from symphony.stack import credentials as dev
from tests.attestation.support import (
    CLIENT,
    NOW,
    REVOCATIONS_AGE_S_MAX,
    SKEW_S,
    accepted,
    attest,
    bearer,
    ca,
    changed,
    client,
    environment_data,
    manifest,
    presented,
    refused,
    revoked,
    token,
)

SECOND = timedelta(seconds=1)
CLIENT_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def with_certificate(credential: dev.Credential, *, now=NOW, **changes):
    """Attest with another certificate, the token bound to it."""
    issued = int(now.timestamp())
    bound = token(cnf={"x5t#S256": credential.x5t_s256}, iat=issued, nbf=issued, exp=issued + 300)
    return attest(bound, certificate_der=credential.der, now=now, **changes)


def leaf(
    names=(), usage=CLIENT_USAGE, *, authority=None, begins=NOW - timedelta(hours=1), ends=NOW + timedelta(hours=1)
):
    return dev.issue(authority or ca(), "leaf", names, usage, not_before=begins, not_after=ends)


def test_the_certificate_of_a_participant_is_taken():
    answer = accepted(attest())
    assert answer.certificate_sha256 == client().sha256
    assert answer.x5t_s256 == client().x5t_s256


@pytest.mark.parametrize("der", [None, b""])
def test_without_a_certificate_the_request_is_refused_with_a_code(der):
    answer = refused(attest(certificate_der=der), "CERTIFICATE_MISSING")
    assert answer.certificate_sha256 is None


def test_bytes_that_are_no_certificate_are_untrusted():
    refused(attest(certificate_der=b"\x30\x03\x02\x01\x01"), "CERTIFICATE_UNTRUSTED")


def test_validity_bounds_are_inclusive_and_judged_at_every_request():
    """A held chain does not carry a certificate past its end."""
    credential = leaf()
    begins, ends = credential.certificate.not_valid_before_utc, credential.certificate.not_valid_after_utc
    accepted(with_certificate(credential, now=begins))
    accepted(with_certificate(credential, now=ends))
    refused(with_certificate(credential, now=ends + SECOND), "CERTIFICATE_EXPIRED")
    refused(with_certificate(credential, now=begins - SECOND), "CERTIFICATE_EXPIRED")
    fresh = leaf()
    refused(with_certificate(fresh, now=ends + SECOND), "CERTIFICATE_EXPIRED")
    refused(with_certificate(fresh, now=begins - SECOND), "CERTIFICATE_EXPIRED")


def test_an_authority_past_its_own_end_vouches_for_nobody():
    authority = dev.make_ca("Short CA", now=NOW - timedelta(hours=1), days=0)
    short = Attestor(
        changed(environment_data(), "certificate_authorities", [ca().pem, authority.pem]),
        manifest(),
        environment="sandbox",
    )
    credential = leaf(authority=authority)
    request = presented(bearer(token(cnf={"x5t#S256": credential.x5t_s256})), certificate_der=credential.der)
    end = authority.certificate.not_valid_after_utc
    assert end < NOW
    refused(short.attest(request, revocations=revoked(), now=NOW), "CERTIFICATE_UNTRUSTED")


def test_another_authority_with_the_same_name_is_untrusted():
    impostor = dev.make_ca("Sandbox CA", now=NOW - timedelta(days=1))
    refused(with_certificate(leaf(authority=impostor)), "CERTIFICATE_UNTRUSTED")


def test_a_self_signed_certificate_is_untrusted():
    own = dev.make_ca("leaf", now=NOW)
    refused(with_certificate(own), "CERTIFICATE_UNTRUSTED")


def test_the_authority_itself_is_no_client():
    refused(with_certificate(ca()), "CERTIFICATE_UNTRUSTED")


@pytest.mark.parametrize("usage", [None, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])])
def test_extended_key_usage_must_name_clients(usage):
    refused(with_certificate(leaf(usage=usage)), "CERTIFICATE_UNTRUSTED")


def test_a_participant_cannot_issue_certificates():
    """A leaf that signs another leaf: basic constraints stop it."""
    refused(with_certificate(leaf(authority=client())), "CERTIFICATE_UNTRUSTED")


def test_a_certificate_without_a_name_of_ours_is_taken():
    """An operator's own PKI need not know our names."""
    accepted(with_certificate(leaf([x509.DNSName("gateway.zanaco.example")])))
    accepted(with_certificate(leaf()))


@pytest.mark.parametrize(
    "credential",
    [
        lambda: dev.process_credential(ca(), "sandbox", "acceptor", now=NOW),
        lambda: dev.officer_credential(ca(), "sandbox", "a", now=NOW),
        lambda: dev.participant_credential(ca(), "production", "zanaco", now=NOW),
        lambda: leaf([x509.UniformResourceIdentifier("spiffe://symphony/sandbox/participant/")]),
        lambda: leaf([x509.UniformResourceIdentifier(f"spiffe://symphony/sandbox/participant/{p}") for p in "ab"]),
        lambda: leaf([x509.UniformResourceIdentifier("SPIFFE://symphony/sandbox/process/x")]),
    ],
    ids=["process", "officer", "environment", "nobody", "two", "case"],
)
def test_a_certificate_of_ours_for_something_else_is_untrusted(credential):
    refused(with_certificate(credential()), "CERTIFICATE_UNTRUSTED")


def test_the_certificate_of_another_participant_is_refused_and_spends_the_token():
    other = dev.participant_credential(ca(), "sandbox", "fnb", now=NOW)
    answer = refused(with_certificate(other), "CERTIFICATE_PARTICIPANT", spendable=True)
    assert answer.participant_id is None
    assert answer.client_id == CLIENT


def test_a_revoked_certificate_is_refused_and_named():
    """NEG-19: the record has the fingerprint, and no participant."""
    answer = refused(attest(view=revoked(("certificate", client().sha256))), "CERTIFICATE_REVOKED")
    assert answer.certificate_sha256 == client().sha256
    refused(attest("not.a.token", view=revoked(("certificate", client().sha256))), "CERTIFICATE_REVOKED")


def test_a_revocation_ends_at_its_own_end():
    until = NOW + timedelta(seconds=10)
    view = revoked(("certificate", client().sha256), until=until)
    refused(attest(view=view, now=until - SECOND), "CERTIFICATE_REVOKED")
    accepted(attest(view=view, now=until))


def test_of_two_entries_the_later_end_holds():
    entry = {"kind": "certificate", "id": client().sha256, "reason": "", "revoked_at": "", "until": None}
    ended = {**entry, "until": "2020-01-01T00:00:00.000000Z"}
    for order in ([entry, ended], [ended, entry]):
        view = type(revoked()).of(order, NOW)
        assert view.is_revoked("certificate", client().sha256, NOW)
    assert not type(revoked()).of([ended], NOW).is_revoked("certificate", client().sha256, NOW)


def test_a_kind_revokes_only_its_own_ids():
    accepted(attest(view=revoked(("release", client().sha256), ("participant", client().sha256))))


@pytest.mark.parametrize(
    ("age_s", "stale"),
    [(REVOCATIONS_AGE_S_MAX - 1, False), (REVOCATIONS_AGE_S_MAX, False), (REVOCATIONS_AGE_S_MAX + 1, True),
     (-SKEW_S, False), (-SKEW_S - 1, True)],
)  # fmt: skip
def test_revocation_data_has_an_age_bound(age_s, stale):
    answer = attest(view=revoked(as_of=NOW - timedelta(seconds=age_s)))
    if stale:
        refused(answer, "REVOCATIONS_STALE")
    else:
        accepted(answer)


def test_revocation_data_that_never_came_is_stale():
    refused(attest(view=type(revoked()).of([], None)), "REVOCATIONS_STALE")


def test_a_release_without_authorities_takes_nobody():
    empty = Attestor(changed(environment_data(), "certificate_authorities", []), manifest(), environment="sandbox")
    refused(empty.attest(presented(bearer(token())), revocations=revoked(), now=NOW), "CERTIFICATE_UNTRUSTED")


def test_held_chains_are_bounded(monkeypatch):
    monkeypatch.setattr("sidecar.attestation.certificates.CERTIFICATES_CACHED_MAX", 2)
    data = environment_data()
    small = Attestor(data, manifest(), environment="sandbox")
    for _ in range(4):
        credential = leaf()
        request = presented(bearer(token(cnf={"x5t#S256": credential.x5t_s256})), certificate_der=credential.der)
        accepted(small.attest(request, revocations=revoked(), now=NOW))
    assert len(small._certificates._held) == 2


def test_a_held_chain_ends_with_its_authority():
    """The leaf would live on; the authority that vouches for it does not."""
    authority = dev.make_ca("Ending CA", now=NOW - timedelta(days=2), days=3)
    ends = authority.certificate.not_valid_after_utc
    data = changed(environment_data(), "certificate_authorities", [authority.pem])
    of = Attestor(data, manifest(), environment="sandbox")
    credential = leaf(authority=authority, ends=ends + timedelta(days=9))

    def answer(now):
        issued = int(now.timestamp())
        bound = token(cnf={"x5t#S256": credential.x5t_s256}, iat=issued, nbf=issued, exp=issued + 300)
        request = presented(bearer(bound), certificate_der=credential.der)
        return of.attest(request, revocations=revoked(as_of=now), now=now)

    accepted(answer(NOW))
    accepted(answer(ends))
    refused(answer(ends + SECOND), "CERTIFICATE_UNTRUSTED")
