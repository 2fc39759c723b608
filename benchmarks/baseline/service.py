"""The baseline's processes: a PostgreSQL of the same settings, an OPA server with the same Rego, the application."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, LiteralString, Self

import psycopg

from benchmarks.meters import Meters
from benchmarks.workload import ROOT
from contracts.canonical import sha256_hex
from symphony.opa import find_opa
from symphony.participant import audience
from symphony.policy_build import POLICIES, committed_wasm, rego_files
from symphony.stack.environment import environment_data, load_template, manifests_in
from symphony.stack.layout import SERVICE, Layout
from symphony.stack.postgres import Cluster
from symphony.stack.release_one import schema_folder

START_S_MAX = 30.0
SCHEMA = "iso20022/pacs.008.001.08"
_DONE: LiteralString = """
    SELECT t.outbox_id::text, extract(epoch FROM t.finished_at)::float8 FROM payments.terminals AS t
    JOIN payments.instructions AS i ON i.instruction_id = t.outbox_id
    JOIN payments.attestations AS a ON a.attestation_id = i.attestation_id
    WHERE t.outbox_id = ANY (%s::uuid[])
        AND (SELECT count(*) FROM payments.attempts AS x WHERE x.outbox_id = t.outbox_id) = 2"""
_POSTED: LiteralString = "SELECT count(*) FROM ledger.postings AS p WHERE p.instruction_id = ANY (%s::uuid[])"


class Baseline:
    """The running baseline, for the time of a ``with``. ``two_databases``: the ledger's tables in one of its own."""

    def __init__(self, folder: Path, layout: Layout, *, two_databases: bool) -> None:
        self._folder = folder
        self._layout = layout
        self._databases = ("payments", "ledger") if two_databases else ("payments",)
        self._started: list[subprocess.Popen[bytes]] = []
        self._cluster = Cluster(folder / "postgres")
        self.port, self._opa_port = _free_ports(2)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._cluster.start()
            self.admin_url = self._cluster.admin_url()
            self._create_databases()
            environment = environment_data(
                self._layout, load_template(self._layout.folder / "environment.template.json")
            )
            opa = self._start([str(find_opa()), *self._opa_arguments(environment)], "opa.log")
            app = self._start(
                [sys.executable, "-m", "benchmarks.baseline", str(self._configuration(environment))], "app.log"
            )
            for port in (self._opa_port, self.port):
                self._wait(port)
        except BaseException:
            self.__exit__()
            raise
        self.meters = Meters({"app": app.pid, "opa": opa.pid}, self._cluster.pid() or 0, self.admin_url, "payments")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._cluster.destroy()

    def done_at(self, instruction_ids: Sequence[str]) -> Mapping[str, float]:
        """See ``measure.Side``: an answer was given after the commit, so all must be there."""
        ids = list(instruction_ids)
        found: dict[str, float] = dict(self._rows("payments", _DONE, ids))
        posted = self._rows(self._databases[-1], _POSTED, ids)[0][0]
        if len(found) != len(ids) or posted != len(ids):
            raise RuntimeError(f"of {len(ids)} payments {len(found)} are done, {posted} posted")
        return found

    def settle(self) -> None:
        """Nothing is under way after the answer."""

    def _rows(self, database: str, query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin_url, dbname=database, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def _create_databases(self) -> None:
        schema = (Path(__file__).parent / "schema.sql").read_bytes()
        for name in self._databases:
            with psycopg.connect(self.admin_url, autocommit=True) as connection:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
            with psycopg.connect(self._cluster.admin_url(name), autocommit=True) as connection:
                connection.execute(schema)

    def _opa_arguments(self, environment: dict[str, Any]) -> list[str]:
        data = self._folder / "data.json"
        data.write_text(json.dumps({"environment": environment}))
        files = [str(POLICIES / name) for name in rego_files()]
        address = f"127.0.0.1:{self._opa_port}"
        return ["run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", *files, str(data)]

    def _configuration(self, environment: dict[str, Any]) -> Path:
        layout, manifest = self._layout, manifests_in(self._layout.folder / "manifests")[SERVICE]
        schema = self._folder / "schema.xsd"
        schema.write_bytes(schema_folder(None)[SCHEMA])
        path = self._folder / "app.json"
        path.write_text(json.dumps({
            "port": self.port, "certificate": str(layout.folder / "sidecar" / "server.pem"),
            "key": str(layout.folder / "sidecar" / "server-key.pem"), "ca": str(layout.folder / "ca" / "participants.pem"),
            "audience": audience(layout), "environment": environment, "sidecar": manifest["sidecar"],
            "schema_file": str(schema), "policy_digest": sha256_hex(committed_wasm()),
            "opa_url": f"http://127.0.0.1:{self._opa_port}", "database_url": self._cluster.admin_url("payments"),
            "ledger_url": self._cluster.admin_url("ledger") if len(self._databases) > 1 else None,
        }))  # fmt: skip
        path.chmod(0o600)
        return path

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self._folder / log).open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._started.append(process)
        return process

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and all(process.poll() is None for process in self._started):
            try:
                with socket.create_connection(("127.0.0.1", port), 1):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the baseline did not start: see {self._folder}")


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
