"""What a manifest holds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import Refused
from symphony.invariants.databases import Database
from symphony.invariants.exceptions import Exemption

PILLARS = ("immutability", "least-privilege", "transactional-integrity", "operational-safety")


@dataclass(frozen=True, slots=True)
class Invariant:
    """One entry. ``verified_by`` is empty for what is on the roadmap.

    The catalogue's ``verification`` is three fields of ours: its scripts and gates are ``verified_by`` (one line a hook, each
    named by what runs it), its required evidence is ``required_evidence``: what a reader of a proof must find beside it;
    ``evidence`` is the proof file that the tool itself writes.
    """

    id: str
    pillar: str
    status: str
    severity: str
    title: str
    owners: tuple[str, ...]
    sla_days: int
    aliases: tuple[str, ...] = ()
    enforced_by: tuple[str, ...] = ()
    verified_by: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    definition: str = ""
    scope: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    required_evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All invariants and exceptions of a repository, and its folder.

    ``databases``: what its invariants look at, none for Symphony's own three; ``structural``: globs of what changes only
    together with an invariant or an exception; ``files``: the manifest and what it includes.
    """

    folder: Path
    invariants: tuple[Invariant, ...]
    exceptions: tuple[Exemption, ...] = ()
    databases: Mapping[str, Database] = field(default_factory=dict)
    structural: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def root(self) -> Path:
        """The repository, or what an installed wheel has in its place."""
        return self.folder.parent

    @property
    def implemented(self) -> tuple[Invariant, ...]:
        """Those whose checks run."""
        return tuple(one for one in self.invariants if one.status == "implemented")

    def get(self, identifier: str) -> Invariant:
        """By id or alias. Raises ``Refused NOT_FOUND``."""
        for one in self.invariants:
            if identifier in (one.id, *one.aliases):
                return one
        raise Refused("NOT_FOUND", f"no invariant {identifier}", next_step="symphony invariants list")

    def of_pillar(self, pillar: str) -> tuple[Invariant, ...]:
        """Those of one of ``PILLARS``, in the manifest's order."""
        return tuple(one for one in self.invariants if one.pillar == pillar)
