"""What a process of the sidecar needs of the active release, made once and swapped as one (no half of each)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from contracts.release import VerifiedRelease
from contracts.release.staleness import FRESH
from sidecar.attestation import Attestor, RevocationView
from sidecar.intake.governed import Governed
from sidecar.policy.engine import WasmEngine


class ActiveRelease:
    """What the writer needs of the active release, made once per release and swapped as one (no half of each)."""

    def __init__(self, release: VerifiedRelease) -> None:
        self.release = release
        self.attestor = Attestor(release.environment_data, release.manifest, environment=release.environment)
        self.governed = Governed(release.environment_data)
        self.settings: dict[str, Any] = release.manifest["sidecar"]
        self.revocations = RevocationView.of(release.revocations, release.fetched_at)
        self.standing = FRESH
        self.engine = WasmEngine(release.policy_wasm, {"environment": release.environment_data})

    def renewed(self, release: VerifiedRelease) -> None:
        """Take a renewed lease and revocation list of the same release."""
        self.release = release
        self.revocations = RevocationView.of(release.revocations, release.fetched_at)

    def lease_until(self, expires_at: datetime, fetched_at: datetime, release_expires_at: datetime | None = None) -> None:
        """Take the writer's word for the lease, and for the end of the release (an acceptor does not fetch)."""
        ends = release_expires_at or self.release.expires_at
        self.release = replace(self.release, lease_expires_at=expires_at, fetched_at=fetched_at, expires_at=ends)
