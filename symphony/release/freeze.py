"""Freeze promotions, sign to lift a freeze, list them: one officer freezes, others lift (design section 4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.errors import Refused
from contracts.times import rfc3339
from symphony.release.client import ControlPlane, Officer


def freeze(
    control: ControlPlane, officer: Officer, environment: str, reason: str, *, now: datetime,
    starts_at: datetime | None = None, ends_at: datetime | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Freeze promotions, at once and until it is lifted where no time is given; the freeze."""
    times = {name: None if at is None else rfc3339(at) for name, at in (("from", starts_at), ("until", ends_at))}
    envelope = officer.say("freeze", environment=environment, reason=reason, asked_at=rfc3339(now), **times)
    return dict(control.post(f"/v1/releases/{environment}/freezes", {"envelope": envelope}))


def unfreeze(control: ControlPlane, officer: Officer, environment: str, number: int | None, reason: str) -> dict[str, Any]:
    """Sign to lift freeze ``number``, or the only one that is not over; the freeze after it."""
    found = freezes(control, environment)["freezes"]
    chosen = [one for one in found if one["number"] == number or (number is None and one["state"] in ("IN_FORCE", "AHEAD"))]
    if len(chosen) != 1:
        numbers = ", ".join(str(one["number"]) for one in chosen) or "none"
        detail = f"there is no freeze {number}" if number else f"name one freeze by its number; not over: {numbers}"
        raise Refused("NOT_FOUND", detail, next_step="symphony release freezes")
    envelope = officer.say(
        "unfreeze", environment=environment, number=chosen[0]["number"], reason=reason,
        freeze_sha256=chosen[0]["envelope_sha256"],
    )  # fmt: skip
    path = f"/v1/releases/{environment}/freezes/{chosen[0]['number']}/signatures"
    return dict(control.post(path, {"envelope": envelope}))


def freezes(control: ControlPlane, environment: str) -> dict[str, Any]:
    """Every freeze, and whether promotions are frozen now."""
    return dict(control.get(f"/v1/releases/{environment}/freezes"))
