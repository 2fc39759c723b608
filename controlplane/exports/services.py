"""The parts of an evidence packet, in order, from one checkpoint (EVD-12).

    packet → checkpoint → heartbeat* → edge → tuf* → target* → batch* → record* → end

* the records are one contiguous part of the log, whole batches, wide enough for the period asked for;
* ``edge`` carries the hashes of the full subtrees on both sides, so that the log's root follows from the part;
* a stream that lives is waited for until its sidecar has signed a counter after the call, and the checkpoint holds
  every number signed for, at most ``settle_s``; what is then still missing the verifier names as a gap;
* ``end`` is last: without it the export was cut off.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.canonical import parse_json
from contracts.errors import Refused
from contracts.times import rfc3339
from controlplane.context import Context
from controlplane.evidence import log
from controlplane.store import queries

SETTLE_S = 15.0
PAGE = 200
TARGETS = ("environment.json", "release.json", "gate.json", "invariants.json")
STREAMS_BYTES_MAX = 4 * 1024 * 1024
_SQL = queries("controlplane.exports")
_LOG = queries("controlplane.evidence")


@dataclass(frozen=True, slots=True)
class Period:
    """Records recorded from ``begin`` (included) to ``end`` (not included); ``None`` is no bound."""

    begin: datetime | None = None
    end: datetime | None = None


async def parts(context: Context, period: Period, *, settle_s: float = SETTLE_S) -> AsyncIterator[dict[str, Any]]:
    """The parts, each a JSON object with ``part``. Raises ``Refused NOT_FOUND`` when the period has no record."""
    head = await _settled(context, settle_s)
    first, behind = await _range(context, head["size"], period)
    streams = parse_json(head["streams"], bytes_max=STREAMS_BYTES_MAX)
    yield {
        "part": "packet", "environment": context.environment, "exported_at": rfc3339(context.clock.now()),
        "from": rfc3339(period.begin) if period.begin else None, "to": rfc3339(period.end or head["made_at"]),
        "until_now": period.end is None,
        "first_index": first, "end_index": behind, "tree_size": head["size"],
    }  # fmt: skip
    yield {"part": "checkpoint", "note": head["note"], "streams": streams}
    counters = [(stream, counter["signed"]) for stream, counter in streams.items()]
    for row in await context.pool.fetch(_SQL["heartbeats"], [s for s, _ in counters], [n for _, n in counters]):
        yield {"part": "heartbeat", "heartbeat": _b64(row["body"]), "signature": row["signature"]}
    left, right = await log.subtree_hashes(context, 0, first), await log.subtree_hashes(context, behind, head["size"])
    yield {"part": "edge", "left": [item.hex() for item in left], "right": [item.hex() for item in right]}
    async for part in _releases(context, head["size"]):
        yield part
    async for part in _batches(context, first, behind):
        yield part
    async for part in _records(context, first, behind):
        yield part
    yield {"part": "end", "records": behind - first}


async def _releases(context: Context, size: int) -> AsyncIterator[dict[str, Any]]:
    roles = ["root", "targets", context.environment, f"{context.environment}-emergency"]
    for row in await context.pool.fetch(_SQL["roles"], size, roles):
        yield {"part": "tuf", "name": f"{row['version']}.{row['role']}.json", "content": _b64(row["content"])}
    for row in await context.pool.fetch(_SQL["targets"], size, context.environment, list(TARGETS)):
        path = f"{context.environment}/{row['number']}/{row['path']}"
        yield {"part": "target", "name": path, "content": _b64(row["content"])}


async def _batches(context: Context, first: int, behind: int) -> AsyncIterator[dict[str, Any]]:
    while rows := await context.pool.fetch(_SQL["batches"], first, behind, PAGE):
        for row in rows:
            yield {
                "part": "batch", "first_index": row["first_index"], "batch": _b64(row["body"]),
                "signature": row["signature"],
            }  # fmt: skip
        first = rows[-1]["first_index"] + 1


async def _records(context: Context, first: int, behind: int) -> AsyncIterator[dict[str, Any]]:
    for start in range(first, behind, PAGE):
        for row in await context.pool.fetch(_LOG["records"], start, min(start + PAGE, behind)):
            yield {
                "part": "record", "index": row["index"], "leaf": row["leaf_hash"].hex(), "record": _b64(row["record"])
            }  # fmt: skip


async def _settled(context: Context, settle_s: float) -> dict[str, Any]:
    """The newest checkpoint, once every living stream has signed after now and all signed for is logged."""
    asked = context.clock.now()
    end = asyncio.get_running_loop().time() + settle_s
    while True:
        waiting = (await context.pool.fetch(_SQL["alive"], asked))[0]["waiting"]
        head = await log.newest_checkpoint(context)
        counters = parse_json(head["streams"], bytes_max=STREAMS_BYTES_MAX).values()
        behind = any(counter["signed"] > counter["logged"] for counter in counters)
        current = (await context.pool.fetch(_LOG["head"]))[0]["size"] == head["size"]
        late = asyncio.get_running_loop().time() > end
        if late or not (waiting or behind or not current):
            return head
        await asyncio.sleep(0.2)


async def _range(context: Context, size: int, period: Period) -> tuple[int, int]:
    if size == 0:
        raise Refused("NOT_FOUND", "the log is empty")
    if period.begin is None and period.end is None:
        return 0, size
    begin = period.begin or datetime.fromisoformat("0001-01-01T00:00:00+00:00")
    end = period.end or datetime.fromisoformat("9999-12-31T00:00:00+00:00")
    found = (await context.pool.fetch(_SQL["period"], size, begin, end))[0]
    if found["first"] is None:
        raise Refused("NOT_FOUND", "nothing was recorded in this period")
    first, behind = found["first"], found["behind"]
    for row in await context.pool.fetch(_SQL["batch_around"], first):
        first = row["first_index"] if row["behind"] > first else first
    for row in await context.pool.fetch(_SQL["batch_around"], behind - 1):
        behind = max(behind, row["behind"])
    return first, behind


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
