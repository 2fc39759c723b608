"""RFC 6962 hashes, and the root of a log from a contiguous part of its leaves."""

from __future__ import annotations

import hashlib


def leaf_of(data: bytes) -> bytes:
    """The leaf hash of a record's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def full_subtrees(lo: int, hi: int) -> list[tuple[int, int]]:
    """``(level, index)`` of the full subtrees, left to right, that tile the leaves [lo, hi)."""
    out = []
    while lo < hi:
        level = (hi - lo).bit_length() - 1
        if lo:
            level = min(level, (lo & -lo).bit_length() - 1)
        out.append((level, lo >> level))
        lo += 1 << level
    return out


def root_of_range(first: int, leaves: list[bytes], size: int, left: list[bytes], right: list[bytes]) -> bytes:
    """The root of the tree of ``size`` leaves, from leaves ``first`` onward and the subtrees on both sides of them."""
    end = first + len(leaves)
    before, after = full_subtrees(0, first), full_subtrees(end, size)
    if not 0 <= first < end <= size or len(before) != len(left) or len(after) != len(right):
        raise ValueError("log.json does not fit the size of the tree")
    nodes = [(level, index, value) for (level, index), value in zip(before, left, strict=True)]
    nodes += [(0, first + position, value) for position, value in enumerate(leaves)]
    nodes += [(level, index, value) for (level, index), value in zip(after, right, strict=True)]
    stack: list[tuple[int, int, bytes]] = []
    for node in nodes:
        stack.append(node)
        while len(stack) > 1 and stack[-1][0] == stack[-2][0] and stack[-2][1] % 2 == 0:
            level, index, low = stack[-2]
            stack[-2:] = [(level + 1, index // 2, node_of(low, stack[-1][2]))]
    current = stack[-1][2]
    for _, _, value in reversed(stack[:-1]):
        current = node_of(value, current)
    return current


def root_of_leaves(leaves: list[bytes]) -> bytes:
    """The root over all leaves of a small tree (a batch)."""
    return root_of_range(0, leaves, len(leaves), [], [])
