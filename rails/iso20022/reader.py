"""Messages are read in one thread of their own: the loop stays free for payments under way, and memory is given back.

libxml2 keeps every element name that it has ever seen for as long as the thread lives that saw it, so a sender of
invented names would fill the process. The thread is replaced once it has read ``PARSED_BYTES_PER_THREAD_MAX``.

What comes while the thread reads is handed over together, at most ``READ_TOGETHER_MAX``: waking a thread costs as much
as half of a message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rails.iso20022.limits import PARSED_BYTES_PER_THREAD_MAX, READ_TOGETHER_MAX
from rails.iso20022.normalise import Ruleset, normalise
from rails.sdk.types import NormaliseAnswer


@dataclass(slots=True)
class _Waiting:
    raw: bytes
    received_at: str
    rules: Ruleset
    answer: asyncio.Future[NormaliseAnswer]


class Reader:
    """``normalise`` off the loop."""

    def __init__(self, *, bytes_max: int = PARSED_BYTES_PER_THREAD_MAX) -> None:
        self._bytes_max = bytes_max
        self._read = 0
        self._thread = _new_thread()
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def normalise(self, raw: bytes, received_at: str, rules: Ruleset) -> NormaliseAnswer:
        """As ``normalise.normalise``."""
        waiting = _Waiting(raw, received_at, rules, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await waiting.answer

    def close(self) -> None:
        """End the thread once what it reads is read."""
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), READ_TOGETHER_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            if self._read > self._bytes_max:
                self._thread.shutdown(wait=False)
                self._thread, self._read = _new_thread(), 0
            self._read += sum(len(one.raw) for one in batch)
            try:
                results = await asyncio.get_running_loop().run_in_executor(self._thread, _read_all, batch)
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                results = [error] * count
            for one, result in zip(batch, results, strict=True):
                _answer(one.answer, result)


def _read_all(batch: Sequence[_Waiting]) -> list[NormaliseAnswer | Exception]:
    results: list[NormaliseAnswer | Exception] = []
    for one in batch:
        try:
            results.append(normalise(one.raw, one.received_at, one.rules))
        except Exception as error:  # noqa: BLE001 - one defect must not cost the others
            results.append(error)
    return results


def _answer(future: asyncio.Future[NormaliseAnswer], result: NormaliseAnswer | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="iso20022-reader")
