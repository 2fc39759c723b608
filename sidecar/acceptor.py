"""``python -m sidecar acceptor --config FILE``: ends TLS, does stations 1 to 3. No database login, no permit key.

It asks the writer for its state a few times a second; when the writer's release is another, it verifies that release from
the writer's folder by itself, makes its engine, tells the adapter, and swaps all of it as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.errors import SymphonyError
from contracts.insecure import warn_of_wildcards
from contracts.release import load_held
from contracts.runtime_invariants import Watch
from contracts.times import Clock, SystemClock, parse_rfc3339
from contracts.tls import uvicorn_config
from sidecar import invariants
from sidecar.active import ActiveRelease
from sidecar.attestation import HandshakeRefusal, RevocationView, acceptor_context
from sidecar.attestation.rejects import RejectAggregate
from sidecar.config import AcceptorConfig
from sidecar.intake.http import Instructions
from sidecar.intake.pipeline import Pipeline, view_of
from sidecar.metrics import render

STATE_EVERY_S = 0.2
STATE_TIMEOUT_S = 2.0
RELEASE_WAIT_S = 120.0
AGGREGATE_EVERY_S = 10.0
_LOG = logging.getLogger("symphony.acceptor")


class _Named:
    """The writer's word of its highest release, so that exactly that one is verified here (rule 12)."""

    def __init__(self, number: int, metadata_digest: str) -> None:
        self._pair = (number, metadata_digest)

    def highest(self) -> tuple[int, str]:
        """See ``contracts.release.AcceptedRecord``."""
        return self._pair

    def accept(self, number: int, metadata_digest: str) -> None:
        """An acceptor accepts nothing by itself."""
        raise AssertionError((number, metadata_digest))


class Acceptor:
    """One acceptor process."""

    def __init__(self, config: AcceptorConfig, clock: Clock) -> None:
        self._config = config
        self.clock = clock
        self._root = Path(config.release_root).read_bytes()
        self.pipeline = Pipeline(
            writer=Path(config.writer_socket), adapter=Path(config.adapter_socket), environment=config.environment,
            service=config.service, clock=clock,
        )  # fmt: skip
        self.watch = Watch(lambda: invariants.of_acceptor(config, clock), interval_s=config.runtime_check_interval_s)
        self.instructions = Instructions(self.pipeline, clock)
        self._revocations_version = 0
        self._loaded: ActiveRelease | None = None
        self._unreported: list[RejectAggregate] = []
        self._drained_at = time.monotonic()
        self.context = acceptor_context(
            Path(config.certificate), Path(config.key), [], on_refused=self._handshake_refused
        )

    async def follow(self) -> None:
        """Keep the view current until cancelled; whatever goes wrong, the view ages and intake refuses by itself."""
        while True:
            try:
                await self.follow_once()
                await self._report_rejects()
            except (SymphonyError, TimeoutError, OSError) as error:
                _LOG.warning("following the writer: %s", error)
            except Exception:  # noqa: BLE001 - the view ages and intake refuses; the loop goes on
                _LOG.exception("following the writer")
            await asyncio.sleep(STATE_EVERY_S)

    async def follow_once(self) -> None:
        """One round."""
        state = await self.pipeline.writer.call(
            "state", {"revocations_version": self._revocations_version}, timeout_s=STATE_TIMEOUT_S
        )
        if state["release"] is None:
            self.pipeline.view = None
            return
        view = self.pipeline.view
        number, digest = state["release"]["number"], state["release"]["metadata_digest"]
        named = (number, state.get("emergency", 0)), digest
        if view is None or (view.active.release.in_force, view.active.release.metadata_digest) != named:
            active = await self._made(*named)
            self.context.reload(active.release.environment_data["certificate_authorities"])
            await self.pipeline.configure_adapter(active)
            self.pipeline.bound(active)
            warn_of_wildcards(f"the acceptor of {active.release.manifest['service']}", active.release.environment_data)
            _LOG.info("release %d is active", number)
        else:
            active = view.active
        entries = state["revocations"] if state["revocations"] is not None else active.release.revocations
        self._renew(active, state, entries)
        view = view_of(active, state)
        own = self.watch.stopped()
        if own is not None:
            view.stopped = (own.code, own.detail)
        view.broken += tuple(one.id for one in self.watch.broken)
        self.pipeline.view = view

    async def _made(self, in_force: tuple[int, int], digest: str) -> ActiveRelease:
        """The release, verified and compiled once, however often what follows has to be tried again."""
        made = self._loaded
        if made is None or (made.release.in_force, made.release.metadata_digest) != (in_force, digest):
            made = await asyncio.to_thread(self._load, in_force[0], digest)
            if made.release.in_force != in_force:
                raise SymphonyError("NO_ACTIVE_RELEASE", "the writer's emergency release is not in its folder, or not any more")
            self._loaded = made
        return made

    def _renew(self, active: ActiveRelease, state: dict[str, Any], entries: list[dict[str, Any]]) -> None:
        if state["revocations"] is not None or active.revocations.entries != tuple(entries):
            active.release.revocations[:] = entries
        self._revocations_version = state["revocations_version"]
        fetched = parse_rfc3339(state["fetched_at"])
        if active.revocations.as_of != fetched or state["revocations"] is not None:
            active.revocations = RevocationView.of(active.release.revocations, fetched)
        ends = state.get("release_expires_at")  # the custodians' newer word ends it later, or earlier
        active.lease_until(parse_rfc3339(state["lease_expires_at"]), fetched, parse_rfc3339(ends) if ends else None)

    def _load(self, number: int, digest: str) -> ActiveRelease:
        release = load_held(
            environment=self._config.environment, service=self._config.service, folder=Path(self._config.release_folder),
            root_bytes=self._root, record=_Named(number, digest), clock=self.clock,
        )  # fmt: skip
        if release is None:
            raise SymphonyError("NO_ACTIVE_RELEASE", "the writer's release is not in its folder yet")
        return ActiveRelease(release)

    async def _report_rejects(self) -> None:
        if time.monotonic() - self._drained_at < AGGREGATE_EVERY_S:
            return
        self._drained_at = time.monotonic()
        await self.report_rejects()

    async def report_rejects(self, *, final: bool = False) -> None:
        """Hand the aggregates to the writer; what it does not take stays here for the next time (D3: nothing is uncounted)."""
        if not self._unreported or final:
            self._unreported += self.pipeline.limiter.drain(self.clock.now(), final=final)
        while self._unreported:
            params = {"aggregate": _aggregate(self._unreported[0])}
            await self.pipeline.writer.call("rejects", params, timeout_s=STATE_TIMEOUT_S)
            del self._unreported[0]

    def _handshake_refused(self, refusal: HandshakeRefusal) -> None:
        self.instructions.counts["HANDSHAKE_REFUSED"] = self.instructions.counts.get("HANDSHAKE_REFUSED", 0) + 1
        if refusal.code is not None:
            self.pipeline.limiter.admit("tls", refusal.code, self.clock.now())


def _aggregate(aggregate: RejectAggregate) -> dict[str, Any]:
    return {
        "source_sha256": aggregate.source_sha256, "count": aggregate.count, "codes": aggregate.codes,
        "first_at": aggregate.first_at.isoformat(), "last_at": aggregate.last_at.isoformat(),
    }  # fmt: skip


def _aged(standing: Mapping[str, int]) -> str:
    """What ``/health/ready`` says of a release that has grown old; nothing of one that has not."""
    reached = [f"{clock}-{standing[clock]}" for clock in ("lease", "role") if standing.get(clock)]
    return f" stale={','.join(reached)} caps_percent={standing['caps_percent']}" if reached else ""


def create_app(acceptor: Acceptor) -> Starlette:
    """Health and metrics, and the hot path mounted beside them."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(acceptor.follow()), asyncio.create_task(acceptor.watch.run())]
        yield
        for task in tasks:
            task.cancel()
        with contextlib.suppress(SymphonyError, TimeoutError, OSError):
            async with asyncio.timeout(STATE_TIMEOUT_S):
                await acceptor.report_rejects(final=True)
        await acceptor.pipeline.writer.close()
        await acceptor.pipeline.adapter.close()

    async def live(_request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(_request: Request) -> Response:
        try:
            if acceptor.pipeline.view is None:
                raise SymphonyError("NO_ACTIVE_RELEASE")
            view = acceptor.pipeline.view
            view.demand_fresh(acceptor.clock.now())
            view.demand_open()
        except SymphonyError as error:
            text = f"{error.code} {error.detail}".strip() if error.code == "SERVICE_HALTED" else error.code
            return PlainTextResponse(f"{text}\n", status_code=503)
        warned = f" warnings={','.join(view.broken)}" if view.broken else ""
        warned += f" orders={','.join(map(str, view.orders))}" if view.orders else ""  # ready: queries and outcomes go on
        warned += _aged(view.standing)
        return PlainTextResponse(f"ready release={view.active.release.number}{warned}\n")

    async def metrics(_request: Request) -> Response:
        broken = acceptor.pipeline.view.broken if acceptor.pipeline.view else ()
        standing = acceptor.pipeline.view.standing if acceptor.pipeline.view else {}
        return PlainTextResponse(render(acceptor.instructions.counts, acceptor.pipeline.batchers, broken, standing))

    return Starlette(
        routes=[
            Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics),
            Mount("/", app=acceptor.instructions),
        ],
        lifespan=lifespan,
    )  # fmt: skip


def hot_path(instructions: Instructions, others: Starlette) -> ASGIApp:
    """The addresses of instructions go straight to their function, past the routing and middleware of the others."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/instructions"):
            await instructions(scope, receive, send)
        else:
            await others(scope, receive, send)

    return route


async def run(config: AcceptorConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    import uvicorn

    acceptor = Acceptor(config, SystemClock())
    await acceptor.watch.at_start()
    app = hot_path(acceptor.instructions, create_app(acceptor))
    settings = uvicorn_config(
        app, host=config.host, port=config.port, context=acceptor.context, lifespan="on", interface="asgi3"
    )
    await uvicorn.Server(settings).serve()
