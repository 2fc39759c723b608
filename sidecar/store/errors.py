"""Errors of the store, by what the writer must do.

    StoreUnavailable   answer STORE_UNAVAILABLE, reconnect, try the next thing
    BreakerOpen        the same, and the database was not touched
    StoreConflict      a key, a check or a value refused the batch: try the items one by one
    LeaseLost          somebody else holds the lease: the outcome is not ours to write
    Fenced             another writer has begun a newer epoch: stop this process
"""

from __future__ import annotations

import psycopg

from contracts.errors import CannotEvaluate

_ABOUT_THE_DATA = ("22", "23")
"""SQLSTATE classes that say that these rows cannot be written, now or later: data exception, integrity constraint."""


class StoreUnavailable(CannotEvaluate):
    """The database did not commit in time, or the connection broke: the commit is not known to have happened."""

    def __init__(self, detail: str) -> None:
        super().__init__("STORE_UNAVAILABLE", detail)


class BreakerOpen(StoreUnavailable):
    """The breaker is open: the database was not touched (D2)."""

    def __init__(self) -> None:
        CannotEvaluate.__init__(self, "STORE_BREAKER_OPEN", "")


class StoreConflict(Exception):
    """A unique key, a constraint or a value that is none refused the batch; nothing of it was written."""


class LeaseLost(Exception):
    """A lease of the batch is not held any more; nothing of the batch was written (OUT-08)."""


class Fenced(Exception):
    """A newer epoch writes this stream; this process must end."""


def translated(error: psycopg.Error) -> Exception:
    """Our error for the database's."""
    match error.sqlstate:
        case "SY001":
            return Fenced(str(error))
        case "SY003":
            return LeaseLost(str(error))
        case str(state) if state[:2] in _ABOUT_THE_DATA:
            return StoreConflict(f"{state}: {type(error).__name__}")
        case _:
            return StoreUnavailable(f"{error.sqlstate or 'connection'}: {type(error).__name__}")
