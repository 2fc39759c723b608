"""A whole local stack for the tests: brought up by the command line, used over real sockets, gone afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

from rails.iso20022.samples import Payment, Sample
from symphony.participant import Participant, Reply
from symphony.stack import prepare
from symphony.stack.layout import Layout
from symphony.stack.reading import reader

ROOT = Path(__file__).resolve().parents[2]
UP_S_MAX = 90
NAMES = ("Chilufya", "Mutale")
"""What every message of ours carries and no log may."""
SECRET = re.compile(
    rb"Traceback \(most recent call last\)|PRIVATE KEY|eyJ[A-Za-z0-9_-]{10}|\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b|"
    + "|".join(NAMES).encode()
)
AGENTS = {"kafue-bank": "KFUBZMLUXXX", "luangwa-bank": "LWGBZMLUXXX", "serengeti-bank": "SRGBTZTZXXX", "mosi-money": "MSIMZMLUXXX"}


def message(
    amount: str = "1250.00", *, sender: str = "KFUBZMLUXXX", receiver: str = "LWGBZMLUXXX", currency: str = "ZMW",
    uetr: str | None = None, **changes: Any,
) -> bytes:  # fmt: skip
    """A fresh pacs.008 of one payment, dated today in the rail's zone."""
    mark, now = uuid.uuid4().hex[:12], datetime.now(UTC)
    payment = Payment(
        amount=amount, currency=currency, end_to_end_id=f"E2E-{mark}", tx_id=f"TX-{mark}", instruction_id=f"IN-{mark}",
        uetr=uetr or str(uuid.uuid4()), debtor_agent=sender, creditor_agent=receiver,
    )  # fmt: skip
    today = now.astimezone(ZoneInfo("Africa/Lusaka")).date().isoformat()
    fields: dict[str, Any] = {
        "payments": (payment,), "message_id": f"MSG-{mark}", "moment": now, "settlement_date": today,
        "instructing": sender, "instructed": receiver,
    }  # fmt: skip
    return Sample(**{**fields, **changes}).xml()


@dataclass
class Stack:
    """A stack that runs."""

    folder: Path
    layout: Layout
    _participants: dict[str, Participant] = field(default_factory=dict)
    _read: dict[Path, int] = field(default_factory=dict)

    def participant(self, name: str = "kafue-bank") -> Participant:
        """A participant's client; closed with the stack."""
        if name not in self._participants:
            self._participants[name] = Participant(self.layout, name)
        return self._participants[name]

    def submit(self, raw: bytes | None = None, *, by: str = "kafue-bank", **more: Any) -> Reply:
        """Send a message; a fresh one without ``raw``."""
        return self.participant(by).submit(message() if raw is None else raw, **more)

    def rows(self, kind: str, statement: LiteralString, *parameters: Any) -> list[dict[str, Any]]:
        """Rows through the reading login of a database."""
        with reader(self.layout, kind) as connection:
            return connection.execute(statement, parameters).fetchall()

    def row(self, kind: str, statement: LiteralString, *parameters: Any) -> dict[str, Any]:
        """The one row."""
        rows = self.rows(kind, statement, *parameters)
        assert len(rows) == 1, rows
        return rows[0]

    def symphony(self, *arguments: str, timeout_s: float = 60, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A command against this stack; its exit code is checked unless ``None``."""
        done = symphony(*arguments, "--dir", str(self.folder), timeout_s=timeout_s)
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """What a command says with ``-o json``."""
        return json.loads(self.symphony(*arguments, "-o", "json", code=code).stdout)

    def pid(self, name: str) -> int:
        """The pid of a process, from ``run.json``."""
        return int(json.loads(self.layout.run_file.read_text())["processes"][name])

    def close(self) -> None:
        """Close the clients."""
        for participant in self._participants.values():
            participant.close()

    def check_logs(self) -> None:
        """What the processes have logged since the last look holds no payload, secret or traceback."""
        passwords = [value.encode() for value in json.loads((self.folder / "logins.json").read_text()).values()]
        for path in sorted(self.folder.rglob("*.log")):
            data = path.read_bytes()
            fresh, self._read[path] = data[self._read.get(path, 0) :], len(data)
            found = SECRET.search(fresh)
            assert found is None, f"{path.name}: {fresh[max(0, found.start() - 300) : found.end() + 1500].decode(errors='replace')}"
            assert not any(password in fresh for password in passwords), f"{path.name} holds a password"


def attestation(stack: Stack, reply: Reply) -> dict[str, Any]:
    """The attestation row that a refusal names."""
    identifier = reply.body["attestation_id"] if isinstance(reply.body, dict) else reply.body[0]["attestation_id"]
    return stack.row("sidecar", "SELECT * FROM symphony.ingress_attestations WHERE attestation_id = %s", identifier)


def symphony(*arguments: str, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user runs it."""
    command = [sys.executable, "-m", "symphony", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **environment}, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Whatever runs in ``folder`` is gone afterwards, also when this process is killed in between."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.guard", str(folder)], stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.write(b"end")
        guard.stdin.close()
        guard.wait(UP_S_MAX)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Stack]:
    """A stack brought up in the background; afterwards no process and no unclean log is left."""
    with guarded(folder):
        done = symphony("up", "--detach", "--dir", str(folder), *arguments, timeout_s=UP_S_MAX)
        assert done.returncode == 0, (done.stdout, done.stderr, (folder / "up.log").read_text())
        stack = Stack(folder, Layout.open(folder))
        try:
            yield stack
        finally:
            stack.close()
        home = prepare.database(stack.layout).home.data
    stack.check_logs()
    assert left_behind(folder, home) == []


def left_behind(*places: Path) -> list[str]:
    """Command lines of processes that name one of these places."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(str(place) in words for place in places) and "tests.e2e.guard" not in words:
            found.append(f"{path.parent.name} {words[:200]}")
    return found


def until(condition: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "it") -> Any:
    """The condition's value once it is true; whatever it raises counts as not yet."""
    deadline, last = time.monotonic() + timeout_s, None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Exception as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {timeout_s:.0f} s ({last!r})")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
