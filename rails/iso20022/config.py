"""The adapter's local configuration: addresses, paths, credentials and a stricter limit only (design section 12)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contracts.errors import CannotEvaluate
from rails.iso20022.limits import CONNECTIONS_MAX


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``{"socket", "ledger_url", "ca", "certificate", "key"}`` and optionally fewer ``connections_max``."""

    socket: str
    ledger_url: str
    ca: str
    certificate: str
    key: str
    connections_max: int = CONNECTIONS_MAX


def load(path: Path) -> Config:
    """Read and check. Raises ``CannotEvaluate CONFIGURATION``."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error
    if not 1 <= config.connections_max <= CONNECTIONS_MAX:
        raise CannotEvaluate("CONFIGURATION", f"{path}: connections_max is 1 to {CONNECTIONS_MAX}")
    return config
