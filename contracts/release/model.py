"""What release verification gives back, and what it is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate, NotTrusted

FIXED_TARGETS = (
    "policy.wasm", "policy.tar.gz", "invariants.json", "environment.json", "release.json", "gate.json",
)  # fmt: skip
"""Targets that every release has, besides ``services/<name>.json`` and ``schemas/<rail>/<version>.xsd``."""

GATED_TARGETS = ("policy.wasm", "policy.tar.gz", "invariants.json")
"""What the gate's result and the provenance are about: the same bytes in every environment."""

FIELD = "x-symphony"
"""The unrecognized field of TUF metadata that carries what is ours; it is signed with the rest."""


@dataclass(frozen=True, slots=True)
class PinnedRoot:
    """A service's enrolment: the root that it trusts and the lowest number that its first release may have."""

    root: bytes
    minimum_number: int = 1

    @classmethod
    def from_file(cls, path: Path, minimum_number: int = 1) -> PinnedRoot:
        """Read the pinned ``root.json``. Raises ``CannotEvaluate CONFIGURATION``."""
        try:
            return cls(path.read_bytes(), minimum_number)
        except OSError as error:
            raise CannotEvaluate("CONFIGURATION", f"no pinned root at {path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a release's role."""

    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class Role:
    """A release's role file whose signatures and shape hold. ``targets`` by path relative to ``<env>/<N>/``."""

    environment: str
    number: int
    digest: str
    expires_at: datetime
    not_before: datetime
    activate_before: datetime
    proposer_key_id: str
    approver_key_ids: tuple[str, ...]
    targets: Mapping[str, Target]


@dataclass(frozen=True, slots=True)
class Revocations:
    """A revocation list whose signature and shape hold."""

    version: int
    expires_at: datetime
    entries: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Emergency:
    """The emergency release that stands over a release until ``ends_at`` (``contracts.release.emergency``).

    ``policy_digest_under``: the policy of the release under it, which comes back.
    """

    number: int
    metadata_digest: str
    opening_sha256: str
    opened_at: datetime
    ends_at: datetime
    policy_digest_under: str


@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """A release that holds by every rule of ``contracts.release.rules``.

    ``metadata_digest``: SHA-256 (hex) of the canonical *signed part* of the role file, which a re-encoding or another
    set of signatures does not change. ``expires_at``: when root, targets or role run out, whichever is first.
    ``fetched_at``: when the timestamp that vouches for this state was last confirmed by the repository;
    ``officers``: key id to public key (hex) of the environment's role, as the custodians said last (renewed with the lease).
    ``lease_expires_at``: when that timestamp runs out. ``schemas``: ``"iso20022/pacs.008.001.08"`` to XSD bytes.
    """

    environment: str
    number: int
    metadata_digest: str
    policy_digest: str
    expires_at: datetime
    fetched_at: datetime
    lease_expires_at: datetime
    environment_data: dict[str, Any]
    manifest: dict[str, Any]
    policy_wasm: bytes
    policy_bundle: bytes
    invariants: dict[str, Any]
    schemas: Mapping[str, bytes]
    proposal: Mapping[str, Any]
    approver_key_ids: tuple[str, ...]
    revocations: list[dict[str, Any]]
    revocations_version: int
    officers: Mapping[str, str] = field(default_factory=dict)
    emergency: Emergency | None = None
    decide_again: bool = False
    """An emergency release stands over it, or has stood: what was decided is decided again before its permit."""

    @property
    def in_force(self) -> tuple[int, int]:
        """What tells one state of policy and caps from the next: the number, and that of the emergency over it (0: none)."""
        return self.number, self.emergency.number if self.emergency else 0

    def check_live(self, now: datetime) -> None:
        """Raise ``NotTrusted RELEASE_EXPIRED`` when the release or the lease on it has run out, ``EMERGENCY_OVER`` when the
        emergency over it has.

        What a service still does in the first two cases is its manifest's to say: ``contracts.release.staleness``.
        """
        if now >= self.expires_at:
            raise NotTrusted("RELEASE_EXPIRED", f"release {self.number} ran out at {self.expires_at.isoformat()}")
        if now >= self.lease_expires_at:
            raise NotTrusted("RELEASE_EXPIRED", f"the timestamp ran out at {self.lease_expires_at.isoformat()}")
        if self.emergency is not None and now >= self.emergency.ends_at:
            raise NotTrusted("EMERGENCY_OVER", f"emergency {self.emergency.number} ended {self.emergency.ends_at.isoformat()}")
