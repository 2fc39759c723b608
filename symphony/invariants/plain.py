"""Text of others on one line of a terminal or report: no escape, line end, or sign that turns the direction of writing.

Names of objects come from the database that is judged; one with an escape in it could wipe a FAIL off a screen, or make a JUnit
file that nobody can read.
"""

from __future__ import annotations

CHARS_MAX = 2000


def plain(text: str) -> str:
    """The text with what does not print written as an escape, and not endless."""
    said = "".join(sign if sign.isprintable() else _escape(sign) for sign in text[:CHARS_MAX])
    return said + (f" … ({len(text)} characters)" if len(text) > CHARS_MAX else "")


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
