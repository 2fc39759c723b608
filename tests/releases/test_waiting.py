"""The long poll over real TLS: a promotion or a revocation rings; places are bounded, and freed."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.release.bell import Bell
from controlplane import news as news_module
from controlplane.trust import services as trust_services
from services.ledger.releases import Following, ReleaseWindow
from services.ledger.reporting import FleetReporter
from symphony.release.client import ControlPlane
from symphony.release.revoke import publish_revocations
from tests.releases.running import Running, control_plane
from tests.releases.support import ENVIRONMENT, SERVICE, World, follower
from tests.support.database import Database, TestPostgres

NEVER_S = 3600


@pytest.fixture(scope="module")
def plane(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One control plane for these tests: each goes on with what it finds published."""
    made = postgres.new_database("controlplane")
    with control_plane(World(tmp_path_factory.mktemp("waiting") / "stack"), made.writer) as up:
        yield up
    postgres.drop(made)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For requests that wait."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def asked(plane: Running, query: str) -> tuple[int, Any, dict[str, Any]]:
    """One wait."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", int(plane.url.rsplit(":", 1)[1]), context=plane.service_context(), timeout=60
    )
    try:
        connection.request("GET", f"/tuf/wait?{query}")
        response = connection.getresponse()
        return response.status, response.headers, orjson.loads(response.read())
    finally:
        connection.close()


def waiting(plane: Running, threads: ThreadPoolExecutor, query: str) -> Future[tuple[int, Any, dict[str, Any]]]:
    """A wait that has its place."""
    before = plane.context.news.waiting
    asking = threads.submit(asked, plane, query)
    until(lambda: plane.context.news.waiting > before)
    return asking


def newest(plane: Running) -> int:
    """The snapshot's version that is published."""
    return int(asked(plane, "snapshot=0&seconds=30")[2]["snapshot"])


def until(condition: Any) -> None:
    """Within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_published_already_is_told_at_once_and_nothing_new_at_the_end(plane: Running) -> None:
    status, _, answer = asked(plane, "snapshot=0&seconds=30")
    assert status == 200
    assert answer["snapshot"] >= 2
    assert asked(plane, f"snapshot={answer['snapshot']}&seconds=0")[2] == answer
    assert asked(plane, "snapshot=999999&seconds=0")[2] == answer


@pytest.mark.parametrize("query", ["", "snapshot=-1", "snapshot=one", "snapshot=1&seconds=1.5", "snapshot=" + "9" * 16])
def test_a_question_that_is_none_is_refused(plane: Running, query: str) -> None:
    status, _, answer = asked(plane, query)
    assert (status, answer["reason_code"]) == (400, "REQUEST_INVALID")


def test_a_promotion_and_a_revocation_list_ring(plane: Running, threads: ThreadPoolExecutor) -> None:
    for publish in (
        plane.release,
        lambda: publish_revocations(
            plane.control("esnart"),
            ENVIRONMENT,
            plane.world.ceremony.revocations(ENVIRONMENT, 2, [], plane.world.clock.now()),
        ),
    ):
        known = newest(plane)
        asking = waiting(plane, threads, f"snapshot={known}&seconds=30")
        publish()
        assert asking.result(30)[2]["snapshot"] == known + 1


def test_what_another_process_published_rings(plane: Running, threads: ThreadPoolExecutor) -> None:
    """The database is the truth: nobody told this process."""
    known = newest(plane)
    asking = waiting(plane, threads, f"snapshot={known}&seconds=30")

    async def another_process() -> None:
        context = plane.context
        pool = type(context.pool)(context.pool._url)
        async with pool.transaction() as connection:
            newest = await trust_services.newest_files(connection)
            await trust_services.publish(connection, trust_services.publication(context, newest, []))
        await pool.close()

    asyncio.run(another_process())
    assert asking.result(30)[2] == {"snapshot": known + 1}


def test_above_the_bound_it_is_refused_with_the_time_to_come_back(
    plane: Running, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place is free again when its peer has gone away."""
    query = f"snapshot={newest(plane)}&seconds=30"
    monkeypatch.setattr(news_module, "WAITERS_MAX", 1)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", int(plane.url.rsplit(":", 1)[1]), context=plane.service_context()
    )
    connection.request("GET", f"/tuf/wait?{query}")
    until(lambda: plane.context.news.waiting == 1)
    status, headers, answer = asked(plane, query)
    assert (status, answer["reason_code"], headers["retry-after"]) == (503, "OVERLOADED", "10")
    connection.close()
    until(lambda: plane.context.news.waiting == 0)
    assert asked(plane, "snapshot=1&seconds=0")[0] == 200


def test_the_servers_end_answers_who_waits(world: World, database: Database, threads: ThreadPoolExecutor) -> None:
    """An answer, not a connection that is cut after the grace."""
    with control_plane(world, database.writer) as running:
        asking = waiting(running, threads, "snapshot=2&seconds=30")
    assert asking.result(30)[0] == 200


def test_a_ledger_takes_a_promotion_without_polling_and_says_so(plane: Running, tmp_path: Path) -> None:
    """Rung, fetched, verified, in force, acknowledged: the pause of polling is longer than the test."""
    ours = follower(plane.world, plane.source(), tmp_path / "ledger", service="core-ledger")
    window = ReleaseWindow(plane.world.clock)
    context = plane.service_context("core-ledger")
    reporter = FleetReporter(
        plane.url, context, environment=ENVIRONMENT, service="core-ledger", clock=plane.world.clock
    )
    reporter.delivered = lambda: ours.delivered
    bell = Bell(f"{plane.url}/tuf", context, pause_s=NEVER_S)
    ended = threading.Event()

    async def follow() -> None:
        following = asyncio.create_task(Following(ours, window, poll_s=NEVER_S, report=reporter, bell=bell).run())
        await asyncio.to_thread(ended.wait)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await asyncio.sleep(0.05)  # the end of TLS goes out

    thread = threading.Thread(target=lambda: asyncio.run(follow()))
    thread.start()
    try:
        until(lambda: plane.context.news.waiting == 1)
        made = plane.release()
        until(lambda: standing(plane, "core-ledger").get("active_number") == made.number)
        row = standing(plane, "core-ledger")
        assert (row["active_digest"], row["delivered_number"], row["silent"]) == (made.digest, made.number, False)
        assert row["lease_expires_at"] is not None
    finally:
        ended.set()
        thread.join(30)


def standing(plane: Running, service: str) -> dict[str, Any]:
    """What the fleet view knows of a service's one instance."""
    found = plane.control("alice").get("/v1/fleet")["services"]
    return next((one for one in found if one["service"] == service), {})


def test_a_service_of_the_release_before_still_reports(plane: Running) -> None:
    """N-1: without delivery, lease and kind of refusal; the kind is then ours to tell."""
    service = ControlPlane(plane.url, plane.service_context())
    old: dict[str, Any] = {
        "environment": ENVIRONMENT, "service": SERVICE, "instance": "old", "ready": True, "mode": "enforced", "active": None,
    }  # fmt: skip
    for code, permanent in (("RELEASE_SIGNATURE", True), ("RELEASE_NOT_BEFORE", False)):
        service.post("/v1/fleet/status", {**old, "refused": {"number": 2, "code": code}})
        row = standing(plane, SERVICE)
        assert (row["refused_code"], row["refused_permanent"]) == (code, permanent)
        assert (row["delivered_number"], row["lease_expires_at"]) == (None, None)
