"""Local configuration of a ledger: addresses, paths and stricter limits only (design section 12), and every bound.

What loosens (keys, audience, clock skew, agents, currencies) is in the signed release; an unknown field is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.runtime_invariants import RUNTIME_CHECK_INTERVAL_S, interval_of

BODY_BYTES_MAX = 16 * 1024
HEADER_BYTES_MAX = 16 * 1024
BATCH_SIZE_MAX = 128
"""Items in one commit; the point of a posting batch has no flush time: a free worker takes what waits."""
BATCH_WORKERS = 2
QUEUE_MAX = 2048
"""Requests that wait for a commit; beyond it the answer is OVERLOADED, at once."""
CONNECTIONS_MAX = 2 * BATCH_WORKERS + 2
REQUEST_TIMEOUT_S = 8.0
"""A request older than this is answered, whatever the store does."""
ACQUIRE_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 3
TRANSACTION_TIMEOUT_MS = 3000
"""After this PostgreSQL itself ends a transaction; the client gives up ``CLIENT_MARGIN_S`` later."""
CLIENT_MARGIN_S = 1.0
PAGE_SIZE = 500
REFUSALS_SINGLY_PER_S = 50
"""Refusals a second that are recorded as a row each; the others of that second are counted by reason code."""
REFUSAL_WRITE_S = 1.0
"""How long a refusal waits for its record; after it the answer goes out, and the record is counted instead."""
GRACE_S = 60
"""How long permits under the release before the active one are taken."""
FETCH_INTERVAL_MIN_S = 0.2
"""However many permits name a newer release, it is fetched no more often than this."""
REPORT_INTERVAL_S = 5.0
"""How often the ledger's status is told while nothing changes."""


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """Where releases come from: the control plane's URL, our TLS files for it, the pinned root, our folder."""

    url: str
    ca: Path
    certificate: Path
    key: Path
    root: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Config:
    """``clients``: SHA-256 of the certificates that may connect at all; absent means every one of ``ca``."""

    host: str
    port: int
    certificate: Path
    key: Path
    ca: Path
    database_url: str = field(repr=False)
    environment: str
    release: ReleaseSource
    service: str = "core-ledger"
    release_poll_ms: int = 1000
    clients: tuple[str, ...] | None = None
    minimum_release: int = 1
    runtime_check_interval_s: float = RUNTIME_CHECK_INTERVAL_S


def load(path: Path) -> Config:
    """Read the file; a relative path is from its folder. ``CannotEvaluate CONFIGURATION`` names what is wrong."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return _config(document, path.parent)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error


def _config(document: dict[str, Any], folder: Path) -> Config:
    values = _known(document, Config)
    source = _known(values["release"], ReleaseSource)
    release = ReleaseSource(
        url=_text(source, "url"), **{name: folder / _text(source, name) for name in source if name != "url"}
    )
    for name in ("certificate", "key", "ca"):
        values[name] = folder / _text(values, name)
    if values.get("clients") is not None:
        values["clients"] = tuple(str(item).lower() for item in values["clients"])
    config = Config(**{**values, "release": release})
    if config.environment not in {"sandbox", "staging", "production"}:
        raise ValueError(f"environment {config.environment!r}")
    if not 0 <= config.port <= 65535 or not 50 <= config.release_poll_ms <= 60_000:
        raise ValueError("port is 0 to 65535, release_poll_ms 50 to 60000")
    interval_of(config.runtime_check_interval_s)
    return config


def _known(document: Any, kind: type) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError(f"{kind.__name__} is an object")
    unknown = set(document) - {item.name for item in fields(kind)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    return dict(document)


def _text(values: dict[str, Any], name: str) -> str:
    if not isinstance(values[name], str):
        raise TypeError(f"{name} is text")
    return str(values[name])
