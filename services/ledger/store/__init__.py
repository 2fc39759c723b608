"""The ledger's database: a bounded pool, transactions whose failure has one meaning, every statement in a .sql file.

What a failure means (each of the four is a different fact, and only the last is not known to have no effect):

    RefusedByStore INTERNAL           the data or a constraint: rolled back, nothing posted
    CannotEvaluate OVERLOADED         no connection was free: nothing sent
    CannotEvaluate STORE_UNAVAILABLE  failed before COMMIT was sent: nothing posted
    CannotEvaluate OUTCOME_UNKNOWN    failed at COMMIT without the server's word: it may be posted
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection

from contracts.errors import CannotEvaluate, SymphonyError
from services.ledger import config
from services.ledger.store import arrays

Row = tuple[Any, ...]


class RefusedByStore(SymphonyError):
    """The database refused the data of a transaction; it was rolled back."""


@cache
def text(name: str) -> LiteralString:
    """The statement in ``sql/<name>.sql``."""
    return (resources.files(__package__) / "sql" / f"{name}.sql").read_text("utf-8")


class Database:
    """At most ``connections_max`` connections, opened when needed, thrown away when anything went wrong on them."""

    def __init__(
        self,
        url: str,
        *,
        connections_max: int = config.CONNECTIONS_MAX,
        acquire_timeout_s: float = config.ACQUIRE_TIMEOUT_S,
        transaction_timeout_ms: int = config.TRANSACTION_TIMEOUT_MS,
    ) -> None:
        self._url = url
        self._acquire_timeout_s = acquire_timeout_s
        self._client_timeout_s = transaction_timeout_ms / 1000 + config.CLIENT_MARGIN_S
        self._options = f"-c transaction_timeout={transaction_timeout_ms} -c timezone=UTC -c synchronous_commit=on"
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[AsyncConnection[Row]] = []

    async def transaction(self, statement: LiteralString, parameters: Sequence[Any]) -> list[Row]:
        """Run one statement in one transaction with the service's role; its rows, once committed."""
        async with self._begun() as connection:
            try:
                async with asyncio.timeout(self._client_timeout_s):
                    cursor = await connection.execute(statement, parameters)
                    rows = await cursor.fetchall()
            except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
                raise RefusedByStore("INTERNAL", f"{error.sqlstate}: {_first_line(error)}") from error
            except (psycopg.Error, TimeoutError) as error:
                raise CannotEvaluate("STORE_UNAVAILABLE", _first_line(error)) from error
            await self._commit(connection)
            return rows

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().close()

    async def _commit(self, connection: AsyncConnection[Row]) -> None:
        try:
            async with asyncio.timeout(self._client_timeout_s):
                cursor = await connection.execute("COMMIT", prepare=False)
        except psycopg.IntegrityError as error:  # a deferred constraint: the server says that it rolled back
            raise RefusedByStore("INTERNAL", f"{error.sqlstate}: {_first_line(error)}") from error
        except (psycopg.Error, TimeoutError) as error:
            raise CannotEvaluate("OUTCOME_UNKNOWN", f"at commit: {_first_line(error)}") from error
        if cursor.statusmessage != "COMMIT":
            raise CannotEvaluate("STORE_UNAVAILABLE", "the transaction was rolled back")

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection[Row]]:
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise CannotEvaluate("OVERLOADED", "no database connection was free") from error
        connection: AsyncConnection[Row] | None = None
        try:
            connection = await self._begin_on_idle() or await self._begin(await self._open())
            yield connection
            self._idle.append(connection)
        except BaseException:
            if connection is not None:
                with suppress(Exception):
                    await connection.close()
            raise
        finally:
            self._slots.release()

    async def _begin_on_idle(self) -> AsyncConnection[Row] | None:
        """A kept connection with a transaction begun; those that the server closed meanwhile are thrown away."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._begin(connection)
            except CannotEvaluate:
                if not connection.closed:
                    await connection.close()
                    raise
        return None

    async def _begin(self, connection: AsyncConnection[Row]) -> AsyncConnection[Row]:
        try:
            async with asyncio.timeout(self._client_timeout_s):
                await connection.execute(text("begin"), prepare=False)
        except (psycopg.Error, TimeoutError) as error:
            raise CannotEvaluate("STORE_UNAVAILABLE", _first_line(error)) from error
        return connection

    async def _open(self) -> AsyncConnection[Row]:
        try:
            connection: AsyncConnection[Row] = await AsyncConnection.connect(
                self._url, autocommit=True, prepare_threshold=0, connect_timeout=config.CONNECT_TIMEOUT_S,
                application_name="symphony-ledger", options=self._options,
            )  # fmt: skip
        except psycopg.Error as error:
            raise CannotEvaluate("STORE_UNAVAILABLE", _first_line(error)) from error
        arrays.register(connection)
        return connection


def _first_line(error: BaseException) -> str:
    """One line of an error, without values: DETAIL lines may quote rows."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
