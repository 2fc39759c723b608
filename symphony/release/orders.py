"""Orders at the officers' own tools: issue, lift, and a release with its orders in a folder (design section 4).

What is enforced is enforced by every sidecar by itself; here an officer's mistake is told before he signs.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from contracts import orders
from contracts.errors import Misused, NotTrusted, Refused, SymphonyError
from contracts.keys import ORDER_LIFT_TYPE
from contracts.orders import Signed
from contracts.release import ReleaseSource, rules
from contracts.release.build import BYTES_MAX, named
from contracts.release.contents import verify_proposal
from contracts.release.envelope import countersigned, make_envelope
from contracts.release.repository import Repository
from contracts.release.trust import root_of, trust_of
from symphony.release.client import ControlPlane, Officer

PAGES_MAX = 200
EXPORT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an officer orders. ``caps`` in minor units, for ``lower_cap`` only."""

    kind: str
    scope: Mapping[str, str]
    reason: str
    caps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Lifting:
    """A lift after one more signature: the order, what is lifted for which reason, and what the control plane says."""

    order: Signed
    lift: Signed
    answer: Mapping[str, Any]


def listed(control: ControlPlane, environment: str) -> list[dict[str, Any]]:
    """Every order and its state, by number."""
    return list(control.get(f"/v1/orders/{environment}")["orders"])


def signed_order(officer: Officer, environment: str, number: int, wanted: Wanted, now: datetime) -> dict[str, Any]:
    """An order's envelope by an officer's key."""
    return orders.issued(
        officer.key, environment=environment, number=number, kind=wanted.kind, scope=wanted.scope, reason=wanted.reason,
        caps=wanted.caps, now=now,
    )  # fmt: skip


def issue(control: ControlPlane, officer: Officer, environment: str, wanted: Wanted, now: datetime) -> Signed:
    """Sign the next order and send it. Two officers at once: the second one's number is taken by then, and he asks again."""
    number = max((int(entry["number"]) for entry in listed(control, environment)), default=0) + 1
    envelope = signed_order(officer, environment, number, wanted, now)
    control.post(f"/v1/orders/{environment}", {"envelope": envelope})
    return orders.of_envelope(envelope)


def lift(control: ControlPlane, officer: Officer, environment: str, number: int, reason: str | None, now: datetime) -> Lifting:
    """Sign the lift of an order: the first officer gives the reason, each further one signs what the first wrote."""
    shown = control.get(f"/v1/orders/{environment}/{number}")
    order = orders.of_envelope(shown["envelope"])
    if order.number != number or order.claims["environment"] != environment:
        raise NotTrusted("ORDER_UNKNOWN", f"the control plane shows another order than {number} of {environment}")
    if shown["lift"] is None:
        envelope = orders.lifting(officer.key, order, reason=_demanded(reason), now=now)
    else:
        payload = _same_order(orders.of_envelope(shown["lift"]), order).payload
        envelope = make_envelope(officer.key, ORDER_LIFT_TYPE, payload)
    answer = control.post(f"/v1/orders/{environment}/{number}/lift", {"envelope": envelope})
    return Lifting(order, orders.of_envelope(envelope), answer)


def lift_in_files(officer: Officer, order_file: Path, lift_file: Path, reason: str | None, now: datetime) -> Lifting:
    """The same without a control plane: the lift's file is made, or gets one more signature."""
    order = orders.read(read_file(order_file))
    if lift_file.exists():
        _same_order(orders.read(read_file(lift_file)), order)
        envelope = countersigned(json.loads(lift_file.read_bytes()), officer.key)
    else:
        envelope = orders.lifting(officer.key, order, reason=_demanded(reason), now=now)
    write_file(lift_file, orjson.dumps(envelope), again=True)
    signed = orders.of_envelope(envelope)
    return Lifting(order, signed, {"signatures": len(signed.signatures)})


def _demanded(reason: str | None) -> str:
    if reason is None:
        raise Misused("CONFIGURATION", "who begins a lift says why", next_step="--reason TEXT")
    return reason


def _same_order(lift: Signed, order: Signed) -> Signed:
    if not lift.is_lift or lift.key != order.key:
        raise NotTrusted("ORDER_UNKNOWN", f"the lift on its way is not of order {order.number} as it is shown")
    return lift


def read_file(path: Path) -> bytes:
    """A file within the bound of an envelope. Raises ``Misused CONFIGURATION``."""
    try:
        with path.open("rb") as file:
            return file.read(orders.ENVELOPE_BYTES_MAX + 1)
    except OSError as error:
        raise Misused("CONFIGURATION", f"{path}: {error.strerror}", next_step="name the file that the officer wrote") from error


def write_file(path: Path, data: bytes, *, again: bool = False) -> None:
    """Write a private file (0600); ``again`` replaces one that is there. Raises ``Misused CONFIGURATION``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if again else os.O_EXCL)
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise Misused("CONFIGURATION", f"{path}: {error.strerror}", next_step="choose another file or folder") from error


class Recording:
    """A source whose every answer is kept under its own path in a folder: exactly what a client needs, and no more."""

    def __init__(self, inner: ReleaseSource, folder: Path) -> None:
        self._inner, self._folder = inner, folder

    def fetch(self, path: str, length_max: int) -> bytes:
        """See ``ReleaseSource``."""
        data = self._inner.fetch(path, length_max)
        place = (self._folder / path).resolve()
        if not place.is_relative_to(self._folder.resolve()):
            raise NotTrusted("RELEASE_SHAPE", f"a path that leaves the folder: {path[:100]}")
        write_file(place, data, again=True)
        return data


def export(source: ReleaseSource, folder: Path, *, root: bytes, environment: str) -> tuple[int, int]:
    """The active release with all that proves it, and every order, into a folder: release number, count of order files.

    It is verified on the way as a service does it, from the officer's own pinned root.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Misused("CONFIGURATION", f"{folder} is there already", next_step="name a new folder")
    with tempfile.TemporaryDirectory() as scratch:
        repository = Repository(
            root=root, source=Recording(source, folder), folder=Path(scratch), metadata_timeout_s=EXPORT_TIMEOUT_S
        )
        repository.refresh()
        trust = trust_of(root_of(root, repository.roots()), repository.file("targets"), environment)
        repository.role(f"{environment}-revocations")
        role = rules.verify_role(trust, repository.role(environment), environment)
        prefix = f"{environment}/{role.number}/"
        repository.download(prefix, role.targets, Path(scratch) / "targets")
        files = {path: (Path(scratch) / "targets" / target.sha256).read_bytes() for path, target in role.targets.items()}
        for name, digest in named(verify_proposal(trust, role, files)).items():
            repository.attachment(prefix, name, digest, BYTES_MAX[name])
    return role.number, export_orders(source, folder / "orders", environment)


def export_orders(source: ReleaseSource, folder: Path, environment: str) -> int:
    """Every order and lift that a control plane serves, a file each; how many."""
    after, count = 0, 0
    for _ in range(PAGES_MAX):
        entries, _ = orders.page(source.fetch(f"orders/{environment}/{after}", orders.PAGE_BYTES_MAX))
        for position, envelope in entries:
            signed = orders.read(envelope)
            write_file(folder / f"{signed.number:06d}-{'lift' if signed.is_lift else 'order'}.json", envelope)
            after, count = position, count + 1
        if len(entries) < orders.PAGE_MAX:
            break
    return count


def refusal_of(answer: Mapping[str, Any]) -> SymphonyError | None:
    """The first refusal in what a sidecar said of a folder (``sidecar.loading``), if there is one."""
    found = [answer["release"]] if answer["release"] else []
    for entry in [*found, *answer["orders"]]:
        if entry.get("code"):
            kind = NotTrusted if entry["code"].startswith(("RELEASE_", "ORDER_", "OFFICER_")) else Refused
            return kind(entry["code"], str(entry.get("detail", "")))
    return None
