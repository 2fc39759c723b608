"""How long a promotion takes until 200 sidecars' release clients have acknowledged it, and 20; and a cold start.

    python -m benchmarks.propagation [--clients 20,200] [--rounds 5]

Method: one embedded PostgreSQL, one control plane process (``python -m controlplane``) over mTLS, and all release clients in
two processes: each is ``contracts.release.ReleaseFollower`` with a folder, a durable record and connections of its own,
rung by ``contracts.release.bell`` as in ``sidecar.following``, and acknowledges by its status report; no policy engine is
made (that is a sidecar's own work, after the release is verified). Releases differ by environment data, as a new cap does. The
clock runs from the officer's request to promote to the answer of a client's report; a round counts when all have
acknowledged, and the control plane says so too. ``all_s`` is the median of the rounds. The clients' folders are in memory
where there is ``/dev/shm``: each sidecar syncs about ten small files on a disk of its own, which one disk would do in turn for
200 (``clients_folder`` says where they were). PostgreSQL is on disk with fsync on.

CPU is told apart: the control plane's process, PostgreSQL, and the clients'. All share
this machine's cores: a fleet of its own machines is faster by the clients' share.

``cold_start_s``: a new Python process, control plane down: imports, the held release verified from its bytes, the policy
compiled and self-tested, ready; the median of five. Results go to ``var/bench/propagation.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import aiohttp

from benchmarks.meters import cpu_s_of, machine
from contracts.errors import SymphonyError
from contracts.release import FileRecord, HttpsSource, ReleaseFollower
from contracts.release.bell import Bell, patience
from contracts.release.status import status_report
from contracts.times import SystemClock
from contracts.tls import client_context
from symphony.release.promote import promote
from tests.releases.running import Running, enrol, publish_first
from tests.releases.support import ENVIRONMENT, SERVICE, World
from tests.support.database import TestPostgres

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "var" / "bench" / "propagation.json"
Cpu = dict[str, Callable[[], float]]
"""Seconds of CPU so far, by who used them."""
START_S, ROUND_S_MAX = 30.0, 120.0
COLD_STARTS = 5
PROCESSES, THREADS = 2, 3
"""Of clients, and threads in each; more would only contend for cores and interpreter."""
MEMORY = Path("/dev/shm")
COLD = """
import sys
from pathlib import Path
from contracts.release import FileRecord, load_held
from contracts.times import SystemClock
from sidecar.active import ActiveRelease
folder = Path(sys.argv[1])
held = load_held(
    environment={environment!r}, service={service!r}, folder=folder, root_bytes=Path(sys.argv[2]).read_bytes(),
    record=FileRecord(folder / "accepted.json"), clock=SystemClock(),
)
held.check_live(SystemClock().now())
assert ActiveRelease(held).release.number == int(sys.argv[3])
"""


@dataclass(frozen=True)
class Setting:
    """What a process of clients is told: where the control plane is, who they are, where their folders go."""

    url: str
    ca: Path
    credentials: Path
    root: bytes
    folder: Path


@dataclass
class Round:
    """One promotion, and when each client's acknowledgement was answered (monotonic seconds, one clock a machine)."""

    number: int
    acknowledged: dict[str, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Clients:
    """The release clients of one process, in one loop."""

    def __init__(self, setting: Setting, names: list[str]) -> None:
        self._setting, self._names = setting, names
        self._context = client_context(
            setting.credentials / "client.pem", setting.credentials / "client-key.pem", setting.ca
        )
        self._round = Round(0)

    async def serve(self, pipe: Connection) -> None:
        """For each number that comes: say that it is awaited, then when each client acknowledged it, and the CPU so far."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS))
        hearing = ThreadPoolExecutor(1)
        clients: list[asyncio.Task[None]] = []
        while (number := await loop.run_in_executor(hearing, pipe.recv)) is not None:
            self._round = Round(number)
            pipe.send(time.process_time())
            clients = clients or [asyncio.create_task(self._client(name)) for name in self._names]
            async with asyncio.timeout(ROUND_S_MAX):
                await self._round.complete.wait()
            pipe.send((list(self._round.acknowledged.values()), time.process_time()))
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, name: str) -> None:
        setting, clock = self._setting, SystemClock()
        folder, source = setting.folder / name, HttpsSource(f"{setting.url}/tuf", self._context)
        ours = ReleaseFollower(
            environment=ENVIRONMENT, service=SERVICE, folder=folder, root_bytes=setting.root, source=source,
            record=FileRecord(folder / "accepted.json"), clock=clock,
        )  # fmt: skip
        bell = Bell(f"{setting.url}/tuf", self._context, pause_s=1.0)
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    try:
                        await asyncio.to_thread(ours.refresh)
                    except SymphonyError as error:
                        print(f"{name}: {error}", file=sys.stderr)
                    await self._report(session, ours, name)
                    await bell.heard(ours.seen, patience(ours.active, clock.now()))
            finally:
                await bell.close()
                source.close()

    async def _report(self, session: aiohttp.ClientSession, ours: ReleaseFollower, name: str) -> None:
        identity = {"environment": ENVIRONMENT, "service": SERVICE, "instance": name}
        body = status_report(identity, ours.active, ours.refused, delivered=ours.delivered, ready=True, halted=False)
        async with session.post(f"{self._setting.url}/v1/fleet/status", json=body, ssl=self._context) as response:
            await response.read()
        now = self._round
        if response.status == 204 and ours.active is not None and ours.active.number >= now.number:
            now.acknowledged.setdefault(name, time.monotonic())
            if len(now.acknowledged) == len(self._names):
                now.complete.set()


def work(pipe: Connection, setting: Setting, names: list[str]) -> None:
    """One process of clients."""
    asyncio.run(Clients(setting, names).serve(pipe))


class Fleet:
    """So many release clients in ``PROCESSES`` processes."""

    def __init__(self, setting: Setting, count: int) -> None:
        names, spawn = [f"client-{n:03}" for n in range(count)], get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for own in filter(None, (names[n::PROCESSES] for n in range(PROCESSES))):
            here, there = spawn.Pipe()
            process = spawn.Process(target=work, args=(there, setting, own), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)

    def reached(self, number: int, promoted: Callable[[], object]) -> tuple[list[float], float]:
        """Call ``promoted``; the seconds that each client took, in order, and the clients' CPU seconds."""
        for pipe in self._pipes:
            pipe.send(number)
        cpu_s = -sum(self._received(pipe) for pipe in self._pipes)
        begun = time.monotonic()
        promoted()
        answers = [self._received(pipe) for pipe in self._pipes]
        return sorted(at - begun for times, _ in answers for at in times), cpu_s + sum(cpu for _, cpu in answers)

    def end(self) -> None:
        """Stop all."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(START_S)

    def _received(self, pipe: Connection) -> Any:
        if not pipe.poll(ROUND_S_MAX):
            raise TimeoutError("a process of clients does not answer")
        return pipe.recv()


@contextmanager
def serving(world: World, database_url: str) -> Iterator[tuple[Running, int]]:
    """A control plane process with trust published, and its pid."""
    ca = enrol(world)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = world.folder
    config = {
        "host": "127.0.0.1", "port": port, "certificate": str(folder / "server.pem"), "key": str(folder / "server-key.pem"),
        "ca": str(ca), "database_url": database_url, "keys": str(folder / "controlplane" / "keys"), "log_origin": "bench",
        "environment": ENVIRONMENT, "principals": str(folder / "principals.json"),
    }  # fmt: skip
    (folder / "controlplane.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "controlplane", "--config", str(folder / "controlplane.json")]
    with (folder / "controlplane.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        # no process of ours has the context of another: the officers' ways need none
        running = Running(world, f"https://127.0.0.1:{port}", ca, cast("Any", None), [], asyncio.new_event_loop())
        _until_ready(running, process)
        publish_first(running)
        yield running, process.pid
    finally:
        process.terminate()
        process.wait(START_S)


def _until_ready(running: Running, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            running.control("alice").get("/health/ready")
            return
        except SymphonyError:
            if time.monotonic() >= deadline or process.poll() is not None:
                raise
            time.sleep(0.05)


def _approved(running: Running, number: int) -> None:
    """The next release, one promotion away."""
    assert running.proposed(cap_minor=1_000_000 + number).number == number
    running.approved(number, "bruno", "chanda")


def propagation(running: Running, used: Cpu, folder: Path, count: int, rounds: int, first: int) -> dict[str, Any]:
    """Figures of a fleet of ``count``; releases ``first`` and on are used."""
    world = running.world
    service = world.folder / "services" / SERVICE
    fleet = Fleet(Setting(running.url, running.ca, service, world.root, folder), count)
    taken: list[list[float]] = []
    cpu: dict[str, list[float]] = {name: [] for name in (*used, "clients")}
    fleet.reached(first - 1, lambda: None)
    for number in range(first, first + rounds):
        _approved(running, number)
        before = {name: read() for name, read in used.items()}
        seconds, clients_s = fleet.reached(
            number, partial(promote, running.control("alice"), world.officer("alice"), ENVIRONMENT, number)
        )
        taken.append(seconds)
        for name, read in used.items():
            cpu[name].append(read() - before[name])
        cpu["clients"].append(clients_s)
        shown = running.control("alice").get("/v1/fleet")["services"]
        assert len([one for one in shown if one["active_number"] == number]) >= count, "by the control plane's own word"
    fleet.end()
    every = sorted(seconds for one in taken for seconds in one)
    return {
        "all_s": round(statistics.median(one[-1] for one in taken), 2),
        "all_s_rounds": [round(one[-1], 2) for one in taken],
        "p50_s": round(every[len(every) // 2], 2),
        "p99_s": round(every[len(every) * 99 // 100], 2),
        "cpu_ms_per_client": {
            name: round(statistics.median(seconds) / count * 1000, 2) for name, seconds in cpu.items()
        },
        "cpu_s": {name: round(statistics.median(seconds), 2) for name, seconds in cpu.items()},
    }


def cold_start(world: World, folder: Path, number: int) -> float:
    """Median seconds of a new process from its start to a verified release and a compiled policy."""
    (world.folder / "root.json").write_bytes(world.root)
    program = COLD.format(environment=ENVIRONMENT, service=SERVICE)
    taken = []
    for _ in range(COLD_STARTS):
        begun = time.monotonic()
        command = [sys.executable, "-c", program, str(folder), str(world.folder / "root.json"), str(number)]
        subprocess.run(command, cwd=ROOT, check=True)
        taken.append(time.monotonic() - begun)
    return round(statistics.median(taken), 2)


def measure(sizes: list[int], rounds: int) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {"method": (__doc__ or "").split("\n\n")[2], "rounds": rounds, "fleets": {}}
    figures["clients_folder"] = str(MEMORY if MEMORY.is_dir() else OUTPUT.parent)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with (
        TestPostgres(ROOT / "migrations") as postgres,
        tempfile.TemporaryDirectory(dir=figures["clients_folder"]) as name,
    ):
        world, folder = World(Path(name) / "stack"), Path(name)
        figures["machine"] = machine(OUTPUT.parent)
        with serving(world, postgres.new_database("controlplane").writer) as (running, server):
            postmaster = postgres.cluster.pid()
            assert postmaster is not None
            used: Cpu = {
                "control_plane": lambda: sum(cpu_s_of(server).values()),
                "postgres": lambda: sum(cpu_s_of(postmaster).values()),
            }
            number = running.release().number
            for size in sizes:
                place = folder / f"fleet-{size}"
                figures["fleets"][str(size)] = propagation(running, used, place, size, rounds, number + 1)
                number += rounds
        figures["cold_start_s"] = cold_start(world, folder / f"fleet-{sizes[-1]}" / "client-000", number)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", default="20,200", help="sizes of the fleets, after commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args(arguments)
    figures = measure([int(size) for size in chosen.clients.split(",")], chosen.rounds)
    chosen.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
