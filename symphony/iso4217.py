"""The ISO 4217 table that a release's environment data carries: every current code, its exponent, whether it is money.

A code is money where the table gives it minor units. Metals, bond-market units, units of account such as the SDR, test
codes and "no currency" have none; no allow-list and no wildcard makes those a payment's currency.

The table is ``iso4217.json`` beside this file (ISO 4217 list one, as of 2026: ZWG and XCG in, BGN, HRK, ANG, ZWL and
SLL out). A scheme that settles in fewer minor units says so in its own environment data.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


@cache
def _table() -> dict[str, tuple[int | None, str]]:
    document = json.loads(resources.files(__package__).joinpath("iso4217.json").read_text("utf-8"))
    return {code: (units, name) for code, (units, name) in document.items()}


def currencies() -> dict[str, dict[str, int | bool]]:
    """``{"ZMW": {"exponent": 2, "money": true}, …}``, as ``environment.currencies`` wants it, sorted by code."""
    return {
        code: {"exponent": units or 0, "money": units is not None} for code, (units, _) in sorted(_table().items())
    }


def names() -> dict[str, str]:
    """The English name by code."""
    return {code: name for code, (_, name) in _table().items()}
