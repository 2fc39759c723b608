"""The writer takes no identity, agent or cap on the acceptor's word (design section 3, Processes; INV-023)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.errors import SymphonyError
from contracts.times import rfc3339
from sidecar.intake.handover import HandedItem, HandedMessage
from tests.sidecar import support
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, LUANGWA, capped, certificate, decision_input, handed, item, payment, token


async def code_of(stage: Stage, message: HandedMessage) -> str | None:
    """The code that a message is rejected with."""
    (answer,) = await stage.record(message)
    assert answer.entries == []
    return answer.rejected_code


async def test_a_token_that_the_acceptor_says_holds_is_checked_again(stage: Stage) -> None:
    """ATT-01, ATT-06, NEG-20, NEG-22: stolen, of another certificate, forged, absent, without a certificate."""
    await stage.begin()
    stolen = token(LUANGWA)
    forged = stolen[:-8] + ("A" * 8 if not stolen.endswith("A" * 8) else "B" * 8)
    assert await code_of(stage, handed(payment(), token=stolen)) == "POP_MISMATCH"
    assert await code_of(stage, handed(payment(), token=forged)) == "TOKEN_SIGNATURE"
    assert await code_of(stage, handed(payment(), token="not.a.token")) in {"TOKEN_MALFORMED", "TOKEN_ALGORITHM"}
    nothing = handed(payment())
    nothing.token = None
    assert await code_of(stage, nothing) == "TOKEN_MISSING"
    bare = handed(payment(), certificate_der=None)
    assert await code_of(stage, bare) in {"CERTIFICATE_MISSING", "TOKEN_MISSING"}
    assert stage.one("SELECT count(*) FROM symphony.payment_instructions") == 0


async def test_the_participant_is_the_tokens_not_the_acceptors(stage: Stage) -> None:
    """AGENT_MISMATCH: Kafue's token does not pay for Luangwa, whatever was decided before."""
    await stage.begin()
    (answer,) = await stage.record(handed(payment(by=LUANGWA, to=KAFUE)))
    assert [entry.reason_code for entry in answer.entries] == ["AGENT_MISMATCH"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 1_001}, "CAP_PAYMENT_VALUE"),
        ({"currency": "AUD"}, "CAP_PAYMENT_VALUE"),
        ({"instructed_agent": "NOBODYZZXXX"}, "NOT_ALLOWED_AGENT"),
    ],
)
async def test_caps_and_agents_are_held_again_against_the_release(stage: Stage, changes: dict[str, Any], reason: str) -> None:
    """Design section 3, station 4: an acceptor that allows what the release does not is refused."""
    await stage.begin(support.active(data=capped(1_000, 10_000, 10)))
    (answer,) = await stage.record(handed(payment(**changes)))
    assert [entry.reason_code for entry in answer.entries] == [reason]


async def test_daily_caps_are_exact_inside_a_batch_and_over_batches(stage: Stage) -> None:
    """Value and count, in one message, in one batch, over two batches."""
    await stage.begin(support.active(data=capped(1_000, 2_500, 4)))
    first, second = await stage.record(handed(payment(amount=1_000), payment(amount=1_000), payment(amount=501)), handed(payment(amount=500)))
    assert [entry.reason_code for entry in first.entries] == [None, None, "CAP_DAILY_VALUE"]
    assert [entry.reason_code for entry in second.entries] == [None]
    assert stage.usage() == (2_500, 3)
    (third,) = await stage.record(handed(payment(amount=1)))
    assert third.entries[0].reason_code == "CAP_DAILY_VALUE"


async def test_the_daily_count_is_exact(stage: Stage) -> None:
    """CAP_DAILY_COUNT."""
    await stage.begin(support.active(data=capped(1_000, 100_000, 3)))
    answers = await stage.record(*(handed(payment(amount=10)) for _ in range(5)))
    assert [answer.entries[0].reason_code for answer in answers] == [None] * 3 + ["CAP_DAILY_COUNT"] * 2
    assert stage.usage() == (30, 3)


@pytest.mark.parametrize("kind", ["certificate", "participant"])
async def test_a_revocation_in_the_database_counts_at_the_commit(stage: Stage, kind: str) -> None:
    """INV-023, SEC-08: also when the view in memory does not know it yet."""
    await stage.begin()
    ids = {"certificate": certificate(KAFUE).sha256, "participant": KAFUE}
    stage.sql(
        "INSERT INTO symphony.revocations (kind, id, reason_code, revoked_at, list_version) VALUES (%s, %s, 'test', now(), 2)",
        kind, ids[kind],
    )  # fmt: skip
    assert await code_of(stage, handed(payment())) == f"{kind.upper()}_REVOKED"


async def test_a_valid_token_without_a_usable_key_is_refused_and_spent(stage: Stage) -> None:
    """ATT-07, design section 3 station 1: after proof of possession a refusal spends the token, and is the participant's."""
    await stage.begin()
    for key in ("", "k" * 65, "with space"):
        used = token()
        message = handed(payment(), token=used)
        message.idempotency_key = key
        assert await code_of(stage, message) == "IDEMPOTENCY_KEY_INVALID"
        assert await code_of(stage, handed(payment(), token=used)) == "TOKEN_REPLAYED"
    assert {record["participant_id"] for record in stage.evidence("attestation")} == {KAFUE}


def lies() -> dict[str, HandedMessage]:
    """Messages that no honest acceptor hands over, by what is wrong with them."""
    good = payment()
    return {
        "a code outside the closed list": handed(good, rejected_code="no such code"),
        "a group code outside the closed list": handed(group_refused_code="nope"),
        "an item code outside the closed list": handed(items=[HandedItem(tx_index=0, refused_code="nope")]),
        "a reason outside the closed list": handed(items=[item(good, allow=False, reasons=["nope"])]),
        "one index twice": handed(items=[item(good, 0), item(payment(), 0)]),
        "a negative index": handed(items=[item(good, -1)]),
        "nothing in it": handed(),
        "a time that is none": handed(good, received_at="yesterday"),
        "a time of another year": handed(good, received_at=rfc3339(datetime(2001, 1, 1, tzinfo=UTC))),
        "a correlation id of a novel's length": handed(good, correlation_id="c" * 300_000),
        "a message type of no rail": handed(good, message_type="x" * 141),
    }


@pytest.mark.parametrize("lie", sorted(lies()))
async def test_a_malformed_handover_is_not_recorded_and_fails_alone(stage: Stage, lie: str) -> None:
    """BAT-04, EVD-01: nothing that an acceptor hands over may spoil the stream or its neighbours."""
    await stage.begin()
    answers = await stage.try_record(handed(payment()), lies()[lie], handed(payment()))
    assert answers[0].rejected_code is answers[2].rejected_code is None
    assert isinstance(answers[1], SymphonyError), answers[1]
    assert answers[1].code == "REQUEST_INVALID"
    assert stage.usage()[1] == 2


def unsound() -> dict[str, HandedItem]:
    """Payments that were allowed but are none, by what is wrong with them."""
    good = payment()
    return {
        "an instruction without a business key": item({k: v for k, v in good.items() if k != "business_key"}),
        "an amount that is a text": item({**good, "amount_minor": "12"}),
        "an amount of nothing": item({**good, "amount_minor": 0}),
        "an input about another payment": item(good, decision_input=decision_input({**good, "amount_minor": 1}, KAFUE, 1)),
        "an input of another participant": item(good, decision_input=decision_input(good, LUANGWA, 1)),
        "an input of another release": item(good, decision_input=decision_input(good, KAFUE, 2)),
        "an input that is not JSON": item(good, decision_input=b"{"),
        "no input at all": item(good, decision_input=b""),
        "a refused one that is no instruction": item({"business_key": "x"}, refused_code="AGENT_MISMATCH"),
    }


@pytest.mark.parametrize("what", sorted(unsound()))
async def test_a_payment_that_is_none_is_refused_alone(stage: Stage, what: str) -> None:
    """BAT-04: a later release decides again on the frozen input, so it must be about this payment, and be readable."""
    await stage.begin()
    bad = unsound()[what]
    bad.tx_index = 1
    (answer,) = await stage.record(handed(items=[item(payment(), 0), bad, item(payment(), 2)]))
    assert [entry.reason_code for entry in answer.entries] == [None, "INPUT_INVALID", None]
    assert stage.usage()[1] == 2


async def test_a_message_whose_evidence_would_be_too_large_is_refused_whole(stage: Stage) -> None:
    """EVD-01: 512 payments of ordinary agents fit one record; of long ones they do not, and no verifier would take it."""
    await stage.begin(support.active(intake={"transactions_max": 512}))
    long: dict[str, Any] = {"instructing_agent": "X:" + "\U0001f3e6" * 78, "instructed_agent": "X:" + "\U0001f3e6" * 78}
    ordinary, large = await stage.record(
        handed(*(payment(amount=1) for _ in range(512))), handed(*(payment(**long) for _ in range(512)))
    )
    assert {entry.reason_code for entry in ordinary.entries} == {None}
    assert [(entry.tx_index, entry.reason_code) for entry in large.entries] == [(-1, "TOO_MANY_TRANSACTIONS")]


async def test_no_batch_has_more_payments_than_one_signature_may_cover(stage: Stage) -> None:
    """A manifest may ask for batches of 2000; a permit's tree holds 512."""
    wide = support.active(batching={"dispatch": {"batch_size_max": 2000, "flush_ms_max": 2}}, in_flight={"worker_max": 2000, "rail_max": 2000})
    await stage.begin(wide)
    await stage.record(*(handed(*(payment(amount=1) for _ in range(300))) for _ in range(2)))
    assert await stage.dispatcher._claim_some(wide, 2000) == 512
    assert await stage.dispatch() == 88
    assert stage.rail.posts.total() == 600
