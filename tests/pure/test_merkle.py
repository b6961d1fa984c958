"""The tree is RFC 6962's: known roots and proofs, and every proof of every small tree, and no proof of another."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit.merkle import EMPTY, Frontier, Pruned, Tree, extends, includes, leaf, node

# Inputs and roots of the reference implementation's own tests (certificate-transparency, MerkleTreeTest).
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
KNOWN = [leaf(bytes.fromhex(text)) for text in INPUTS]
sizes = st.integers(1, 70)


def leaves(count: int) -> list[bytes]:
    return [leaf(bytes([n])) for n in range(count)]


def frontier(hashed: list[bytes]) -> Frontier:
    grown = Frontier()
    for one in hashed:
        grown.add(one)
    return grown


def by_the_book(hashed: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashed:
        return hashlib.sha256(b"").digest()
    if len(hashed) == 1:
        return hashed[0]
    k = 1
    while k * 2 < len(hashed):
        k *= 2
    return node(by_the_book(hashed[:k]), by_the_book(hashed[k:]))


def test_the_known_tree_has_the_known_roots():
    assert Frontier().root == EMPTY == by_the_book([])
    assert [frontier(KNOWN[:n]).root.hex() for n in range(1, 9)] == ROOTS
    assert [Tree(KNOWN).root(n).hex() for n in range(1, 9)] == ROOTS


def test_the_known_tree_has_the_known_proofs():
    # RFC 6962 section 2.1.3 draws this tree of seven leaves: d0 to d6.
    d, tree = KNOWN[:7], Tree(KNOWN[:7])
    g, h, i, j = node(d[0], d[1]), node(d[2], d[3]), node(d[4], d[5]), d[6]
    k, el = node(g, h), node(i, j)

    assert tree.inclusion(0) == [d[1], h, el]
    assert tree.inclusion(3) == [d[2], g, el]
    assert tree.inclusion(4) == [d[5], j, k]
    assert tree.inclusion(6) == [i, k]
    assert tree.consistency(3) == [d[2], d[3], g, el]
    assert tree.consistency(4) == [el]
    assert tree.consistency(6) == [i, j, k]


@given(sizes)
def test_a_tree_that_grew_is_the_tree_of_the_book(size):
    assert frontier(leaves(size)).root == Tree(leaves(size)).root() == by_the_book(leaves(size))
    assert len(frontier(leaves(size)).nodes) == size.bit_count()


@given(sizes, st.data())
def test_every_leaf_is_proved_and_no_other_leaf_place_or_tree_is(size, data):
    tree, index = Tree(leaves(size)), data.draw(st.integers(0, size - 1))
    proof, root = tree.inclusion(index), tree.root()

    assert includes(leaf(bytes([index])), index, size, proof, root)
    assert not includes(leaf(b"other"), index, size, proof, root)
    assert not includes(leaf(bytes([index])), index, size, [*proof, root], root)
    assert not includes(leaf(bytes([index])), size, size, proof, root)
    for other in range(size):
        assert includes(leaf(bytes([index])), other, size, proof, root) is (other == index)
    if proof:
        assert not includes(leaf(bytes([index])), index, size, proof[1:], root)
        assert not includes(leaf(bytes([index])), index, size, [b"\0" * 32, *proof[1:]], root)


@given(sizes, st.data())
def test_every_beginning_is_proved_and_a_forked_one_is_not(size, data):
    old = data.draw(st.integers(1, size))
    tree = Tree(leaves(size))
    proof, root, before = tree.consistency(old), tree.root(), tree.root(old)
    forked = Tree([*leaves(old)[:-1], leaf(b"forged")]).root()

    assert extends(old, before, size, root, proof)
    assert not extends(old, forked, size, root, proof)
    assert not extends(old, before, size, leaf(b"other"), proof)
    assert not extends(old, before, size, root, [*proof, root])
    assert not extends(size + 1, root, size, root, proof)
    if proof:
        assert not extends(old, before, size, root, proof[:-1])


@given(sizes, st.data())
def test_when_the_first_rows_are_gone_the_proofs_of_all_later_ones_remain(size, data):
    gone = data.draw(st.integers(0, size - 1))
    every = leaves(size)
    whole, cut = Tree(every), Tree(every[gone:], frontier(every[:gone]))

    assert (cut.size, cut.root()) == (whole.size, whole.root())
    for index in range(gone, size):
        assert cut.inclusion(index) == whole.inclusion(index)
    for old in range(max(gone, 1), size + 1):
        assert cut.consistency(old) == whole.consistency(old)
    for index in range(gone):
        with pytest.raises(Pruned):
            cut.inclusion(index)


def test_what_is_not_there_has_no_proof():
    with pytest.raises(ValueError, match="no leaf 8"):
        Tree(KNOWN).inclusion(8)
    with pytest.raises(ValueError, match="no beginning"):
        Tree(KNOWN).consistency(0)
    with pytest.raises(ValueError, match="leaves"):
        Tree(KNOWN).root(9)
    with pytest.raises(ValueError, match="frontier"):
        Frontier(3, [EMPTY])
