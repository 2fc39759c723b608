"""Claims: types, audience, every time bound at its second, lifetime, binding (ATT-03, ATT-06, NEG-20, NEG-22)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.attestation.support import (
    AUDIENCE,
    CLIENT,
    LIFETIME_S_MAX,
    NOW,
    SKEW_S,
    accepted,
    attest,
    client,
    epoch,
    refused,
    token,
)

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "nbf", "jti"])
def test_every_required_claim_is_required(name):
    refused(attest(token(**{name: ...})), "TOKEN_CLAIMS")


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [True, False, None, 1.5, float(epoch()), str(epoch()), [epoch()], -1, 10**12, 2**70])
def test_times_are_whole_seconds(name, value):
    refused(attest(token(**{name: value})), "TOKEN_CLAIMS")


@pytest.mark.parametrize("name", ["sub", "jti"])
@pytest.mark.parametrize("value", ["", 1, None, True, ["x"], {"x": 1}, "a\x00b", "a\nb", "\ud800", "\u202e", "x" * 257])
def test_texts_are_printable_and_bounded(name, value):
    refused(attest(token(**{name: value})), "TOKEN_CLAIMS")


@pytest.mark.parametrize("value", [None, 1, True, "", [], {"x": 1}])
def test_an_audience_of_the_wrong_type_is_no_audience(value):
    refused(attest(token(aud=value)), "TOKEN_CLAIMS")


@pytest.mark.parametrize(
    "value", [AUDIENCE + "/", AUDIENCE.upper(), "other", [AUDIENCE, "other"], [AUDIENCE, AUDIENCE], [1], [[AUDIENCE]]]
)
def test_an_audience_that_is_not_this_service_alone_is_refused(value):
    refused(attest(token(aud=value)), "TOKEN_AUDIENCE")


def test_the_audience_may_be_a_list_of_one():
    assert accepted(attest(token(aud=[AUDIENCE]))).jwt_aud == AUDIENCE


def test_exp_is_a_bound_to_the_second():
    """``now < exp + skew``."""
    text = token(exp=epoch() + 100)
    bound = NOW + timedelta(seconds=100 + SKEW_S)
    accepted(attest(text, now=bound - SECOND))
    accepted(attest(text, now=bound - MICROSECOND))
    refused(attest(text, now=bound), "TOKEN_EXPIRED")
    refused(attest(text, now=bound + SECOND), "TOKEN_EXPIRED")


def test_nbf_is_a_bound_to_the_second():
    """``nbf - skew <= now``."""
    text = token(nbf=epoch() + 100, iat=epoch())
    bound = NOW + timedelta(seconds=100 - SKEW_S)
    accepted(attest(text, now=bound + SECOND))
    accepted(attest(text, now=bound))
    refused(attest(text, now=bound - MICROSECOND), "TOKEN_NOT_YET_VALID")
    refused(attest(text, now=bound - SECOND), "TOKEN_NOT_YET_VALID")


def test_iat_in_the_future_is_a_bound_to_the_second():
    """``iat - skew <= now``."""
    text = token(iat=epoch() + 100, nbf=epoch(), exp=epoch() + 400)
    bound = NOW + timedelta(seconds=100 - SKEW_S)
    accepted(attest(text, now=bound + SECOND))
    accepted(attest(text, now=bound))
    refused(attest(text, now=bound - SECOND), "TOKEN_NOT_YET_VALID")


@pytest.mark.parametrize(("over_s", "taken"), [(-1, True), (0, True), (1, False)])
def test_the_lifetime_is_a_bound_to_the_second(over_s, taken):
    answer = attest(token(exp=epoch() + LIFETIME_S_MAX + over_s))
    if taken:
        accepted(answer)
    else:
        refused(answer, "TOKEN_LIFETIME")


@pytest.mark.parametrize("over_s", [0, 1])
def test_a_far_future_end_cannot_get_through(over_s):
    """The latest ``exp`` there is: now + skew + lifetime. ``seen_jti`` needs no partition beyond."""
    issued = epoch() + SKEW_S + over_s
    answer = attest(token(iat=issued, nbf=epoch(), exp=issued + LIFETIME_S_MAX))
    if over_s:
        refused(answer, "TOKEN_NOT_YET_VALID")
    else:
        assert accepted(answer).token_expires_at == NOW + timedelta(seconds=SKEW_S + LIFETIME_S_MAX)
    refused(attest(token(exp=253_402_300_799)), "TOKEN_LIFETIME")


@pytest.mark.parametrize("delta", [0, -1])
def test_a_token_must_end_after_it_began(delta):
    refused(attest(token(exp=epoch() + delta)), "TOKEN_CLAIMS")


def test_the_day_of_a_token_is_that_of_its_signed_end():
    late = NOW.replace(hour=23, minute=59, second=0)
    answer = accepted(attest(token(iat=epoch(late), nbf=epoch(late), exp=epoch(late) + 120), now=late))
    assert str(answer.token_day) == "2026-11-25"


@pytest.mark.parametrize(
    "cnf", [..., None, "x", [], {}, {"x5t#S256": None}, {"x5t#S256": ""}, {"x5t#S256": 1}, {"kid": "k"}]
)
def test_a_token_that_is_bound_to_nothing_is_refused(cnf):
    """NEG-20, ATT-06: a missing confirmation, in every shape."""
    refused(attest(token(cnf=cnf)), "POP_MISSING")


def test_a_token_that_is_bound_to_another_certificate_is_refused():
    """NEG-20. Every other spelling of the right thumbprint counts as another."""
    right = client().x5t_s256
    for bound in (
        "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0",
        right + "=",
        right.lower(),
        client().sha256,
        " " + right,
    ):
        answer = refused(attest(token(cnf={"x5t#S256": bound})), "POP_MISMATCH")
        assert answer.client_id == CLIENT
        assert answer.participant_id is None


def test_a_dpop_token_is_refused_by_name():
    refused(attest(token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})), "POP_UNSUPPORTED")
    refused(attest(token(cnf={"jkt": "x", "x5t#S256": client().x5t_s256})), "POP_UNSUPPORTED")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "other", "exp": 1, "iat": 0, "cnf": {}}, "TOKEN_AUDIENCE"),
        ({"exp": epoch() - 1000, "iat": epoch() - 9000, "cnf": {}}, "TOKEN_EXPIRED"),
        ({"nbf": epoch() + 1000, "exp": epoch() + 5000, "cnf": {}}, "TOKEN_NOT_YET_VALID"),
        ({"exp": epoch() + 5000, "cnf": {}}, "TOKEN_LIFETIME"),
        ({"cnf": {}, "sub": "stranger"}, "POP_MISSING"),
    ],
)
def test_of_several_causes_the_first_in_the_order_is_named(changes, code):
    """ATT-15: one code per cause, and the order is fixed."""
    refused(attest(token(**changes)), code)
