"""The Merkle tree over the audit log: RFC 6962 hashing, proofs as RFC 9162 checks them. Pure.

    leaf = sha256(0x00 ‖ data)      node = sha256(0x01 ‖ left ‖ right)      empty tree = sha256("")

The data of a leaf is the 32-byte hash of its row, which covers the row and its place. A `Frontier` is the tree as far
as appending needs it: the roots of the full subtrees, O(log n) hashes. Rows that retention removed leave theirs, so
the proofs of all later rows can still be made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

EMPTY = hashlib.sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """A growing tree of `size` leaves: the roots of its full subtrees, the largest first."""

    size: int = 0
    nodes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.nodes) != self.size.bit_count() or any(len(n) != 32 for n in self.nodes):
            raise ValueError(f"{len(self.nodes)} hashes are no frontier of {self.size} leaves")

    def add(self, hashed: bytes) -> None:
        """Append a leaf, by its hash."""
        size = self.size
        while size & 1:
            hashed = node(self.nodes.pop(), hashed)
            size >>= 1
        self.nodes.append(hashed)
        self.size += 1

    @property
    def root(self) -> bytes:
        if not self.nodes:
            return EMPTY
        root = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            root = node(left, root)
        return root

    def copy(self) -> Frontier:
        return Frontier(self.size, list(self.nodes))


class Pruned(Exception):
    """A proof needs leaves that retention removed."""


class Tree:
    """A whole tree, to make proofs from: what was removed as a frontier, and the hashes of the leaves behind it."""

    def __init__(self, leaves: Iterable[bytes], removed: Frontier | None = None) -> None:
        before = removed or Frontier()
        self._start = before.size
        self._leaves = list(leaves)
        self._kept: dict[tuple[int, int], bytes] = {}
        at = 0
        for hashed in before.nodes:
            width = 1 << ((before.size - at).bit_length() - 1)
            self._kept[at, at + width] = hashed
            at += width

    @property
    def size(self) -> int:
        return self._start + len(self._leaves)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves. Raises Pruned."""
        return self._range(0, self._bounded(size))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that leaf `index`, counted from 0, is in the tree of the first `size` leaves.

        Raises:
            Pruned: the leaf was removed.
            ValueError: there is no such leaf in that tree.
        """
        high = self._bounded(size)
        if not self._start <= index < high:
            if 0 <= index < self._start:
                raise Pruned(f"leaf {index} was removed")
            raise ValueError(f"there is no leaf {index} among {high}")
        proof: list[bytes] = []
        low = 0
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        return proof[::-1]

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree of the first `old` leaves is the beginning of the one of `size`.

        Raises:
            Pruned: leaves that it needs were removed.
            ValueError: `old` is not between 1 and `size`.
        """
        new = self._bounded(size)
        if not 0 < old <= new:
            raise ValueError(f"a tree of {old} is no beginning of one of {new}")
        proof: list[bytes] = []
        low, high, is_whole = 0, new, True
        while old != high:  # RFC 9162 section 2.1.4.1, without the recursion
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low, is_whole = middle, False
        if not is_whole:
            proof.append(self._range(low, high))
        return proof[::-1]

    def _bounded(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"there are {self.size} leaves, not {size}")
        return size

    def _range(self, low: int, high: int) -> bytes:
        if low >= self._start:
            frontier = Frontier()
            for hashed in self._leaves[low - self._start : high - self._start]:
                frontier.add(hashed)
            return frontier.root
        if (kept := self._kept.get((low, high))) is not None:
            return kept
        if high - low == 1:
            raise Pruned(f"leaf {low} was removed")
        middle = low + _split(high - low)
        return node(self._range(low, middle), self._range(middle, high))


def includes(hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows leaf `index` in the tree of `size` leaves with that root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, found = index, size - 1, hashed
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node(sibling, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node(found, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root


def extends(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of `old` leaves is the beginning of that of `size` (section 2.1.4.2)."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node(sibling, before), node(sibling, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node(after, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old_root and after == root


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)
