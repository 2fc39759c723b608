"""Durable revocations as a frozen view with an age (ATT-02 step 2, design section 4).

Rules:

* an entry holds from the moment that it is listed (``revoked_at`` is a record, not a delay) until its own end;
* two entries for one id: the later end holds, no end wins;
* a view older than the manifest's bound, without a time, or of the future, answers nothing: ``REVOCATIONS_STALE``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import Refused
from contracts.times import parse_rfc3339

_NEVER_ENDS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RevocationView:
    """A snapshot of the revocation table. ``as_of`` is the time of the TUF timestamp that vouches for it."""

    entries: tuple[Mapping[str, Any], ...]
    as_of: datetime | None
    _ends: dict[tuple[str, str], datetime] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index by (kind, id). ``ValueError`` or ``KeyError`` for an entry of another shape."""
        ends: dict[tuple[str, str], datetime] = {}
        for entry in self.entries:
            end = _NEVER_ENDS if entry["until"] is None else parse_rfc3339(entry["until"])
            key = (entry["kind"], entry["id"])
            ends[key] = max(end, ends.get(key, end))
        object.__setattr__(self, "_ends", ends)

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]], as_of: datetime | None) -> RevocationView:
        """A view over the entries of ``VerifiedRelease.revocations`` or of the sidecar's own table."""
        return cls(tuple(entries), as_of)

    def is_revoked(self, kind: str, id_: str, at: datetime) -> bool:
        """Whether the id is revoked at that time."""
        end = self._ends.get((kind, id_))
        return end is not None and at < end

    def demand_fresh(self, now: datetime, *, age_s_max: int, skew_s: int) -> None:
        """Raise ``Refused REVOCATIONS_STALE`` unless the view is of the last ``age_s_max`` seconds."""
        if self.as_of is None:
            raise Refused("REVOCATIONS_STALE", "no revocation data yet")
        age = now - self.as_of
        if age > timedelta(seconds=age_s_max) or age < -timedelta(seconds=skew_s):
            raise Refused("REVOCATIONS_STALE", f"revocation data is {age.total_seconds():.0f} s old")
