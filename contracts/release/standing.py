"""Which current roles would no longer stand under a change of the custodians' word (issue 5, key change).

Rules: a release in force needs its proposer and the threshold of approvals among the officers that are named, its gate result a
gate key, its bundle the build key; a revocation list needs its security officer; an environment with a current role must stay
delegated. Only what the change breaks is named:
what did not stand before is not its fault. Pure; expiry is not asked for here (a change of keys may be what mends it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from contracts import opa_bundle
from contracts.errors import NotTrusted
from contracts.release import rules
from contracts.release.contents import verify_gate
from contracts.release.trust import Trust, unsigned_trust_of

SIGNED_TARGETS = ("gate.json", "policy.tar.gz")
"""The targets of a release whose own signatures hang on keys that the custodians name."""


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
    renewed: Mapping[str, bytes] | None = None, files: Mapping[str, Mapping[str, bytes]] | None = None,
) -> list[Broken]:  # fmt: skip
    """The roles that stand under ``before`` and would not under ``after``; ``current`` and ``renewed`` are role files by name.

    ``renewed`` are published with the change and take the place of the current ones; each of them must stand. ``files``: a
    release's ``SIGNED_TARGETS`` by role; without them gate result and bundle are not asked for.
    """
    out = []
    for name, data in {**current, **(renewed or {})}.items():
        signed = (files or {}).get(name, {})
        found = _broken(*after, name, data, signed)
        stood = name in (renewed or {}) or before is None or _broken(*before, name, data, signed) is None
        if found is not None and stood:
            out.append(found)
    return out


def is_standing(name: str) -> bool:
    """Whether a role's file must go on to stand under the custodians' word: every delegated role's but an emergency's, which ends
    where it does not (ADR 0013)."""
    return name not in {"root", "targets", "snapshot", "timestamp"} and not name.endswith("-emergency")


def _broken(root: Root, targets: Targets, name: str, data: bytes, files: Mapping[str, bytes]) -> Broken | None:
    environment = name.partition("-")[0]
    try:
        trust = unsigned_trust_of(root, targets, environment)
        _verify(trust, name, data, files)
    except NotTrusted as error:
        return Broken(name, error.code, error.detail or error.reason.meaning)
    return None


def _verify(trust: Trust, name: str, data: bytes, files: Mapping[str, bytes]) -> None:
    environment, _, kind = name.partition("-")
    if kind == "revocations":
        rules.verify_revocations(trust, data, environment)
    elif kind:
        metadata: Metadata[Targets] = Metadata.from_bytes(data)
        try:
            trust.targets.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
        except (RepositoryError, ValueError) as error:
            raise NotTrusted("RELEASE_SIGNATURE", str(error)) from error
    else:
        role = rules.verify_role(trust, data, environment)
        if "gate.json" in files:
            verify_gate(trust, role, files["gate.json"])
        if "policy.tar.gz" in files:
            opa_bundle.verify(files["policy.tar.gz"], trust.build_key_pem, trust.build_key_id)
