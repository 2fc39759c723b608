"""Bytes kept for a moment: read once for many, never that something is missing, never more than the bound."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import CannotEvaluate
from controlplane import served as module
from controlplane.served import Served


class Store:
    """What is read, and how often."""

    def __init__(self, content: bytes | None) -> None:
        self.content, self.reads = content, 0

    async def load(self) -> bytes | None:
        """One read."""
        self.reads += 1
        await asyncio.sleep(0)
        return self.content


def test_many_who_ask_at_once_cost_one_read() -> None:
    store, served = Store(b"bytes"), Served()

    async def ask() -> None:
        assert set(await asyncio.gather(*[served.get("a", store.load) for _ in range(50)])) == {b"bytes"}
        assert await served.get("a", store.load) == b"bytes"

    asyncio.run(ask())
    assert store.reads == 1


def test_that_something_is_missing_is_asked_each_time_and_an_error_is_not_kept() -> None:
    store, served = Store(None), Served()

    async def failing() -> bytes | None:
        raise CannotEvaluate("STORE_UNAVAILABLE")

    async def ask() -> None:
        assert await served.get("a", store.load) is None
        with pytest.raises(CannotEvaluate):
            await served.get("a", failing)
        store.content = b"now there"
        assert await served.get("a", store.load) == b"now there"

    asyncio.run(ask())
    assert store.reads == 2


def test_what_is_over_the_bound_or_older_than_a_moment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, served = Store(b"x" * 60), Served()

    async def ask(*names: str) -> None:
        for name in names:
            await served.get(name, store.load)

    monkeypatch.setattr(module, "BYTES_MAX", 100)
    asyncio.run(ask("a", "b", "a"))
    assert store.reads == 3
    monkeypatch.setattr(module, "KEPT_S", -1.0)
    asyncio.run(ask("c", "c"))
    assert store.reads == 5
