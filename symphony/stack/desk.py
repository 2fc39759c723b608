"""``symphony desk``: every payment of a stack's sidecar whose outcome is in doubt, or that waits for two officers (OUT-11).

It reads under the reading login, and the recovery rule from the sidecar's held release, verified here again. It names the
permitted next steps only: nobody sends a payment in doubt again (must-never 4).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.money import decimal_text
from contracts.release import VerifiedRelease, load_held
from contracts.times import Clock
from symphony.iso4217 import currencies
from symphony.stack.layout import ENVIRONMENT, SERVICE, Layout
from symphony.stack.reading import named, reader

_ASKS = "wait: the sidecar asks the rail again by itself"
_RULES = {
    "query": "the rail is asked under a seal; only its final answer decides",
    "manual": "the rail cannot be asked; the evidence that two officers name decides, unless the rail gives a final answer",
}


class _Read:
    """The accepted release as the sidecar's database has it; nothing is accepted here."""

    def __init__(self, found: tuple[int, str] | None) -> None:
        self._found = found

    def highest(self) -> tuple[int, str] | None:
        """See ``AcceptedRecord``."""
        return self._found

    def accept(self, number: int, metadata_digest: str) -> None:
        """A report changes nothing."""
        raise CannotEvaluate("CONFIGURATION", f"a report accepts no release: {number} {metadata_digest[:16]}")


def take(layout: Layout, clock: Clock) -> dict[str, Any]:
    """``{"as_of", "release", "recovery", "rule", "payments": [...], "totals": [...]}``. Raises ``CannotEvaluate``."""
    with reader(layout, "sidecar") as sidecar:
        accepted = sidecar.execute(named("accepted_release")).fetchone()
        rows = sidecar.execute(named("in_doubt")).fetchall()
    release = _release(layout, accepted, clock)
    settings, now = release.manifest["sidecar"], clock.now()
    payments = [_payment(row, settings, now) for row in rows]
    return {
        "as_of": now.isoformat(), "release": release.number, "recovery": settings["recovery"], "rule": _RULES[settings["recovery"]],
        "payments": payments, "totals": totals(rows),
    }  # fmt: skip


def _release(layout: Layout, accepted: dict[str, Any] | None, clock: Clock) -> VerifiedRelease:
    found = (accepted["number"], accepted["metadata_digest"]) if accepted else None
    release = load_held(
        environment=ENVIRONMENT, service=SERVICE, folder=layout.folder / "sidecar" / "release",
        root_bytes=Path(layout.root).read_bytes(), record=_Read(found), clock=clock,
    )  # fmt: skip
    if release is None:
        raise CannotEvaluate("NO_ACTIVE_RELEASE", "the sidecar holds no release yet", next_step="symphony doctor")
    return release


def _payment(row: dict[str, Any], settings: dict[str, Any], now: datetime) -> dict[str, Any]:
    parked = row["parked_at"] is not None
    identifier = str(row["instruction_id"])
    asked_at = row["parked_at"] if parked else _asked_at(row, settings["lease_ms"])
    return {
        "instruction_id": identifier, "state": "NEEDS_REVIEW" if parked else "UNCERTAIN", "amount_minor": row["amount_minor"],
        "currency": row["currency"], "amount": money(row["amount_minor"], row["currency"]),
        "instructing_agent": row["instructing_agent"], "instructed_agent": row["instructed_agent"],
        "participant": row["participant_id"], "reason_code": row["reason_code"] if parked else "OUTCOME_UNKNOWN",
        "parked_at": row["parked_at"], "unanswered_since": row["unanswered_since"], "last_asked_at": asked_at,
        "unanswered_s": _seconds(row["unanswered_since"], now), "asked_s": _seconds(asked_at, now),
        "age_s": _seconds(row["created_at"], now), "attempts": row["attempts"], "times_asked": row["recoveries"],
        "next_steps": next_steps(identifier, parked=parked, recovery=settings["recovery"]),
    }  # fmt: skip


def next_steps(identifier: str, *, parked: bool, recovery: str) -> list[str]:
    """What is permitted now, and nothing else. Pure."""
    if not parked:
        return [_ASKS] if recovery == "query" else ["wait: the sidecar parks it by itself"]
    return [
        f'symphony payment resolve {identifier} --decision {word} --reason "…" --evidence-reference "…" --officer <who>'
        f"    ({when})"
        for word, when in (("dispatched", "the rail has it"), ("failed", "the rail does not have it"))
    ]


def totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Money and number in doubt, by participant and currency. Pure."""
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        entry = sums.setdefault((row["participant_id"], row["currency"]), [0, 0])
        entry[0] += row["amount_minor"]
        entry[1] += 1
    return [
        {"participant": who, "currency": currency, "amount_minor": value, "amount": money(value, currency), "payments": count}
        for (who, currency), (value, count) in sorted(sums.items())
    ]


def money(amount_minor: int, currency: str) -> str:
    """An amount as people read it."""
    return f"{decimal_text(amount_minor, int(currencies().get(currency, {'exponent': 2})['exponent']))} {currency}"


def _asked_at(row: dict[str, Any], lease_ms: int) -> datetime | None:
    """When recovery asked last: it renews the lease right before; ``None`` when it has not asked yet."""
    expires: datetime | None = row["expires_at"]
    return expires - timedelta(milliseconds=lease_ms) if expires is not None and row["recoveries"] else None


def _seconds(since: datetime | None, now: datetime) -> int | None:
    return None if since is None else max(0, int((now - since).total_seconds()))
