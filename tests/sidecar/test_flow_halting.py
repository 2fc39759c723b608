"""A writer whose own invariants are broken: refused at start; halted while running, with nothing lost and nothing posted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import NotTrusted, SymphonyError
from contracts.runtime_invariants import Finding
from contracts.times import SystemClock
from rails.sdk import Outcome
from sidecar import writer as writers
from sidecar.dispatch.dispatcher import Dispatcher
from sidecar.intake.pipeline import view_of
from sidecar.metrics import render
from sidecar.writer import Writer
from tests.sidecar import test_flow_writer as whole
from tests.sidecar.stage import Stage
from tests.sidecar.support import active, handed, payment

DROP = "ALTER TABLE symphony.payment_outbox_attempts DISABLE TRIGGER trg_deny_outbox_attempts_mutation"
MEND = "ALTER TABLE symphony.payment_outbox_attempts ENABLE TRIGGER trg_deny_outbox_attempts_mutation"


@pytest.fixture(autouse=True)
def _releases_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = whole.config
    monkeypatch.setattr(writers, "Following", whole.Given)
    monkeypatch.setattr(whole, "config", lambda *a: _often(inner(*a)))


def _often(config: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(config, runtime_check_interval_s=0.1)


@pytest.fixture
def mended(stage: Stage) -> Iterator[Stage]:
    """Whatever happens, the shared database is whole afterwards."""
    yield stage
    stage.sql(MEND)
    stage.sql("REVOKE UPDATE ON symphony.parked FROM symphony_executor; ALTER ROLE sc_writer NOSUPERUSER")


@asynccontextmanager
async def served(stage: Stage, folder: Path) -> AsyncIterator[whole.Running]:
    """A writer and its adapter."""
    server = await whole.adapter(folder, stage.rail)
    async with whole.running(stage, folder) as one:
        yield one
    server.close()


async def until_stopped(one: whole.Running, code: str | None) -> dict[str, Any]:
    """The writer's state, once it stopped for that reason."""
    async with asyncio.timeout(8):
        while True:
            state = await one.client.call("state", {"revocations_version": 0}, timeout_s=5)
            if (state["stopped"] or {}).get("code") == code:
                return dict(state)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("breach", "named"), [
    (DROP, "INV-014"), ("GRANT UPDATE ON symphony.parked TO symphony_executor", "INV-010"),
    ("ALTER ROLE sc_writer SUPERUSER", "INV-007"),
])  # fmt: skip
async def test_a_broken_database_is_a_refusal_to_start(mended: Stage, tmp_path: Path, breach: str, named: str) -> None:
    """Nothing is begun: an older writer is not fenced by one that may not start."""
    mended.sql(breach)
    with pytest.raises(NotTrusted, match=f"RELEASE_INVARIANT: does not hold here: {named}: [^|]*$") as caught:
        await Writer(whole.config(mended, tmp_path, "a"), SystemClock()).run()
    assert "symphony invariants check" in caught.value.next_step
    assert mended.sql("SELECT 1 FROM symphony.writer_epochs") == []


async def test_a_permit_key_that_others_may_read_is_a_refusal_to_start(stage: Stage, tmp_path: Path) -> None:
    """I-KEY-01."""
    config = whole.config(stage, tmp_path, "a")
    Path(config.permit_key).chmod(0o644)
    with pytest.raises(NotTrusted, match=r"I-KEY-01: .*permit.pem has mode 0644: chmod 600"):
        await Writer(config, SystemClock()).run()


async def test_while_halted_nothing_is_taken_or_posted_and_afterwards_nothing_is_lost(mended: Stage, tmp_path: Path) -> None:
    """INV-014, PIL-05: what was sent is completed, what was accepted waits, and both changes are evidence."""
    mended.rail.gate = asyncio.Event()
    async with served(mended, tmp_path) as one:
        (sent,) = await one.record(handed(payment()))
        await whole.until(lambda: mended.sql("SELECT 1 FROM symphony.outbox_leases"))  # on its way, and held there
        mended.sql(DROP)
        state = await until_stopped(one, "SERVICE_HALTED")
        assert "INV-014" in state["stopped"]["detail"]
        assert state["broken"] == ["INV-014"]
        mended.rail.gate.set()
        await whole.until(lambda: mended.rail.posted)  # completed and recorded, never given up
        await whole.until(lambda: [s for _, s in mended.attempts(sent.entries[0].instruction_id)] == ["DISPATCHING", "DISPATCHED"])
        with pytest.raises(SymphonyError) as caught:
            await one.record(handed(payment()))
        assert caught.value.code == "SERVICE_HALTED"
        view = view_of(active(), state)
        with pytest.raises(SymphonyError, match=r"SERVICE_HALTED: INV-014$") as refused:
            view.demand_open()  # what the acceptor answers with
        assert refused.value.reason.http == 503
        assert 'symphony_invariants_violated{id="INV-014"} 1.0' in render({}, [], view.broken)
        mended.sql(MEND)
        await until_stopped(one, None)
        await one.record(handed(payment()))
        await whole.until(lambda: len(mended.rail.posted) == 2)
    assert [event["invariants"] for event in mended.evidence("service_halted")] == [["INV-014"]]
    assert len(mended.evidence("service_resumed")) == 1


async def test_what_was_accepted_before_a_halt_is_posted_after_it(mended: Stage, tmp_path: Path) -> None:
    """No claim while halted, however long a payment has been due."""
    async with served(mended, tmp_path) as one:
        mended.sql(DROP)
        await until_stopped(one, "SERVICE_HALTED")
        one.writer._watch.demand_open, kept = (lambda: None), one.writer._watch.demand_open  # type: ignore[method-assign]
        await one.record(handed(payment()))  # a payment that was in the door at that moment
        one.writer._watch.demand_open = kept  # type: ignore[method-assign]
        await asyncio.sleep(0.8)
        assert not mended.rail.submits
        mended.sql(MEND)
        await whole.until(lambda: mended.rail.posted)


async def test_a_p1_is_shown_and_halts_nothing(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning: shown to the acceptor, whose health and metrics carry it."""
    monkeypatch.setattr(writers.invariants, "of_writer", lambda *_: [SimpleNamespace(id="INV-009", severity="P1", holds=True)])
    async with served(stage, tmp_path) as one:
        broken = writers.invariants.of_writer(None, None, None)[0]  # type: ignore[arg-type]
        monkeypatch.setattr(writers.invariants, "of_writer", lambda *_: [SimpleNamespace(**vars(broken) | {"holds": False})])
        await whole.until(lambda: one.writer._watch.broken)
        state = await until_stopped(one, None)
        assert state["broken"] == ["INV-009"]
        await one.record(handed(payment()))
        await whole.until(lambda: stage.rail.posted)


async def test_what_was_claimed_when_the_halt_came_is_not_sent_and_is_posted_once_afterwards(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIL-05: the claim is committed, the look finds the breach, and no byte leaves; the payment waits as any other."""
    found: list[Finding] = []
    monkeypatch.setattr(writers.invariants, "of_writer", lambda *_: list(found))
    inner = Dispatcher._write_dispatching

    async with served(stage, tmp_path) as one:

        async def halts_meanwhile(self: Dispatcher, *arguments: Any) -> None:
            await inner(self, *arguments)
            if not arguments[1]:
                return  # nothing was claimed
            found.append(Finding("INV-014", "P0", ("a trigger is gone",)))
            while not one.writer._watch.halted:
                await asyncio.sleep(0.01)

        monkeypatch.setattr(Dispatcher, "_write_dispatching", halts_meanwhile)
        (taken,) = await one.record(handed(payment()))
        identifier = taken.entries[0].instruction_id
        await whole.until(lambda: [state for _, state in stage.attempts(identifier)] == ["DISPATCHING", "RETRYABLE"])
        await asyncio.sleep(0.5)
        assert (stage.rail.submits, stage.rail.posted) == ([], {})
        monkeypatch.setattr(Dispatcher, "_write_dispatching", inner)
        found.clear()
        await whole.until(lambda: stage.rail.posted)
    assert list(stage.rail.posts.values()) == [1]


async def test_what_is_in_doubt_when_the_halt_comes_is_asked_about_and_posted_once_afterwards(mended: Stage, tmp_path: Path) -> None:
    """OUT-11: recovery goes on while halted; what it finds not posted waits, and is sent by nobody before the mending."""
    mended.rail.gate = asyncio.Event()
    async with served(mended, tmp_path) as one:
        (taken,) = await one.record(handed(payment()))
        identifier = taken.entries[0].instruction_id
        await whole.until(lambda: mended.sql("SELECT 1 FROM symphony.outbox_leases"))
        mended.sql(DROP)
        await until_stopped(one, "SERVICE_HALTED")
        mended.rail.script = [Outcome.IN_DOUBT]
        mended.rail.gate.set()
        await whole.until(lambda: mended.attempts(identifier)[-1][1] == "ZOMBIE_REQUEUE")
        await asyncio.sleep(0.8)
        assert (len(mended.rail.submits), mended.rail.posted) == (1, {})
        mended.sql(MEND)
        await whole.until(lambda: mended.rail.posted)
    assert list(mended.rail.posts.values()) == [1]
