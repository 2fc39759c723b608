"""A retry's receipt is the first one to the letter; moments leave in one form (D9, REC-06; design section 8, Time)."""

from __future__ import annotations

from msgspec.structs import asdict

from contracts.times import parse_rfc3339
from sidecar.store.store import INGEST
from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, KEY_CANARY, handed, payment


async def test_a_true_retry_gets_the_first_receipt_to_the_letter(stage: Stage) -> None:
    """D9, REC-06: time, ids, release, policy and references; only ``repeated`` says that it is one."""
    await stage.begin()
    one, key = payment(), KEY_CANARY + "1"
    (first,) = await stage.record(handed(one, key=key, message_type="pacs.008.001.10", message_id="M77"))
    for _ in range(2):
        (again,) = await stage.record(handed(one, key=key, message_type=None, message_id=None))
        assert asdict(again) == {**asdict(first), "repeated": True}


async def test_the_status_of_a_payment_speaks_of_the_receipts_moment_in_the_receipts_form(stage: Stage) -> None:
    """Design section 8: RFC 3339, UTC, six digits, whatever the session's time zone."""
    await stage.begin()
    (answer,) = await stage.record(handed(payment()))
    assert await stage.dispatch() == 1
    async with stage.store.transaction(INGEST) as transaction:
        await transaction._connection.execute("SET LOCAL TimeZone = 'Asia/Tokyo'")
        status = await transaction.value("instruction_status", answer.entries[0].instruction_id, KAFUE)
    assert status["received_at"] == answer.received_at
    assert parse_rfc3339(status["finished_at"]) > parse_rfc3339(answer.received_at)
