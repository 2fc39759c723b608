"""Signs the tree head when the log has grown or a stream's counter has risen, at least once a second (D15).

The size, the tree's edge and the counters come from one snapshot of the database, so a checkpoint never binds a
counter that its tree does not hold. The log never signs two trees of which one is not a prefix of the other: the
head only grows, by the database's own function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg

from contracts import merkle
from contracts.canonical import sha256_hex
from contracts.canonical_fast import fast_canonical_bytes
from contracts.checkpoint import Checkpoint, make
from controlplane.context import Context
from controlplane.store import queries

INTERVAL_S = 0.5
"""Half of the largest interval that the design allows."""
_SQL = queries("controlplane.evidence")


async def make_checkpoint(context: Context) -> bool:
    """Sign and keep a checkpoint; ``False`` when nothing has changed since the last one. Raises while halted."""
    head = (await context.pool.fetch(_SQL["head"]))[0]
    streams = fast_canonical_bytes(_counters(head)).decode()
    newest = await context.pool.fetch(_SQL["newest_checkpoint"])
    if newest and (newest[0]["size"], newest[0]["streams"]) == (head["size"], streams):
        return False
    context.demand_open()  # between this look and the signature nothing waits
    root = merkle.fold([bytes(node) for node in reversed(head["edge"]) if node is not None])
    note = make(
        context.log_key, Checkpoint(context.log_origin, head["size"], root, sha256_hex(streams.encode()))
    )
    try:
        await context.pool.fetch(_SQL["add_checkpoint"], head["size"], root, streams, note)
    except psycopg.errors.SerializationFailure:
        return False
    return True


def background(context: Context) -> Coroutine[Any, Any, None]:
    """The maker, for the life of the control plane."""
    return _forever(context)


async def _forever(context: Context) -> None:
    while True:
        await make_checkpoint(context)
        await asyncio.sleep(INTERVAL_S)


def _counters(head: dict[str, Any]) -> dict[str, dict[str, int]]:
    rows = zip(head["streams"], head["logged"], head["signed"], strict=True)
    return {stream: {"logged": logged, "signed": signed} for stream, logged, signed in rows}
