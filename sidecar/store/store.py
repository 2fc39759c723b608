"""``WriterStore``: one connection, one transaction at a time, every write fenced by the epoch.

Rules:

* ``SET LOCAL ROLE`` in each transaction (SEC-02); the wait for the connection and the transaction are both bounded
  (REC-09): the server ends a statement, or a transaction that its writer leaves open, and at the bound the connection is
  cut here, whether the server still answers or not;
* the stream's next number is known here and checked in SQL; after anything that failed it is read again, so a commit
  whose answer was lost is not written over;
* D2: after several failures in a row the breaker opens, and for a while nothing here touches the database;
* an epoch that is over ends the process (``Fenced``), it is never renewed by a running writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, sql

from contracts.named_sql import queries
from contracts.times import Clock, SystemClock
from sidecar.store.breaker import Breaker
from sidecar.store.cutting import cut_after
from sidecar.store.errors import BreakerOpen, Fenced, StoreUnavailable, translated

INGEST = "symphony_ingest"
EXECUTOR = "symphony_executor"
CONNECT_TIMEOUT_S = 5
ROLLBACK_TIMEOUT_S = 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where a stream stands: the epoch that writes, and the next number it gives out."""

    epoch: int
    next_seq: int


class Transaction:
    """One open transaction: calls of the DB API by name."""

    def __init__(self, connection: AsyncConnection[Any], store: WriterStore) -> None:
        self._connection = connection
        self._store = store

    async def rows(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a named statement."""
        cursor = await self._connection.execute(self._store.sql[name], parameters, prepare=True)
        return await cursor.fetchall()

    async def value(self, name: str, *parameters: Any) -> Any:
        """The one value of a named statement; ``None`` without a row."""
        rows = await self.rows(name, *parameters)
        return rows[0][0] if rows else None

    async def numbered(self, name: str, *parameters: Any, evidence: Sequence[bytes]) -> Any:
        """A writing call that takes stream, epoch, first number, parameters and evidence bytes, in this order."""
        store = self._store
        first_seq = store.next_seq + store.pending_numbers
        value = await self.value(name, store.stream, store.epoch, first_seq, *parameters, list(evidence))
        self._store.taken(len(evidence))
        return value


class WriterStore:
    """The writer's database. ``stream`` names the evidence stream whose numbers it gives out."""

    def __init__(self, url: str, *, stream: str, acquire_timeout_ms: int = 2000, transaction_timeout_ms: int = 5000,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.sql = queries("sidecar.store")
        self.stream = stream
        self.epoch = 0
        self.next_seq = 0
        self.acquire_timeout_ms = acquire_timeout_ms
        self.transaction_timeout_ms = transaction_timeout_ms
        self.breaker = Breaker()
        self._clock = clock
        self._url = url
        self._connection: AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()
        self.pending_numbers = 0

    async def begin_epoch(self) -> Numbers:
        """Fence every older writer of the stream. Once a process."""
        async with self.transaction(EXECUTOR) as transaction:
            row = (await transaction.rows("begin_epoch", self.stream))[0]
        self.epoch, self.next_seq = row
        return Numbers(*row)

    @asynccontextmanager
    async def transaction(self, role: LiteralString) -> AsyncIterator[Transaction]:
        """One transaction under ``role``; commits unless the block raises.

        Raises ``StoreUnavailable`` (the commit is not known), ``StoreConflict``, ``LeaseLost`` or ``Fenced``.
        """
        if not self.breaker.permits(self._now()):
            raise BreakerOpen
        try:
            async with self._fenced_transaction(role) as transaction:
                yield transaction
        except StoreUnavailable:
            self.breaker.failed(self._now())
            raise
        except BaseException:
            self.breaker.released()
            raise
        self.breaker.succeeded()

    @asynccontextmanager
    async def _fenced_transaction(self, role: LiteralString) -> AsyncIterator[Transaction]:
        async with self._alone():
            connection = await self._connected()
            self.pending_numbers = 0
            try:
                with cut_after(connection, self.transaction_timeout_ms / 1000):
                    await connection.execute(self._begin(role))
                    yield Transaction(connection, self)
                    ended = await connection.execute("COMMIT")
                if ended.statusmessage != "COMMIT":  # the server answers ROLLBACK, and no error, after a failed statement
                    raise StoreUnavailable("the transaction had failed")
            except psycopg.Error as error:
                await self._failed(connection)
                raise translated(error) from error
            except BaseException:
                await self._failed(connection)
                raise
            self.next_seq += self.pending_numbers
            self.pending_numbers = 0

    def taken(self, count: int) -> None:
        """Note that the open transaction has used numbers; they count once it commits."""
        self.pending_numbers += count

    def _now(self) -> datetime:
        return (self._clock or SystemClock()).now()

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _begin(self, role: LiteralString) -> sql.Composed:
        return sql.SQL(
            "BEGIN; SET LOCAL ROLE {}; SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}"
        ).format(sql.Identifier(role), sql.Literal(self.transaction_timeout_ms), sql.Literal(self.transaction_timeout_ms))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.acquire_timeout_ms / 1000):
                await self._lock.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("the connection was busy for too long") from error
        try:
            yield
        finally:
            self._lock.release()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection = await AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="symphony-writer"
            )
        except psycopg.Error as error:
            raise StoreUnavailable(f"no connection: {type(error).__name__}") from error
        try:
            if self.epoch:
                with cut_after(connection, self.transaction_timeout_ms / 1000):
                    await self._resync(connection)
        except psycopg.Error as error:
            await self._drop(connection)
            raise translated(error) from error
        except BaseException:
            await self._drop(connection)
            raise
        self._connection = connection
        return connection

    async def _resync(self, connection: AsyncConnection[Any]) -> None:
        """Read the numbers again: a commit whose answer was lost may have moved them."""
        await connection.execute(self._begin(EXECUTOR))
        row = await (await connection.execute(self.sql["current_numbers"], (self.stream,))).fetchone()
        await connection.execute("COMMIT")
        if row is None or row[0] != self.epoch:
            raise Fenced(f"epoch {self.epoch} of stream {self.stream} is over")
        self.next_seq = row[1]

    async def _failed(self, connection: AsyncConnection[Any]) -> None:
        """Roll back; a connection that cannot even do that is dropped."""
        self._connection = None  # until it is known to be out of its transaction, whatever interrupts this
        try:
            with cut_after(connection, ROLLBACK_TIMEOUT_S):
                await connection.execute("ROLLBACK")
                if self.epoch:
                    await self._resync(connection)
        except psycopg.Error:
            await self._drop(connection)
        except BaseException:
            await self._drop(connection)
            raise
        else:
            self._connection = connection

    async def _drop(self, connection: AsyncConnection[Any]) -> None:
        self._connection = None
        with suppress(psycopg.Error):
            await connection.close()
