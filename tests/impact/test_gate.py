"""``--fail-if``: read strictly, by figure and currency; nothing else is an expression."""

from __future__ import annotations

import pytest

from symphony.impact.gate import COUNTS, holds, parse

FIGURES = {name: {} for name in COUNTS} | {
    "flipped": {"ZMW": [2, 500], "USD": [1, 7]}, "replayed": {"ZMW": [10, 1000]}, "not_replayed": {"": [3, 0]},
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "flipped", "flipped >", "> 0", "flipped > 0 and", "or flipped > 0", "flipped > 0 flipped > 0", "flipped => 0",
        "flipped > -1", "flipped > 1.5", "flipped > 0x10", "flipped > 1_000", "flipped[zmw] > 0", "flipped[ZMW > 0", "(flipped > 0)",
        "flipped > 0 AND flipped > 0", "money > 0", "__import__ > 0", "flipped.value > 0", "flipped > 0; flipped > 0", "not flipped > 0",
        "flipped > ٣", "flipped\n> 0", "flipped > 0" + " and flipped > 0" * 100,
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flipped > 3", False), ("flipped >= 3", True), ("flipped<4", True), ("flipped == 3", True), ("flipped != 3", False),
        ("flipped[USD] > 1", False), ("flipped[USD] == 1", True), ("flipped[EUR] == 0", True),
        ("flipped_value > 499", True), ("flipped_value > 500", False), ("flipped_value[USD] > 7", False), ("flipped_value[USD] <= 7", True),
        ("deny_to_allow_value > 0", False), ("deny_to_allow <= 0", True), ("not_replayed > 2", True),
        ("flipped > 3 or replayed > 9", True), ("flipped > 3 and replayed > 9", False),
        ("flipped > 3 and replayed > 9 or not_replayed == 3", True), ("not_replayed == 3 or flipped > 3 and replayed > 9", True),
    ],
)  # fmt: skip
def test_an_expression_holds_by_its_figures(text: str, expected: bool) -> None:
    assert holds(parse(text), FIGURES) is expected


def test_values_of_two_currencies_are_never_added() -> None:
    assert not holds(parse("flipped_value > 506"), FIGURES), "500 and 7 are money of two kinds"
