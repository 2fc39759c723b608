"""Which release a permit may name, and following the control plane (design section 3, "Permit").

Rules:

* permits under the active release are taken, and for ``GRACE_S`` after a change those under the one before,
  unless it has run out or is revoked;
* a higher number triggers a fetch and answers ``RELEASE_NOT_YET``, a lower one ``RELEASE_SUPERSEDED``;
  both say that the request was surely not taken;
* with no valid release everything is refused ``NO_ACTIVE_RELEASE``: also when the active one has run out and the schedule of
  its manifest has ended; until then payments over what that leaves are refused ``RELEASE_STALE``, and seals go on;
* while an emergency release stands over the active one (ADR 0013), its policy takes the place of that release's, and back at its
  end by the ledger's own clock; a permit of the other of the two policies is answered as above, by what is known to be ahead or
  behind, so no payment is lost while one service has heard it and the other has not;
* after a restart the release before is not known, and nothing is taken under it;
* a refresh that fails changes nothing but the log and the report: the old release stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from contracts.errors import CannotEvaluate, NotTrusted, Refused, SymphonyError
from contracts.insecure import warn_of_wildcards
from contracts.release import VerifiedRelease
from contracts.release.aging import Aging
from contracts.release.bell import Bell, meanwhile, patience
from contracts.release.staleness import FRESH, Standing
from contracts.times import Clock
from services.ledger.config import FETCH_INTERVAL_MIN_S, GRACE_S, REPORT_INTERVAL_S
from services.ledger.terms import Revoked, Terms, terms_of

_LOG = logging.getLogger("symphony.ledger.releases")

Report = Callable[[VerifiedRelease | None, tuple[int, str] | None], Awaitable[None]]
"""Told after every look: the release in force, and the last refusal as (number, reason code)."""


class Follower(Protocol):
    """``contracts.release.ReleaseFollower`` as far as the ledger uses it; both calls block."""

    @property
    def active(self) -> VerifiedRelease | None:
        """The release in force, with the newest revocations."""

    @property
    def refused(self) -> tuple[int, str] | None:
        """The last refusal of a release as (number, reason code)."""

    @property
    def seen(self) -> int:
        """The snapshot's version of the last look, 0 before the first."""

    @property
    def emergency_policy(self) -> str | None:
        """The digest of the newest sealed emergency's policy, open or not."""

    @property
    def delivered(self) -> int | None:
        """The newest release number that the repository has shown here."""

    def start(self) -> VerifiedRelease | None:
        """The release already held, verified again without the network."""

    def refresh(self) -> VerifiedRelease | None:
        """Look for a new release; ``None`` when nothing changed."""


class ReleaseWindow:
    """The active release, the one before, and the revocations."""

    def __init__(self, clock: Clock, aging: Path | None = None) -> None:
        """``aging``: the file that keeps over restarts how old the release was."""
        self.clock = clock
        self._aging = Aging(clock, aging)
        self._release: VerifiedRelease | None = None
        self._active: Terms | None = None
        self._before: Terms | None = None
        self._activated_at = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self.revoked = Revoked()
        self._emergency_policy: str | None = None
        self.newer_named = asyncio.Event()

    @property
    def active(self) -> Terms | None:
        """The terms in force, if their schedule has not ended."""
        terms = self._active
        if terms is not None and terms.ends_at is not None and self.clock.now() >= terms.ends_at:
            terms = terms.under
        return None if terms is None or self.standing.stopped else terms

    @property
    def standing(self) -> Standing:
        """What the release still permits; of none, nothing tightens."""
        return FRESH if self._release is None else self._aging.standing(self._release)

    def beyond(self, debit_agent: str, currency: str, amount_minor: int) -> CannotEvaluate | None:
        """Why a payment of this value may not be posted now, if so: the release has grown old."""
        terms, standing = self.active, self.standing
        most = None if terms is None else terms.payment_max(standing, debit_agent, currency)
        return None if most is None or amount_minor <= most else CannotEvaluate("RELEASE_STALE", standing.why)

    async def note_age(self) -> None:
        """Say once that a step is reached or left, and keep it."""
        found = None if self._release is None else self._aging.entered(self._release)
        if found is not None:
            _LOG.warning("release: %s", found.why or "fresh again, full caps")
            await asyncio.to_thread(self._aging.keep, found)

    def adopt(self, release: VerifiedRelease, emergency_policy: str | None = None) -> None:
        """Take over what the follower holds now: a new release, or newer revocations and lease of the same."""
        terms, self._emergency_policy = terms_of(release), emergency_policy
        if self._active is None or terms.in_force != self._active.in_force:
            self._before, self._activated_at = self._active, self.clock.now()
            _LOG.info("release %d is active, emergency %d", *terms.in_force)
            warn_of_wildcards("the ledger", release.environment_data)
        self._active, self._release, self.revoked = terms, release, Revoked(release.revocations)

    def withdraw(self) -> None:
        """Hold nothing any longer: the follower found its active release revoked."""
        if self._active is not None:
            _LOG.error("release %d is withdrawn: everything is refused", self._active.number)
        self._active = self._before = self._release = None

    def choose(self, number: int, policy_digest: str | None = None) -> Terms:
        """The terms under which a permit that names release ``number`` (and this policy) is judged."""
        active, now = self.active, self.clock.now()
        if active is None:
            raise CannotEvaluate("NO_ACTIVE_RELEASE", "no valid release is active")
        if number > active.number:
            self.newer_named.set()
            raise CannotEvaluate("RELEASE_NOT_YET", f"release {number} is not active here yet, {active.number} is")
        if number == active.number:
            return self._of_policy(active, policy_digest, now)
        before = self._before
        if before is not None and number == before.number and self._in_grace(before, now):
            return before
        raise Refused("RELEASE_SUPERSEDED", f"release {active.number} is active, not {number}")

    def _of_policy(self, active: Terms, policy_digest: str | None, now: datetime) -> Terms:
        """Of the release in force: its policy, or that of the emergency over it. Any other is for the caller to refuse."""
        before = self._before
        if policy_digest in (None, active.policy_digest):
            return active
        if before is not None and (before.number, before.policy_digest) == (active.number, policy_digest):
            if self._in_grace(before, now):
                return before
            raise Refused("RELEASE_SUPERSEDED", "another policy of this release is in force")
        if active.under is not None and policy_digest == active.under.policy_digest:
            raise Refused("RELEASE_SUPERSEDED", f"an emergency stands over release {active.number}")
        if policy_digest == self._emergency_policy:
            self.newer_named.set()
            raise CannotEvaluate("RELEASE_NOT_YET", "the emergency of this policy is not open here")
        return active

    def check_key(self, terms: Terms, key_id: str) -> None:
        """Raise ``PERMIT_KEY_UNKNOWN`` when the permit key is revoked, whatever release lists it."""
        if self.revoked.holds("permit_key", key_id, self.clock.now()):
            raise NotTrusted("PERMIT_KEY_UNKNOWN", f"key {key_id[:16]}… of release {terms.number} is revoked")

    def _in_grace(self, before: Terms, now: datetime) -> bool:
        recent = now - self._activated_at <= timedelta(seconds=GRACE_S)
        return recent and now < before.live_until and not self.revoked.holds("release", before.metadata_digest, now)


class Following:
    """Runs a follower in a thread, one call at a time: when the control plane rings (without ``bell``: at an interval) and
    when a permit names a newer release."""

    def __init__(
        self,
        follower: Follower,
        window: ReleaseWindow,
        *,
        poll_s: float,
        report: Report | None = None,
        bell: Bell | None = None,
    ) -> None:
        self._follower = follower
        self._window = window
        self._poll_s = poll_s
        self._report = report
        self._bell = bell or Bell(None, None, pause_s=poll_s)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._look(self._follower.start)
            while True:
                await self._look(self._follower.refresh)
                await asyncio.sleep(min(FETCH_INTERVAL_MIN_S, self._poll_s))
                await meanwhile(self._news(), REPORT_INTERVAL_S, self._tell)
                self._window.newer_named.clear()
        finally:
            await self._bell.close()

    async def _news(self) -> None:
        """Until the bell is heard or a permit names a newer release."""
        wait_s = patience(self._follower.active, self._window.clock.now())
        heard = asyncio.create_task(self._bell.heard(self._follower.seen, wait_s))
        named = asyncio.create_task(self._window.newer_named.wait())
        try:
            await asyncio.wait([heard, named], return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            named.cancel()

    async def _look(self, call: Callable[[], VerifiedRelease | None]) -> None:
        try:
            await asyncio.to_thread(call)
        except SymphonyError as error:
            _LOG.warning("no newer release was taken: %s", error)
        except Exception:  # noqa: BLE001 - logged; the old release stays
            _LOG.exception("looking for a release failed")
        release = self._follower.active
        if release is not None:
            self._window.adopt(release, self._follower.emergency_policy)
        else:
            self._window.withdraw()
        await self._tell()

    async def _tell(self) -> None:
        await self._window.note_age()
        if self._report is not None:
            await self._report(self._follower.active, self._follower.refused)
