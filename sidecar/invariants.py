"""The invariants that are compiled into the sidecar, by id: they must hold in its own database before a release activates.

A release carries parameters, never code to run (design section 4). Asked as the writer's own login, which can see its
rights but not change them: INV-010 no direct DML, INV-014 append-only attempts, INV-006 no CREATE, INV-022 the outbox
demands its attestation, I-OUTBOX-02 one terminal.
"""

from __future__ import annotations

import psycopg

from contracts.errors import CannotEvaluate, NotTrusted
from contracts.named_sql import queries


def check(database_url: str) -> list[str]:
    """The ids that hold. Raises ``NotTrusted RELEASE_INVARIANT`` naming the first that does not."""
    statements = queries("sidecar")
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            connection.execute("SET LOCAL ROLE symphony_executor")
            for invariant, statement in statements.items():
                row = connection.execute(statement).fetchone()
                if row is None or row[0] is not True:
                    raise NotTrusted("RELEASE_INVARIANT", f"{invariant} does not hold in this database")
    except psycopg.Error as error:
        raise CannotEvaluate("RELEASE_INVARIANT", f"could not be evaluated: {type(error).__name__}") from error
    return sorted(statements)
