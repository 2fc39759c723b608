"""Reading the log: hashes of subtrees from stored tiles, inclusion and consistency proofs (RFC 6962, C2SP tlog-tiles).

Stored are the leaves and the nodes of levels 8, 16, 24 …; a node between is recomputed from at most 128 stored ones,
so a proof reads O(log n) short ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts import merkle
from contracts.errors import Refused
from controlplane.context import Context
from controlplane.store import queries

TILE_WIDTH = 256
_SQL = queries("controlplane.evidence")


async def hashes(context: Context, level: int, start: int, count: int) -> list[bytes]:
    """Stored hashes of a tile level (0, 8, 16 …), at most ``count`` from index ``start`` on."""
    if level == 0:
        rows = await context.pool.fetch(_SQL["leaf_hashes"], start, start + count)
    else:
        rows = await context.pool.fetch(_SQL["node_hashes"], level, start, start + count)
    return [bytes(row["hash"]) for row in rows]


async def tile(context: Context, level: int, index: int, width: int) -> bytes | None:
    """The hashes of tile ``index`` of tile level ``level`` (each is 8 tree levels), ``None`` when not all are there."""
    found = await hashes(context, level * 8, index * TILE_WIDTH, width)
    return b"".join(found) if len(found) == width else None


async def range_hashes(context: Context, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The subtree hash of each range of leaves."""
    out = []
    for lo, hi in ranges:
        nodes = [await _node(context, level, index) for level, index in merkle.complete_subtrees(lo, hi)]
        out.append(merkle.fold(nodes))
    return out


async def subtree_hashes(context: Context, lo: int, hi: int) -> list[bytes]:
    """The hashes of the full subtrees that tile [lo, hi), left to right."""
    return [await _node(context, level, index) for level, index in merkle.complete_subtrees(lo, hi)]


async def newest_checkpoint(context: Context) -> dict[str, Any]:
    """The newest signed checkpoint's row. Raises ``Refused NOT_FOUND`` before the first."""
    rows = await context.pool.fetch(_SQL["newest_checkpoint"])
    if not rows:
        raise Refused("NOT_FOUND", "no checkpoint has been made yet")
    return rows[0]


async def inclusion_proof(context: Context, index: int, size: int) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves. Raises ``Refused`` outside the tree."""
    if not 0 <= index < size:
        raise Refused("NOT_FOUND", f"leaf {index} is not in the tree of {size}")
    return await range_hashes(context, merkle.inclusion_ranges(index, size))


async def consistency_proof(context: Context, old: int, new: int) -> list[bytes]:
    """The proof that the tree of ``old`` leaves is a prefix of that of ``new``."""
    if not 1 <= old <= new:
        raise Refused("REQUEST_INVALID", "a consistency proof is from 1 to the new size")
    return await range_hashes(context, merkle.consistency_ranges(old, new))


async def _node(context: Context, level: int, index: int) -> bytes:
    base = level // 8 * 8
    width = 1 << (level - base)
    found = await hashes(context, base, index * width, width)
    assert len(found) == width, f"the log lacks nodes of level {base} from {index * width}"
    return merkle.root(found)
