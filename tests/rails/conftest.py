"""Fixtures of the rails' tests: certificates, and an event loop of each kind that we run on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from tests.rails.fake_ledger import Files


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[object]], object]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runs(awaitable: Awaitable[object]) -> object:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(awaitable)  # type: ignore[arg-type]

    return runs
