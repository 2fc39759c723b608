"""What a release that grows old still permits, by the signed schedule of its service manifest (design section 4). Pure.

Rules:

1. two clocks. The *role*'s end is the release's ``expires_at`` (root, targets or role, whichever is first). The *lease*'s end is
   the timestamp's; for a sidecar with a schedule it comes sooner, when the revocations are older than ``ages_max_s`` permits:
   both are the last word of the control plane, and its silence must not pass for good news;
2. without a schedule of a clock everything stops at its end, as in the release before (N-1);
3. a step is reached at the end plus ``after_s`` and never left but by a new timestamp (``contracts.release.aging``); what was
   reached adds up: the least percentage, the least of each limit; a currency that a limit does not name may not be paid;
4. a schedule only tightens, ends in ``stop``, and nothing runs at full caps once its clock has run out: whoever withholds a
   timestamp or a renewal gains nothing but what the officers signed for that case, and for no longer than the maxima below;
5. where the manifests of a sidecar and of its ledger are read together (proposal, approval) the ledger's schedule permits no less
   at any moment: what the sidecar still sends would only pile up.

``caps_percent`` is of the caps of value, per payment and per day; counts stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from contracts.errors import NotTrusted
from contracts.release.model import VerifiedRelease
from contracts.times import rfc3339

LEASE, ROLE = "lease", "role"
LEASE_PAST_S_MAX = 24 * 3600
"""How long anything may go on after the control plane's last word has run out."""
ROLE_PAST_S_MAX = 72 * 3600
"""How long a release may outlive the officers' and custodians' word on it."""
ROLE_BEFORE_S_MAX = 30 * 24 * 3600
"""How long before its end a role may begin to warn or to tighten."""
FULL = 100
SAME, TIGHTER, LOOSER = "same", "tighter", "looser"

Step = Mapping[str, Any]
_BOUNDS = {LEASE: (0, LEASE_PAST_S_MAX), ROLE: (-ROLE_BEFORE_S_MAX, ROLE_PAST_S_MAX)}
_CLIFF: tuple[Step, ...] = ({"after_s": 0, "stop": True},)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a release permits at a moment. ``lease`` and ``role`` count the steps reached; ``why`` is for people."""

    lease: int = 0
    role: int = 0
    caps_percent: int = FULL
    payment_minor_max: Mapping[str, int] | None = None
    stopped: bool = False
    why: str = ""

    @property
    def steps(self) -> tuple[int, int]:
        """The steps reached of lease and role: what entering one is told by."""
        return self.lease, self.role

    @property
    def tightens(self) -> bool:
        """Whether any cap is lower than the release's."""
        return self.stopped or self.caps_percent < FULL or self.payment_minor_max is not None

    @property
    def mode(self) -> str:
        """``stale-lease-1``, ``stale-role-2`` or ``stale-lease-1-role-2`` for the fleet view; empty while nothing is reached."""
        reached = [f"-{clock}-{step}" for clock, step in zip((LEASE, ROLE), self.steps, strict=True) if step]
        return f"stale{''.join(reached)}" if reached else ""

    def lower(self, currency: str, caps: dict[str, int]) -> dict[str, int]:
        """The caps that are left of the release's and the orders' (``contracts.caps``)."""
        if not self.tightens:
            return caps
        lowered = {**caps, **{name: self._left(caps[name]) for name in ("payment_minor_max", "daily_minor_max")}}
        lowered["payment_minor_max"] = min(lowered["payment_minor_max"], self._limit(currency, caps["payment_minor_max"]))
        return lowered

    def _left(self, cap: int) -> int:
        return 0 if self.stopped else cap * self.caps_percent // FULL

    def _limit(self, currency: str, otherwise: int) -> int:
        return otherwise if self.payment_minor_max is None else self.payment_minor_max.get(currency, 0)

    def at_most(self, other: Standing) -> bool:
        """Whether it permits nothing that ``other`` does not."""
        if self.stopped or other.stopped:
            return self.stopped
        mine, theirs = self.payment_minor_max, other.payment_minor_max
        within = theirs is None or (mine is not None and all(v <= theirs.get(name, 0) for name, v in mine.items()))
        return self.caps_percent <= other.caps_percent and within


FRESH = Standing()


def standing(release: VerifiedRelease, now: datetime) -> Standing:
    """What the release permits at ``now``, by rules 1 to 3."""
    clocks = _clocks(release)
    reached = {clock: _reached(steps, (now - end).total_seconds()) for clock, (end, steps) in clocks.items()}
    if not any(reached.values()):
        return FRESH
    summed = _summed([step for steps in reached.values() for step in steps])
    why = "; ".join(
        f"{clock} of release {release.number} {'ran' if now >= clocks[clock][0] else 'runs'} out at {rfc3339(clocks[clock][0])}"
        for clock, steps in reached.items() if steps
    )  # fmt: skip
    return Standing(
        len(reached[LEASE]), len(reached[ROLE]), summed.caps_percent, summed.payment_minor_max, summed.stopped,
        f"{why}: {_words_of(summed)}",
    )  # fmt: skip


def demand(release: VerifiedRelease, now: datetime) -> Standing:
    """The same. Raises ``NotTrusted RELEASE_EXPIRED`` at the schedule's end."""
    found = standing(release, now)
    if found.stopped:
        raise NotTrusted("RELEASE_EXPIRED", found.why)
    return found


def demand_role(release: VerifiedRelease, now: datetime) -> None:
    """Raise ``NotTrusted RELEASE_EXPIRED`` when the role's schedule has ended, whatever the lease."""
    end, steps = _clocks(release)[ROLE]
    if now >= end + timedelta(seconds=steps[-1]["after_s"]):
        raise NotTrusted("RELEASE_EXPIRED", f"release {release.number} or the custodians' word on it ran out at {rfc3339(end)}")


def stops_at(release: VerifiedRelease) -> datetime:
    """When everything stops unless a timestamp or a release comes."""
    return min(end + timedelta(seconds=steps[-1]["after_s"]) for end, steps in _clocks(release).values())


def revocations_age_s_max(manifest: Mapping[str, Any]) -> int:
    """How old revocations may be in a sidecar before it attests nobody: the manifest's age, then as long as its lease's schedule.

    Within the schedule the age is what tightens (rule 1); it is never a reason to go on at full caps.
    """
    lease = manifest.get("staleness", {}).get(LEASE, _CLIFF)
    return int(manifest["sidecar"]["ages_max_s"]["revocations"] + lease[-1]["after_s"])


def _clocks(release: VerifiedRelease) -> dict[str, tuple[datetime, Sequence[Step]]]:
    schedule, lease_end = release.manifest.get("staleness", {}), release.lease_expires_at
    ages = release.manifest.get("sidecar", {}).get("ages_max_s")
    if LEASE in schedule and ages is not None:
        lease_end = min(lease_end, release.fetched_at + timedelta(seconds=ages["revocations"]))
    return {LEASE: (lease_end, schedule.get(LEASE, _CLIFF)), ROLE: (release.expires_at, schedule.get(ROLE, _CLIFF))}


def _reached(steps: Sequence[Step], elapsed_s: float) -> list[Step]:
    return [step for step in steps if elapsed_s >= step["after_s"]]


def _summed(steps: Sequence[Step]) -> Standing:
    """The least of everything that was reached (rule 3)."""
    limits: dict[str, int] | None = None
    for step in steps:
        named = step.get("payment_minor_max")
        if named is not None:
            limits = dict(named) if limits is None else {c: min(v, named[c]) for c, v in limits.items() if c in named}
    percent = min((step.get("caps_percent", FULL) for step in steps), default=FULL)
    return Standing(caps_percent=percent, payment_minor_max=limits, stopped=any("stop" in step for step in steps))


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Rule 4, of a manifest that fits its schema. Raises ``NotTrusted RELEASE_MANIFEST`` with what is wrong."""
    for clock, steps in manifest.get("staleness", {}).items():
        fault = _fault(clock, steps)
        if fault is not None:
            raise NotTrusted("RELEASE_MANIFEST", f"{manifest['service']}: staleness of the {clock}: {fault}")


def _fault(clock: str, steps: Sequence[Step]) -> str | None:
    least, most = _BOUNDS[clock]
    moments = [step["after_s"] for step in steps]
    if any(one >= other for one, other in pairwise(moments)):
        return "the steps are not in the order of their time"
    if not least <= moments[0] <= moments[-1] <= most:
        return f"after_s is from {least} to {most}"
    if ["stop" in step for step in steps] != [False] * (len(steps) - 1) + [True]:
        return "the last step, and no other, is a stop"
    before = FRESH
    for step in steps[:-1]:
        own = Standing(
            caps_percent=step.get("caps_percent", before.caps_percent), payment_minor_max=step.get("payment_minor_max")
        )
        if not own.at_most(before):
            return f"the step at {step['after_s']} s permits more than the one before"
        before = own
    at_end = _summed(_reached(steps, 0))
    return None if at_end.tightens else "at its end nothing tightens: full caps would outlive it"


def check_agree(manifests: Mapping[str, Mapping[str, Any]]) -> None:
    """Rule 5, of all manifests of a release. Raises ``NotTrusted RELEASE_MANIFEST``."""
    ledgers = {one["audience"]: one for one in manifests.values() if one["kind"] == "ledger"}
    for name, manifest in manifests.items():
        ledger = ledgers.get(manifest["sidecar"]["permit"]["audience"]) if manifest["kind"] == "sidecar" else None
        for clock in () if ledger is None else (LEASE, ROLE):
            mine, theirs = (one.get("staleness", {}).get(clock) for one in (manifest, ledger or {}))
            if mine is not None and compare(theirs, mine) not in {SAME, TIGHTER}:
                detail = f"the {clock} of {name} permits more than that of its ledger at some moment: payments would pile up"
                raise NotTrusted("RELEASE_MANIFEST", detail)


def compare(before: Sequence[Step] | None, after: Sequence[Step] | None) -> str | None:
    """``same``, ``tighter`` or ``looser`` at every moment; ``None`` where it is neither. No schedule is a stop at the end."""
    one, other = before or _CLIFF, after or _CLIFF
    moments = sorted({step["after_s"] for step in (*one, *other)})
    pairs = [(_summed(_reached(one, moment)), _summed(_reached(other, moment))) for moment in moments]
    tighter, looser = (all(b.at_most(a) for a, b in pairs), all(a.at_most(b) for a, b in pairs))
    return SAME if tighter and looser else TIGHTER if tighter else LOOSER if looser else None


def words(steps: Sequence[Step]) -> str:
    """A schedule in one line."""
    return "; ".join(f"{_after(step['after_s'])} {_words_of(_summed(steps[: n + 1]))}" for n, step in enumerate(steps))


def _after(seconds: int) -> str:
    return "at its end" if seconds == 0 else f"{abs(seconds):,} s {'before' if seconds < 0 else 'after'}"


def _words_of(found: Standing) -> str:
    if found.stopped:
        return "stop"
    limits = found.payment_minor_max
    low = "" if limits is None else " and payments up to " + (
        ", ".join(f"{currency} {value:,}" for currency, value in sorted(limits.items())) or "nothing"
    )  # fmt: skip
    return f"{found.caps_percent} % of the caps{low}"
