"""Recording with a real database and real credentials: accept, retry, replay, reuse, duplicates (ATT-07, REC-03, REC-06)."""

from __future__ import annotations

from tests.sidecar.stage import Stage
from tests.sidecar.support import KAFUE, LUANGWA, handed, payment, token


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
