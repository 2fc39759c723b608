"""Local configuration of the sidecar's processes: addresses, paths and credentials only (design section 12).

What governs (identity, caps, bounds, keys) is in the signed release; an unknown field is a refusal to start. Profiles
other than a sandbox are not built yet and say so: outside it nothing starts without the key provider of design 13.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from contracts.errors import CannotEvaluate
from contracts.runtime_invariants import RUNTIME_CHECK_INTERVAL_S, interval_of

CONFIG_BYTES_MAX = 64 * 1024


class ReleaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where releases come from and are held. ``url`` ends in the TUF path; TLS files are this process's own."""

    url: str
    ca: str
    certificate: str
    key: str
    root: str
    folder: str
    poll_ms: int = 1000
    minimum_number: int = 1


class WriterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The writer: its database login, its sockets, the sidecar's permit key."""

    environment: str
    service: str
    instance: str
    stream: str
    database_url: str
    socket: str
    adapter_socket: str
    permit_key: str
    release: ReleaseConfig
    fleet_url: str | None = None
    failpoints: str | None = None
    runtime_check_interval_s: float = RUNTIME_CHECK_INTERVAL_S


class AcceptorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The acceptor: no database login, no permit key. ``admin_port``: health and metrics on loopback."""

    environment: str
    service: str
    host: str
    port: int
    certificate: str
    key: str
    writer_socket: str
    adapter_socket: str
    release_root: str
    release_folder: str
    runtime_check_interval_s: float = RUNTIME_CHECK_INTERVAL_S


class ShipperConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shipper: its own login and the evidence signing key."""

    environment: str
    service: str
    stream: str
    database_url: str
    evidence_key: str
    control_plane_url: str
    ca: str
    certificate: str
    key: str
    batch_size_max: int = 500
    heartbeat_s: int = 5
    failpoints: str | None = None
    runtime_check_interval_s: float = RUNTIME_CHECK_INTERVAL_S


Config = TypeVar("Config", WriterConfig, AcceptorConfig, ShipperConfig)


def load(path: Path, kind: type[Config]) -> Config:
    """Read a configuration. Raises ``CannotEvaluate CONFIGURATION`` with the field at fault."""
    try:
        data = path.read_bytes()
        if len(data) > CONFIG_BYTES_MAX:
            raise ValueError(f"over {CONFIG_BYTES_MAX} bytes")
        config = msgspec.json.decode(data, type=kind)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error
    interval_of(config.runtime_check_interval_s)
    if config.environment != "sandbox":
        raise CannotEvaluate(
            "CONFIGURATION", f"{config.environment}: keys from files are for the sandbox only, and no other provider is built"
        )
    return config
