"""The invariants that are compiled into the sidecar, by id: of its own database, its keys and its active release.

A release carries parameters, never code to run (design section 4). The database is asked as the process's own login,
which can see its rights but not change them (``queries.sql``). They are asked before a release activates (rule 15), at
start, and every few minutes (``contracts.runtime_invariants``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.keys import key_id_of, load_private_key
from contracts.named_sql import queries
from contracts.runtime_invariants import (
    KEY_INVARIANTS,
    KEY_NAMED,
    Finding,
    ask,
    certificates_are_current,
    demand,
    key_files_are_private,
)
from contracts.times import Clock
from sidecar.active import ActiveRelease
from sidecar.config import AcceptorConfig, ShipperConfig, WriterConfig
from sidecar.store.store import EXECUTOR

SHIPPER, SCHEMA = "symphony_shipper", "symphony"
RETRY_CEILING_MAX = 1000
"""INV-015: a retry ceiling above this is no ceiling."""
SEVERITIES: Mapping[str, str] = {
    "INV-005": "P0", "INV-006": "P0", "INV-007": "P0", "INV-008": "P0", "INV-009": "P1", "INV-010": "P0", "INV-011": "P0",
    "INV-013": "P0", "INV-014": "P0", "INV-021": "P0", "INV-022": "P0", "INV-023": "P0", "INV-024": "P0",
    "I-OUTBOX-01": "P0", "I-OUTBOX-02": "P0",
}  # fmt: skip
"""Of the database: one statement each."""
RELEASE_SEVERITIES: Mapping[str, str] = {"INV-015": "P0"}
REGISTRY: Mapping[str, str] = {**SEVERITIES, **RELEASE_SEVERITIES, **KEY_INVARIANTS}
"""Everything that this side asks, by id, with the severity that the manifest gives it."""


def check(database_url: str) -> list[str]:
    """The ids that hold in the database. Raises ``NotTrusted RELEASE_INVARIANT`` naming those that do not (P0)."""
    found = ask(database_url, queries("sidecar"), SEVERITIES, role=EXECUTOR, schema=SCHEMA)
    demand(found, severities=("P0",))
    return sorted(one.id for one in found if one.holds)


def of_writer(config: WriterConfig, clock: Clock, active: ActiveRelease | None) -> list[Finding]:
    """Everything that the writer asks: its database, its permit key and TLS files, its release's retry ceiling."""
    found = ask(config.database_url, queries("sidecar"), SEVERITIES, role=EXECUTOR, schema=SCHEMA)
    found.append(key_files_are_private(_files(config.permit_key, config.release.key)))
    found.append(certificates_are_current(_files(config.release.certificate), clock.now()))
    if active is not None:
        found += [_permit_key_named(config, active), retries_are_finite(active.settings)]
    return found


def of_acceptor(config: AcceptorConfig, clock: Clock) -> list[Finding]:
    """Everything that the acceptor asks: it has TLS files only."""
    files, certificates = _files(config.key), _files(config.certificate)
    return [key_files_are_private(files), certificates_are_current(certificates, clock.now())]


def of_shipper(config: ShipperConfig, clock: Clock) -> list[Finding]:
    """Everything that the shipper asks: its login's database, its evidence key and TLS files."""
    found = ask(config.database_url, queries("sidecar"), SEVERITIES, role=SHIPPER, schema=SCHEMA)
    found.append(key_files_are_private(_files(config.evidence_key, config.key)))
    found.append(certificates_are_current(_files(config.certificate), clock.now()))
    return found


def retries_are_finite(settings: Mapping[str, Any]) -> Finding:
    """INV-015: the active manifest's retry ceiling is a number in its bounds."""
    ceiling = settings["retry"]["attempts_max"]
    finite = isinstance(ceiling, int) and 1 <= ceiling <= RETRY_CEILING_MAX
    wrong = () if finite else (f"retry.attempts_max is {ceiling!r}, not 1 to {RETRY_CEILING_MAX}",)
    return Finding("INV-015", RELEASE_SEVERITIES["INV-015"], wrong)


def _permit_key_named(config: WriterConfig, active: ActiveRelease) -> Finding:
    mine = key_id_of(load_private_key(Path(config.permit_key)))
    named = any(key["key_id"] == mine for key in active.release.environment_data["permit_keys"])
    wrong = () if named else (f"release {active.release.number} does not name the permit key of {config.permit_key}",)
    return Finding(KEY_NAMED, KEY_INVARIANTS[KEY_NAMED], wrong)


def _files(*paths: str) -> list[Path]:
    return [Path(path) for path in paths if path]
