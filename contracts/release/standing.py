"""Which current roles would no longer stand under a change of the custodians' word (issue 5, key change).

Rules: a release in force needs its proposer and the threshold of approvals among the officers that are named; a revocation
list needs its security officer; an environment with a current role must stay delegated. Only what the change breaks is named:
what did not stand before is not its fault. Pure; expiry is not asked for here (a change of keys may be what mends it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from contracts.errors import NotTrusted
from contracts.release import rules
from contracts.release.trust import Trust, unsigned_trust_of


@dataclass(frozen=True, slots=True)
class Broken:
    """One current role that would not stand: its name, the reason code, and why in words."""

    role: str
    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.role}: {self.detail} ({self.code})"


def broken_by(
    before: tuple[Root, Targets] | None, after: tuple[Root, Targets], current: Mapping[str, bytes],
    renewed: Mapping[str, bytes] | None = None,
) -> list[Broken]:  # fmt: skip
    """The roles that stand under ``before`` and would not under ``after``; ``current`` and ``renewed`` are role files by name.

    ``renewed`` are published with the change and take the place of the current ones; each of them must stand.
    """
    out = []
    for name, data in {**current, **(renewed or {})}.items():
        found = _broken(*after, name, data)
        stood = name in (renewed or {}) or before is None or _broken(*before, name, data) is None
        if found is not None and stood:
            out.append(found)
    return out


def is_standing(name: str) -> bool:
    """Whether a role's file hangs on the custodians' word: every delegated role's does."""
    return name not in {"root", "targets", "snapshot", "timestamp"}


def _broken(root: Root, targets: Targets, name: str, data: bytes) -> Broken | None:
    environment, _, kind = name.partition("-")
    try:
        trust = unsigned_trust_of(root, targets, environment)
        _verify(trust, name, data, environment, kind)
    except NotTrusted as error:
        return Broken(name, error.code, error.detail or error.reason.meaning)
    return None


def _verify(trust: Trust, name: str, data: bytes, environment: str, kind: str) -> None:
    if kind == "revocations":
        rules.verify_revocations(trust, data, environment)
    elif kind:
        metadata: Metadata[Targets] = Metadata.from_bytes(data)
        try:
            trust.targets.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
        except (RepositoryError, ValueError) as error:
            raise NotTrusted("RELEASE_SIGNATURE", str(error)) from error
    else:
        rules.verify_role(trust, data, environment)
