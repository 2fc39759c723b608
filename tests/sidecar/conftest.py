"""Runs ``async def`` tests, and holds each flow to the checks that must be true after any scenario."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sidecar.stage import Stage
from tests.support.database import TestPostgres


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


@pytest.fixture
def stage(postgres: TestPostgres, caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    """A stage on a database of its own. Afterwards: evidence without gap and canary, no canary in the logs."""
    caplog.set_level(logging.DEBUG)
    database = postgres.new_database("sidecar")
    made: Any = Stage(database)
    yield made
    made.check()
    made.check_no_canary(caplog.text.encode())
    postgres.drop(database)
