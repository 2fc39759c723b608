"""How a field is spoiled: removed, null, of another type, empty, huge, negative, doubled (POL-16). Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.schemas import fast_validator
from symphony.policy.fields import ABSENT, DECISION_INPUT, Path, changed, value_at

HUGE_TEXT_CHARS = 10_000
HUGE_NUMBERS = (2**53, 2**53 + 1, 10**18, 10**40)
NEGATIVE_NUMBERS = (-1, -(2**53), -(10**18))


@dataclass(frozen=True, slots=True)
class Probe:
    """An input that the schema refuses, made from one that it accepts, and what was done: (field, change) each."""

    item: dict[str, Any]
    spoiled: tuple[tuple[Path, str], ...]

    @property
    def text(self) -> str:
        """What was done, in words."""
        return " and ".join(f"{'/'.join(path)} {change}" for path, change in self.spoiled)


def changes_of(value: Any) -> list[tuple[str, Any]]:
    """(name, other value) of every change of a value."""
    out: list[tuple[str, Any]] = [
        ("removed", ABSENT), ("null", None), ("retyped: true", True), ("retyped: false", False), ("retyped: 0", 0),
        ("retyped: 1", 1), ("retyped: 1.5", 1.5), ('retyped: "x"', "x"), ('retyped: "1"', "1"), ("retyped: [1]", [1]),
        ('retyped: {"x": 1}', {"x": 1}), ("empty text", ""), ("empty array", []), ("empty object", {}),
        ("huge text", "X" * HUGE_TEXT_CHARS), ("in an array", [value]), ("doubled in an array", [value, value]),
        ("in an object", {"value": value}),
    ]  # fmt: skip
    if isinstance(value, int | float) and not isinstance(value, bool):
        out.append(("retyped: the number as text", str(value)))
    if isinstance(value, list):
        out.append(("doubled", value * 2))
    out += [(f"huge: {number}", number) for number in HUGE_NUMBERS]
    out += [(f"negative: {number}", number) for number in NEGATIVE_NUMBERS]
    return out


def is_valid(item: Any) -> bool:
    """Whether the sidecar's schema in front of the policy would let it through."""
    try:
        return bool(fast_validator(DECISION_INPUT).is_valid(item))
    except (ValueError, TypeError, OverflowError):
        return False


def single(bases: Sequence[dict[str, Any]], paths: Sequence[Path]) -> Iterator[Probe]:
    """Every change of every field of every base that the schema refuses."""
    for base in bases:
        for path in paths:
            value = value_at(base, path)
            for name, other in changes_of(value) if value is not ABSENT else ():
                probe = Probe(changed(base, path, other), ((path, name),))
                if not is_valid(probe.item):
                    yield probe


def pairs(bases: Sequence[dict[str, Any]], paths: Sequence[Path], count: int, seed: int) -> Iterator[Probe]:
    """So many inputs with two fields spoiled, the same ones each time."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    there = [(base, [path for path in paths if value_at(base, path) is not ABSENT]) for base in bases]
    there = [(base, found) for base, found in there if len(found) > 1]
    for _ in range(count if there else 0):
        base, found = chance.choice(there)
        one, two = chance.sample(found, 2)
        item, spoiled = base, []
        for path in sorted((one, two), key=len, reverse=True):  # the deeper first: its object may be the other
            name, other = chance.choice(changes_of(value_at(base, path)))
            item = changed(item, path, other)
            spoiled.append((path, name))
        if not is_valid(item):
            yield Probe(item, tuple(spoiled))
