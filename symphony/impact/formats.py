"""The impact report as text, JSON and Markdown. Pure: a report (``model.document``) in, text out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contracts.money import grouped_text
from symphony.impact.model import ALLOW_TO_DENY, CHANGES, DENY_TO_ALLOW, total_count

ROWS_SHOWN_MAX = 10
TITLES = {
    "replayed": "replayed", "allow_to_deny": "allowed then, refused now", "deny_to_allow": "refused then, allowed now",
    "reasons_changed": "refused for other reasons", "obligations_changed": "allowed under other obligations",
    "not_replayed": "could not be replayed", "before_policy": "refused before the policy was asked",
    "kept_by_record": "stay refused: duplicates, daily caps", "daily_caps": "would meet the candidate's daily caps",
}  # fmt: skip

Report = Mapping[str, Any]
Exponents = Mapping[str, int]
"""Digits after the point, by currency; one that is not there is shown in minor units."""


def money(value_minor: str, currency: str | None, exponents: Exponents) -> str:
    """``12,345.67 ZMW``."""
    if not currency:
        return ""
    if currency not in exponents:
        return f"{value_minor} minor units {currency}"
    return f"{grouped_text(int(value_minor), exponents[currency])} {currency}"


def headline(report: Report, exponents: Exponents) -> list[str]:
    """What an approver sees: one or two lines."""
    days = f"impact on the last {report['window']['days']} days until {report['window']['until'][:16]}Z"
    if report["nothing_recorded"]:
        return [f"{days}: nothing recorded, so nothing was tested"]
    left = "".join(
        f", {count} {TITLES[name]}" for name in ("not_replayed", "before_policy") if (count := total_count(report, name))
    )
    flips = "; ".join(f"{TITLES[change]}: {_sums(report, change, exponents)}" for change in (ALLOW_TO_DENY, DENY_TO_ALLOW))
    return [f"{days}: {total_count(report, 'replayed')} of {report['recorded']} decisions replayed{left}", flips]


def _sums(report: Report, name: str, exponents: Exponents) -> str:
    by = report["totals"][name]
    if not by:
        return "none"
    values = [money(total["value_minor"], currency, exponents) for currency, total in by.items() if currency]
    return f"{total_count(report, name)}" + (f" ({', '.join(values)})" if values else "")


def as_text(report: Report, exponents: Exponents) -> str:
    """The totals, where the changes are, and what the report covers."""
    lines = headline(report, exponents)[:1]
    lines += [f"  {TITLES[name]:<38} {_sums(report, name, exponents)}" for name in TITLES]
    lines += _block("why", [_why(one, exponents) for one in report["why"]])
    changed = [one for one in report["participants"] if any(change in one for change in CHANGES)]
    lines += _block("participant, rail", [_place(one, exponents) for one in changed], report["participants_left_out"])
    lines += _block("hour", [_place(one, exponents) for one in report["hours"]], report["hours_left_out"])
    lines += _block("beside", [_aside(one, exponents) for one in report["asides"]])
    return "\n".join([*lines, "what it covers:", *(f"  {line}" for line in report["covers"])])


def _block(title: str, rows: Sequence[str], left_out: int = 0) -> list[str]:
    shown = rows[:ROWS_SHOWN_MAX]
    more = len(rows) - len(shown) + left_out
    return [f"{title}:", *(f"  {row}" for row in shown), *([f"  … and {more} more (-o json)"] if more else [])] if rows else []


def _why(one: Mapping[str, Any], exponents: Exponents) -> str:
    return f"{one['then']} → {one['now']}  {one['count']}  {money(one['value_minor'], one['currency'], exponents)}"


def _aside(one: Mapping[str, Any], exponents: Exponents) -> str:
    return f"{TITLES[one['group']]}: {one['why']}  {one['count']}  {money(one['value_minor'], one['currency'], exponents)}".rstrip()


def _place(one: Mapping[str, Any], exponents: Exponents) -> str:
    parts = [str(one[part]) for part in ("hour", "participant", "rail") if part in one]
    changes = [
        f"{change} {one[change]['count']} ({money(one[change]['value_minor'], one['currency'], exponents)})"
        for change in CHANGES if change in one
    ]  # fmt: skip
    return f"{'  '.join(parts)}  {', '.join(changes)}"


def as_json(report: Report, _exponents: Exponents) -> str:
    """``symphony.impact_report/1``, with the gates asked for."""
    return json.dumps(report, indent=2, ensure_ascii=False)


def as_markdown(report: Report, exponents: Exponents) -> str:
    """A table by participant, for a pull request."""
    head = ["participant", "rail", "currency", "replayed", *CHANGES]
    rows = [head, ["---"] * len(head)]
    for one in report["participants"]:
        cells = [
            f"{one[what]['count']}: {money(one[what]['value_minor'], one['currency'], exponents)}" if what in one else ""
            for what in ("replayed", *CHANGES)
        ]
        rows.append([one["participant"], one["rail"], one["currency"], *cells])
    table = ["| " + " | ".join(row) + " |" for row in rows]
    beside = [f"* {_aside(one, exponents)}" for one in report["asides"]]
    return "\n".join([*headline(report, exponents), "", *table, *([""] if beside else []), *beside])


FORMATS: Mapping[str, Callable[[Report, Exponents], str]] = {"text": as_text, "json": as_json, "markdown": as_markdown}


def exponents_of(environment: Mapping[str, Any]) -> dict[str, int]:
    """Digits after the point by currency, out of an environment's data."""
    return {code: int(entry["exponent"]) for code, entry in environment["currencies"].items()}
