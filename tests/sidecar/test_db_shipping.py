"""Evidence in order, sealed once, shipped once, never ahead of the stream (EVD-01, EVD-02, design section 3)."""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import Any

import psycopg
import pytest

from tests.sidecar.rows import STREAM, Bench, attestation, event, evidence, instruction, refusal, refused, says


@pytest.fixture
def records(bench: Bench) -> Bench:
    """Six records, of each of the three tables."""
    message = attestation()
    bench.record([message, refused(n=1)], [instruction(message)])
    (claimed,) = bench.claim()
    bench.dispatching(claimed)
    bench.end(claimed)
    bench.executor.call("record_events", STREAM, 1, 5, [event(0), event(1)], evidence(2))
    return bench


def seal(bench: Bench, first: int, last: int, *, stream: str = STREAM) -> None:
    body = f"{first}-{last}".encode()
    bench.shipper.call("seal_evidence_batch", stream, first, last, body, hashlib.sha256(body).hexdigest(), "00")


def test_evidence_is_read_in_the_order_of_the_stream_whatever_table_it_is_in(records: Bench) -> None:
    """EVD-01, EVD-02: with its RFC 6962 leaf, in pages without gap or overlap."""
    rows = records.shipper.table("read_evidence", 1, 100)
    assert [row["stream_seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(bytes(row["leaf_hash"]) == hashlib.sha256(b"\0" + bytes(row["evidence"])).digest() for row in rows)
    pages = [[row["stream_seq"] for row in records.shipper.table("read_evidence", start, 4)] for start in (1, 5, 9)]
    assert pages == [[1, 2, 3, 4], [5, 6], []]


def test_one_query_shows_the_whole_chain_of_a_payment(records: Bench) -> None:
    """EVD-02, ATT-20: instruction, attestation, attempts, outcome and their evidence."""
    (row,) = records.reader.do(
        "SELECT i.decision, a.decision, t.state::text, (SELECT array_agg(x.state::text ORDER BY x.stream_seq)"
        " FROM symphony.payment_outbox_attempts AS x WHERE x.outbox_id = i.instruction_id), i.attestation_leaf_hash = a.leaf_hash"
        " FROM symphony.payment_instructions AS i JOIN symphony.ingress_attestations AS a USING (attestation_id)"
        " JOIN symphony.payment_terminals AS t ON t.outbox_id = i.instruction_id"
    )
    assert row == ("ALLOW", "ACCEPT", "DISPATCHED", ["DISPATCHING", "DISPATCHED"], True)


def test_batches_are_sealed_one_after_the_other(records: Bench) -> None:
    """EVD-01: a range that leaves one out, overlaps, or was sealed already is SY002."""
    for first, last in ((2, 3), (0, 3), (4, 6)):
        assert refusal(seal, records, first, last).sqlstate == "SY002"
    seal(records, 1, 3)
    for first, last in ((1, 3), (3, 5), (5, 6), (1, 6)):
        assert refusal(seal, records, first, last).sqlstate == "SY002"
    seal(records, 4, 6)
    assert records.admin.do("SELECT first_seq, last_seq FROM symphony.evidence_batches ORDER BY 1") == [(1, 3), (4, 6)]


def test_a_batch_is_never_ahead_of_the_stream_nor_empty_nor_of_another(records: Bench) -> None:
    """EVD-01: no number is sealed that is not given out; a stream that nobody began has none."""
    assert refusal(seal, records, 1, 7).sqlstate == "SY002"
    assert says(refusal(seal, records, 1, 0)) == ("23514", "evidence_batches_check")
    assert refusal(seal, records, 1, 1, stream="nobody's").sqlstate == "SY002"
    assert records.count("evidence_batches") == 0


def test_two_sealers_seal_a_range_once(records: Bench) -> None:
    """EVD-01: the second waits for the first, and is refused."""
    ends: list[Any] = []
    other = records.another("symphony_shipper")

    def second() -> None:
        try:
            other.call("seal_evidence_batch", STREAM, 1, 2, b"second", "0" * 64, "00")
        except psycopg.Error as error:
            ends.append(error.sqlstate)

    with records.shipper.open():
        records.shipper.within("seal_evidence_batch", STREAM, 1, 6, b"first", "0" * 64, "00")
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        assert ends == []
    thread.join(10)
    assert ends == ["SY002"]
    assert records.admin.do("SELECT batch FROM symphony.evidence_batches") == [(b"first",)]


def test_a_sealed_batch_is_marked_as_shipped_and_again_changes_nothing(records: Bench) -> None:
    """EVD-01: at least once, with dedupe."""
    seal(records, 1, 4)
    for _ in range(3):
        records.shipper.call("mark_shipped", STREAM, 1, 4)
    first = records.admin.do("SELECT stream, first_seq, last_seq FROM symphony.evidence_shipments")
    assert first == [(STREAM, 1, 4)]


def test_what_was_not_sealed_is_not_shipped(records: Bench) -> None:
    """EVD-01: 23503 for a range that is not exactly a sealed one, before it is shipped and after."""
    seal(records, 1, 4)
    for first, last in ((1, 3), (1, 5), (2, 4), (5, 6)):
        assert refusal(records.shipper.call, "mark_shipped", STREAM, first, last).sqlstate == "23503"
    assert refusal(records.shipper.call, "mark_shipped", "other", 1, 4).sqlstate == "23503"
    assert records.count("evidence_shipments") == 0
    records.shipper.call("mark_shipped", STREAM, 1, 4)
    assert refusal(records.shipper.call, "mark_shipped", STREAM, 1, 3).sqlstate == "23503"


def test_the_shippers_place_is_read_back_as_it_was_written(records: Bench) -> None:
    """EVD-01: a retry sends the sealed bytes again."""
    state = records.shipper.call("shipping_state", STREAM)
    assert (state["last_seq"], state["epoch"], state["sealed"], state["unshipped"]) == (6, 1, None, 0)
    seal(records, 1, 4)
    state = records.shipper.call("shipping_state", STREAM)
    assert (base64.b64decode(state["sealed"]["batch"]), state["sealed"]["shipped"], state["unshipped"]) == (b"1-4", False, 1)
    records.shipper.call("mark_shipped", STREAM, 1, 4)
    state = records.shipper.call("shipping_state", STREAM)
    assert (state["sealed"]["shipped"], state["unshipped"]) == (True, 0)
    assert records.shipper.call("shipping_state", "other") is None


def test_the_backlog_is_what_the_control_plane_has_not_taken(records: Bench) -> None:
    """Design section 3: sealing alone does not lower it."""
    seen = [records.executor.call("evidence_backlog", STREAM)]
    seal(records, 1, 4)
    seen.append(records.executor.call("evidence_backlog", STREAM))
    records.shipper.call("mark_shipped", STREAM, 1, 4)
    seen.append(records.reader.call("evidence_backlog", STREAM))
    assert seen == [6, 6, 2]
