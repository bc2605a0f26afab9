"""The Merkle tree of RFC 6962: hashes of leaves and nodes, compact ranges, inclusion and consistency proofs.

All hashes are 32 bytes. Proofs are lists of hashes in the order of RFC 6962, section 2.1: from the leaf to the root.
Pure; a proof is made from any function that gives the hash of a complete subtree.

Source: RFC 6962 section 2.1; RFC 9162 section 2.1.3 and 2.1.4 for the verifying algorithms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_sha256 = hashlib.sha256

#: Gives the hash of the complete subtree over leaves `begin` to `end`, where `end - begin` is a power of two.
Subtree = Callable[[int, int], bytes]


class ProofInvalid(ValueError):  # noqa: N818 -- named after the condition
    """A proof does not show what it is said to show."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of a zero byte and `data`."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of a byte 1 and both children."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """A compact range: the roots of the complete subtrees that a tree of `size` leaves consists of, largest first.

    Adding a leaf costs one node hash on average; the whole is at most 53 hashes for any tree that can be written.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count() or any(len(each) != HASH_BYTES for each in self.hashes):
            raise ValueError(f"a compact range of {size} leaves has {size.bit_count()} hashes")

    def copy(self) -> Frontier:
        """An independent copy."""
        return Frontier(self.size, self.hashes)

    def add(self, leaf: bytes) -> None:
        """Append one leaf's hash."""
        hashes, size = self.hashes, self.size
        while size & 1:
            leaf = _sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append many, level by level: the quick way for whole epochs."""
        at = 0
        while at < len(leaves):
            room = (self.size & -self.size) or 1 << 62  # the largest aligned block that may stand here
            block = min(room, 1 << ((len(leaves) - at).bit_length() - 1))
            self._add_block(complete_root(leaves[at : at + block]), block)
            at += block

    def _add_block(self, root: bytes, block: int) -> None:
        size = self.size // block
        while size & 1:
            root = _sha256(b"\x01" + self.hashes.pop() + root).digest()
            size >>= 1
        self.hashes.append(root)
        self.size += block

    def root(self) -> bytes:
        """The tree's root; of no leaf SHA-256 of nothing, as RFC 6962 has it (and Go's `tlog` has not)."""
        if not self.hashes:
            return EMPTY_ROOT
        *rest, root = self.hashes
        for left in reversed(rest):
            root = _sha256(b"\x01" + left + root).digest()
        return root


def complete_root(leaves: Sequence[bytes]) -> bytes:
    """The root over a power of two of leaf hashes."""
    level, sha256 = list(leaves), _sha256
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over any number of leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two below `size`, which is above 1."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(begin: int, end: int, subtree: Subtree) -> bytes:
    """The root over leaves `begin` to `end`, from complete subtrees."""
    size = end - begin
    if size & (size - 1) == 0:
        return subtree(begin, end)
    middle = begin + _split(size)
    return node_hash(subtree(begin, middle), _range_root(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(_range_root(begin, middle, subtree))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]).

    Raises:
        ValueError: not 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new}")
    path: list[bytes] = []
    begin, end, whole = 0, new, True
    while old < end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(_range_root(begin, middle, subtree))
            begin, whole = middle, False
    if not whole:
        path.append(_range_root(begin, end, subtree))
    return path[::-1]


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the tree of `size` leaves under `root` has `leaf` at `index`.

    Raises:
        ProofInvalid
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"there is no entry {index} in a tree of {size}")
    node, last, computed = index, size - 1, leaf
    for each in proof:
        if last == 0 or len(each) != HASH_BYTES:
            raise ProofInvalid("the proof has too many hashes or one of a wrong length")
        if node & 1 or node == last:
            computed = node_hash(each, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, each)
        node, last = node >> 1, last >> 1
    if last != 0 or computed != root:
        raise ProofInvalid("the proof leads to another root")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with the tree of `old` leaves.

    Raises:
        ProofInvalid
    """
    if not 0 <= old <= new:
        raise ProofInvalid(f"a tree of {new} cannot continue one of {old}")
    if old in {0, new}:
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected:
            raise ProofInvalid("the roots differ")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path or any(len(each) != HASH_BYTES for each in path):
        raise ProofInvalid("the proof is empty or has a hash of a wrong length")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for each in path[1:]:
        if last == 0:
            raise ProofInvalid("the proof has too many hashes")
        if node & 1 or node == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, each)
        node, last = node >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise ProofInvalid("the proof leads to other roots")
