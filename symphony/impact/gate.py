"""``--fail-if``: a tiny closed language over the report's figures, read strictly; nothing is evaluated as code.

    expression  test ("and" test)* ("or" test ("and" test)*)*        "and" binds first; no brackets
    test        NAME ["[" CURRENCY "]"] (">" | ">=" | "<" | "<=" | "==" | "!=") INTEGER

A count without a currency is over all of them. A value (``…_value``, minor units) is never added across currencies: without
a currency the test holds when it holds for any of them (for none recorded: for 0).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from symphony.impact.model import ASIDES, CHANGES, REPLAYED, Sum

EXPRESSION_CHARS_MAX = 500
COUNTS = (REPLAYED, "flipped", *CHANGES, *ASIDES)
NAMES = (*COUNTS, *(f"{name}_value" for name in COUNTS))

_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_TEST = re.compile(r" *([a-z_]+)(?:\[([A-Z]{3})\])? *(>=|<=|==|!=|>|<) *([0-9]{1,30}) *", re.ASCII)

Figures = Mapping[str, Mapping[str, Sum]]
"""Name to currency to count and value (``model.figures``)."""


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison. ``currency`` is empty for all of them."""

    name: str
    currency: str
    comparison: str
    number: int

    def holds(self, figures: Figures) -> bool:
        """Whether it is so."""
        by = figures[self.name.removesuffix("_value")]
        place = 1 if self.name.endswith("_value") else 0
        found = [total[place] for currency, total in by.items() if self.currency in ("", currency)]
        if place == 0:
            found = [sum(found)]
        return any(_OPERATORS[self.comparison](one, self.number) for one in found or [0])


Expression = tuple[tuple[Test, ...], ...]
"""Any of these, of which all."""


def parse(text: str) -> Expression:
    """Read an expression. ``ValueError`` says what is wrong with it."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"over {EXPRESSION_CHARS_MAX} characters")
    return tuple(tuple(_test(one) for one in re.split(r"\band\b", every)) for every in re.split(r"\bor\b", text))


def _test(text: str) -> Test:
    match = _TEST.fullmatch(text)
    if match is None:
        raise ValueError(f"{text.strip()!r} is no comparison such as: flipped_value > 0")
    name, currency, comparison, number = match.groups()
    if name not in NAMES:
        raise ValueError(f"there is no figure {name}; there are: {', '.join(NAMES)}")
    return Test(name, currency or "", comparison, int(number))


def holds(expression: Expression, figures: Figures) -> bool:
    """Whether any of its parts holds whole."""
    return any(all(test.holds(figures) for test in every) for every in expression)
