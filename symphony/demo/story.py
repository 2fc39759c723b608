"""The seven steps of the story. Each proves what it tells, or the demo fails."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock
from rails.iso20022.samples import freshen
from symphony import places
from symphony.demo import chapters, forgery
from symphony.demo.tell import Teller
from symphony.participant import Participant
from symphony.stack import up
from symphony.stack.layout import Layout
from symphony.stack.reconcile import take

EXAMPLE = "messages/valid/zm-domestic-08.xml"
IN_FLIGHT = 50
WORKERS = 16
SETTLE_S = 60.0
POLL_S = 0.2


def run(folder: Path, out: Callable[[str], None]) -> None:
    """Tell the whole story in ``folder``; the stack is stopped at the end, whatever happens."""
    teller = Teller(out)
    teller.chapter(1, "PostgreSQL, keys and a first release")
    if up.is_ready(folder):
        up.down(folder)
    up.detached(folder, [], teller.line)
    layout = Layout.open(folder)
    try:
        teller.chapter(2, "What runs where")
        chapters.fleet_runs(layout, teller)
        teller.chapter(3, "Payments that are allowed")
        chapters.allowed(layout, teller)
        chapters.real_messages(folder / "wide", teller)
        teller.chapter(4, "What must not pass does not, and is recorded")
        chapters.refused(layout, teller)
        teller.chapter(5, f"SIGKILL of the sidecar with {IN_FLIGHT} payments in flight")
        killed(layout, teller)
        teller.chapter(6, "A lower cap, a rollback, and a forgery")
        chapters.lower_cap_and_back(layout, teller)
        forgery.refused(layout, teller)
        teller.chapter(7, "Evidence that a regulator checks alone")
        chapters.evidence(layout, teller)
    finally:
        up.down(folder)
    out(f"\n{teller.claims} claims, all proved. What to try next:")
    symphony = _shown(Path(sys.executable).parent / "symphony")
    out(f"   {symphony} up --dir {folder} --detach")
    out(
        f"   {symphony} submit {_shown(places.folder('examples') / EXAMPLE)} --fresh --wait --dir {folder}"
    )
    out(f"   {_shown(Path(sys.executable))} {folder}/packet/verify.py {folder}/packet")


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def killed(layout: Layout, teller: Teller) -> None:
    """Payments in flight, SIGKILL, restart, and the count."""
    raw = (places.folder("examples") / EXAMPLE).read_bytes()
    now = SystemClock().now()
    mark = f"{int(time.time()) % 10**7:x}"
    messages = [(f"kill-{mark}-{n}", freshen(raw, now, mark=f"-{mark}{n}")) for n in range(IN_FLIGHT)]
    sender = Participant(layout, "kafue-bank")
    accepted: dict[str, str] = {}
    before = sidecar_pids(layout)
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            first = [pool.submit(_try, sender, key, message) for key, message in messages]
            while sum(one.done() for one in first) < IN_FLIGHT // 5:
                time.sleep(0.002)
            for pid in sidecar_pids(layout).values():
                os.kill(pid, signal.SIGKILL)
            for (key, _), one in zip(messages, first, strict=True):
                accepted.update({key: identifier} if (identifier := one.result()) else {})
        unanswered = IN_FLIGHT - len(accepted)
        teller.line(f"SIGKILL to {', '.join(before)}: {len(accepted)} answered before, {unanswered} not")
        _until(lambda: not set(sidecar_pids(layout).values()) & set(before.values()), "the sidecar to be started again")
        for key, message in messages:
            if key not in accepted:
                accepted[key] = _until(partial(_try, sender, key, message), "an answer to a retry with the same key")
    finally:
        sender.close()
    found = _until(lambda: _settled(layout), "every payment to end")
    teller.claim(
        len(set(accepted.values())) == IN_FLIGHT,
        f"{IN_FLIGHT} payments, {IN_FLIGHT} instructions",
        "retries got the first result",
    )
    teller.claim(found["ok"], found["sentence"], "ledger against outbox and evidence, both ways; no gap in the numbers")


def sidecar_pids(layout: Layout) -> dict[str, int]:
    """The process ids of acceptor, writer and shipper, as the supervisor says."""
    running = layout.running()
    if running is None:
        raise CannotEvaluate("CONFIGURATION", "the stack has gone", next_step=f"read {layout.folder}/up.log")
    return {name: int(running["processes"][name]) for name in ("acceptor", "writer", "shipper")}


def _try(sender: Participant, key: str, message: bytes) -> str | None:
    try:
        reply = sender.submit(message, key=key)
    except CannotEvaluate:
        return None
    return reply.accepted[0] if reply.status == 202 else None


def _settled(layout: Layout) -> dict[str, Any] | None:
    found = take(layout)
    done = (
        not found["counts"]["pending"]
        and not found["counts"]["in_hand"]
        and not found["counts"]["evidence_not_shipped"]
    )
    return found if done else None


def _until(probe: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SETTLE_S
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise CannotEvaluate("OUTCOME_UNKNOWN", f"waited {SETTLE_S:.0f} s for {what}")
        time.sleep(POLL_S)
    return value


def remove(path: Path) -> None:
    """Remove a folder of an earlier run."""
    shutil.rmtree(path, ignore_errors=True)
