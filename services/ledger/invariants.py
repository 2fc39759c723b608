"""The invariants that are compiled into the ledger, by id: of its own database and its TLS files.

A release carries parameters, never code to run (design section 4). They are asked before a release activates, at start,
and every few minutes (``contracts.runtime_invariants``). INV-029 is the ledger's append-only rule: every table.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.named_sql import parse
from contracts.runtime_invariants import (
    KEY_INVARIANTS,
    Finding,
    ask,
    certificates_are_current,
    demand,
    key_files_are_private,
)
from contracts.times import Clock
from services.ledger.config import Config
from services.ledger.store import text

SEVERITIES: Mapping[str, str] = {
    "INV-005": "P0", "INV-006": "P0", "INV-007": "P0", "INV-008": "P0", "INV-009": "P1", "INV-010": "P0", "INV-029": "P0",
}  # fmt: skip
KEY_SEVERITIES = {name: severity for name, severity in KEY_INVARIANTS.items() if name != "I-KEY-02"}
REGISTRY: Mapping[str, str] = {**SEVERITIES, **KEY_SEVERITIES}
"""Everything that this side asks, by id, with the severity that the manifest gives it. The ledger signs nothing."""


def of_database(database_url: str) -> list[Finding]:
    """What is found in the database. ``CannotEvaluate RELEASE_INVARIANT`` when it cannot be asked."""
    return ask(database_url, parse(text("invariants"), "the ledger"), SEVERITIES, role="symphony_ledger", schema="ledger")


def check(database_url: str) -> list[str]:
    """The ids that hold in the database. ``NotTrusted RELEASE_INVARIANT`` names those that do not (P0)."""
    found = of_database(database_url)
    demand(found, severities=("P0",))
    return sorted(one.id for one in found if one.holds)


def of_ledger(settings: Config, clock: Clock) -> list[Finding]:
    """Everything that the ledger asks."""
    release = settings.release
    return [
        *of_database(settings.database_url),
        key_files_are_private({settings.key, release.key}),
        certificates_are_current({settings.certificate, release.certificate}, clock.now()),
    ]
