"""The ledger's own status to the control plane: what is active here, what was refused and why (a NACK has a code).

Sent when it changes and every ``REPORT_INTERVAL_S``. A control plane that is down stops nothing: a report is lost, and
the next one says the same.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.release import VerifiedRelease
from contracts.release.staleness import FRESH, Standing, standing
from contracts.release.status import status_report
from contracts.times import Clock
from services.ledger.config import REPORT_INTERVAL_S

PATH = "/v1/fleet/status"
TIMEOUT_S = 3.0
_LOG = logging.getLogger("symphony.ledger.reporting")


class FleetReporter:
    """``await reporter(active, refused)`` after every look for a release. ``url``: any address of the control plane."""

    def __init__(self, url: str, context: ssl.SSLContext, *, environment: str, service: str, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise CannotEvaluate("CONFIGURATION", f"the control plane is https://…, not {url}")
        self._host, self._port, self._context = parts.hostname, parts.port or 443, context
        self._identity = {"environment": environment, "service": service, "instance": socket.gethostname()[:64]}
        self._clock = clock
        self.stopped: Callable[[], SymphonyError | None] = lambda: None
        """Why the ledger takes nothing new, if so; the ledger sets it."""
        self.delivered: Callable[[], int | None] = lambda: None
        """The newest release that was shown here; the ledger sets it."""
        self.standing: Callable[[VerifiedRelease], Standing] = lambda active: standing(active, self._clock.now())
        """What the release still permits; the ledger sets it."""
        self._last: bytes = b""
        self._sent_at = -REPORT_INTERVAL_S

    async def __call__(self, active: VerifiedRelease | None, refused: tuple[int, str] | None) -> None:
        """Send, if there is something new or the interval is over. Never raises for what the network does."""
        body = self._body(active, refused)
        if body == self._last and time.monotonic() - self._sent_at < REPORT_INTERVAL_S:
            return
        self._last, self._sent_at = body, time.monotonic()
        try:
            status = await asyncio.to_thread(self._send, body)
        except (OSError, http.client.HTTPException) as error:
            _LOG.info("no status report: %s", error)
            return
        if status != http.client.NO_CONTENT:
            _LOG.warning("the control plane answers a status report with %d", status)

    def _body(self, active: VerifiedRelease | None, refused: tuple[int, str] | None) -> bytes:
        stopped, old = self.stopped(), FRESH if active is None else self.standing(active)
        ready = stopped is None and active is not None and not old.stopped
        halted = stopped is not None and stopped.code == "SERVICE_HALTED"
        return orjson.dumps(
            status_report(
                self._identity, active, refused, delivered=self.delivered(), ready=ready, halted=halted, stale=old.mode
            )
        )

    def _send(self, body: bytes) -> int:
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, body, {"content-type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()
