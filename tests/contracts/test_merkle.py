"""RFC 6962 trees against every published vector, and against themselves over all small sizes (EVD-08)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import merkle

INCLUSION_VECTORS, CONSISTENCY_VECTORS = 98, 49


def _b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _cases(folder: Path) -> list[tuple[str, dict]]:
    return [(str(path), json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]


def _leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(size)]


def test_every_inclusion_vector_verifies_exactly_when_it_should(shared_data: Path) -> None:
    cases = _cases(shared_data / "crypto/merkle/inclusion")
    for name, case in cases:
        proof = [_b64(item) for item in case["proof"] or []]
        holds = merkle.verify_inclusion(
            _b64(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, _b64(case["root"])
        )
        assert holds is not case["wantErr"], name
    assert len(cases) == INCLUSION_VECTORS
    assert {case["wantErr"] for _, case in cases} == {True, False}


def test_every_consistency_vector_verifies_exactly_when_it_should(shared_data: Path) -> None:
    cases = _cases(shared_data / "crypto/merkle/consistency")
    for name, case in cases:
        proof = [_b64(item) for item in case["proof"] or []]
        roots = _b64(case["root1"]), _b64(case["root2"])
        holds = merkle.verify_consistency(case["size1"], case["size2"], *roots, proof)
        assert holds is not case["wantErr"], name
    assert len(cases) == CONSISTENCY_VECTORS
    assert {case["wantErr"] for _, case in cases} == {True, False}


@pytest.mark.parametrize("size", [*range(1, 35), 63, 64, 65])
def test_every_proof_of_every_small_tree_verifies(size: int) -> None:
    leaves = _leaves(size)
    root = merkle.root(leaves)
    for index in range(size):
        assert merkle.verify_inclusion(leaves[index], index, size, merkle.inclusion_proof(leaves, index), root)
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(leaves, old)
        assert merkle.verify_consistency(old, size, merkle.root(leaves[:old]), root, proof)


@given(size=st.integers(1, 200), data=st.data())
def test_a_proof_verifies_for_no_other_leaf_index_size_or_path(size: int, data: st.DataObject) -> None:
    leaves = _leaves(size)
    root, index = merkle.root(leaves), data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(leaves, index)
    other = data.draw(st.integers(0, 2 * size).filter(lambda value: value != index))
    assert not merkle.verify_inclusion(leaves[index], other, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index][::-1], index, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = [bytes([item[0] ^ 1]) + item[1:] if n == at else item for n, item in enumerate(proof)]
        assert not merkle.verify_inclusion(leaves[index], index, size, flipped, root)
        assert not merkle.verify_inclusion(leaves[index], index, size, proof[:-1], root)


@given(size=st.integers(0, 300))
def test_appending_gives_the_same_root_and_nodes_that_answer_every_proof(size: int) -> None:
    leaves, compact, nodes = _leaves(size), merkle.CompactRange(), {}
    for leaf in leaves:
        nodes.update({(level, index): value for level, index, value in compact.append(leaf)})
    assert (compact.size, compact.root()) == (size, merkle.root(leaves))

    def range_hash(lo: int, hi: int) -> bytes:
        return merkle.fold([nodes[at] for at in merkle.complete_subtrees(lo, hi)])

    for index in range(0, size, 7):
        ranges = merkle.inclusion_ranges(index, size)
        assert [range_hash(*item) for item in ranges] == merkle.inclusion_proof(leaves, index)
    for old in range(1, size + 1, 11):
        ranges = merkle.consistency_ranges(old, size)
        assert [range_hash(*item) for item in ranges] == merkle.consistency_proof(leaves, old)


def test_a_fork_has_no_consistency_proof() -> None:
    ours, theirs = _leaves(9), [*_leaves(4), merkle.leaf_hash(b"forked"), *_leaves(9)[5:]]
    for proof in (merkle.consistency_proof(ours, 6), merkle.consistency_proof(theirs, 6)):
        assert not merkle.verify_consistency(6, 9, merkle.root(ours[:6]), merkle.root(theirs), proof)


def test_a_large_tree_needs_no_deep_stack() -> None:
    leaves = [bytes(32)] * 100_003
    proof = merkle.inclusion_proof(leaves, 100_002)
    assert merkle.verify_inclusion(leaves[0], 100_002, len(leaves), proof, merkle.root(leaves))


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_the_tree_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(_leaves(3), index)
    with pytest.raises(IndexError):
        merkle.inclusion_ranges(index, 3)
    with pytest.raises(ValueError, match="1 to new_size"):
        merkle.consistency_ranges(0, 3)
