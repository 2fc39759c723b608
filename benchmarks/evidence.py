"""Evidence: leaves per second at intake and at the offline verifier, beside a serial hash chain in the same run.

    python -m benchmarks.evidence [--records 20000] [--chain-records 1500]

Method: one embedded PostgreSQL (fsync and synchronous_commit on), all on this machine. Records are payments' (one
attestation, two attempts), 400 to 700 bytes, made and sealed beforehand; each batch is taken as
``POST /v1/evidence/batches`` takes it, from the decoded body to the commit (schema and canonical form of every
record, root, signature, tree, one transaction), on one connection.

* ``intake_<n>``: leaves per second with batches of ``n``;
* ``verify``: records per second of ``verify.py`` over a packet of all of them, its own process, TUF checks and start
  included;
* ``chain``: the naive baseline that other ledgers use, an entry that names the hash of the entry before it: one
  transaction a record under an advisory lock, no schema check, no signature;
* ``record_us``, ``leaf_us``, ``seal_100_us``: what the sidecar's writer and shipper pay.

Results go to ``var/bench/evidence.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import evidence, keys
from controlplane.evidence.intake import take_batch
from tests.evidence.support import Plane, Sidecar, _context, export_packet, key_entry, running
from tests.support.database import TestPostgres

ROOT = Path(__file__).resolve().parent.parent
BATCHES = (1, 10, 100, 500)
CHAIN_TABLE = "CREATE TABLE chain (seq bigint PRIMARY KEY, entry_hash bytea NOT NULL, record bytea NOT NULL)"
CHAIN_INSERT = """
INSERT INTO chain SELECT coalesce(max(seq), 0) + 1,
    sha256(coalesce((SELECT entry_hash FROM chain ORDER BY seq DESC LIMIT 1), ''::bytea) || %(record)s), %(record)s
FROM (SELECT seq FROM chain ORDER BY seq DESC LIMIT 1) AS last
"""


class OneKey:
    """Knows one key for every stream."""

    def __init__(self, public: str) -> None:
        self._public = public

    async def lookup(self, _stream: str, _key_id: str) -> str | None:
        """The key."""
        return self._public


def fill(sidecar: Sidecar, count: int) -> None:
    """Records as the writer and the dispatcher write them: an attestation and two attempts a payment."""
    for number in range(count // 3):
        sidecar.payment(f"i-{sidecar.name}-{number}")
    sidecar.plain(count - len(sidecar.records))


def bodies(sidecar: Sidecar, size: int) -> Iterator[dict[str, Any]]:
    """Sealed batches of a size."""
    for start in range(0, len(sidecar.records), size):
        chosen = sidecar.records[start : start + size]
        sealed = evidence.seal(
            sidecar.key, keys.key_id_of(sidecar.key), environment="sandbox", stream=sidecar.name, epoch=1,
            first_seq=start + 1, leaves=[evidence.leaf(item) for item in chosen],
            previous_batch_sha256=sidecar.previous, sealed_at=datetime.now(UTC),
        )  # fmt: skip
        sidecar.previous = evidence.batch_sha256(sealed.body)
        yield {**sealed.envelope(), "records": [base64.b64encode(item).decode() for item in chosen]}


async def intake(plane: Plane, sidecar: Sidecar, size: int, count: int) -> float:
    """Leaves per second with batches of a size."""
    fill(sidecar, count)
    prepared = list(bodies(sidecar, size))
    context = _context(plane.database, plane.ceremony)
    known = OneKey(keys.public_hex(sidecar.key))
    started = time.perf_counter()
    for body in prepared:
        await take_batch(context, known, body)
    took = time.perf_counter() - started
    await context.pool.close()
    return count / took


def chain(url: str, count: int) -> float:
    """Entries per second of a serial hash chain."""
    sidecar = Sidecar("chain")
    fill(sidecar, count)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CHAIN_TABLE)
        connection.execute("INSERT INTO chain VALUES (0, '', '')")
        started = time.perf_counter()
        for record in sidecar.records:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(7)")
                connection.execute(CHAIN_INSERT, {"record": record})
        return count / (time.perf_counter() - started)


def verify(plane: Plane, folder: Path) -> tuple[int, float]:
    """Records of a packet and records per second of its own verifier."""
    packet = export_packet(plane, folder / "packet")
    count = len((packet / "records.jsonl").read_bytes().splitlines())
    started = time.perf_counter()
    command = [sys.executable, "-I", str(packet / "verify.py"), str(packet)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return count, count / (time.perf_counter() - started)


def writer_costs() -> dict[str, float]:
    """Microseconds of making a record, a leaf, and sealing 100 leaves."""
    sidecar, key, count = Sidecar("costs"), Ed25519PrivateKey.generate(), 5000
    started = time.perf_counter()
    fill(sidecar, count)
    made = time.perf_counter()
    leaves = [evidence.leaf(item) for item in sidecar.records]
    hashed = time.perf_counter()
    for _ in range(200):
        evidence.seal(key, "00" * 32, environment="sandbox", stream="s", epoch=1, first_seq=1, leaves=leaves[:100],
                      previous_batch_sha256=None, sealed_at="2026-11-24T10:00:00.000000Z")  # fmt: skip
    sealed = time.perf_counter()
    return {
        "record_us": (made - started) / count * 1e6, "leaf_us": (hashed - made) / count * 1e6,
        "seal_100_us": (sealed - hashed) / 200 * 1e6,
    }  # fmt: skip


def measure(records: int, chain_records: int) -> dict[str, float]:
    """All figures."""
    figures = writer_costs()
    with TestPostgres(ROOT / "migrations") as postgres, tempfile.TemporaryDirectory() as name:
        database, folder = postgres.new_database("controlplane"), Path(name)
        sidecars = {size: Sidecar(f"bench-{size}") for size in BATCHES}
        with running(database, folder) as plane:
            plane.publish(1, [key_entry(s.name, s.key) for s in sidecars.values()], log_keys=[plane.log_key])
            for size, sidecar in sidecars.items():
                count = max(min(records, size * 200), size)
                figures[f"intake_{size}"] = asyncio.run(intake(plane, sidecar, size, count))
            plane.size()
            figures["packet_records"], figures["verify"] = verify(plane, folder)
        figures["chain"] = chain(postgres.cluster.admin_url(), chain_records)
    figures["ratio_500_to_chain"] = figures["intake_500"] / figures["chain"]
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--chain-records", type=int, default=1500)
    chosen = parser.parse_args()
    figures = {name: round(value, 1) for name, value in measure(chosen.records, chosen.chain_records).items()}
    out = ROOT / "var" / "bench" / "evidence.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
