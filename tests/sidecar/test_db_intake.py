"""One batch is one commit: attestations, replay memory, instructions, outbox, counters and usage (REC-03, ATT-07, D12)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sidecar.rows import STREAM, Bench, attestation, instruction, refusal, refused, says


def test_an_accepted_batch_writes_each_of_its_rows_once(bench: Bench) -> None:
    """REC-03, ATT-11, ATT-13: and one number of the stream for each attestation."""
    message, other = attestation(0), refused(n=1)
    assert bench.record([message, other], [instruction(message, 0), instruction(message, 1, tx_index=1, sequence_id=2)]) == 2
    written = {name: count for name, count in bench.counts().items() if count}
    assert written == {
        "ingress_attestations": 2, "seen_jti": 1, "payment_instructions": 2, "payloads": 2, "participant_outbox_sequences": 1,
        "usage_daily": 1, "payment_outbox_pending": 2,
    }  # fmt: skip
    assert bench.next_seq == 3


def broken(what: str) -> tuple[list[Any], list[Any]]:
    """A batch of three messages of which the last has one fault."""
    messages = [attestation(n, tenant_seq_no=n + 1) for n in range(3)]
    payments = [instruction(message, n, sequence_id=n + 1) for n, message in enumerate(messages)]
    message, payment = messages[-1], payments[-1]
    match what:
        case "token spent twice":
            message["jti_hash"] = messages[0]["jti_hash"]
        case "key used twice":
            payment["key"] = payments[0]["key"]
        case "payment known":
            payment["business_key"] = payments[0]["business_key"]
        case "number taken":
            payment["sequence_id"] = 1
        case "payload too large":
            payment["payload"] = "x" * 4097
        case "no amount":
            payment["amount_minor"] = 0
        case "no reason":
            payment |= {"decision": "REFUSED", "reason_code": None}
        case "accepted nobody":
            message |= {"tenant": None, "tenant_seq_no": None}
            payments.pop()
        case "no digest":
            message["body_sha256"] = None
        case "no time":
            message["received_at"] = "yesterday week"
    return messages, payments


FAULTS = {
    "token spent twice": ("23505", "seen_jti_pkey"),
    "key used twice": ("23505", "ux_instructions_key"),
    "payment known": ("23505", "ux_instructions_business_key"),
    "number taken": ("SY002", None),
    "payload too large": ("23514", "payment_outbox_pending_payload_check"),
    "no amount": ("23514", "payment_instructions_amount_minor_check"),
    "no reason": ("23514", "payment_instructions_check1"),
    "accepted nobody": ("23514", "ingress_attestations_check2"),
    "no digest": ("23502", None),
    "no time": ("22007", None),
}


@pytest.mark.parametrize("what", FAULTS)
def test_one_bad_row_leaves_nothing_of_its_batch(bench: Bench, what: str) -> None:
    """REC-03, REC-01: no row, no number, no usage, and no token burnt (ATT-07)."""
    before = bench.counts()
    messages, payments = broken(what)
    assert says(refusal(bench.record, messages, payments)) == FAULTS[what]
    assert (bench.counts(), bench.next_seq, bench.usage()) == (before, 1, (0, 0))


def test_a_token_of_a_batch_that_failed_may_be_used_again(bench: Bench) -> None:
    """ATT-07, D4."""
    messages, payments = broken("no amount")
    refusal(bench.record, messages, payments)
    payments[-1]["amount_minor"] = 1
    assert bench.record(messages, payments) == 3
    assert bench.count("seen_jti") == 3


def test_a_token_is_spent_once_whoever_brings_it(bench: Bench) -> None:
    """ATT-07, INV-024: the key is expiry day and hash; the participant is no part of it."""
    first = attestation()
    bench.record([first])
    again = attestation(jti_hash=first["jti_hash"], tenant="luangwa-bank", jti_tenant="luangwa-bank")
    assert says(refusal(bench.record, [again])) == ("23505", "seen_jti_pkey")
    assert (bench.count("seen_jti"), bench.count("ingress_attestations")) == (1, 1)


def test_a_rejected_message_is_one_attestation_and_nothing_else(bench: Bench) -> None:
    """ATT-11, D3: an unverified caller has no tenant and no tenant number."""
    bench.record([refused()])
    assert {name: count for name, count in bench.counts().items() if count} == {"ingress_attestations": 1}


def test_numbers_that_do_not_follow_write_nothing(bench: Bench) -> None:
    """D12: SY002; a lower number, a higher one, and one twice."""
    bench.record([refused()])
    for number in (1, 3):
        assert refusal(bench.record, [refused()], first_seq=number).sqlstate == "SY002"
    assert (bench.count("ingress_attestations"), bench.next_seq) == (1, 2)


def test_a_stream_that_nobody_began_takes_no_row(bench: Bench) -> None:
    """SY001: no epoch, no writing."""
    assert refusal(bench.record, [refused()], stream="other", first_seq=1).sqlstate == "SY001"
    assert bench.count("ingress_attestations") == 0


def test_judging_answers_all_that_is_known_of_a_batch(bench: Bench) -> None:
    """D9, ATT-07, SEC-09, INV-023: replays, revocations, keys, duplicates, counters and usage in one answer."""
    message = attestation()
    payment = instruction(message)
    bench.record([message], [payment])
    entry = {"kind": "participant", "id": message["tenant"], "reason": "r", "revoked_at": "2026-01-01T00:00:00Z", "until": None}
    bench.executor.call("add_revocations", 1, [entry])
    asked = {"n": 7, "jti_hash": message["jti_hash"], "jti_day": message["jti_day"], "participant": message["tenant"], "key": message["key"]}
    item = {"n": 7, "i": 0, "business_key": payment["business_key"], "participant": message["tenant"], "currency": "ZMW"}
    answer = bench.ingest.call("judge_batch", STREAM, 1, "UTC", [asked], [item])
    assert (answer["first_seq"], answer["replayed"], answer["revoked"]) == (2, [7], [[7, "participant"]])
    assert [one["instruction_id"] for one in answer["existing"]] == [payment["instruction_id"]]
    assert [one["participant"] for one in answer["duplicates"]] == [message["tenant"]]
    assert answer["counters"] == {message["tenant"]: [2, 2]}
    assert answer["usage"] == [[message["tenant"], "ZMW", 100, 1]]
