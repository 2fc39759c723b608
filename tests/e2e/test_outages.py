"""Any process may die or hang under load, PostgreSQL too: payments go on or are taken up again, and the count holds."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from symphony.stack import prepare
from symphony.stack.layout import SIDECAR
from tests.e2e.conftest import BACKLOG_MAX
from tests.e2e.support import Stack, left_behind, stopped, symphony, until
from tests.e2e.test_kill import Load

NewStack = Callable[..., Stack]
PROCESSES = ("acceptor", "writer", "adapter", "ledger", "shipper", "controlplane", "postgres")
BACKLOG = "SELECT sum(symphony.evidence_backlog(stream))::bigint AS n FROM symphony.writer_epochs"
RECORDED = "SELECT max(stream_seq) AS high FROM symphony.evidence_records"
LOGGED = "SELECT count(*) AS n, min(seq) AS low, max(seq) AS high FROM symphony.log_leaves WHERE stream = %s"


def pid_of(stack: Stack, name: str) -> int:
    """The pid of a process, or of the stack's PostgreSQL."""
    if name != "postgres":
        return stack.pid(name)
    found = prepare.database(stack.layout).pid()
    assert found is not None
    return found


def shipped(stack: Stack) -> bool:
    """Whether all evidence is in the log, without a gap."""
    high = stack.row("sidecar", RECORDED)["high"]
    logged = stack.row("controlplane", LOGGED, SIDECAR)
    return (logged["n"], logged["low"], logged["high"]) == (high, 1, high)


def healthy(stack: Stack) -> bool:
    """Whether doctor finds nothing wrong."""
    return bool(stack.json("doctor", code=None)["ok"])


@pytest.mark.parametrize("name", PROCESSES)
def test_sigkill_under_load(crash_stack: Stack, name: str) -> None:
    with Load(crash_stack) as load:
        sent = load.send(60)
        until(lambda: load.accepted, what="the first acceptance")
        pid = pid_of(crash_stack, name)
        os.kill(pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        for future in sent:
            future.result()
        load.count()
    until(lambda: pid_of(crash_stack, name) != pid, what="the restart")
    until(lambda: shipped(crash_stack), timeout_s=30, what="shipping")


@pytest.mark.parametrize("name", PROCESSES[:-1])
def test_sigterm_under_load_ends_clean(crash_stack: Stack, name: str) -> None:
    """As an upgrade does: what is in hand is finished or given up in order, and the log holds no fault."""
    with Load(crash_stack) as load:
        sent = load.send(40)
        until(lambda: load.accepted, what="the first acceptance")
        pid = pid_of(crash_stack, name)
        os.kill(pid, signal.SIGTERM)
        for future in sent:
            future.result()
        load.count()
    until(lambda: pid_of(crash_stack, name) != pid, what="the restart")


def test_postgres_killed_outright_under_load(crash_stack: Stack) -> None:
    with Load(crash_stack) as load:
        sent = load.send(30)
        time.sleep(0.1)
        os.kill(pid_of(crash_stack, "postgres"), signal.SIGKILL)
        for future in sent:
            future.result()
        load.count()
    until(lambda: healthy(crash_stack), what="health")


@pytest.mark.parametrize("name", ["adapter", "ledger"])
def test_a_rail_that_hangs_delays_payments_and_loses_none(crash_stack: Stack, name: str) -> None:
    """In doubt after the submit's time: asked again by seal, never sent blindly."""
    with Load(crash_stack) as load:
        with stopped(pid_of(crash_stack, name)):
            sent = load.send(10)
            time.sleep(2.5)
        for future in sent:
            future.result()
        load.count()


def test_payments_go_on_without_the_control_plane_and_evidence_ships_later(crash_stack: Stack) -> None:
    """Design, station 8: an outage of the control plane stops nothing and loses nothing."""
    until(lambda: shipped(crash_stack), what="shipping")
    with Load(crash_stack) as load, stopped(pid_of(crash_stack, "controlplane")):
        for future in load.send(30):
            future.result()
        until(lambda: load._all_ended() is not None, what="posting")
        assert crash_stack.row("sidecar", BACKLOG)["n"] > 0
    until(lambda: shipped(crash_stack), timeout_s=40, what="shipping")
    with Load(crash_stack) as load:
        load.count()


def test_intake_stops_at_the_backlog_bound_and_goes_on_by_itself(crash_stack: Stack) -> None:
    """Design, station 8: no payment is taken whose evidence could not be kept; what was taken before is posted and shipped."""
    refused = None
    with Load(crash_stack) as load:
        with stopped(pid_of(crash_stack, "controlplane")):
            for _ in range(BACKLOG_MAX):
                reply = crash_stack.submit()
                if reply.status != 202:
                    refused = reply
                    break
            assert refused is not None, "the bound was never reached"
            assert (refused.status, refused.code, refused.body["retryable"]) == (503, "EVIDENCE_BACKLOG", True)
            assert crash_stack.row("sidecar", BACKLOG)["n"] > BACKLOG_MAX
        until(lambda: crash_stack.submit().status == 202, timeout_s=30, what="intake")
        load.count()
    until(lambda: shipped(crash_stack), timeout_s=40, what="shipping")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["down", "SIGKILL of the supervisor"])
def test_a_stack_that_goes_down_under_load_comes_back_and_has_lost_nothing(new_stack: NewStack, how: str) -> None:
    stack = new_stack("lost")
    with Load(stack) as load:
        sent = load.send(20)
        until(lambda: load.accepted, what="the first acceptance")
        running = stack.layout.running()
        assert running is not None
        if how == "down":
            stack.symphony("down")
        else:
            os.kill(running["pid"], signal.SIGKILL)
        home = prepare.database(stack.layout).home.data
        until(lambda: not left_behind(stack.folder, home), timeout_s=15, what="the end of every process")
        assert stack.json("doctor", code=1)["ok"] is False
        assert symphony("up", "--detach", "--dir", str(stack.folder), timeout_s=90).returncode == 0
        for future in sent:
            future.result()
        load.count()
    until(lambda: shipped(stack), what="shipping")


@pytest.mark.long
def test_anything_may_die_or_hang_at_any_time_for_minutes(crash_stack: Stack, seconds: float = 180) -> None:
    seed = int(os.environ.get("SYMPHONY_SEED") or random.randrange(1_000_000))
    print(f"seed {seed}")
    chance, done = random.Random(seed), []
    deadline = time.monotonic() + seconds
    with Load(crash_stack) as load:
        sent = load.send(200)
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(0.1, 3.0))
            name, how = chance.choice(PROCESSES), chance.choice(("kill", "kill", "hang"))
            done.append(f"{how} {name}")
            try:
                pid = pid_of(crash_stack, name)
                if how == "hang":
                    with stopped(pid):
                        time.sleep(chance.uniform(0.1, 2.5))
                else:
                    os.kill(pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
            except (ProcessLookupError, AssertionError):
                continue
            sent = [future for future in sent if not future.done() or future.result()] + load.send(20)
        for future in sent:
            future.result()
        print(f"{len(done)} faults, {len(load.accepted)} payments, {load.unanswered} unanswered")
        load.count()
    until(lambda: shipped(crash_stack), timeout_s=60, what="shipping")


def test_a_second_writer_fences_the_first(crash_stack: Stack) -> None:
    """INV-012: numbers come from one epoch; the older process ends by itself and is started again as the newest."""
    import subprocess
    import sys

    before = crash_stack.row("sidecar", "SELECT max(epoch) AS n FROM symphony.writer_epochs")["n"]
    first = crash_stack.pid("writer")
    config = crash_stack.folder / "sidecar" / "writer.json"
    with Load(crash_stack) as load:
        sent = load.send(20)
        second = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "writer", "--config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until(lambda: crash_stack.pid("writer") != first, what="the end of the first writer")
            second.wait(20)
        finally:
            second.kill()
            second.wait()
        for future in sent:
            future.result()
        load.count()
    assert second.returncode == 4
    assert crash_stack.row("sidecar", "SELECT max(epoch) AS n FROM symphony.writer_epochs")["n"] >= before + 2

