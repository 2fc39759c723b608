"""RFC 6962 Merkle trees over SHA-256: leaf, node, root, inclusion and consistency proofs, appending.

Rules:

* section 2.1: a leaf hash is SHA-256(0x00 || bytes), a node is SHA-256(0x01 || left || right), the root of an
  empty tree is SHA-256 of nothing; an odd node at the end of a level is carried up unchanged;
* sections 2.1.1 and 2.1.2: the proofs, in the RFC's order; verification is RFC 9162 section 2.1.3.2 and 2.1.4.2;
* a hash is 32 bytes, an index lies inside the tree, a proof has exactly the length that its sizes give;
  a consistency proof from an empty tree proves nothing and does not verify.

Nothing recurses, so a tree of any size is safe. Not here: storage and tiles (``controlplane.evidence``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

RangeHash = Callable[[int, int], bytes]
"""``(lo, hi) -> MTH(D[lo:hi])``: who stores the nodes answers for a subtree."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf's bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    prefix, digest = b"\x01", sha256
    paired = [digest(prefix + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        paired.append(level[-1])
    return paired


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    level: Sequence[bytes] = leaves
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf ``index``. ``IndexError`` outside the tree."""
    return inclusion_proofs(leaves, [index])[0]


def inclusion_proofs(leaves: Sequence[bytes], indices: Sequence[int]) -> list[list[bytes]]:
    """The audit paths of many leaves of one tree, each level hashed once."""
    if any(not 0 <= index < len(leaves) for index in indices):
        raise IndexError("leaf index outside the tree")
    proofs: list[list[bytes]] = [[] for _ in indices]
    positions, level = list(indices), list(leaves)
    while len(level) > 1:
        for proof, position in zip(proofs, positions, strict=True):
            if position ^ 1 < len(level):
                proof.append(level[position ^ 1])
        positions = [position >> 1 for position in positions]
        level = _next_level(level)
    return proofs


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` (a leaf hash) is number ``index`` of the tree of ``size`` leaves."""
    if not 0 <= index < size or not _hashes(leaf, root_hash, *proof):
        return False
    position, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and current == root_hash


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the tree of the first ``old_size`` leaves is a prefix of this one. ``ValueError`` outside 1..n."""
    return [root(leaves[lo:hi]) for lo, hi in consistency_ranges(old_size, len(leaves))]


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether ``proof`` shows that the new tree only appends to the old one."""
    if not 0 <= old_size <= new_size or not _hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root and (old_size > 0 or old_root == EMPTY_ROOT)
    if old_size == 0 or not proof:
        return False
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_seen = new_seen = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_seen, new_seen = node_hash(sibling, old_seen), node_hash(sibling, new_seen)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_seen = node_hash(new_seen, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_seen == old_root and new_seen == new_root


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The leaf ranges whose subtree hashes are the audit path of ``index`` in a tree of ``size``, in proof order."""
    if not 0 <= index < size:
        raise IndexError("leaf index outside the tree")
    lo, hi, ranges = 0, size, []
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        if index < middle:
            ranges.append((middle, hi))
            hi = middle
        else:
            ranges.append((lo, middle))
            lo = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """The leaf ranges whose subtree hashes are the consistency proof, in proof order."""
    if not 1 <= old_size <= new_size:
        raise ValueError("a consistency proof is from 1 to new_size leaves")
    lo, hi, ranges = 0, new_size, []
    while old_size != hi:
        middle = lo + _split(hi - lo)
        if old_size <= middle:
            ranges.append((middle, hi))
            hi = middle
        else:
            ranges.append((lo, middle))
            lo = middle
    if lo:
        ranges.append((lo, hi))
    return ranges[::-1]


def complete_subtrees(lo: int, hi: int) -> list[tuple[int, int]]:
    """``(level, index)`` of the full subtrees, left to right, that tile the range [lo, hi) of leaves."""
    out: list[tuple[int, int]] = []
    while lo < hi:
        widest = (hi - lo).bit_length() - 1
        level = min(widest, (lo & -lo).bit_length() - 1) if lo else widest
        out.append((level, lo >> level))
        lo += 1 << level
    return out


def fold(nodes: Sequence[bytes]) -> bytes:
    """The hash over adjacent full subtrees, given left to right; the empty root for none."""
    if not nodes:
        return EMPTY_ROOT
    current = nodes[-1]
    for left in reversed(nodes[:-1]):
        current = node_hash(left, current)
    return current


@dataclass(slots=True)
class CompactRange:
    """The right edge of a growing tree: ``size`` leaves as full subtrees, left to right. Appending is O(log n)."""

    size: int = 0
    nodes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; gives the nodes that became complete as ``(level, index, hash)``, the leaf first."""
        level, index, current = 0, self.size, leaf
        made = [(level, index, current)]
        while index & 1:
            current = node_hash(self.nodes.pop(), current)
            level, index = level + 1, index >> 1
            made.append((level, index, current))
        self.nodes.append(current)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The root over everything appended so far."""
        return fold(self.nodes)


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
