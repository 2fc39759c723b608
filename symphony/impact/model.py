"""The count of a replay, and the report that is made of it (``symphony.impact_report/1``). Pure.

Money is an integer of minor units by currency; amounts of two currencies are never added. Sums may pass 2^53, so they stand
in the report as decimal text. A recorded decision is in exactly one of ``replayed``, ``not_replayed`` and ``before_policy``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

_Key = TypeVar("_Key")
SCHEMA = "symphony.impact_report/1"

REPLAYED = "replayed"
ALLOW_TO_DENY, DENY_TO_ALLOW = "allow_to_deny", "deny_to_allow"
REASONS_CHANGED, OBLIGATIONS_CHANGED = "reasons_changed", "obligations_changed"
CHANGES = (ALLOW_TO_DENY, DENY_TO_ALLOW, REASONS_CHANGED, OBLIGATIONS_CHANGED)
FLIPS = (ALLOW_TO_DENY, DENY_TO_ALLOW)

NOT_REPLAYED, BEFORE_POLICY, KEPT_BY_RECORD, DAILY_CAPS = "not_replayed", "before_policy", "kept_by_record", "daily_caps"
ASIDES = (NOT_REPLAYED, BEFORE_POLICY, KEPT_BY_RECORD, DAILY_CAPS)

ROWS_MAX = 5_000
"""Rows of each table in one report; how many more there are is said. The totals are whole."""

COVERS = (
    "Replayed: the policy under the candidate's data, its obligations, and the agents and payment caps of fixed code.",
    "Not asked again: the caller, the message itself, duplicates and daily caps. What these refused stays refused.",
    "kept_by_record: refused as a duplicate or for a daily cap, though the candidate would allow it.",
    "deny_to_allow: such a payment may still meet a duplicate or a daily cap.",
    "daily_caps: allowed then, and above the candidate's daily caps by the usage frozen with the decision; these are no flips.",
    "before_policy: refused before the policy was asked, so there is no input; attestation rejects are not counted.",
    "Obligations are not recorded: what was allowed had no hold, no second approval, and the route primary.",
)

Cell = tuple[str, str, str, int]
"""Participant, rail, currency, hour (hours since 1970, UTC)."""
Sum = list[int]
"""Count and value in minor units."""


def _sum() -> Sum:
    return [0, 0]


def _sums() -> defaultdict[Any, Sum]:
    return defaultdict(_sum)


@dataclass(slots=True)
class Counts:
    """What was counted. ``cells`` by (what, cell); ``whys`` by (change, code then, code now, currency); ``asides`` by
    (group, why, currency, empty where the payment has none)."""

    recorded: int = 0
    cells: defaultdict[tuple[str, Cell], Sum] = field(default_factory=_sums)
    whys: defaultdict[tuple[str, str, str, str], Sum] = field(default_factory=_sums)
    asides: defaultdict[tuple[str, str, str], Sum] = field(default_factory=_sums)

    def replayed(self, cell: Cell, value: int) -> None:
        """One decision was asked again."""
        _add(self.cells[REPLAYED, cell], 1, value)

    def changed(self, change: str, cell: Cell, value: int, then: str, now: str) -> None:
        """Its answer is another one."""
        _add(self.cells[change, cell], 1, value)
        _add(self.whys[change, then, now, cell[2]], 1, value)

    def aside(self, group: str, why: str, currency: str | None, value: int | None) -> None:
        """Counted beside the changes."""
        _add(self.asides[group, why, currency or ""], 1, value or 0)

    def add(self, other: Counts) -> None:
        """Take another count into this one."""
        self.recorded += other.recorded
        _merge(self.cells, other.cells)
        _merge(self.whys, other.whys)
        _merge(self.asides, other.asides)

    def by(self, what: str, parts: Iterable[int]) -> dict[tuple[Any, ...], Sum]:
        """The sums of one thing by some parts of the cell: 0 participant, 1 rail, 2 currency, 3 hour."""
        out: dict[tuple[Any, ...], Sum] = {}
        chosen = tuple(parts)
        for (one, cell), (count, value) in self.cells.items():
            if one == what:
                _add(out.setdefault(tuple(cell[part] for part in chosen), _sum()), count, value)
        return out

    def aside_by_currency(self, group: str) -> dict[str, Sum]:
        """The sums of one group beside the changes."""
        out: dict[str, Sum] = {}
        for (one, _, currency), (count, value) in self.asides.items():
            if one == group:
                _add(out.setdefault(currency, _sum()), count, value)
        return out


def _merge(mine: dict[_Key, Sum], theirs: Mapping[_Key, Sum]) -> None:
    for key, (count, value) in theirs.items():
        _add(mine.setdefault(key, _sum()), count, value)


def _add(total: Sum, count: int, value: int) -> None:
    total[0] += count
    total[1] += value


def figures(counts: Counts) -> dict[str, dict[str, Sum]]:
    """Every figure of the report by name and currency; ``flipped`` is both flips together."""
    out = {what: {str(key[0]): total for key, total in counts.by(what, (2,)).items()} for what in (REPLAYED, *CHANGES)}
    flipped: dict[str, Sum] = {}
    for change in FLIPS:
        for currency, (count, value) in out[change].items():
            _add(flipped.setdefault(currency, _sum()), count, value)
    return out | {"flipped": flipped} | {group: counts.aside_by_currency(group) for group in ASIDES}


@dataclass(frozen=True, slots=True)
class Subject:
    """What was asked, of what: the candidate's digests and the window (UTC)."""

    environment: str
    policy_sha256: str
    environment_sha256: str
    since: datetime
    until: datetime
    days: int
    release: int | None = None


def document(subject: Subject, counts: Counts) -> dict[str, Any]:
    """The report. The same counts give the same bytes."""
    tables = {
        "participants": list(_rows(counts, (0, 1, 2), (REPLAYED, *CHANGES))),
        "hours": list(_rows(counts, (0, 1, 2, 3), CHANGES)),
    }
    return {
        "schema": SCHEMA, "environment": subject.environment, "release": subject.release,
        "policy_sha256": subject.policy_sha256, "environment_sha256": subject.environment_sha256,
        "window": {"days": subject.days, "from": _moment(subject.since), "until": _moment(subject.until)},
        "nothing_recorded": counts.recorded == 0, "recorded": counts.recorded,
        "totals": {
            name: {currency: _shown(total) for currency, total in sorted(by.items())}
            for name, by in figures(counts).items()
        },
        "why": [
            {"change": change, "then": then, "now": now, "currency": currency, **_shown(total)}
            for (change, then, now, currency), total in sorted(counts.whys.items())
        ],
        "asides": [
            {"group": group, "why": why, "currency": currency or None, **_shown(total)}
            for (group, why, currency), total in sorted(counts.asides.items())
        ],
        **{name: rows[:ROWS_MAX] for name, rows in tables.items()},
        **{f"{name}_left_out": max(0, len(rows) - ROWS_MAX) for name, rows in tables.items()},
        "covers": list(COVERS),
    }  # fmt: skip


_PARTS = ("participant", "rail", "currency", "hour")


def _rows(counts: Counts, parts: tuple[int, ...], whats: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Sum]] = {}
    for what in whats:
        for key, total in counts.by(what, parts).items():
            found.setdefault(key, {})[what] = total
    for key, sums in sorted(found.items()):
        names = {_PARTS[part]: _hour(value) if part == 3 else value for part, value in zip(parts, key, strict=True)}
        yield names | {what: _shown(total) for what, total in sums.items()}


def _shown(total: Sum) -> dict[str, Any]:
    return {"count": total[0], "value_minor": str(total[1])}


def _hour(hours: int) -> str:
    return f"{datetime.fromtimestamp(hours * 3600, UTC):%Y-%m-%dT%H:00Z}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def total_count(report: Mapping[str, Any], name: str) -> int:
    """A figure's count over all currencies (counts may be added, values never)."""
    return sum(int(one["count"]) for one in report["totals"][name].values())
