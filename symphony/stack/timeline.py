"""One payment as a timeline: instruction, attestation, attempts, outcome, posting, evidence (EVD-02)."""

from __future__ import annotations

from typing import Any

from contracts.errors import Refused
from contracts.money import decimal_text
from symphony.iso4217 import currencies
from symphony.resolving import names
from symphony.stack.layout import SIDECAR, Layout
from symphony.stack.reading import named, reader


def latest(layout: Layout) -> str:
    """The id of the latest instruction. Raises ``Refused NOT_FOUND`` when there is none."""
    with reader(layout, "sidecar") as sidecar:
        row = sidecar.execute(named("latest")).fetchone()
    if row is None:
        raise Refused("NOT_FOUND", "no payment yet", next_step="symphony submit FILE.xml")
    return str(row["instruction_id"])


def timeline(layout: Layout, instruction_id: str) -> dict[str, Any] | None:
    """What is recorded of a payment, in order; ``None`` when it is not known here."""
    with reader(layout, "sidecar") as sidecar:
        row = sidecar.execute(named("instruction"), (instruction_id,)).fetchone()
        if row is None:
            return None
        attestation = sidecar.execute(named("attestation"), (row["attestation_id"],)).fetchone() or {}
        attempts = sidecar.execute(named("attempts"), (instruction_id,)).fetchall()
        resolution = sidecar.execute(named("resolution_of"), (instruction_id,)).fetchone()
    with reader(layout, "ledger") as ledger:
        posting = ledger.execute(named("posting"), (instruction_id,)).fetchone()
    numbers = [attestation.get("stream_seq"), *(row["stream_seq"] for row in (*attempts, *([resolution] if resolution else [])))]
    with reader(layout, "controlplane") as control:
        places = {r["seq"]: r["index"] for r in control.execute(named("log_places"), (SIDECAR, numbers))}
    events = [_attested(attestation, row, places), _decided(row)]
    events += [_attempted(attempt, places) for attempt in attempts]
    if resolution is not None:
        events.append(_resolved(resolution, places, names(layout)))
    if posting is not None:
        events.append(
            _event(
                posting["posted_at"],
                "posted in the ledger",
                f"{posting['posting_id']} permit ({posting['epoch']}, {posting['attempt']})",
            )
        )
    return {
        "instruction_id": instruction_id, "state": row["state"], "participant": row["participant_id"],
        "amount": _amount(row), "instructing_agent": row["instructing_agent"], "instructed_agent": row["instructed_agent"],
        "reason_code": row["reason_code"], "events": sorted(events, key=lambda event: event["at"]),
        "attestation": attestation, "attempts": attempts, "posting": posting,
        "resolution": resolution,
    }  # fmt: skip


def _attested(attestation: dict[str, Any], row: dict[str, Any], places: dict[int, int]) -> dict[str, str]:
    how = f"{attestation.get('pop_mode')} {attestation.get('signature_alg')}, participant {row['participant_id']}"
    return _event(
        attestation.get("received_at_utc"), "attested", f"{how}; {_place(attestation.get('stream_seq'), places)}"
    )


def _decided(row: dict[str, Any]) -> dict[str, str]:
    what = "accepted and recorded" if row["decision"] == "ALLOW" else f"refused: {row['reason_code']}"
    return _event(row["created_at"], what, f"release {row['policy_version']}, number {row['sequence_id'] or '-'}")


def _attempted(attempt: dict[str, Any], places: dict[int, int]) -> dict[str, str]:
    code = attempt["error_code"] or attempt["rail_reference"] or ""
    detail = (
        f"attempt {attempt['attempt_no']}, epoch {attempt['epoch']} {code}; {_place(attempt['stream_seq'], places)}"
    )
    return _event(attempt["created_at"], attempt["state"], detail)


def _resolved(resolution: dict[str, Any], places: dict[int, int], officers: dict[str, str]) -> dict[str, str]:
    maker, checker = (f"{officers.get(key, 'officer')} ({key[:16]}…)" for key in (resolution["maker"], resolution["checker"]))
    detail = (
        f"{resolution['decision']} made by {maker}, approved by {checker}, evidence reference "
        f"{resolution['evidence_reference']}; {_place(resolution['stream_seq'], places)}"
    )
    return _event(resolution["resolved_at"], "resolved", detail)


def _place(seq: int | None, places: dict[int, int]) -> str:
    found = places.get(seq or 0)
    return f"evidence {seq}, " + (f"log leaf {found}" if found is not None else "not shipped yet")


def _event(at: Any, what: str, detail: str) -> dict[str, str]:
    return {"at": at.isoformat(timespec="microseconds") if at else "", "what": what, "detail": detail}


def _amount(row: dict[str, Any]) -> str:
    if row["amount_minor"] is None:
        return ""
    entry = currencies().get(row["currency"], {"exponent": 2})
    return f"{decimal_text(row['amount_minor'], int(entry['exponent']))} {row['currency']}"
