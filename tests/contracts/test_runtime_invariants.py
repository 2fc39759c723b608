"""Asking invariants while running: what halts, what warns, what ends a halt, and that each side agrees with the manifest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from contracts import runtime_invariants as asked
from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.runtime_invariants import Finding, Watch
from controlplane import invariants as controlplane
from services.ledger import invariants as ledger
from sidecar import invariants as sidecar
from symphony.stack import credentials

P0, P1 = Finding("INV-014", "P0", ("a trigger is gone",)), Finding("INV-009", "P1", ("a word",))
ROOT = Path(__file__).parents[2]


class Said:
    """A look whose answers are set."""

    def __init__(self) -> None:
        self.found: list[Finding] | Exception = []

    def __call__(self) -> list[Finding]:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_every_registry_agrees_with_the_manifest() -> None:
    """Ids and severities are the manifest's; each is implemented there."""
    manifest = yaml.safe_load((ROOT / "invariants/INVARIANTS_MANIFEST.yml").read_text("utf-8"))
    severities = {one["id"]: one["severity"] for one in manifest["invariants"] if one["status"] == "implemented"}
    for registry in (sidecar.REGISTRY, ledger.REGISTRY, controlplane.REGISTRY):
        assert registry
        assert {name: severities.get(name) for name in registry} == dict(registry)


def test_a_p0_halts_until_everything_holds_and_each_change_is_told_once() -> None:
    """PIL-05."""
    said, told = Said(), []

    async def run() -> None:
        async def hear(halted: tuple[Finding, ...]) -> None:
            told.append([one.id for one in halted])

        watch = Watch(said, told=hear)
        for found in ([], [P0, P1], [P0], CannotEvaluate("STORE_UNAVAILABLE"), []):
            said.found = found
            await watch.once()
            assert bool(watch.halted) == (bool(found)), found  # what could not be asked lifts nothing
            if watch.halted:
                with pytest.raises(CannotEvaluate, match=r"SERVICE_HALTED: INV-014$") as caught:
                    watch.demand_open()
                assert caught.value.code == "SERVICE_HALTED"
        watch.demand_open()

    asyncio.run(run())
    assert told == [["INV-014"], []]


def test_a_change_that_could_not_be_recorded_is_told_again() -> None:
    said, tries = Said(), []

    async def run() -> None:
        async def hear(halted: tuple[Finding, ...]) -> None:
            tries.append(len(halted))
            if len(tries) == 1:
                raise CannotEvaluate("STORE_UNAVAILABLE")

        watch = Watch(said, told=hear)
        said.found = [P0]
        for _ in range(3):
            await watch.once()

    asyncio.run(run())
    assert tries == [1, 1]


def test_a_p1_warns_and_goes_on() -> None:
    said = Said()
    said.found = [P1]
    watch = Watch(said)
    asyncio.run(watch.once())
    assert (watch.halted, watch.broken, watch.stopped()) == ((), (P1,), None)


def test_what_cannot_be_asked_is_no_violation_and_after_some_times_no_readiness() -> None:
    """NEG-32."""
    said = Said()
    said.found = OSError("away")
    watch = Watch(said)
    for n in range(1, asked.UNKNOWN_MAX + 1):
        asyncio.run(watch.once())
        assert (watch.stopped() is not None) == (n == asked.UNKNOWN_MAX)
    stopped = watch.stopped()
    assert isinstance(stopped, SymphonyError)
    assert stopped.code == "STORE_UNAVAILABLE"
    said.found = []
    asyncio.run(watch.once())
    assert watch.stopped() is None


@pytest.mark.parametrize("found", [[P0], [P1], CannotEvaluate("RELEASE_INVARIANT")])
def test_at_start_whatever_does_not_hold_is_a_refusal(found: list[Finding] | Exception) -> None:
    said = Said()
    said.found = found
    with pytest.raises((NotTrusted, CannotEvaluate), match="RELEASE_INVARIANT"):
        asyncio.run(Watch(said).at_start())
    said.found = []
    asyncio.run(Watch(said).at_start())


@pytest.mark.parametrize("value", [0, -1, 181, float("nan"), float("inf")])
def test_local_configuration_may_only_ask_more_often(value: float) -> None:
    with pytest.raises(CannotEvaluate, match="runtime_check_interval_s"):
        asked.interval_of(value)


def test_a_key_file_that_others_may_read_does_not_hold_i_key_01(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    assert not asked.key_files_are_private([key]).holds
    key.touch(mode=0o600)
    assert asked.key_files_are_private([key]).holds
    key.chmod(0o644)
    assert "chmod 600" in str(asked.key_files_are_private([key]))
    assert not asked.key_files_are_private([tmp_path]).holds


def test_a_certificate_that_is_not_valid_now_does_not_hold_i_key_03(tmp_path: Path) -> None:
    now, path = datetime.now(UTC), tmp_path / "ca.pem"
    assert not asked.certificates_are_current([path], now).holds
    path.write_text(credentials.make_ca("test", now=now).pem)
    assert asked.certificates_are_current([path], now).holds
    assert not asked.certificates_are_current([path], now + timedelta(days=40_000)).holds


@pytest.mark.parametrize(("ceiling", "holds"), [(5, True), (0, False), (10**9, False), (float("inf"), False), (None, False)])
def test_a_retry_ceiling_is_finite_inv_015(ceiling: object, holds: bool) -> None:
    assert sidecar.retries_are_finite({"retry": {"attempts_max": ceiling}}).holds is holds


def test_a_look_that_hangs_holds_up_neither_the_loop_nor_the_next_and_never_two_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that no longer answers in the middle of a statement: unknown, and after some times not ready."""
    monkeypatch.setattr(asked, "LOOK_TIMEOUT_S", 0.05)
    released, begun = threading.Event(), []

    def look() -> list[Finding]:
        begun.append(1)
        assert released.wait(10)
        return []

    async def run() -> None:
        watch = Watch(look)
        with pytest.raises(CannotEvaluate, match="no answer within"):
            await watch.at_start()
        for _ in range(asked.UNKNOWN_MAX):
            await watch.once()
        assert (len(begun), watch.unknown) == (1, asked.UNKNOWN_MAX)
        with pytest.raises(CannotEvaluate, match="STORE_UNAVAILABLE"):
            watch.demand_open()
        released.set()
        await asyncio.sleep(0.05)
        await watch.once()
        assert (len(begun), watch.stopped()) == (2, None)

    asyncio.run(run())


def test_a_process_ends_while_a_look_hangs() -> None:
    """SIGTERM must end a service whose database hangs."""
    program = (
        "import asyncio, time\nfrom contracts import runtime_invariants as r\nr.LOOK_TIMEOUT_S = 0.05\n"
        "asyncio.run(r.Watch(lambda: time.sleep(60)).once())\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=20, check=True, capture_output=True)


def test_a_word_that_is_never_taken_holds_up_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The halt stands at once, whatever becomes of its record; it is told again."""
    monkeypatch.setattr(asked, "LOOK_TIMEOUT_S", 0.05)
    said, tries = Said(), []
    said.found = [P0]

    async def hear(_halted: tuple[Finding, ...]) -> None:
        tries.append(1)
        await asyncio.sleep(60)

    async def run() -> None:
        watch = Watch(said, told=hear)
        for n in (1, 2):
            async with asyncio.timeout(5):
                await watch.once()
            assert watch.halted
            assert len(tries) == n

    asyncio.run(run())


@pytest.mark.parametrize("value", ["1", None, True, [1]])
def test_an_interval_that_is_no_number_is_a_clear_error(value: object) -> None:
    with pytest.raises(CannotEvaluate, match="runtime_check_interval_s is"):
        asked.interval_of(value)
