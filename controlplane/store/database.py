"""A bounded pool of connections; every transaction assumes one NOLOGIN role (SEC-02, INV-007).

* at most ``CONNECTIONS_MAX`` connections, waiting for one at most ``ACQUIRE_TIMEOUT_S``;
* ``SET LOCAL ROLE`` in each transaction, so no role leaks to the next user of a connection;
* a connection that broke is thrown away, and with it the free ones, which the same server has most likely lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from contracts.errors import CannotEvaluate

CONNECTIONS_MAX = 8
ACQUIRE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_MS = 15_000
WRITER = "symphony_control"
READER = "symphony_control_reader"

Connection = AsyncConnection[dict[str, Any]]


class Database:
    """The control plane's database."""

    def __init__(self, url: str, *, role: str = WRITER, connections_max: int = CONNECTIONS_MAX) -> None:
        self._url = url
        self._role = role
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(connections_max)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction under the role; rows come as dictionaries. Commits unless the block raises.

        Raises ``CannotEvaluate STORE_UNAVAILABLE`` when no connection is to be had in time, or it broke: then it is not
        known whether the transaction was committed.
        """
        async with self._slot():
            connection = self._free.pop() if self._free else await self._connect()
            try:
                async with connection.transaction():
                    await connection.execute("SELECT pg_catalog.set_config('role', %s, true)", (self._role,))
                    yield connection
            except psycopg.OperationalError as error:
                if not connection.broken:
                    raise
                raise CannotEvaluate("STORE_UNAVAILABLE", f"the connection broke: {type(error).__name__}") from error
            finally:
                if connection.broken or connection.closed:
                    await connection.close()
                    await self.close()
                else:
                    self._free.append(connection)

    async def fetch(self, query: Any, *parameters: Any) -> list[dict[str, Any]]:
        """All rows of one statement in a transaction of its own."""
        async with self.transaction() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    async def close(self) -> None:
        """Close every free connection."""
        while self._free:
            await self._free.pop().close()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
                await self._slots.acquire()
        except TimeoutError as error:
            raise CannotEvaluate("STORE_UNAVAILABLE", "no database connection was free in time") from error
        try:
            yield
        finally:
            self._slots.release()

    async def _connect(self) -> Connection:
        try:
            return await AsyncConnection.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=5,
                application_name="symphony-controlplane",
                options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            )
        except psycopg.OperationalError as error:
            detail = f"the database does not answer: {type(error).__name__}"
            raise CannotEvaluate("STORE_UNAVAILABLE", detail) from error
