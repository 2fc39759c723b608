"""``symphony up``: bring a local stack up and keep it up, until Ctrl-C, SIGTERM or ``symphony down``."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.times import SystemClock
from symphony.stack import prepare
from symphony.stack.environment import load_template, manifests_in, template_of
from symphony.stack.exclusive import demand_ports, only
from symphony.stack.gate import check_stack
from symphony.stack.layout import Layout, make_folder, write_json
from symphony.stack.release_one import release_one
from symphony.stack.supervisor import Supervisor

Say = Callable[[str], None]
READY_TIMEOUT_S = 60.0
DOWN_TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 64 * 1024
PROBE_TIMEOUT_S = 2.0


def run(
    folder: Path,
    *,
    manifests: Path | None,
    schemas: Path | None,
    say: Say,
    failpoints: Path | None = None,
    started: Callable[[Layout], None] | None = None,
) -> None:
    """Foreground: everything up, then look after it. ``started`` is called once it is ready."""
    with only(folder):
        _run(Layout.create(folder), manifests=manifests, schemas=schemas, say=say, failpoints=failpoints, started=started)


def _run(
    layout: Layout,
    *,
    manifests: Path | None,
    schemas: Path | None,
    say: Say,
    failpoints: Path | None,
    started: Callable[[Layout], None] | None,
) -> None:
    cluster = prepare.database(layout)
    supervisor = Supervisor(layout, cluster)

    def stop(_number: int, _frame: object) -> None:
        supervisor.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        begun = time.monotonic()
        supervisor.write()
        demand_ports(layout)
        cluster.start()
        applied = prepare.databases(layout, cluster)
        say(f"PostgreSQL runs, {len(applied)} migrations applied to three databases ({time.monotonic() - begun:.1f} s)")
        template = _kept_template(layout, manifests)
        prepare.keys_and_certificates(layout, [entry["id"] for entry in template["participants"]], SystemClock().now())
        configurations = prepare.configurations(layout, cluster, failpoints)
        _bring_up(supervisor, layout, configurations, manifests, schemas, say)
        say(f"ready after {time.monotonic() - begun:.1f} s: {layout.url('acceptor')}/v1/instructions")
        supervisor.ready = True
        supervisor.write()
        if started is not None:
            started(layout)
        supervisor.run()
    except KeyboardInterrupt:
        say("stopped while starting")
    except SymphonyError:
        if not supervisor.stopping:  # a Ctrl-C reaches the programs that are being run, too
            raise
        say("stopped while starting")
    finally:
        supervisor.stop()
        cluster.stop()
    say("down: every process has ended")


def _kept_template(layout: Layout, manifests: Path | None) -> dict[str, Any]:
    """The stack's own template and manifests, copied at the first start, for officers to edit afterwards."""
    kept = layout.folder / "environment.template.json"
    if not kept.exists():
        template, found = load_template(template_of(manifests)), manifests_in(manifests)  # both whole, before a byte is kept
        for name, document in found.items():
            write_json(layout.part("manifests") / f"{name}.json", document)
        write_json(kept, template)
    demand_same(layout, manifests)
    return load_template(kept)


def demand_same(layout: Layout, manifests: Path | None) -> None:
    """Raise ``CannotEvaluate CONFIGURATION`` when a stack that has its manifests is asked to run others: that is a release."""
    kept = layout.folder / "environment.template.json"
    if manifests is None or not kept.exists():
        return
    same = load_template(template_of(manifests)) == load_template(kept)
    if not same or manifests_in(manifests) != manifests_in(layout.folder / "manifests"):
        raise CannotEvaluate(
            "CONFIGURATION",
            f"{layout.folder} has manifests of its own, other than {manifests}",
            next_step="choose a fresh --dir, or: symphony release propose --manifests … --environment-data …",
        )


def _bring_up(
    supervisor: Supervisor,
    layout: Layout,
    configurations: dict[str, Path],
    manifests: Path | None,
    schemas: Path | None,
    say: Say,
) -> None:
    supervisor.add("controlplane", configurations["controlplane"])
    supervisor.wait(
        lambda: answers(layout, "controlplane", "/health/live"), timeout_s=READY_TIMEOUT_S, what="the control plane"
    )
    say("the control plane answers; officers are known by certificate and by signature")
    passed, failed = check_stack(layout)
    say(f"the invariant gate: {len(passed)} hold, {len(failed)} do not; signed by the gate key")
    release_one(layout, manifests, schemas, passed, failed, say)
    for name in ("ledger", "adapter", "writer", "shipper", "acceptor"):
        supervisor.add(name, configurations[name])
    supervisor.wait(
        lambda: answers(layout, "ledger", "/health/ready") and answers(layout, "acceptor", "/health/ready"),
        timeout_s=READY_TIMEOUT_S, what="ledger and sidecar",
    )  # fmt: skip
    say("ledger and sidecar have fetched the release over TUF, verified it, and run it")


def detached(folder: Path, arguments: list[str], say: Say) -> None:
    """Start ``symphony up`` in the background and wait until it is ready; whoever interrupts the wait ends it."""
    make_folder(folder)
    if (folder / "stack.json").exists():
        Layout.open(folder)  # a damaged one says so here, with the way out
    log = folder / f"up.{os.getpid()}.log"  # another one may be coming up there, and have its log
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "symphony", "up", "--dir", str(folder), *arguments], stdout=out, stderr=out,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        _follow(process, folder, log, say)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    finally:
        _keep(log, folder)


def _keep(log: Path, folder: Path) -> None:
    """As ``up.log``, unless a start of somebody else has that."""
    try:
        running = Layout.open(folder).running()
    except CannotEvaluate:
        running = None
    if running is None or log.read_bytes().count(b"ready after"):
        log.replace(folder / "up.log")
    else:
        log.unlink()


def _follow(process: subprocess.Popen[bytes], folder: Path, log: Path, say: Say) -> None:
    seen = 0
    while True:
        ended = process.poll() is not None
        lines = log.read_text().splitlines()
        for line in lines[seen:]:
            say(line)
        seen = len(lines)
        if ended:
            said = [line.removeprefix("symphony: ") for line in lines if line.startswith("symphony: ")] or lines[-1:]
            raise CannotEvaluate(
                "CONFIGURATION", f"it did not come up: {said[-1] if said else 'no output'}", next_step=f"read {folder / 'up.log'}"
            )
        if is_ready(folder, process.pid):
            return
        time.sleep(0.1)


def is_ready(folder: Path, pid: int | None = None) -> bool:
    """Whether a stack runs there (as ``pid``, when it is given) and is ready."""
    try:
        running = Layout.open(folder).running()
    except CannotEvaluate:
        return False
    return running is not None and bool(running["ready"]) and (pid is None or running["pid"] == pid)


def down(folder: Path) -> bool:
    """Stop a stack; ``False`` when none ran there. Raises ``CannotEvaluate`` when it will not end in time."""
    running = Layout.open(folder).running()
    if running is None:
        return False
    os.kill(running["pid"], signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while _alive(running["pid"]):
        if time.monotonic() > deadline:
            raise CannotEvaluate("CONFIGURATION", f"process {running['pid']} has not ended in {DOWN_TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def answers(layout: Layout, name: str, path: str) -> bool:
    """Whether a server of the stack answers 200 at an address."""
    found = asked(layout, name, path)
    return found is not None and found[0] == http.client.OK


def asked(layout: Layout, name: str, path: str) -> tuple[int, str] | None:
    """Status and text of what a server of the stack answers at an address; ``None`` for no answer."""
    context = ssl.create_default_context(cafile=str(layout.ca))
    if name != "acceptor":  # it takes participants' certificates only, and health without any
        folder = layout.folder / "sidecar"
        context.load_cert_chain(folder / "client.pem", folder / "client-key.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", layout.ports[name], context=context, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
