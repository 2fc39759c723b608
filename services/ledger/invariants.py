"""The invariants that are compiled into the ledger: they must hold in its own database before a release activates.

A release carries parameters, never code to run (design section 4). INV-006 no CREATE, INV-008 pinned search_path,
INV-010 no direct DML, INV-014 append-only triggers on every table.
"""

from __future__ import annotations

import psycopg

from contracts.errors import CannotEvaluate, NotTrusted
from services.ledger import config
from services.ledger.store import text


def check(database_url: str) -> list[str]:
    """The ids that hold. ``NotTrusted RELEASE_INVARIANT`` names the first that does not."""
    try:
        with psycopg.connect(database_url, connect_timeout=config.CONNECT_TIMEOUT_S) as connection:
            rows = connection.execute(text("invariants")).fetchall()
    except psycopg.Error as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"could not be evaluated: {type(error).__name__}") from error
    for invariant, holds in rows:
        if holds is not True:
            raise NotTrusted("RELEASE_INVARIANT", f"{invariant} does not hold in this database")
    return sorted(str(invariant) for invariant, _ in rows)
