"""What the desk says: totals, clocks, and the permitted next steps only (OUT-11, must-never 4). Pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from symphony.commands.desk import duration
from symphony.stack.desk import _payment, next_steps, totals

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "0190b1c2-0000-7000-8000-000000000001"


def row(**changes: Any) -> dict[str, Any]:
    fields = {
        "instruction_id": ID, "participant_id": "kafue-bank", "amount_minor": 7_700, "currency": "ZMW", "instructing_agent": "A",
        "instructed_agent": "B", "created_at": NOW - timedelta(hours=2), "reason_code": None, "parked_at": None, "recoveries": 3,
        "expires_at": NOW + timedelta(seconds=4), "unanswered_since": NOW - timedelta(minutes=90), "attempts": 2,
    }  # fmt: skip
    return {**fields, **changes}


def test_totals_are_by_participant_and_currency() -> None:
    rows = [row(), row(amount_minor=1), row(currency="USD"), row(participant_id="mosi-money", amount_minor=5)]
    found = {(t["participant"], t["currency"]): (t["amount"], t["payments"]) for t in totals(rows)}
    assert found == {
        ("kafue-bank", "ZMW"): ("77.01 ZMW", 2), ("kafue-bank", "USD"): ("77.00 USD", 1), ("mosi-money", "ZMW"): ("0.05 ZMW", 1),
    }  # fmt: skip


@pytest.mark.parametrize(("recovery", "words"), [("query", "asks the rail again"), ("manual", "parks it")])
def test_a_payment_in_doubt_is_waited_for_and_never_sent_again(recovery: str, words: str) -> None:
    """Must-never 4: nobody decides while the sidecar still asks."""
    (step,) = next_steps(ID, parked=False, recovery=recovery)
    assert words in step
    assert "symphony" not in step


@pytest.mark.parametrize("recovery", ["query", "manual"])
def test_a_parked_payment_has_two_ways_out(recovery: str) -> None:
    steps = next_steps(ID, parked=True, recovery=recovery)
    assert [step.split(" --decision ")[1].split()[0] for step in steps] == ["dispatched", "failed"]
    assert all(step.startswith(f"symphony payment resolve {ID}") for step in steps)


def test_both_clocks_of_doubt_and_of_a_parked_payment() -> None:
    """The lease is renewed right before each question: its end tells when the rail was asked last."""
    settings = {"lease_ms": 10_000, "recovery": "query"}
    doubt = _payment(row(), settings, NOW)
    assert (doubt["state"], doubt["asked_s"], doubt["unanswered_s"], doubt["age_s"]) == ("UNCERTAIN", 6, 5400, 7200)
    assert _payment(row(recoveries=0), settings, NOW)["asked_s"] is None
    at = NOW - timedelta(minutes=1)
    parked = _payment(
        row(parked_at=at, reason_code="RETRIES_EXHAUSTED", recoveries=None, expires_at=None), settings, NOW
    )
    assert (parked["state"], parked["reason_code"], parked["asked_s"]) == ("NEEDS_REVIEW", "RETRIES_EXHAUSTED", 60)


@pytest.mark.parametrize(("seconds", "words"), [
    (None, "-"), (0, "0s"), (59, "59s"), (90, "1m 30s"), (3600, "1h 0m"), (93_600, "1d 2h"),
])  # fmt: skip
def test_durations_are_read_by_people(seconds: int | None, words: str) -> None:
    assert duration(seconds) == words
