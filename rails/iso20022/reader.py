"""Messages are read in one thread of their own: the loop stays free for payments under way, and memory is given back.

libxml2 keeps every element name that it has ever seen for as long as the thread lives that saw it, so a sender of
invented names would fill the process. The thread is replaced once it has read ``PARSED_BYTES_PER_THREAD_MAX``.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from rails.iso20022.limits import PARSED_BYTES_PER_THREAD_MAX
from rails.iso20022.normalise import Ruleset, normalise
from rails.sdk.types import NormaliseAnswer


class Reader:
    """``normalise`` off the loop."""

    def __init__(self, *, bytes_max: int = PARSED_BYTES_PER_THREAD_MAX) -> None:
        self._bytes_max = bytes_max
        self._read = 0
        self._thread = _new_thread()

    async def normalise(self, raw: bytes, received_at: str, rules: Ruleset) -> NormaliseAnswer:
        """As ``normalise.normalise``."""
        if self._read > self._bytes_max:
            self._thread.shutdown(wait=False)
            self._thread, self._read = _new_thread(), 0
        self._read += len(raw)
        return await asyncio.get_running_loop().run_in_executor(self._thread, normalise, raw, received_at, rules)

    def close(self) -> None:
        """End the thread once what it reads is read."""
        self._thread.shutdown(wait=False)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="iso20022-reader")
