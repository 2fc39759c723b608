"""Recording with a real database and real credentials: accept, retry, replay, reuse, duplicates (ATT-07, REC-03, REC-06)."""

from __future__ import annotations

import hashlib

from sidecar.intake.handover import HandedItem
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, KEY_CANARY, LUANGWA, handed, item, payment, token


async def test_an_accepted_message_is_one_commit_of_attestation_instructions_and_outbox(stage: Stage) -> None:
    """REC-03, ATT-11, ATT-13: numbers from 1, usage moved, the outbox row names its attestation."""
    await stage.begin()
    (answer,) = await stage.record(handed(payment(amount=100), payment(amount=250)))
    assert [entry.decision for entry in answer.entries] == ["ALLOW", "ALLOW"]
    assert stage.usage() == (350, 2)
    rows = stage.sql("SELECT sequence_id, parent_attestation_id::text FROM symphony.payment_outbox_pending ORDER BY 1")
    assert rows == [(1, answer.attestation_id), (2, answer.attestation_id)]
    (record,) = stage.evidence("attestation")
    assert (record["decision"], record["participant_id"], record["tenant_seq_no"]) == ("ACCEPT", KAFUE, 1)
    assert [one["sequence_id"] for one in record["instructions"]] == [1, 2]


async def test_a_spent_token_is_replayed_even_with_a_known_key(stage: Stage) -> None:
    """ATT-07, D1, NEG-21: recorded as a REJECT, and no second instruction."""
    await stage.begin()
    used, key = token(), KEY_CANARY + "1"
    first = handed(payment(), token=used, key=key)
    await stage.record(first)
    for again in (first, handed(payment(), token=used, key=KEY_CANARY + "2")):
        (answer,) = await stage.record(again)
        assert (answer.rejected_code, answer.entries) == ("TOKEN_REPLAYED", [])
    codes = [record["reason_code"] for record in stage.evidence("attestation")]
    assert codes == [None, "TOKEN_REPLAYED", "TOKEN_REPLAYED"]
    assert stage.one("SELECT count(*) FROM symphony.payment_instructions") == 1
    assert stage.one("SELECT count(*) FROM symphony.seen_jti") == 1


async def test_the_same_token_twice_in_one_batch_is_accepted_once(stage: Stage) -> None:
    """ATT-07 under batching (BAT-04)."""
    await stage.begin()
    used = token()
    answers = await stage.record(*(handed(payment(), token=used) for _ in range(3)))
    assert [answer.rejected_code for answer in answers] == [None, "TOKEN_REPLAYED", "TOKEN_REPLAYED"]


async def test_a_true_retry_gets_the_first_result_again(stage: Stage) -> None:
    """D9, REC-06: a fresh token, the same key and body; its own attestation, no second instruction, usage once."""
    await stage.begin()
    one, two, key = payment(amount=100), payment(amount=200), KEY_CANARY + "1"
    (first,) = await stage.record(handed(one, two, key=key))
    (again,) = await stage.record(handed(one, two, key=key))
    assert again.repeated
    assert (again.entries, again.attestation_id, again.release_number) == (first.entries, first.attestation_id, 1)
    assert stage.usage() == (300, 2)
    records = stage.evidence("attestation")
    assert [record["decision"] for record in records] == ["ACCEPT", "ACCEPT"]
    assert records[1]["repeats"] == first.attestation_id
    assert stage.one("SELECT count(*) FROM symphony.seen_jti") == 2


async def test_a_retry_in_the_same_batch_gets_the_first_result(stage: Stage) -> None:
    """D9 under batching (BAT-04): five copies at once are one instruction."""
    await stage.begin()
    one, key = payment(), KEY_CANARY + "1"
    answers = await stage.record(*(handed(one, key=key) for _ in range(5)))
    assert [answer.repeated for answer in answers] == [False, True, True, True, True]
    assert len({answer.entries[0].instruction_id for answer in answers}) == 1


async def test_the_same_key_with_another_body_is_refused_and_spends_its_token(stage: Stage) -> None:
    """D9, NEG-26."""
    await stage.begin()
    key, used = KEY_CANARY + "1", token()
    await stage.accept(payment(), key=key)
    (answer,) = await stage.record(handed(payment(), key=key, token=used))
    assert (answer.rejected_code, answer.entries) == ("IDEMPOTENCY_KEY_REUSED", [])
    (again,) = await stage.record(handed(payment(), token=used))
    assert again.rejected_code == "TOKEN_REPLAYED"


async def test_the_same_key_of_another_participant_is_another_key(stage: Stage) -> None:
    """D9: scope per participant."""
    await stage.begin()
    key = KEY_CANARY + "1"
    await stage.accept(payment(), key=key)
    await stage.accept(payment(by=LUANGWA, to=KAFUE), key=key, by=LUANGWA)


async def test_a_duplicate_payment_names_the_first_to_its_own_participant_only(stage: Stage) -> None:
    """Design section 8: DUPLICATE_TRANSACTION; another participant learns no id of it."""
    await stage.begin()
    mine = payment("same")
    (first,) = await stage.accept(mine)
    theirs = payment(by=LUANGWA, to=KAFUE, business_key=mine["business_key"])
    (own,), (other,) = (await stage.record(handed(mine)), await stage.record(handed(theirs, by=LUANGWA)))
    assert (own.entries[0].reason_code, own.entries[0].detail) == ("DUPLICATE_TRANSACTION", first)
    assert (other.entries[0].reason_code, other.entries[0].detail) == ("DUPLICATE_TRANSACTION", "")
    assert stage.usage(LUANGWA) == (0, 0)
    assert [record["decision"] for record in stage.evidence("attestation")] == ["ACCEPT", "REJECT", "REJECT"]


async def test_a_payment_twice_in_one_message_and_again_in_the_batch_is_accepted_once(stage: Stage) -> None:
    """BAT-04: one bad item never fails the others."""
    await stage.begin()
    same = payment("same")
    first, second = await stage.record(handed(same, payment(), same), handed(payment(), same))
    assert [entry.reason_code for entry in first.entries] == [None, None, "DUPLICATE_TRANSACTION"]
    assert [entry.reason_code for entry in second.entries] == [None, "DUPLICATE_TRANSACTION"]
    assert stage.usage()[1] == 3


async def test_a_whole_message_that_is_refused_is_one_instruction_and_no_payment(stage: Stage) -> None:
    """Design section 8: ``tx_index`` −1; a retry gets the refusal again."""
    await stage.begin()
    key = KEY_CANARY + "1"
    raw = b"<broken/>"
    for repeated in (False, True):
        message = handed(key=key, raw=raw, group_refused_code="SCHEMA_INVALID", group_refused_detail="no root")
        (answer,) = await stage.record(message)
        assert [(e.tx_index, e.decision, e.reason_code) for e in answer.entries] == [(-1, "REFUSED", "SCHEMA_INVALID")]
        assert (answer.repeated, answer.rejected_code) == (repeated, None)
    assert stage.one("SELECT count(*) FROM symphony.payment_outbox_pending") == 0


async def test_refused_and_accepted_payments_of_one_message_stand_side_by_side(stage: Stage) -> None:
    """REC-02, POL-11: the refused take no number and no usage."""
    await stage.begin()
    good, denied = payment(amount=100), payment(amount=200)
    broken = HandedItem(tx_index=2, refused_code="AMOUNT_INVALID", refused_detail="not an amount")
    items = [item(denied, 0, allow=False, reasons=["CAP_PAYMENT_VALUE"]), item(good, 1), broken]
    (answer,) = await stage.record(handed(items=items))
    reasons = [(entry.decision, entry.reason_code) for entry in answer.entries]
    assert reasons == [("REFUSED", "CAP_PAYMENT_VALUE"), ("ALLOW", None), ("REFUSED", "AMOUNT_INVALID")]
    assert stage.usage() == (100, 1)


async def test_a_message_of_another_release_or_with_a_wrong_digest_is_not_recorded(stage: Stage) -> None:
    """Design section 3: what the writer did not see itself is not recorded under it; the token stays unspent."""
    await stage.begin()
    used = token()
    other = handed(payment(), number=2, token=used)
    glass = handed(payment(), emergency=1, token=used)
    wrong = handed(payment(), body_sha256=hashlib.sha256(b"other").hexdigest(), token=used)
    for error in await stage.try_record(other, glass, wrong):
        assert error.code in {"RELEASE_CHANGED", "REQUEST_INVALID"}
    assert stage.evidence() == []
    await stage.accept(payment(), token=used)


async def test_without_an_active_release_nothing_is_recorded(stage: Stage) -> None:
    """Fail closed."""
    await stage.begin()
    stage.active = None
    (error,) = await stage.try_record(handed(payment()))
    assert error.code == "NO_ACTIVE_RELEASE"
    assert stage.evidence() == []
