"""The invariants that are compiled into the control plane, by id: of its own database, and of its online keys.

Asked at start and every few minutes (``contracts.runtime_invariants``), as its own login under its role. I-KEY-02: the
newest published root names this server's snapshot and timestamp keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from tuf.api.metadata import Root

from contracts.errors import CannotEvaluate
from contracts.keys import key_id_of, load_private_key
from contracts.release.trust import parse
from contracts.runtime_invariants import (
    KEY_INVARIANTS,
    KEY_NAMED,
    Finding,
    ask,
    certificates_are_current,
    connected,
    key_files_are_private,
)
from contracts.times import Clock
from controlplane.store import queries
from controlplane.store.database import WRITER

SEVERITIES: Mapping[str, str] = {
    "INV-005": "P0", "INV-006": "P0", "INV-007": "P0", "INV-008": "P0", "INV-009": "P1", "INV-010": "P0",
    "INV-016": "P0", "INV-017": "P0", "INV-018": "P0", "INV-029": "P0",
}  # fmt: skip
REGISTRY: Mapping[str, str] = {**SEVERITIES, **KEY_INVARIANTS}
"""Everything that this side asks, by id, with the severity that the manifest gives it."""
ONLINE_ROLES = ("snapshot", "timestamp")
_SQL = queries("controlplane.invariants")


def of_controlplane(config: Mapping[str, Any], clock: Clock) -> list[Finding]:
    """Everything that the control plane asks, by its local configuration."""
    url, keys = config["database_url"], Path(config["keys"])
    found = ask(url, _SQL, SEVERITIES, role=WRITER, schema="symphony")
    more_than_one, root = _in_rows(url)
    found = [replace(one, wrong=one.wrong + more_than_one) if one.id == "INV-018" else one for one in found]
    files = [keys / f"{role}.pem" for role in (*ONLINE_ROLES, "log")]
    found.append(key_files_are_private([*files, Path(config["key"])]))
    found.append(certificates_are_current([Path(config["certificate"])], clock.now()))
    found.append(_named(keys, root))
    return found


def _in_rows(url: str) -> tuple[tuple[str, ...], bytes | None]:
    """Environments with more than one active release, and the newest root, if one is published."""
    try:
        with connected(url, WRITER) as connection:
            rows = connection.execute(_SQL["active_rows"]).fetchall()
            root = connection.execute(_SQL["newest_root"]).fetchone()
    except psycopg.Error as error:
        detail = f"the database does not answer, so they could not be evaluated: {type(error).__name__}"
        raise CannotEvaluate("RELEASE_INVARIANT", detail) from error
    return tuple(str(text) for (text,) in rows), None if root is None else bytes(root[0])


def _named(keys: Path, root: bytes | None) -> Finding:
    wrong: tuple[str, ...] = ()
    if root is not None:  # before the first publication there is nothing that could name them
        roles = parse(root, Root).signed.roles
        wrong = tuple(
            f"the published root does not name {keys / f'{role}.pem'}"
            for role in ONLINE_ROLES
            if key_id_of(load_private_key(keys / f"{role}.pem")) not in roles[role].keyids
        )
    return Finding(KEY_NAMED, KEY_INVARIANTS[KEY_NAMED], wrong)
