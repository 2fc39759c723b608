"""What one verified release permits the ledger, worked out once when it activates.

Rules:

* a permit key is one that the release lists and no revocation in force names;
* an agent has a settlement account when the release lists it, or admits any agent, which only ``sandbox`` may;
* a currency is one that the release lists as money;
* while the release is old (``contracts.release.staleness``) a payment is at most what its schedule leaves of the highest cap of
  a participant that speaks for the debit agent: a posting names no participant. The sidecar's own caps are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.caps import ANY, cap_of
from contracts.release import VerifiedRelease
from contracts.release.staleness import Standing, stops_at
from contracts.times import parse_rfc3339


@dataclass(frozen=True, slots=True)
class Terms:
    """A release as the hot path needs it. ``keys``: key id → public key and sidecar, as ``contracts.permit`` wants.

    ``live_until``: when the schedule of the release or of the lease on it (the timestamp's expiry) ends, whichever is first, or
    the emergency over it; ``data``: the environment's. ``under``: of the same release alone, in force from ``ends_at`` of the
    emergency over it.
    """

    environment: str
    number: int
    metadata_digest: str
    policy_digest: str
    live_until: datetime
    audience: str
    skew_s: int
    keys: Mapping[str, Mapping[str, str]]
    agents: frozenset[str]
    any_agent: bool
    currencies: frozenset[str]
    data: Mapping[str, Any]
    in_force: tuple[int, int]
    ends_at: datetime | None = None
    under: Terms | None = None

    def admits(self, debit_agent: str, credit_agent: str, currency: str) -> bool:
        """Whether both settlement accounts may be opened."""
        listed = self.any_agent or (debit_agent in self.agents and credit_agent in self.agents)
        return listed and currency in self.currencies

    def payment_max(self, standing: Standing, debit_agent: str, currency: str) -> int | None:
        """The most that a payment may be while the release is old; ``None`` for no bound of ours."""
        if not standing.tightens:
            return None
        data = dict(self.data)
        speakers = [one for one in data["participants"] if {debit_agent, ANY}.intersection(one["agents"])]
        caps = [cap for one in speakers or [{}] if (cap := cap_of(data, one, currency)) is not None]
        return max((standing.lower(currency, cap)["payment_minor_max"] for cap in caps), default=0)


def terms_of(release: VerifiedRelease) -> Terms:
    """The terms of a verified release."""
    data, emergency = release.environment_data, release.emergency
    alone = Terms(
        environment=release.environment,
        number=release.number,
        metadata_digest=release.metadata_digest,
        policy_digest=release.policy_digest,
        live_until=stops_at(release),
        audience=release.manifest["audience"],
        skew_s=release.manifest["clock_skew_s"],
        keys={entry["key_id"]: entry for entry in data["permit_keys"]},
        agents=frozenset(data["agents"]),
        any_agent=bool(data["wildcards"]["agents"]) and release.environment == "sandbox",
        currencies=frozenset(code for code, entry in data["currencies"].items() if entry["money"]),
        data=data,
        in_force=release.in_force,
    )
    if emergency is None:
        return alone
    under = replace(alone, policy_digest=emergency.policy_digest_under, in_force=(release.number, 0))
    ends_at = emergency.ends_at
    return replace(alone, live_until=min(alone.live_until, ends_at), ends_at=ends_at, under=under)


class Revoked:
    """The revocations of the newest list, by kind."""

    def __init__(self, entries: Iterable[Mapping[str, Any]] = ()) -> None:
        self._until: dict[tuple[str, str], datetime | None] = {}
        for entry in entries:
            until = entry.get("until")
            self._until[entry["kind"], entry["id"]] = parse_rfc3339(until) if until is not None else None

    def holds(self, kind: str, item: str, now: datetime) -> bool:
        """Whether a revocation of this thing is in force."""
        if (kind, item) not in self._until:
            return False
        until = self._until[kind, item]
        return until is None or now < until
