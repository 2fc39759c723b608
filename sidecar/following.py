"""How the writer follows releases: refresh, activate as one, keep revocations durably, report to the fleet view.

Between two rounds it waits for the control plane to ring (``contracts.release.bell``), and polls where that does not work.
Any failure keeps the old release running; the refusal goes to the control plane and into evidence. A lease or a release that
has run out tightens by the schedule of its manifest (``contracts.release.staleness``), each step told once, and at its end stops
intake and dispatch (fail closed). What was accepted before a step is still sent until then, as under a lower cap by order. An
emergency release over it (ADR 0013) is in force until its own end, and then the release alone, without a word from anybody.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.insecure import warn_of_wildcards
from contracts.keys import key_id_of, load_private_key
from contracts.named_sql import queries
from contracts.release import Custodians, HttpsSource, ReleaseFollower, ReleaseSource, VerifiedRelease
from contracts.release.aging import FILE, Aging
from contracts.release.bell import Bell, meanwhile, patience
from contracts.release.staleness import Standing
from contracts.release.status import status_report
from contracts.times import Clock
from contracts.tls import client_context
from sidecar import invariants
from sidecar.active import ActiveRelease
from sidecar.config import WriterConfig
from sidecar.policy.engine import WasmEngine
from sidecar.store import Fenced, StoreConflict

REPORT_TIMEOUT_S = 5
REPORT_EVERY_S = 2.0
"""While nothing new comes; after a round it is told at once."""
ANSWER_BYTES_MAX = 64 * 1024
_LOG = logging.getLogger("symphony.following")

OnActive = Callable[[ActiveRelease], Awaitable[None]]
OnRefused = Callable[[int, str], Awaitable[None]]
OnAged = Callable[[VerifiedRelease, Standing], Awaitable[None]]
OnEmergencyRefused = Callable[[int, str], Awaitable[None]]
OnRevocations = Callable[[VerifiedRelease], Awaitable[None]]


class DatabaseRecord:
    """The highest release ever accepted, in the sidecar's database (``contracts.release.AcceptedRecord``)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sql = queries("sidecar.store")

    def highest(self) -> tuple[int, str] | None:
        """See ``AcceptedRecord``."""
        rows = self._call("highest_release")
        return None if not rows or rows[0][0] is None else (rows[0][0], rows[0][1])

    def accept(self, number: int, metadata_digest: str) -> None:
        """See ``AcceptedRecord``."""
        self._call("accept_release", number, metadata_digest)

    def _call(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self._url, connect_timeout=5) as connection:
                connection.execute("SET LOCAL ROLE symphony_executor")
                return connection.execute(self._sql[name], parameters).fetchall()
        except psycopg.Error as error:
            if error.sqlstate == "SY002":
                raise NotTrusted("RELEASE_ROLLBACK", str(error)) from error
            raise CannotEvaluate("STORE_UNAVAILABLE", type(error).__name__) from error


class Following:
    """One writer's release: ``active`` is what everything else asks for."""

    def __init__(
        self, config: WriterConfig, clock: Clock, *, on_active: OnActive, on_refused: OnRefused, on_revocations: OnRevocations,
        halted: Callable[[], bool] = lambda: False, on_aged: OnAged | None = None,
        on_emergency_refused: OnEmergencyRefused | None = None,
    ) -> None:  # fmt: skip
        tls = config.release
        context = client_context(Path(tls.certificate), Path(tls.key), Path(tls.ca))
        self._config = config
        self._clock = clock
        self._halted = halted
        self._on_active = on_active
        self._on_refused = on_refused
        self._on_revocations = on_revocations
        self._on_aged = on_aged
        self._aging = Aging(clock, Path(tls.folder) / FILE if tls.folder else None)
        self._kept_revocations: int | None = None
        self._active: ActiveRelease | None = None
        self._under: ActiveRelease | None = None
        self._on_emergency_refused = on_emergency_refused or on_refused
        self._reported_emergency: tuple[int, str] | None = None
        self._reported_refusal: tuple[int, str] | None = None
        self._context: ssl.SSLContext = context
        self._session: aiohttp.ClientSession | None = None
        self._alone = asyncio.Lock()
        self._bell = Bell(tls.url, context, pause_s=tls.poll_ms / 1000)
        self._follower = ReleaseFollower(
            environment=config.environment, service=config.service, folder=Path(tls.folder),
            root_bytes=_read(Path(tls.root)), source=HttpsSource(tls.url, context),
            record=DatabaseRecord(config.database_url), clock=clock, minimum_number=tls.minimum_number,
            self_test=self._self_test,
        )  # fmt: skip

    def active(self) -> ActiveRelease | None:
        """The release in force with what it still permits, or ``None`` while none is, or when its schedule has ended."""
        active = self._active
        if active is not None and _is_over(active.release, self._clock.now()):
            active = self._under  # at once, whether or not the control plane is there
        if active is None:
            return None
        active.standing = self._aging.standing(active.release)
        return None if active.standing.stopped else active

    async def start(self) -> str | None:
        """Take up the release already held, verified again offline; the code of what fails, which ``run`` tries again."""
        try:
            held = await asyncio.to_thread(self._follower.start)
            if held is not None:
                await self._activate(held)
        except (SymphonyError, OSError) as error:
            _LOG.error("the held release is not taken up: %s", error)
            return error.code if isinstance(error, SymphonyError) else "CONFIGURATION"
        return None

    async def run(self) -> None:
        """Refresh until cancelled."""
        try:
            while True:
                try:
                    await self.refresh()
                except Fenced:
                    raise
                except (SymphonyError, OSError) as error:
                    _LOG.warning("following releases: %s", error)  # the store or the disk; tried again at the next round
                except Exception:  # noqa: BLE001 - the old release runs on until its lease ends
                    _LOG.exception("following releases")
                await self._until_news()
        finally:
            await self._bell.close()
            if self._session is not None:
                await self._session.close()

    async def _until_news(self) -> None:
        """Until the bell is heard; what runs here is told meanwhile. Nothing of it ends the loop."""
        active, now = self._follower.active, self._clock.now()
        wait_s = patience(active, now)
        if active is not None and active.emergency is not None:
            wait_s = min(wait_s, max(0.0, (active.emergency.ends_at - now).total_seconds()))
        waiting = self._bell.heard(self._follower.seen, wait_s)
        try:
            await meanwhile(waiting, REPORT_EVERY_S, self._tell)
        except Exception:  # noqa: BLE001 - looking goes on by polling
            _LOG.exception("waiting for a release")
            await asyncio.sleep(self._config.release.poll_ms / 1000)

    def custodians(self) -> Custodians:
        """The custodians' newest word seen here. Raises ``NotTrusted RELEASE_*`` where there is none."""
        return self._follower.custodians()

    def last(self) -> VerifiedRelease | None:
        """The release taken up last, whether its lease has ended or not."""
        return self._active.release if self._active else None

    async def refresh(self, source: ReleaseSource | None = None) -> SymphonyError | None:
        """One round: refresh, activate or renew, report; what was refused. ``source``: a folder that an officer brought."""
        async with self._alone:
            return await self._refresh(source)

    async def _refresh(self, source: ReleaseSource | None) -> SymphonyError | None:
        trouble: SymphonyError | None = None
        try:
            await asyncio.to_thread(self._follower.refresh, source)
        except SymphonyError as error:
            _LOG.warning("refresh: %s", error)
            trouble = error
        release = self._follower.active
        if release is None:
            self._active = self._under = None
        elif self._active is None or self._active.release.in_force != release.in_force:
            await self._activate(release)
        else:
            self._active.renewed(release)  # before it is durable: a further refusal is never too early
            if self._under is not None and (under := self._follower.under) is not None:
                self._under.renewed(under)
            await self._keep_revocations(release)
        refused = self._follower.refused
        if refused != self._reported_refusal:
            if refused is not None:
                await self._on_refused(*refused)
            self._reported_refusal = refused
        await self._tell_of_emergencies()
        await self._tell()
        return trouble

    async def _tell(self) -> None:
        """The step that is reached, once; then what runs here."""
        try:
            await self._aged()
        except (SymphonyError, StoreConflict) as error:
            _LOG.warning("the step of a release that grows old is not recorded yet: %s", error)  # it holds; told at the next look
        await self._report()

    async def _aged(self) -> None:
        release = self.last()
        found = self._aging.entered(release) if release is not None else None
        if release is None or found is None:
            return
        if self._on_aged is not None:
            await self._on_aged(release, found)
        await asyncio.to_thread(self._aging.keep, found)
        _LOG.warning("release %d: %s", release.number, found.why or "fresh again, full caps")

    async def _tell_of_emergencies(self) -> None:
        refused = self._follower.emergency_refused
        if refused is not None and refused != self._reported_emergency:
            await self._on_emergency_refused(*refused)
        self._reported_emergency = refused

    async def _made(self, release: VerifiedRelease) -> ActiveRelease:
        """It compiles the policy and imports every key; what an emergency stood over is there already."""
        under = self._under
        if under is not None and under.release.in_force == release.in_force:
            under.renewed(release)
            return under
        return await asyncio.to_thread(ActiveRelease, release)

    async def _activate(self, release: VerifiedRelease) -> None:
        active, under = await self._made(release), self._follower.under if release.emergency is not None else None
        below = None if under is None else await asyncio.to_thread(ActiveRelease, under)
        warn_of_wildcards(self._config.service, release.environment_data)
        await self._keep_revocations(release)
        await self._on_active(active)
        self._active, self._under = active, below
        _LOG.info("release %d is active, policy %s", release.number, release.policy_digest[:16])

    async def _keep_revocations(self, release: VerifiedRelease) -> None:
        """SEC-08: each list is durable once, before the next one is looked at."""
        if release.revocations_version != self._kept_revocations:
            await self._on_revocations(release)
            self._kept_revocations = release.revocations_version

    def _self_test(self, release: VerifiedRelease) -> None:
        """Rule 15: the engine compiles and answers; our permit key is of the release; our own invariants hold here."""
        WasmEngine(release.policy_wasm, {"environment": release.environment_data})
        mine = key_id_of(load_private_key(Path(self._config.permit_key)))
        if not any(key["key_id"] == mine for key in release.environment_data["permit_keys"]):
            raise NotTrusted("RELEASE_MANIFEST", "this sidecar's permit key is not one of the release")
        invariants.check(self._config.database_url)

    async def _report(self) -> None:
        """Say what runs here; a control plane that is down is not our trouble."""
        if self._config.fleet_url is None:
            return
        config, halted, active = self._config, self._halted(), self.active()
        stale = self._active.standing.mode if self._active else ""
        body = status_report(
            {"environment": config.environment, "service": config.service, "instance": config.instance},
            self._active.release if self._active else None, self._follower.refused, delivered=self._follower.delivered,
            ready=active is not None and not halted, halted=halted, stale=stale,
        )  # fmt: skip
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REPORT_TIMEOUT_S))
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.post(self._config.fleet_url, json=body, ssl=self._context) as response:
                await response.content.read(ANSWER_BYTES_MAX)  # it changes nothing here; read, the connection is kept


def _is_over(release: VerifiedRelease, now: datetime) -> bool:
    return release.emergency is not None and now >= release.emergency.ends_at


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotEvaluate("CONFIGURATION", f"no pinned root at {path}: {error}") from error
