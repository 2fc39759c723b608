"""How far a release has come: what each known service instance says of it, by the control plane's fleet view.

    ACTIVE     it runs, or a newer one does
    REJECTED   refused for good, or another digest runs under its number
    TRYING     refused, and tried again by itself
    DELIVERED  shown to the instance, not yet in force
    PENDING    not shown there yet
    SILENT     no report for longer than the control plane's bound

What it says is the services' word through the control plane: for orientation. What a sidecar enforces is in its evidence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from symphony.release.client import ControlPlane

LOOK_EVERY_S = 0.3
Entry = Mapping[str, Any]


class State(StrEnum):
    """See the module."""

    ACTIVE = "active"
    REJECTED = "rejected"
    TRYING = "trying"
    DELIVERED = "delivered"
    PENDING = "pending"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Standing:
    """One instance and a release. ``code``: the reason of ``REJECTED`` and ``TRYING``."""

    service: str
    instance: str
    state: State
    code: str | None
    active_number: int | None
    last_seen: str

    @property
    def name(self) -> str:
        """As it is said."""
        return f"{self.service}/{self.instance}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A release and everybody who is known in its environment."""

    number: int
    standings: tuple[Standing, ...]

    def of(self, *states: State) -> list[Standing]:
        """Those in one of these states."""
        return [one for one in self.standings if one.state in states]

    @property
    def is_complete(self) -> bool:
        """Whether somebody is known, and everybody runs it."""
        return bool(self.standings) and not self.missing

    @property
    def missing(self) -> list[Standing]:
        """Whom it has not reached."""
        return [one for one in self.standings if one.state is not State.ACTIVE]

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be waited for: complete, or rejected and everybody who speaks has answered."""
        return self.is_complete or (bool(self.of(State.REJECTED)) and not self.of(
            State.TRYING, State.DELIVERED, State.PENDING
        ))  # fmt: skip

    @property
    def sentence(self) -> str:
        """``2 of 5 active, 1 rejected, 2 pending``."""
        counts = [(state, len(self.of(state))) for state in State]
        said = [f"{count} {state}" for state, count in counts if count and state is not State.ACTIVE]
        return ", ".join([f"{len(self.of(State.ACTIVE))} of {len(self.standings)} active", *said])


def delivery_of(fleet: Iterable[Entry], environment: str, number: int, digest: str) -> Delivery:
    """The standing of release ``number`` with ``digest`` by what ``/v1/fleet`` gives."""
    return Delivery(number, tuple(_standing(one, number, digest) for one in fleet if one["environment"] == environment))


def follow(
    control: ControlPlane, environment: str, number: int, digest: str, *, timeout_s: float, told: Callable[[str], None]
) -> Delivery:
    """Look until it is settled or the time is over; ``told`` hears each change in a sentence."""
    deadline, said = time.monotonic() + timeout_s, ""
    while True:
        found = delivery_of(control.get("/v1/fleet")["services"], environment, number, digest)
        if found.sentence != said:
            said = found.sentence
            told(said)
        if found.is_settled or time.monotonic() >= deadline:
            return found
        time.sleep(LOOK_EVERY_S)


def _standing(entry: Entry, number: int, digest: str) -> Standing:
    state, code = _state(entry, number, digest)
    return Standing(
        entry["service"], entry["instance"], state, code, entry["active_number"], str(entry["last_seen"])
    )  # fmt: skip


def _state(entry: Entry, number: int, digest: str) -> tuple[State, str | None]:
    active = entry["active_number"]
    if active is not None and (active > number or (active == number and entry["active_digest"] == digest)):
        return State.ACTIVE, None
    if active == number:
        return State.REJECTED, "RELEASE_FORKED"
    refused = entry["refused_code"] if entry["refused_number"] == number else None
    if refused is not None and entry["refused_permanent"]:
        return State.REJECTED, refused
    if entry["silent"]:
        return State.SILENT, None
    if refused is not None:
        return State.TRYING, refused
    return (State.DELIVERED if (entry["delivered_number"] or 0) >= number else State.PENDING), None
