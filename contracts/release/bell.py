"""Being told of something new in about a second: a long poll at ``<url>/wait``, beside which polling goes on.

Rules:

* what the server says is a hint: it decides when the follower looks, never what it takes;
* one wait ends after ``patience`` whatever the server does, so the lease is renewed long before it runs out; it can be
  cancelled at any moment and holds no thread, so neither expiry nor the end of the process waits for it;
* a server that does not know the address, has no place, or is away: the follower polls every ``pause_s`` and asks again
  after ``ASK_AGAIN_S`` or the ``Retry-After`` (a server that is away: at once);
* a server that rings without anything new, or answers at once, is looked at no more often than by polling;
* followers that are rung together look spread over ``SPREAD_S``, and a pause is never the same for two.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from contracts.release.model import VerifiedRelease

WAIT_S_MAX = 20.0
ANSWER_MARGIN_S = 3.0
"""How long after its wait a server may take to answer before the connection is given up."""
ANSWER_BYTES_MAX = 4096
ASK_AGAIN_S = 60.0
SPREAD_S = 0.2
JITTER = 0.2
PATIENCE_SHARE = 4


def patience(release: VerifiedRelease | None, now: datetime) -> float:
    """Seconds that one wait may last: a quarter of what is left of the lease and of the age that a revocation list may have."""
    if release is None:
        return WAIT_S_MAX
    lease_s = (release.lease_expires_at - now).total_seconds()
    age_s = release.manifest.get("sidecar", {}).get("ages_max_s", {}).get("revocations", lease_s)
    return float(max(0.0, min(WAIT_S_MAX, lease_s / PATIENCE_SHARE, age_s / PATIENCE_SHARE)))


async def meanwhile(work: Coroutine[Any, Any, None], every_s: float, act: Callable[[], Awaitable[None]]) -> None:
    """Until ``work`` is done, and ``act`` every ``every_s`` in the meantime."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=every_s))[0]:
            await act()
        task.result()
    finally:
        task.cancel()


class Bell:
    """One follower's. ``url``: the source's (``https://…/tuf``), or ``None`` where there is nobody to ask (a folder)."""

    def __init__(self, url: str | None, context: ssl.SSLContext | None, *, pause_s: float) -> None:
        self._address = f"{url.rstrip('/')}/wait" if url else None
        self._context = context
        self._pause_s = pause_s
        self._ask_again_at = 0.0
        self._rang_at: int | None = None
        self._session: aiohttp.ClientSession | None = None

    async def heard(self, known: int, wait_s: float) -> None:
        """Return when it is time to look again. ``known``: the snapshot version of the last look. Raises nothing."""
        begun = time.monotonic()
        if self._rang_at == known or begun < self._ask_again_at or self._address is None:
            self._rang_at = None  # the look after a ring brought nothing: no ring counts twice
            await self._pause()
            return
        if await self._told(known, wait_s) > known:
            self._rang_at = known
            await asyncio.sleep(random.uniform(0, SPREAD_S))  # noqa: S311 - no secret, only apart
        elif time.monotonic() - begun < self._pause_s:  # away, unknown, no place, or it answers at once
            await self._pause()

    async def close(self) -> None:
        """Close the kept connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _told(self, known: int, wait_s: float) -> int:
        """The version that the server names; ``known`` where it names none."""
        seconds = max(1, int(wait_s))
        try:
            async with asyncio.timeout(seconds + ANSWER_MARGIN_S):
                return await self._ask(known, seconds)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return known

    async def _ask(self, known: int, seconds: int) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        query = {"snapshot": str(known), "seconds": str(seconds)}
        assert self._address is not None
        async with self._session.get(
            self._address, params=query, ssl=self._context or True, allow_redirects=False
        ) as response:
            body = await response.content.read(ANSWER_BYTES_MAX)
            if response.status != 200:
                self._ask_again_at = time.monotonic() + _retry_after_s(response.headers.get("retry-after", ""))
                return known
        value = orjson.loads(body)
        version = value.get("snapshot") if isinstance(value, dict) else None
        return version if type(version) is int else known

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret, only apart


def _retry_after_s(header: str) -> float:
    return min(float(header), ASK_AGAIN_S) if header.isascii() and header.isdigit() else ASK_AGAIN_S
