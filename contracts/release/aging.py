"""A service's own watch over how old its release is: the clock may jump back, and the process may start again.

Rules:

* time only goes on for a release: a clock that jumps back leaves no step that was reached, until a *new* timestamp comes, one
  that runs out later than any before (a repository that is frozen, or an old one replayed, brings none);
* the step reached is kept in a file beside the releases when it is entered, so that a restart does not leave it either. The file
  only guards against clocks: without it everything else still holds, and one that cannot be read is as none.

Steps are ``contracts.release.staleness``'s. Not here: evidence and metrics, which are each service's own.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

from contracts.errors import SymphonyError
from contracts.release import staleness
from contracts.release.held import NEVER
from contracts.release.model import VerifiedRelease
from contracts.release.record import write_durably
from contracts.release.staleness import Standing
from contracts.times import Clock, parse_rfc3339, rfc3339

FILE = "staleness.json"
_LOG = logging.getLogger("symphony.aging")


class Aging:
    """One service's. ``told`` are the steps, of lease and role, that were made known last."""

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self._clock, self._file = clock, file
        self._lease, self._seen = NEVER, NEVER
        self.told = (0, 0)
        if file is not None:
            self._load(file)

    def standing(self, release: VerifiedRelease) -> Standing:
        """What the release permits now."""
        return staleness.standing(release, self._now(release))

    def entered(self, release: VerifiedRelease) -> Standing | None:
        """What the release permits now, if that is another step than ``told``: to be made known, and then ``keep``."""
        found = self.standing(release)
        return None if found.steps == self.told else found

    def keep(self, found: Standing) -> None:
        """The step was made known; over restarts, too. Blocking."""
        self.told = found.steps
        if self._file is None:
            return
        value = {"lease": rfc3339(self._lease), "seen": rfc3339(self._seen), "told": list(found.steps)}
        try:
            write_durably(self._file, json.dumps(value).encode())
        except SymphonyError as error:
            _LOG.error("a restart will not know that %s: %s", found.why or "the release is fresh", error)

    def _now(self, release: VerifiedRelease) -> datetime:
        if release.lease_expires_at > self._lease:
            self._lease, self._seen = release.lease_expires_at, NEVER
        self._seen = max(self._seen, self._clock.now())
        return self._seen

    def _load(self, file: Path) -> None:
        try:
            value = json.loads(file.read_text("utf-8"))
            lease, role = value["told"]
            self.told = (int(lease), int(role))
            self._lease, self._seen = parse_rfc3339(value["lease"]), parse_rfc3339(value["seen"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s is not read: %s", file, error)
