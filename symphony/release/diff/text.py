"""A difference on the screen: one line a change, every sign of another's document harmless (``symphony.invariants.plain``)."""

from __future__ import annotations

from collections.abc import Iterator

from symphony.invariants.plain import plain
from symphony.release.diff.build import PARTS, Difference
from symphony.release.diff.model import Change

TITLES = {
    "policy": "policy (Rego)", "environment": "environment data", "manifest": "service manifests", "invariants": "invariants",
    "schema": "schemas of the rail", "gate": "gate result",
}  # fmt: skip


def line_of(change: Change) -> str:
    """``cap per payment of ZMW: 10,000.00 → 12,500.00 (looser)  [environment.json/caps/…]``, on one line."""
    return f"{plain(change.words)} ({change.effect_word})  [{plain(change.place)}]"


def lines_of(found: Difference, *, rego: bool = True) -> Iterator[str]:
    """Changes by part, the policy's own lines, and the count."""
    for part in PARTS:
        changes = [one for one in found.changes if one.part == part]
        if changes:
            yield TITLES[part]
            yield from (f"  {line_of(one)}" for one in changes)
    for one in found.rego if rego else ():
        for line in one["diff"].split("\n"):
            yield f"  | {plain(line)}"
    yield summary(found)


def summary(found: Difference) -> str:
    """How many changes, by effect."""
    if not found.changes:
        return "nothing changes: every digest that counts is the same"
    count = len(found.changes)
    return f"{count} change{'' if count == 1 else 's'}: " + ", ".join(f"{n} {effect}" for effect, n in found.counts.items())
