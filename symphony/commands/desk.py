"""``symphony desk``: what is in doubt, in words and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import Layout

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.command()
@dir_option
@output_option
def desk(folder: Path, output: str) -> None:
    """Every payment in doubt or parked: amount, both clocks, the rail's rule, the permitted next steps, totals.

    Exit 0 when it could be told, also when payments are in doubt; 3 could not tell.
    """
    from contracts.times import SystemClock
    from symphony.stack.desk import take

    found = take(Layout.open(folder), SystemClock())
    if output == "json":
        show_json(found)
        return
    if not found["payments"]:
        say(f"nothing is in doubt (release {found['release']})")
        return
    for payment in found["payments"]:
        _show(payment)
    say("in doubt:")
    for total in found["totals"]:
        say(f"  {total['participant']:<20} {total['amount']:>20}  {total['payments']} payments")
    say(f"the rail's rule (release {found['release']}): {found['recovery']}: {found['rule']}")


def _show(payment: dict[str, Any]) -> None:
    say(f"{payment['instruction_id']}  {payment['state']}  {payment['amount']}  "
        f"{payment['instructing_agent']} -> {payment['instructed_agent']}")  # fmt: skip
    say(f"  participant {payment['participant']}, {payment['reason_code']}, attempts {payment['attempts']}")
    say(f"  no final answer for {duration(payment['unanswered_s'])}, last asked {duration(payment['asked_s'])} ago,"
        f" payment {duration(payment['age_s'])} old")  # fmt: skip
    for step in payment["next_steps"]:
        say(f"  next: {step}")


def duration(seconds: int | None) -> str:
    """``90`` is ``1m 30s``; two units at most. Pure."""
    if seconds is None:
        return "-"
    for unit, below, name, small in ((_DAY, _HOUR, "d", "h"), (_HOUR, _MINUTE, "h", "m"), (_MINUTE, 1, "m", "s")):
        if seconds >= unit:
            return f"{seconds // unit}{name} {seconds % unit // below}{small}"
    return f"{seconds}s"
