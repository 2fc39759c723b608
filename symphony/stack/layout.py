"""The folder of a local stack: ``stack.json`` (ports chosen once and kept), one folder per person and per process.

DIR/stack.json                              0600; ports, socket folder
DIR/{custodians,officers,security,participants}/<name>/   each person's own keys and certificates
DIR/{gate,build,issuer,ca}/                 gate key, build key, token issuer, authorities (a development stack has all)
DIR/{controlplane,ledger,adapter,sidecar}/  0700; configuration, keys, logs of each process
DIR/postgres/                               the embedded cluster
DIR/run.json                                what runs now, with pids; gone when nothing runs
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate

PORTS = ("controlplane", "ledger", "acceptor")
ENVIRONMENT = "sandbox"
SIDECAR = "reference-rail-1"
SERVICE = "reference-rail"
LEDGER = "core-ledger"
ISSUER = "https://issuer.symphony.invalid"
ISSUER_KID = "dev-1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths and addresses of one stack."""

    folder: Path
    ports: dict[str, int]
    sockets: Path

    @classmethod
    def create(cls, folder: Path) -> Layout:
        """The stack's layout; made and written the first time, the same ever after."""
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "stack.json"
        if not path.exists():
            document = {"ports": dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)), "sockets": _socket_folder()}
            write_json(path, document)
        layout = cls.open(folder)
        if _is_ours(layout.sockets):
            return layout
        write_json(path, {"ports": layout.ports, "sockets": _socket_folder()})  # cleared away, or somebody else's by now
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Layout:
        """An existing stack. Raises ``CannotEvaluate CONFIGURATION`` with the command that makes one."""
        path = folder.absolute() / "stack.json"
        try:
            document = json.loads(path.read_text())
            return cls(folder.absolute(), dict(document["ports"]), Path(document["sockets"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotEvaluate(
                "CONFIGURATION", f"{folder} is not a stack", next_step=f"symphony up --dir {folder}"
            ) from error

    def url(self, name: str) -> str:
        """The address of a server: ``controlplane``, ``ledger`` or ``acceptor``."""
        return f"https://127.0.0.1:{self.ports[name]}"

    def part(self, name: str) -> Path:
        """A process's own folder, 0700."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def officer(self, name: str) -> Path:
        """An officer's folder. Raises ``CannotEvaluate CONFIGURATION`` for a stranger."""
        path = self.folder / "officers" / name
        if Path(name).name != name or not path.is_dir():
            known = ", ".join(sorted(p.name for p in (self.folder / "officers").glob("*")))
            raise CannotEvaluate("CONFIGURATION", f"no officer {name} here", next_step=f"one of: {known}")
        return path

    def participant(self, name: str) -> Path:
        """A participant's folder. Raises ``CannotEvaluate CONFIGURATION`` for a stranger."""
        path = self.folder / "participants" / name
        if Path(name).name != name or not path.is_dir():
            known = ", ".join(sorted(p.name for p in (self.folder / "participants").glob("*")))
            raise CannotEvaluate("CONFIGURATION", f"no participant {name} here", next_step=f"one of: {known}")
        return path

    @property
    def ca(self) -> Path:
        """The authority of our own processes and officers."""
        return self.folder / "ca" / "processes.pem"

    @property
    def root(self) -> Path:
        """The root that every service of the stack pins."""
        return self.folder / "trust" / "1.root.json"

    @property
    def run_file(self) -> Path:
        """What runs now."""
        return self.folder / "run.json"

    def running(self) -> dict[str, Any] | None:
        """``run.json`` of a supervisor that is alive, else ``None``."""
        try:
            document = json.loads(self.run_file.read_text())
            pid = int(document["pid"])
            if pid <= 1 or document["started"] != started(pid):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(document)


def started(pid: int) -> str:
    """When a process began, as the kernel counts: a number that comes again is another one. ``OSError`` for none."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def write_json(path: Path, document: Any) -> None:
    """Write a private JSON file whole (0600)."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=1)
    beside.replace(path)


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()


def _socket_folder() -> str:
    """Short, because a Unix socket's path has at most 107 bytes."""
    return tempfile.mkdtemp(prefix="symphony-")


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
