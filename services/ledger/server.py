"""One running ledger: database, batches, follower and TLS server, started and stopped together.

The server listens before the first release is there: until then it refuses everything with a reason (fail closed).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from socket import socket

import uvicorn

from contracts.errors import CannotEvaluate
from contracts.release import HttpsSource, PinnedRoot, ReleaseFollower
from contracts.release.aging import FILE as AGING
from contracts.release.bell import Bell
from contracts.runtime_invariants import Finding, Watch
from contracts.times import Clock, SystemClock
from contracts.tls import client_context, server_context, uvicorn_config
from services.ledger import config, invariants
from services.ledger.app import Application
from services.ledger.batching import Batcher
from services.ledger.config import Config
from services.ledger.intake import Callers, Intake
from services.ledger.reading import Books
from services.ledger.refusals import Refusals
from services.ledger.releases import Follower, Following, ReleaseWindow, Report
from services.ledger.reporting import FleetReporter
from services.ledger.store import Database
from services.ledger.store.postings import Effect, post, seal
from services.ledger.store.releases import AcceptedReleases

READERS_MAX = 2
_LOG = logging.getLogger("symphony.ledger")


def follower_of(settings: Config, clock: Clock) -> Follower:
    """The ledger's own follower: control plane over mTLS, durable record in its own database."""
    source = settings.release
    pinned = PinnedRoot.from_file(source.root, settings.minimum_release)
    return ReleaseFollower(
        environment=settings.environment,
        service=settings.service,
        folder=source.folder,
        root_bytes=pinned.root,
        minimum_number=pinned.minimum_number,
        source=HttpsSource(source.url, client_context(source.certificate, source.key, source.ca)),
        record=AcceptedReleases(settings.database_url),
        clock=clock,
        self_test=lambda _: _hold(settings.database_url),
    )


def _hold(database_url: str) -> None:
    invariants.check(database_url)


def reporter_of(settings: Config, clock: Clock) -> FleetReporter:
    """Reports to the control plane that the releases come from."""
    source = settings.release
    context = client_context(source.certificate, source.key, source.ca)
    return FleetReporter(
        source.url, context, environment=settings.environment, service=settings.service, clock=clock
    )


def bell_of(settings: Config) -> Bell:
    """Rung by the control plane that the releases come from."""
    source = settings.release
    context = client_context(source.certificate, source.key, source.ca)
    return Bell(source.url, context, pause_s=settings.release_poll_ms / 1000)


class _Server(uvicorn.Server):
    """uvicorn that tells when it listens and leaves signals alone (it would end the process before we closed)."""

    listening: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """No handlers: ``__main__`` has its own."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        if self.started:
            self.listening()


class Ledger:
    """A ledger in the running loop. ``port`` is the one that it listens on, once it does."""

    def __init__(
        self,
        settings: Config,
        *,
        follower: Follower,
        clock: Clock | None = None,
        report: Report | None = None,
        bell: Bell | None = None,
    ) -> None:
        self._settings = settings
        clock = clock or SystemClock()
        self.window = ReleaseWindow(clock, settings.release.folder / AGING)
        poll_s = settings.release_poll_ms / 1000
        self._following = Following(follower, self.window, poll_s=poll_s, report=report, bell=bell)
        self._database = Database(settings.database_url)
        self._reading = Database(settings.database_url, connections_max=READERS_MAX)
        self._recording = Database(settings.database_url, connections_max=1)
        self._refusals = Refusals(self._recording)
        self.watch = Watch(
            lambda: invariants.of_ledger(settings, clock), interval_s=settings.runtime_check_interval_s, told=_halting
        )
        if isinstance(report, FleetReporter):
            report.stopped = self.watch.stopped
            report.delivered = lambda: follower.delivered
            report.standing = lambda _: self.window.standing
        posts = Batcher("post", partial(post, self._database), _instruction, **_BOUNDS)
        seals = Batcher("seal", partial(seal, self._database), _instruction, **_BOUNDS)
        self._batchers = (posts, seals)
        callers = Callers(self.window, clock, settings.clients)
        intake = Intake(self.window, callers, clock, posts, seals, self._refusals, self.watch)
        self.application = Application(intake, Books(self._reading, self.window, clock, self.watch), callers)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port in use."""
        if self._server is None or not self._server.started:
            raise CannotEvaluate("CONFIGURATION", "the server does not listen")
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def serve(self, listening: Callable[[int], None] = lambda _: None) -> None:
        """Until ``stop``. Raises ``NotTrusted RELEASE_INVARIANT`` where an invariant of its own does not hold."""
        settings = self._settings
        context = server_context(settings.certificate, settings.key, settings.ca)
        await self.watch.at_start()
        self._server = _Server(
            uvicorn_config(self.application, host=settings.host, port=settings.port, context=context, lifespan="off")
        )
        async with self._working():
            self._server.listening = lambda: listening(self.port)
            await self._server.serve()

    def stop(self) -> None:
        """Finish the requests in hand and end ``serve``."""
        if self._server is not None:
            self._server.should_exit = True

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        for batcher in self._batchers:
            batcher.start(config.BATCH_WORKERS)
        following = asyncio.create_task(self._following.run(), name="following")
        counting = asyncio.create_task(self._refusals.run(), name="counting refusals")
        watching = asyncio.create_task(self.watch.run(), name="watching invariants")
        try:
            yield
        finally:
            watching.cancel()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            for batcher in self._batchers:
                await batcher.stop()
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting
            await self._refusals.write_counted()
            await self._recording.close()
            await self._database.close()
            await self._reading.close()


_BOUNDS = {"batch_size_max": config.BATCH_SIZE_MAX, "queue_max": config.QUEUE_MAX}


async def _halting(halted: tuple[Finding, ...]) -> None:
    _LOG.critical("halted by %s", ", ".join(one.id for one in halted)) if halted else _LOG.warning("no longer halted")


def _instruction(effect: Effect) -> str:
    return effect.claims.instruction_id
