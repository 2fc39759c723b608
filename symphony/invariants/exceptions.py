"""Exceptions of a manifest: a named owner lets an invariant be broken, for a reason and until a day.

An exception never turns red into green. While it is in force a FAIL is ``EXCEPTED``, with its findings; an ERROR stays an
ERROR. The day after ``expires`` the invariant FAILs, also when its check passes. One with ``paths`` excuses changes to those
paths in the structural gate and no failing check. Pure: the day comes from outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.errors import Refused
from symphony.invariants.plain import plain

EXCEPTION_DAYS_MAX = 90
"""From ``granted`` to ``expires``: an exception is timeboxed."""

IN_FORCE, NOT_NEEDED, NOT_JUDGED = "in force", "not needed", "not judged"
NOT_BEGUN, EXPIRED, FOR_CHANGES = "not begun", "expired", "for changes"


@dataclass(frozen=True, slots=True)
class Exemption:
    """One entry of ``exceptions``. ``invariant`` is an id, never an alias; ``expires`` is the last day it is in force."""

    invariant: str
    owner: str
    reason: str
    ticket: str
    compensating_control: str
    granted: date
    expires: date
    paths: tuple[str, ...] = ()

    def has_expired(self, today: date) -> bool:
        """From the day after ``expires``."""
        return today > self.expires

    def excuses_a_failure(self, today: date) -> bool:
        """In force today, and not only for changes to some paths."""
        return not self.paths and self.granted <= today <= self.expires

    def covers_changes(self, today: date) -> bool:
        """In force today, for changes to its paths."""
        return bool(self.paths) and self.granted <= today <= self.expires


@dataclass(frozen=True, slots=True)
class Judged:
    """An exception, and what it came to in one run."""

    exemption: Exemption
    state: str

    def document(self) -> dict[str, Any]:
        """As reports, proofs and the index carry it."""
        one = self.exemption
        return {
            "invariant": one.invariant, "state": self.state, "owner": one.owner, "reason": one.reason, "ticket": one.ticket,
            "compensating_control": one.compensating_control, "granted": one.granted.isoformat(),
            "expires": one.expires.isoformat(), "paths": list(one.paths),
        }  # fmt: skip

    def line(self) -> str:
        """One line of text."""
        one = self.exemption
        return plain(
            f"exception {one.invariant} ({self.state}): {one.reason}; owner {one.owner}, ticket {one.ticket}, "
            f"instead {one.compensating_control}, until {one.expires.isoformat()}"
            + (f", paths {', '.join(one.paths)}" if one.paths else "")
        )


def read(entry: dict[str, Any]) -> Exemption:
    """An entry that fits the schema. Raises ``Refused RELEASE_INVARIANT`` for days that cannot be, or too many of them."""
    name = entry["invariant"]
    try:
        granted, expires = date.fromisoformat(entry["granted"]), date.fromisoformat(entry["expires"])
    except ValueError as error:
        raise Refused("RELEASE_INVARIANT", f"exception for {name}: {error}") from error
    if not granted <= expires <= granted + timedelta(days=EXCEPTION_DAYS_MAX):
        raise Refused(
            "RELEASE_INVARIANT",
            f"exception for {name}: expires {expires} is not within {EXCEPTION_DAYS_MAX} days after granted {granted}",
        )
    fields = {**entry, "granted": granted, "expires": expires, "paths": tuple(entry.get("paths", ()))}
    return Exemption(**fields)


def today_of(moment: datetime) -> date:
    """The day in UTC."""
    return moment.astimezone(UTC).date()


def expired_details(identifier: str, exemptions: Iterable[Exemption], today: date) -> tuple[str, ...]:
    """A finding for each exception of an invariant that has run out."""
    return tuple(
        f"exception expired on {one.expires.isoformat()}: {one.ticket}, owner {one.owner}; renew it or remove it"
        for one in exemptions
        if one.invariant == identifier and one.has_expired(today)
    )


def excuse(identifier: str, exemptions: Iterable[Exemption], today: date) -> Exemption | None:
    """The exception that excuses a failing check of an invariant today."""
    found = [one for one in exemptions if one.invariant == identifier and one.excuses_a_failure(today)]
    return found[0] if found else None


def state_of(one: Exemption, passed: bool | None, today: date) -> str:
    """What an exception comes to. ``passed``: whether its invariant's checks found nothing; ``None``: nobody could tell."""
    if one.has_expired(today):
        return EXPIRED
    if today < one.granted:
        return NOT_BEGUN
    if one.paths:
        return FOR_CHANGES
    if passed is None:
        return NOT_JUDGED
    return NOT_NEEDED if passed else IN_FORCE
