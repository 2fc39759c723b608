"""Symphony's side of the payments benchmark: a whole local stack, as ``symphony up`` starts it, nothing left out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString, Self

import psycopg

from benchmarks.meters import Meters
from benchmarks.workload import ROOT
from symphony.stack.layout import Layout
from symphony.stack.prepare import DATABASES
from symphony.stack.prepare import database as cluster_of
from symphony.stack.up import answers

DONE_S_MAX = 60.0
POLL_S = 0.02
SIDECAR_PROCESSES = ("acceptor", "writer", "shipper")
_DONE: LiteralString = """
    SELECT t.outbox_id::text, extract(epoch FROM t.finished_at)::float8 FROM symphony.payment_terminals AS t
    WHERE t.outbox_id = ANY (%s::uuid[]) AND t.state = 'DISPATCHED'"""
_EVIDENCED: LiteralString = """
    SELECT count(DISTINCT a.outbox_id), count(*) FROM symphony.payment_outbox_attempts AS a
    WHERE a.outbox_id = ANY (%s::uuid[]) AND a.leaf_hash = sha256('\\x00'::bytea || a.evidence)"""
_POSTED: LiteralString = "SELECT count(*) FROM ledger.postings AS p WHERE p.instruction_id = ANY (%s::uuid[])"
_UNSHIPPED: LiteralString = """
    SELECT w.next_seq - 1 - coalesce((SELECT max(s.last_seq) FROM symphony.evidence_shipments AS s), 0)
    FROM symphony.writer_epochs AS w"""


class Stack:
    """A stack in ``folder``, for the time of a ``with``."""

    def __init__(self, folder: Path, manifests: Path) -> None:
        self._folder = folder
        self._manifests = manifests

    def __enter__(self) -> Self:
        self._symphony("up", "--dir", str(self._folder), "--manifests", str(self._manifests), "--detach")
        self.layout = Layout.open(self._folder)
        self.port = self.layout.ports["acceptor"]
        self._cluster = cluster_of(self.layout)
        self.data, self.admin_url = self._cluster.home.data, self._cluster.admin_url()
        running: dict[str, Any] = json.loads(self.layout.run_file.read_text())
        self.meters = Meters(running["processes"], self._cluster.pid() or 0, self.admin_url, DATABASES["sidecar"])
        return self

    def __exit__(self, *_: object) -> None:
        self._symphony("down", "--dir", str(self._folder))
        self._cluster.destroy()
        shutil.rmtree(self.layout.sockets, ignore_errors=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop every process of the stack within the block, so that its polls cost the other side nothing."""
        try:
            self._signal(signal.SIGSTOP)
            yield
        finally:
            self._signal(signal.SIGCONT)
            deadline = time.monotonic() + DONE_S_MAX
            while not answers(self.layout, "acceptor", "/health/ready") and time.monotonic() < deadline:
                time.sleep(POLL_S)

    def _signal(self, number: signal.Signals) -> None:
        running: dict[str, Any] = json.loads(self.layout.run_file.read_text())
        for pid in running["processes"].values():
            os.kill(pid, number)

    def done_at(self, instruction_ids: Sequence[str]) -> Mapping[str, float]:
        """See ``measure.Side``; checks that each is posted in the ledger and that its evidence is whole."""
        ids, deadline = list(instruction_ids), time.monotonic() + DONE_S_MAX
        while True:
            found = dict(self._rows("sidecar", _DONE, ids))
            if len(found) == len(ids):
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(found)} of {len(ids)} payments are done after {DONE_S_MAX:.0f} s")
            time.sleep(POLL_S)
        posted, evidenced = self._rows("ledger", _POSTED, ids)[0][0], self._rows("sidecar", _EVIDENCED, ids)[0]
        if posted != len(ids) or evidenced[0] != len(ids) or evidenced[1] < 2 * len(ids):
            raise RuntimeError(f"of {len(ids)} payments {posted} are posted, {evidenced} evidenced")
        return found

    def settle(self) -> None:
        """Wait until all evidence is shipped."""
        deadline = time.monotonic() + DONE_S_MAX
        while self._rows("sidecar", _UNSHIPPED)[0][0] > 0 and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _rows(self, kind: str, query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url, dbname=DATABASES[kind], autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def _symphony(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "symphony", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"symphony {' '.join(arguments)}: {done.stdout[-800:]} {done.stderr[-800:]}")
