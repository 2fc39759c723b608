"""The count is wrong when it should be: each way that money or records could go astray is named (NUM-03)."""

from __future__ import annotations

from typing import Any

import pytest

from symphony.stack.reconcile import judge


def instruction(n: int, state: str = "SUCCEEDED", terminal: str | None = "DISPATCHED", **more: Any) -> dict[str, Any]:
    return {
        "instruction_id": f"i{n}", "participant_id": "kafue-bank", "sequence_id": n, "amount_minor": 100, "currency": "ZMW",
        "instructing_agent": "A", "instructed_agent": "B", "state": state, "terminal_state": terminal, **more,
    }  # fmt: skip


def posting(n: int, **more: Any) -> dict[str, Any]:
    return {
        "instruction_id": f"i{n}", "amount_minor": 100, "currency": "ZMW", "debit_agent": "A", "credit_agent": "B",
        "balance": 0, "entries": 2, **more,
    }  # fmt: skip


SEQUENCES = [{"participant_id": "kafue-bank", "given_out": 2, "recorded": 2, "attested": 2, "attestations": 2}]
STREAMS = [{"stream": "s", "given_out": 6, "recorded": 6, "distinct_numbers": 6}]
BOTH = {"i1": 100, "i2": 100}


def taken(instructions: Any = None, postings: Any = None, sequences: Any = None, streams: Any = None, shipped: Any = None, backlog: int = 0) -> Any:
    return judge(
        [instruction(1), instruction(2)] if instructions is None else instructions,
        [posting(1), posting(2)] if postings is None else postings,
        SEQUENCES if sequences is None else sequences, STREAMS if streams is None else streams,
        BOTH if shipped is None else shipped, backlog=backlog,
    )  # fmt: skip


def test_a_count_that_adds_up_is_right() -> None:
    found = taken()
    assert found["ok"]
    assert found["sentence"].startswith("2 accepted = 2 posted + 0 refused by the rail")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"postings": [posting(1)]}, "not in the ledger"),
        ({"postings": [posting(1), posting(2), posting(2)]}, "posted 2 times"),
        ({"postings": [posting(1), posting(2), posting(3)]}, "never accepted"),
        ({"postings": [posting(1), posting(2, amount_minor=101)]}, "another amount"),
        ({"postings": [posting(1), posting(2, credit_agent="C")]}, "another amount"),
        ({"postings": [posting(1), posting(2, balance=1)]}, "unbalanced"),
        ({"instructions": [instruction(1), instruction(2, "FAILED", "FAILED")]}, "ended FAILED but is in the ledger"),
        ({"instructions": [instruction(1), instruction(2, "LOST", None)]}, "lost"),
        ({"sequences": [{**SEQUENCES[0], "recorded": 1}]}, "2 numbers given out, 1 recorded"),
        ({"sequences": [{**SEQUENCES[0], "attestations": 1}]}, "numbers given out"),
        ({"streams": [{**STREAMS[0], "recorded": 5, "distinct_numbers": 5}]}, "6 numbers given out, 5 recorded"),
        ({"streams": [{**STREAMS[0], "distinct_numbers": 5}]}, "stream s"),
        ({"shipped": {"i1": 100}}, "not in the log"),
        ({"shipped": {**BOTH, "i9": 100}}, "not accepted here"),
    ],
)
def test_each_way_astray_is_named(more: dict[str, Any], word: str) -> None:
    found = taken(**more)
    assert not found["ok"]
    assert any(word in problem for problem in found["problems"]), found["problems"]


def test_what_is_in_flight_is_counted_and_not_wrong() -> None:
    found = taken(
        instructions=[instruction(1, "QUEUED", None), instruction(2, "EXECUTING", None)], postings=[posting(2)], shipped={}, backlog=4
    )
    assert found["ok"], found["problems"]
    assert found["counts"]["pending"] == found["counts"]["in_hand"] == 1
