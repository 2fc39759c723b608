"""Built-in checks of the governed elements, besides the XSD (a scheme's own XSD may be laxer than ISO's).

What does not fit is ``SCHEMA_INVALID`` for the whole message, ``DATE_INVALID`` for a day that is none. Amounts are
compared as exact integers of 10^-17 (the most fraction digits of a ``DecimalNumber``); money itself is
``contracts.money``.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from lxml import etree

from contracts.errors import Refused
from rails.iso20022.elements import Children, text_of

REFERENCE_MAX: Final = 35
SETTLEMENT_METHODS: Final = frozenset({"INDA", "INGA", "COVE", "CLRG"})
_SCALE: Final = 17
_DECIMAL: Final = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d{0,18})(?:\.(?P<fraction>\d{0,17}))?")
_DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:Z|[+-]\d\d:\d\d)?")
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d{1,32})?(?:Z|[+-]\d\d:\d\d)?")
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_UETR: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


def required(parts: Children, name: str) -> str:
    """The text of a leaf that must be there, 1 to 35 characters."""
    text = reference(parts, name)
    if text is None:
        raise Refused("SCHEMA_INVALID", f"{name} is missing or empty")
    return text


def reference(parts: Children, name: str) -> str | None:
    """The text of an optional reference of at most 35 characters; blank counts as absent."""
    text = text_of(parts.get(name))
    if text is not None and len(text) > REFERENCE_MAX:
        raise Refused("SCHEMA_INVALID", f"{name} is longer than {REFERENCE_MAX} characters")
    return text


def uetr(parts: Children) -> str | None:
    """The UETR in lower case."""
    text = text_of(parts.get("UETR"))
    if text is None:
        return None
    if not _UETR.fullmatch(text.lower()):
        raise Refused("SCHEMA_INVALID", "UETR is no UUID")
    return text.lower()


def amount(element: etree._Element | None, name: str) -> tuple[str, str]:
    """``(decimal text, currency)`` of an amount element."""
    text = text_of(element)
    currency = None if element is None else element.get("Ccy")
    if text is None or currency is None or not _CURRENCY.fullmatch(currency):
        raise Refused("SCHEMA_INVALID", f"{name} is missing, or without a currency of three letters")
    scaled(text, name)
    return text, currency


def scaled(text: str, name: str) -> int:
    """A decimal as an exact integer of 10^-17."""
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match["whole"] or match["fraction"]):
        raise Refused("SCHEMA_INVALID", f"{name} is no decimal number")
    value = int((match["whole"] or "0") + (match["fraction"] or "").ljust(_SCALE, "0"))
    return -value if match["sign"] == "-" else value


def count(parts: Children, name: str) -> int:
    """A number of up to 15 digits."""
    text = required(parts, name)
    if not _COUNT.fullmatch(text):
        raise Refused("SCHEMA_INVALID", f"{name} has 1 to 15 digits")
    return int(text)


def settlement_method(parts: Children) -> str:
    """``SttlmMtd``: one of the four."""
    text = required(parts, "SttlmMtd")
    if text not in SETTLEMENT_METHODS:
        raise Refused("SCHEMA_INVALID", "SttlmMtd is none of " + ", ".join(sorted(SETTLEMENT_METHODS)))
    return text


def day_of_moment(text: str, name: str) -> str:
    """The day of an ``ISODateTime`` as its sender wrote it: ``2026-11-24``."""
    return _real_day(_MOMENT.fullmatch(text), name)


def day(parts: Children, name: str) -> str | None:
    """An optional ``ISODate``, without its time zone."""
    text = text_of(parts.get(name))
    return None if text is None else _real_day(_DAY.fullmatch(text), name)


def country(text: str | None) -> str | None:
    """A country code, or ``None`` for what is none (it is not governed)."""
    return text if text is not None and _COUNTRY.fullmatch(text) else None


def _real_day(match: re.Match[str] | None, name: str) -> str:
    try:
        if match is not None:
            return date.fromisoformat(match[1]).isoformat()
    except ValueError:
        pass
    raise Refused("DATE_INVALID", f"{name} is not a real date")
