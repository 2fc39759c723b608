"""``python -m sidecar shipper --config FILE``: seal, send, mark; it alone holds the evidence signing key.

Rules:

* a range is sealed (range, root, previous hash, signature) before it is sent; a retry sends the same bytes;
* at-least-once with dedupe at the control plane; nothing is skipped: the range begins where the last one ended;
* every ``heartbeat_s`` the highest number is signed and sent, empty or not, so that a missing tail shows;
* a control plane that is down loses nothing: what is not shipped stays, and the writer stops at the backlog bound.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg import AsyncConnection

from contracts import evidence
from contracts.errors import CannotEvaluate, SymphonyError
from contracts.keys import key_id_of, load_private_key
from contracts.named_sql import queries
from contracts.runtime_invariants import Watch
from contracts.times import Clock, SystemClock, rfc3339
from contracts.tls import client_context
from sidecar import failpoints, invariants
from sidecar.config import ShipperConfig
from sidecar.failpoints import failpoint
from sidecar.store.cutting import cut_after

IDLE_S = 0.2
GATHER_S = 0.05
"""The wait for more after a range that was not full: each costs a signature, a request and three commits."""
ANSWER_BYTES_MAX = 64 * 1024
RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0
REQUEST_TIMEOUT_S = 15
DATABASE_TIMEOUT_S = 20
"""For a server that hangs; a slow statement ends earlier, by the server's own bound."""
_LOG = logging.getLogger("symphony.shipper")


class Shipper:
    """One shipper process."""

    def __init__(self, config: ShipperConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._key = load_private_key(Path(config.evidence_key))
        self._key_id = key_id_of(self._key)
        self._context = client_context(Path(config.certificate), Path(config.key), Path(config.ca))
        self._sql = queries("sidecar.evidence")
        self._connection: AsyncConnection[Any] | None = None
        self._beat_at = 0.0
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        """Ship until stopped."""
        wait = RETRY_S_MIN
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(self._config.control_plane_url, timeout=timeout) as session:
            while not self.stopped.is_set():
                try:
                    shipped = await self.once(session)
                    wait = RETRY_S_MIN if shipped else IDLE_S
                    pause = 0.0 if shipped >= self._config.batch_size_max else GATHER_S if shipped else IDLE_S
                except (SymphonyError, aiohttp.ClientError, psycopg.Error, TimeoutError, OSError) as error:
                    _LOG.warning("shipping: %s", error)
                    pause = wait = min(wait * 2, RETRY_S_MAX)
                except Exception:  # noqa: BLE001 - what is not shipped stays; the writer stops at the backlog bound
                    _LOG.exception("shipping")
                    pause = wait = RETRY_S_MAX
                if pause:
                    await self._pause(pause)
        if self._connection is not None:
            await self._connection.close()

    async def once(self, session: aiohttp.ClientSession) -> int:
        """One round: send what is sealed, else seal the next range; how many records were sent."""
        state = await self._value("shipping_state", self._config.stream)
        if state is None:
            return 0
        await self._beat(session, state)
        sealed = state["sealed"]
        if sealed is None or sealed["shipped"]:
            if state["last_seq"] <= (sealed["last_seq"] if sealed else 0):
                return 0
            sealed = await self._seal(state, sealed)
        failpoint("ship.sealed")
        records = await self._records(sealed["first_seq"], sealed["last_seq"] - sealed["first_seq"] + 1)
        body = {
            "batch": sealed["batch"].replace("\n", ""), "signature": sealed["signature"],
            "records": [base64.b64encode(record).decode() for _, record in records],
        }  # fmt: skip
        await self._post(session, "/v1/evidence/batches", body)
        await self._value("mark_shipped", self._config.stream, sealed["first_seq"], sealed["last_seq"])
        return len(records)

    async def _seal(self, state: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        first = before["last_seq"] + 1 if before else 1
        records = await self._records(first, self._config.batch_size_max)
        size, count = 0, 0
        for _, record in records:
            size += len(record)
            if size > evidence.BATCH_BYTES_MAX:
                break
            count += 1
        sealed = evidence.seal(
            self._key, self._key_id, environment=self._config.environment, stream=self._config.stream,
            epoch=state["epoch"], first_seq=first, leaves=[leaf for leaf, _ in records[:count]],
            previous_batch_sha256=before["batch_sha256"] if before else None, sealed_at=rfc3339(self._clock.now()),
        )  # fmt: skip
        last = first + count - 1
        digest = evidence.batch_sha256(sealed.body)
        await self._value("seal_evidence_batch", self._config.stream, first, last, sealed.body, digest, sealed.signature)
        batch = base64.b64encode(sealed.body).decode()
        return {"first_seq": first, "last_seq": last, "batch": batch, "signature": sealed.signature}

    async def _records(self, first: int, limit: int) -> list[tuple[bytes, bytes]]:
        """Leaf and bytes in order, without a gap. A gap is a defect that must stop shipping, never be passed over."""
        rows = await self._rows("read_evidence", first, limit)
        numbers = [row[0] for row in rows]
        if numbers != list(range(first, first + len(rows))) or not rows:
            raise CannotEvaluate("BATCH_GAP", f"the evidence from {first} on has a gap")
        return [(bytes(row[1]), bytes(row[2])) for row in rows]

    async def _beat(self, session: aiohttp.ClientSession, state: dict[str, Any]) -> None:
        if time.monotonic() - self._beat_at < self._config.heartbeat_s:
            return
        self._beat_at = time.monotonic()
        beat = evidence.heartbeat(
            self._key, self._key_id, environment=self._config.environment, stream=self._config.stream,
            epoch=state["epoch"], last_seq=state["last_seq"], sent_at=rfc3339(self._clock.now()),
        )  # fmt: skip
        await self._post(session, "/v1/evidence/heartbeats", beat.envelope("heartbeat"))

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
        async with session.post(path, json=body, ssl=self._context) as response:
            answer = await response.content.read(ANSWER_BYTES_MAX)  # to its end, else the connection is not kept
            if response.status >= 300:
                raise CannotEvaluate("STORE_UNAVAILABLE", f"{path}: {response.status}: {answer[:300]!r}")

    async def _value(self, name: str, *parameters: Any) -> Any:
        rows = await self._rows(name, *parameters)
        return rows[0][0] if rows else None

    async def _rows(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        connection = await self._connected()
        with cut_after(connection, DATABASE_TIMEOUT_S):
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE symphony_shipper")
                return await (await connection.execute(self._sql[name], parameters)).fetchall()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await AsyncConnection.connect(
                self._config.database_url, autocommit=True, connect_timeout=5, application_name="symphony-shipper",
                options="-c statement_timeout=15000",
            )  # fmt: skip
        return self._connection

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopped.wait()
        except TimeoutError:
            return


async def run(config: ShipperConfig) -> None:
    """Ship until SIGTERM or SIGINT."""
    failpoints.arm(Path(config.failpoints) if config.failpoints else None, environment=config.environment)
    clock = SystemClock()
    watch = Watch(lambda: invariants.of_shipper(config, clock), interval_s=config.runtime_check_interval_s)
    await watch.at_start()
    shipper = Shipper(config, clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, shipper.stopped.set)
    watching = asyncio.create_task(watch.run())  # it warns and goes on: evidence of a halted service must arrive
    try:
        await shipper.run()
    finally:
        watching.cancel()
