"""Runs ``async def`` tests, and holds each flow to the checks that must be true after any scenario."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.sidecar.rows import Bench
from tests.sidecar.stage import Stage
from tests.support.database import Database, TestPostgres


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run a coroutine test in a loop of its own; close its stage in the same loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}

    async def run() -> None:
        try:
            async with asyncio.timeout(30):
                await pyfuncitem.obj(**arguments)
        finally:
            for value in arguments.values():
                if isinstance(value, Stage):
                    await value.close()

    asyncio.run(run())
    return True


@pytest.fixture(scope="session")
def emptied(postgres: TestPostgres) -> Callable[[], Database]:
    """One database for all flows, emptied for each: making one takes half a second, emptying it a hundredth."""
    database = postgres.new_database("sidecar")
    with psycopg.connect(database.admin) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'symphony'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        ).fetchall()

    def empty() -> Database:
        with psycopg.connect(database.admin) as connection:
            connection.execute("SET session_replication_role = replica")  # or nothing here could be deleted
            for (name,) in tables:
                connection.execute(sql.SQL("DELETE FROM symphony.{}").format(sql.Identifier(name)))
        return database

    return empty


@pytest.fixture
def stage(emptied: Callable[[], Database], caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    """A stage on an empty database. Afterwards: evidence without gap and canary, no canary in the logs."""
    caplog.set_level(logging.DEBUG)
    made: Any = Stage(emptied())
    yield made
    try:
        made.check()
        made.check_no_canary(caplog.text.encode())
    finally:
        made.close_admin()


@pytest.fixture
def bench(emptied: Callable[[], Database]) -> Iterator[Bench]:
    """An empty database, and hands on it by role."""
    made = Bench(emptied())
    yield made
    made.close()
