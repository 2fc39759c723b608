"""The count: accepted = posted + refused by the rail + voided + parked + pending; ledger against evidence, both ways.

What makes it wrong, each named by id: an accepted payment in no state; a posting without an accepted payment, or of
another
amount or agents; a payment recorded as posted without a posting; a payment that failed and is posted; two postings of
one;
unbalanced entries; a gap in a participant's numbers or in the evidence stream; a posting whose allow record is not in
the
log though everything is shipped. In flight is not wrong: a posting whose outcome is not recorded yet is counted as in
hand.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from symphony.stack.layout import Layout
from symphony.stack.reading import named, reader

PROBLEMS_MAX = 50


def take(layout: Layout) -> dict[str, Any]:
    """``{"ok", "sentence", "counts", "problems", "ledger_refusals"}``; the last: calls refused by the ledger, by code.

    Raises ``CannotEvaluate`` when a database does not answer.
    """
    with reader(layout, "ledger") as ledger:
        postings = ledger.execute(named("postings")).fetchall()
        refusals = {row["reason_code"]: row["count"] for row in ledger.execute(named("ledger_refusals"))}
    with reader(layout, "sidecar") as sidecar:
        instructions = sidecar.execute(named("instructions")).fetchall()
        sequences = sidecar.execute(named("sequence_gaps")).fetchall()
        streams = sidecar.execute(named("stream_gaps")).fetchall()
        state = sidecar.execute(named("doctor_sidecar")).fetchone() or {}
    with reader(layout, "controlplane") as control:
        shipped = {row["instruction_id"]: row["amount_minor"] for row in control.execute(named("shipped_allows"))}
    backlog = int(state.get("evidence_backlog") or 0)
    return {
        **judge(instructions, postings, sequences, streams, shipped, backlog=backlog), "ledger_refusals": refusals,
    }  # fmt: skip


def judge(
    instructions: list[dict[str, Any]], postings: list[dict[str, Any]], sequences: list[dict[str, Any]],
    streams: list[dict[str, Any]], shipped: dict[str, int], *, backlog: int,
) -> dict[str, Any]:  # fmt: skip
    """The judgement over rows; pure."""
    known = {str(row["instruction_id"]): row for row in instructions}
    posted = Counter(str(row["instruction_id"]) for row in postings)
    problems = _payments(known, posted) + _postings(known, postings) + _numbers(sequences, streams)
    if backlog == 0:
        problems += [f"{i} is posted but its allow record is not in the log" for i in posted if i not in shipped]
        problems += [f"{i} is accepted but not in the log" for i in known if i not in shipped]
    problems += [f"the log has an allow record of {i}, which is not accepted here" for i in shipped if i not in known]
    counts = _counts(instructions, posted)
    total = sum(value for name, value in counts.items() if name not in {"accepted", "ledger_postings"})
    if total != counts["accepted"]:
        problems.append(f"{counts['accepted']} accepted, but {total} accounted for")
    sentence = (
        f"{counts['accepted']} accepted = {counts['posted']} posted + {counts['refused_by_rail']} refused by the rail + "
        f"{counts['voided']} voided + {counts['parked']} parked + {counts['pending'] + counts['in_hand']} pending"
    )
    return {
        "ok": not problems, "sentence": sentence, "counts": {**counts, "evidence_not_shipped": backlog},
        "problems": problems[:PROBLEMS_MAX],
    }  # fmt: skip


def _counts(instructions: list[dict[str, Any]], posted: Counter[str]) -> dict[str, int]:
    states = Counter((row["state"], row["terminal_state"]) for row in instructions)
    return {
        "accepted": len(instructions), "posted": states["SUCCEEDED", "DISPATCHED"],
        "refused_by_rail": states["FAILED", "FAILED"], "voided": states["FAILED", "VOIDED"],
        "parked": states["NEEDS_REVIEW", None], "pending": states["QUEUED", None],
        "in_hand": states["EXECUTING", None] + states["UNCERTAIN", None], "ledger_postings": posted.total(),
    }  # fmt: skip


def _payments(known: dict[str, dict[str, Any]], posted: Counter[str]) -> list[str]:
    out = [f"{i} is accepted and in no state: lost" for i, row in known.items() if row["state"] == "LOST"]
    out += [
        f"{i} is recorded as posted but not in the ledger"
        for i, row in known.items()
        if row["state"] == "SUCCEEDED" and not posted[i]
    ]
    out += [
        f"{i} ended {row['terminal_state']} but is in the ledger"
        for i, row in known.items()
        if row["state"] == "FAILED" and posted[i]
    ]
    return out + [f"{i} is posted {count} times" for i, count in posted.items() if count > 1]


def _postings(known: dict[str, dict[str, Any]], postings: list[dict[str, Any]]) -> list[str]:
    out = []
    for row in postings:
        identifier, mine = str(row["instruction_id"]), known.get(str(row["instruction_id"]))
        if mine is None:
            out.append(f"{identifier} is posted but was never accepted")
            continue
        theirs = (row["amount_minor"], row["currency"], row["debit_agent"], row["credit_agent"])
        if theirs != (mine["amount_minor"], mine["currency"], mine["instructing_agent"], mine["instructed_agent"]):
            out.append(f"{identifier} is posted with another amount, currency or agent than accepted")
        if row["balance"] != 0 or row["entries"] != 2:
            out.append(f"{identifier} is posted unbalanced")
    return out


def _numbers(sequences: list[dict[str, Any]], streams: list[dict[str, Any]]) -> list[str]:
    out = [
        f"participant {row['participant_id']}: {row['given_out']} numbers given out, {row['recorded']} recorded"
        for row in sequences
        if row["given_out"] != row["recorded"] or row["attested"] != row["attestations"]
    ]
    return out + [
        f"stream {row['stream']}: {row['given_out']} numbers given out, {row['recorded']} recorded"
        for row in streams
        if not row["given_out"] == row["recorded"] == row["distinct_numbers"]
    ]
