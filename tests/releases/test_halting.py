"""A control plane whose own invariants are broken: refused at start; halted while running: it signs and changes nothing."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.keys import new_private_key
from contracts.runtime_invariants import Finding, Watch
from controlplane.evidence.checkpoints import make_checkpoint
from controlplane.invariants import services
from controlplane.trust import services as trust_services
from controlplane.trust.services import keep_fresh
from symphony.release.client import ControlPlane
from tests.releases.running import Running
from tests.releases.support import World
from tests.releases.test_faces import timestamp_of
from tests.releases.test_process import WAIT_S, config_of, start, started
from tests.support.database import Database

__all__ = ["started"]
BREAK = "ALTER TABLE symphony.release_events DISABLE TRIGGER trg_release_events_append_only"
MEND = "ALTER TABLE symphony.release_events ENABLE TRIGGER trg_release_events_append_only"
Processes = list[subprocess.Popen[str]]


def run(database: Database, statement: str) -> None:
    """As superuser."""
    with psycopg.connect(database.admin, autocommit=True) as connection:
        connection.execute(statement)


def ended(config: dict[str, Any], world: World, started: Processes) -> str:
    """What a process said that must refuse to start."""
    assert start(config, world.folder, started).wait(WAIT_S) == 3
    said = (world.folder / "stderr").read_text()
    assert "Traceback" not in said
    assert "next: " in said
    return said


@pytest.mark.parametrize(("breach", "mend", "named"), [
    (BREAK, MEND, "INV-029: symphony.release_events"),
    ("GRANT UPDATE ON symphony.principals TO symphony_control", "REVOKE UPDATE ON symphony.principals FROM symphony_control", "INV-010"),
    ("DROP INDEX symphony.ux_policy_versions_one_active",
     "CREATE UNIQUE INDEX ux_policy_versions_one_active ON symphony.policy_versions (environment) WHERE is_active", "INV-018"),
    ("ALTER ROLE cp_writer SUPERUSER", "ALTER ROLE cp_writer NOSUPERUSER", "INV-007"),
])  # fmt: skip
def test_a_broken_database_is_a_refusal_to_start(
    world: World, database: Database, started: Processes, breach: str, mend: str, named: str
) -> None:
    run(database, breach)
    try:
        assert f"RELEASE_INVARIANT: does not hold here: {named}" in ended(config_of(world, database), world, started)
    finally:
        run(database, mend)


def test_an_online_key_that_others_may_read_is_a_refusal_to_start(world: World, database: Database, started: Processes) -> None:
    """I-KEY-01."""
    config = config_of(world, database)
    (Path(config["keys"]) / "timestamp.pem").chmod(0o644)
    assert "timestamp.pem has mode 0644" in ended(config, world, started)


def test_an_online_key_that_the_root_does_not_name_is_refused_at_start_i_key_02(world: World, tmp_path: Path) -> None:
    """The published root names snapshot and timestamp keys; another key here could sign nothing that a sidecar takes."""
    root = world.root
    keys = Path(world.folder / "controlplane" / "keys")
    assert services._named(keys, root).holds
    assert services._named(keys, None).holds
    for role in services.ONLINE_ROLES:
        new_private_key(tmp_path / f"{role}.pem")
    assert len(services._named(tmp_path, root).wrong) == 2


@pytest.fixture
def plane(world: World, database: Database, started: Processes) -> Iterator[ControlPlane]:
    """A running one that asks often."""
    config = config_of(world, database) | {"runtime_check_interval_s": 0.1}
    start(config, world.folder, started)
    yield ControlPlane.for_folder(
        f"https://127.0.0.1:{config['port']}", world.folder / "officers" / "alice", Path(config["ca"])
    )
    run(database, MEND)


def until(plane: ControlPlane, code: str | None) -> None:
    """Readiness with that reason, or none."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            plane.get("/health/ready")
            said = None
        except SymphonyError as error:
            said = error.code
        if said == code:
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def test_while_halted_it_changes_nothing_and_serves_what_there_is(plane: ControlPlane, database: Database) -> None:
    """PIL-05, INV-029: mutations answer 503, reads stay; mended it goes on."""
    until(plane, None)
    run(database, BREAK)
    until(plane, "SERVICE_HALTED")
    with pytest.raises(SymphonyError) as caught:
        plane.post("/v1/trust", {})
    assert caught.value.code == "SERVICE_HALTED"
    assert plane.releases("sandbox") == []
    run(database, MEND)
    until(plane, None)
    with pytest.raises(SymphonyError) as refused:
        plane.post("/v1/trust", {})
    assert refused.value.code != "SERVICE_HALTED"


def test_a_halted_control_plane_lets_the_timestamp_run_out_and_signs_again_once_mended(running: Running, world: World) -> None:
    """PIL-05: no new timestamp, snapshot or checkpoint; the sidecars' leases end by what was signed before."""
    found: list[Finding] = []
    context = running.context
    context.watch = Watch(lambda: list(found))
    running.release()
    before = timestamp_of(running)

    def work(job: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job, running.loop).result(10)

    found.append(Finding("INV-029", "P0", ("symphony.release_events lets changes through",)))
    work(context.watch.once())
    world.clock.moved += context.timestamp_lifetime + timedelta(seconds=1)
    for job in (keep_fresh, make_checkpoint):
        with pytest.raises(CannotEvaluate) as caught:
            work(job(context))
        assert caught.value.code == "SERVICE_HALTED"
    assert timestamp_of(running).version == before.version
    assert timestamp_of(running).expires < world.clock.now()
    found.clear()
    work(context.watch.once())
    work(keep_fresh(context))
    assert timestamp_of(running).version > before.version
    assert timestamp_of(running).expires > world.clock.now()


def test_a_halt_that_comes_while_a_signature_waits_for_its_lock_stops_it(running: Running, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look before the wait is not enough."""
    running.release()
    context, before = running.context, timestamp_of(running)
    context.watch = watch = Watch(list)
    inner = trust_services.lock

    async def slow(connection: Any) -> None:
        await inner(connection)
        watch.broken = (Finding("INV-029", "P0", ("x",)),)

    monkeypatch.setattr(trust_services, "lock", slow)
    world.clock.moved += context.timestamp_lifetime / 2
    with pytest.raises(CannotEvaluate, match="SERVICE_HALTED"):
        asyncio.run_coroutine_threadsafe(keep_fresh(context), running.loop).result(10)
    assert timestamp_of(running).version == before.version
