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

from contracts.errors import CannotEvaluate, Misused

PORTS = ("controlplane", "ledger", "acceptor")
PORT_MAX = 65535
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
        make_folder(folder)
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
        """An existing stack. Raises ``CannotEvaluate CONFIGURATION`` with the command that makes one, or mends it."""
        path = folder.absolute() / "stack.json"
        try:
            document = json.loads(path.read_text())
            ports = {name: int(document["ports"][name]) for name in PORTS}
            if not all(0 < port <= PORT_MAX for port in ports.values()):
                raise ValueError("a port is out of range")
            return cls(folder.absolute(), ports, Path(document["sockets"]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CannotEvaluate(
                "CONFIGURATION", f"{folder} is not a stack", next_step=f"symphony up --dir {folder}"
            ) from error
        except OSError as error:
            raise CannotEvaluate(
                "CONFIGURATION", f"{path} cannot be read: {error.strerror}", next_step="be the user who made the stack"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise CannotEvaluate("CONFIGURATION", f"{path} is damaged", next_step=_way_out(folder, path)) from error

    def url(self, name: str) -> str:
        """The address of a server: ``controlplane``, ``ledger`` or ``acceptor``."""
        return f"https://127.0.0.1:{self.ports[name]}"

    def part(self, name: str) -> Path:
        """A process's own folder, 0700."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def officer(self, name: str) -> Path:
        """An officer's folder. Raises ``Misused CONFIGURATION`` for a stranger."""
        return self._person("officer", name, "--as")

    def participant(self, name: str) -> Path:
        """A participant's folder. Raises ``Misused CONFIGURATION`` for a stranger."""
        return self._person("participant", name, "--participant")

    def _person(self, kind: str, name: str, option: str) -> Path:
        known = {path.name: path for path in (self.folder / f"{kind}s").glob("*") if path.is_dir()}
        if not known:
            raise CannotEvaluate(
                "CONFIGURATION", f"{self.folder} has no {kind}s yet", next_step=f"symphony up --dir {self.folder}"
            )
        if name not in known:
            detail = f"no {kind} {name} here, but {', '.join(sorted(known))}"
            raise Misused("CONFIGURATION", detail, next_step=f"name one of them: {option}")
        return known[name]

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


def make_folder(folder: Path) -> None:
    """Make a stack's folder (0700) where there is none. Raises ``Misused CONFIGURATION`` where none can be."""
    try:
        demand_writable(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Misused(
            "CONFIGURATION", f"{folder} cannot be a stack's folder: {error.strerror}",
            next_step="choose a folder that you may write to: --dir",
        ) from error  # fmt: skip


def demand_writable(folder: Path) -> None:
    """Whether files can be made in a folder, or in the nearest one above it that is there. ``OSError`` when not."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    with tempfile.TemporaryFile(dir=there):
        pass


def _way_out(folder: Path, path: Path) -> str:
    """What mends a damaged ``stack.json``: it only has ports and the socket folder, which are chosen anew."""
    running = Layout(folder.absolute(), {}, Path()).running()
    first = f"kill {running['pid']}; " if running else ""
    return f"{first}rm {path}; symphony up --dir {folder}      (chooses new ports; keys and payments are kept)"


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
