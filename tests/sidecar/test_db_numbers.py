"""Numbers have no gap, whoever aborts and whoever comes at once: of the stream and of each participant (D12, REC-10, ATT-12)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.sidecar.rows import (
    KAFUE,
    NONE,
    STREAM,
    ZONE,
    Bench,
    Row,
    attempt,
    attestation,
    event,
    evidence,
    instruction,
    refusal,
    refused,
    says,
)


def at_once(work: Callable[[int], None]) -> None:
    """The same work in four threads."""
    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_numbers_are_given_out_without_gap_under_aborts_and_at_once(bench: Bench) -> None:
    """D12, REC-10, ATT-12: every second commit is thrown away, four at a time; what committed is 1, 2, 3 …"""

    class Abort(Exception):
        pass

    kept: list[int] = []

    def work(place: int) -> None:
        hands = bench.another("symphony_ingest")
        for turn in range(10):
            try:
                with hands.open():
                    number = hands.within("bump_participant_outbox_seq", KAFUE)[0]["bump_participant_outbox_seq"]
                    if (turn + place) % 2:
                        raise Abort
                kept.append(number)
            except Abort:
                pass

    at_once(work)
    assert sorted(kept) == list(range(1, 21))
    assert bench.one("SELECT next_sequence_id FROM symphony.participant_outbox_sequences") == 21


def test_batches_at_once_are_written_one_after_the_other_without_gap(bench: Bench) -> None:
    """D12, NUM-03: judge and record under the stream's lock; aborted ones leave no number of any of the three counters."""

    def work(place: int) -> None:
        hands = bench.another("symphony_ingest")
        for turn in range(6):
            with hands.connection.transaction(force_rollback=(turn + place) % 3 == 0), hands.open():
                judged = hands.within("judge_batch", STREAM, 1, ZONE, [{"n": 0, "participant": KAFUE}], NONE)[0]["judge_batch"]
                hands.within("record_batch", *next_message(bench, judged))

    at_once(work)
    kept = bench.count("ingress_attestations")
    assert kept == 16
    for column, table in {
        "stream_seq": "ingress_attestations", "tenant_seq_no": "ingress_attestations", "sequence_id": "payment_instructions",
    }.items():  # fmt: skip
        assert bench.admin.do(f"SELECT {column} FROM symphony.{table} ORDER BY 1") == [(n,) for n in range(1, kept + 1)]
    assert bench.usage() == (100 * kept, kept)


def next_message(bench: Bench, judged: Row) -> list[Any]:
    """One message with one payment, numbered as the judged counters say."""
    sequence, seq_no = judged["counters"].get(KAFUE, [1, 1])
    message = attestation(tenant_seq_no=seq_no)
    payments = [instruction(message, sequence_id=sequence)]
    return bench.batch([message], payments, first_seq=judged["first_seq"], day=judged["day"])


def test_an_event_takes_a_number_of_the_same_stream(bench: Bench) -> None:
    """EVD-01: events and payments share one numbering."""
    bench.record([refused()])
    bench.executor.call("record_events", STREAM, 1, 2, [event(0), event(1)], evidence(2))
    assert says(refusal(bench.executor.call, "record_events", STREAM, 1, 2, [event()], evidence(1))) == ("SY002", None)
    assert bench.admin.do("SELECT stream_seq FROM symphony.evidence_events ORDER BY 1") == [(2,), (3,)]


@pytest.mark.parametrize("given", [0, 2])
def test_each_row_has_its_evidence_and_each_evidence_its_row(bench: Bench, given: int) -> None:
    """D12, ATT-12: else the stream would have a number that is in no table, and evidence would stop at it."""
    claimed = bench.claimed()
    before = (bench.counts(), bench.next_seq)
    number = bench.next_seq
    for call, *parameters in (
        (bench.ingest.call, "record_batch", *bench.batch([refused()], evidence=evidence(given))),
        (bench.executor.call, "record_events", STREAM, 1, number, [event()], evidence(given)),
        (bench.executor.call, "record_dispatching", STREAM, 1, number, [attempt(claimed)], evidence(given)),
        (bench.executor.call, "complete_outbox_attempts", STREAM, 1, number, [attempt(claimed, "FAILED")], evidence(given)),
    ):
        assert refusal(call, *parameters).sqlstate in {"22023", "23502"}, parameters
    assert (bench.counts(), bench.next_seq) == before


@pytest.mark.parametrize("places", [(0, 0), (1, 2), (0, 2), (-1, 0)], ids=str)
def test_two_rows_have_two_numbers_that_follow(bench: Bench, places: tuple[int, int]) -> None:
    """D12: a place twice, or one left out, is refused."""
    rows = [refused(n=n) for n in places]
    assert refusal(bench.record, rows, evidence=evidence(2)).sqlstate in {"22023", "23502"}
    events = [event(n) for n in places]
    assert refusal(bench.executor.call, "record_events", STREAM, 1, 1, events, evidence(2)).sqlstate in {"22023", "23502"}
    assert (bench.next_seq, bench.count("evidence_records")) == (1, 0)


def test_a_participant_number_that_does_not_follow_is_refused(bench: Bench) -> None:
    """D12, REC-10: given twice after its outbox row is gone, or with one left out; the participant's of the message too."""
    bench.end(bench.claimed())
    before = (bench.counts(), bench.next_seq)
    for sequence in (1, 3):
        message = attestation(tenant_seq_no=2)
        assert says(refusal(bench.record, [message], [instruction(message, sequence_id=sequence)])) == ("SY002", None)
    for number in (1, 3):
        assert says(refusal(bench.record, [attestation(tenant_seq_no=number)])) == ("SY002", None)
    assert (bench.counts(), bench.next_seq) == before
    bench.accept(2)
