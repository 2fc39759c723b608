"""Money: an integer of minor units, 1 to 2^53-1, and an ISO 4217 code (design section 8). No float, ever."""

from __future__ import annotations

import re

from contracts.errors import Refused

AMOUNT_MINOR_MAX = 2**53 - 1
"""The largest amount: what JSON, Rego and a BIGINT all hold exactly."""

_DECIMAL = re.compile(r"\+?(?P<whole>\d{0,18})(?:\.(?P<fraction>\d{0,17}))?")


def minor_units(text: str, exponent: int) -> int:
    """``"12.50"`` at exponent 2 → 1250. Raises ``Refused AMOUNT_INVALID``.

    Trailing zeros beyond the exponent are no loss and are taken; any other further digit is refused.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None or not (match["whole"] or match["fraction"]):
        raise Refused("AMOUNT_INVALID", f"not a decimal amount: {text[:32]!r}")
    fraction = (match["fraction"] or "").rstrip("0")
    if len(fraction) > exponent:
        raise Refused("AMOUNT_INVALID", f"more than {exponent} fraction digits: {text[:32]!r}")
    value = int((match["whole"] or "0") + fraction.ljust(exponent, "0"))
    if not 1 <= value <= AMOUNT_MINOR_MAX:
        raise Refused("AMOUNT_INVALID", f"outside 1 to 2^53-1 minor units: {text[:32]!r}")
    return value


def grouped_text(value_minor: int, exponent: int) -> str:
    """1234567 at exponent 2 → ``"12,345.67"``, for people."""
    whole, point, fraction = decimal_text(value_minor, exponent).partition(".")
    return f"{int(whole):,}{point}{fraction}"


def decimal_text(value_minor: int, exponent: int) -> str:
    """1250 at exponent 2 → ``"12.50"``."""
    if exponent == 0:
        return str(value_minor)
    digits = str(value_minor).rjust(exponent + 1, "0")
    return f"{digits[:-exponent]}.{digits[-exponent:]}"
