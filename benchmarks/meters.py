"""What a run used: CPU of each process, memory, rows written, WAL; and what machine it was.

CPU of PostgreSQL is told apart by database, WAL by ``pg_stat_get_backend_wal`` and, in all, by the insert position.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STATISTICS_S = 1.2
"""A backend reports its counts at most once a second."""
_ROWS: LiteralString = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
_BACKENDS: LiteralString = """
    SELECT a.pid, coalesce(a.datname, a.backend_type), coalesce(w.wal_bytes, 0)::bigint
    FROM pg_stat_activity AS a LEFT JOIN LATERAL pg_stat_get_backend_wal(a.pid) AS w ON true
    WHERE a.pid <> pg_backend_pid()"""


@dataclass
class Reading:
    """Counters at one moment."""

    at: float
    busy_s: float
    cpu_s: dict[str, dict[int, float]]
    wal_position: int
    wal_bytes: dict[str, dict[int, int]]
    rows: dict[str, int] = field(default_factory=dict)


@dataclass
class Meters:
    """``processes``: pids by name (children are theirs); ``admin_url``: a superuser's; ``database``: where rows count."""

    processes: Mapping[str, int]
    postmaster: int
    admin_url: str
    database: str

    def read(self) -> Reading:
        """Everything, now."""
        with psycopg.connect(self.admin_url, dbname=self.database, autocommit=True) as connection:
            backends = connection.execute(_BACKENDS).fetchall()
            position = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
            rows = {str(name): int(count) for name, count in connection.execute(_ROWS).fetchall()}
        names = {pid: f"postgres {name}" for pid, name, _ in backends}
        cpu = {name: cpu_s_of(pid) for name, pid in self.processes.items()}
        for pid, seconds in cpu_s_of(self.postmaster).items():
            cpu.setdefault(names.get(pid, "postgres other"), {})[pid] = seconds
        wal: dict[str, dict[int, int]] = {}
        for pid, name, written in backends:
            wal.setdefault(str(name), {})[pid] = written
        return Reading(time.monotonic(), _busy_s(), cpu, int(position[0]) if position else 0, wal, rows)

    def rss_mb(self, *names: str) -> float:
        """Resident memory of some processes together."""
        return round(sum(_kib(Path(f"/proc/{self.processes[name]}/status"), "VmRSS") for name in names) / 1024, 1)


def used(before: Reading, after: Reading, payments: int, load_generator_s: float) -> dict[str, Any]:
    """What one payment used, between two readings; ``other_cores``: what everything else on the machine kept busy."""
    cpu = {name: _grown(before.cpu_s.get(name, {}), pids) / payments * 1e6 for name, pids in after.cpu_s.items()}
    wal = {name: _grown(before.wal_bytes.get(name, {}), pids) / payments for name, pids in after.wal_bytes.items()}
    rows = {name: (count - before.rows.get(name, 0)) / payments for name, count in after.rows.items()}
    ours_s = sum(cpu.values()) * payments / 1e6 + load_generator_s
    return {
        "other_cores": round(max(0.0, after.busy_s - before.busy_s - ours_s) / (after.at - before.at), 2),
        "cpu_us_per_payment": {name: round(value, 1) for name, value in sorted(cpu.items()) if value >= 0.5},
        "cpu_us_per_payment_sum": round(sum(cpu.values()), 1),
        "wal_bytes_per_payment": round((after.wal_position - before.wal_position) / payments),
        "wal_bytes_per_payment_by_database": {
            name: round(value) for name, value in sorted(wal.items()) if value >= 0.5
        },
        "rows_per_payment": round(sum(rows.values()), 3),
        "rows_per_payment_by_table": {name: round(value, 3) for name, value in sorted(rows.items()) if value >= 0.0005},
    }


def _grown(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(value - before.get(pid, 0) for pid, value in after.items())


def cpu_s_of(pid: int) -> dict[int, float]:
    """CPU of a process and all below it, by pid; one that has just ended is left out."""
    found: dict[int, float] = {}
    for one in [pid, *_below(pid)]:
        fields = _text(Path(f"/proc/{one}/stat")).rpartition(")")[2].split()
        if fields:
            found[one] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return found


def _below(pid: int) -> list[int]:
    try:
        own = [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in _text(task).split()]
    except OSError:  # it ended while we looked
        return []
    return own + [below for child in own for below in _below(child)]


def _busy_s() -> float:
    """CPU that the whole machine has spent, time stolen by its host included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, _text(Path("/proc/stat")).split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def _kib(path: Path, name: str) -> int:
    """A value of ``/proc/meminfo`` or ``/proc/PID/status``."""
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.startswith(f"{name}:")), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def machine(folder: Path) -> dict[str, Any]:
    """The hardware and what runs on it; ``folder`` is where the data is."""
    described = dict(line.split("\t", 1) for line in _text(Path("/proc/cpuinfo")).splitlines() if "\t" in line)
    mounts = [line.split() for line in _text(Path("/proc/mounts")).splitlines()]
    where = str(folder.resolve())
    under = [mount for mount in mounts if where.startswith(mount[1].rstrip("/") + "/")]
    filesystem = max(under, key=lambda mount: len(mount[1]))[2] if under else "unknown"
    return {
        "cpu": described.get("model name", "unknown").lstrip(": "), "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(_kib(Path("/proc/meminfo"), "MemTotal") / 2**20, 1),
        "kernel": platform.release(), "python": platform.python_version(), "data_filesystem": filesystem,
    }  # fmt: skip


def commit_ms(admin_url: str, commits: int = 60) -> float:
    """The median of single-row commits, in milliseconds: what one fsync costs here."""
    taken = []
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bench_commit (n int)")
        for n in range(commits):
            begun = time.perf_counter()
            connection.execute("INSERT INTO bench_commit VALUES (%s)", (n,))
            taken.append(time.perf_counter() - begun)
        connection.execute("DROP TABLE bench_commit")
    return round(sorted(taken)[commits // 2] * 1000, 3)


def settings(admin_url: str) -> dict[str, str]:
    """The server's version and its durability settings."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    with psycopg.connect(admin_url, autocommit=True) as connection:
        found = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
    return {name: str(row[0]) for name, row in zip(names, found, strict=True) if row is not None}
