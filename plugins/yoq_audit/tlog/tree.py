"""The Merkle tree: roots, inclusion and consistency proofs, after RFC 9162 section 2.1 (RFC 6962 section 2.1).

A tree of n > 1 leaves has a left side of k leaves, k the largest power of two less than n, and a right side of the
rest. So its left sides are complete subtrees, which never change again, and everything can be computed from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from yoq_audit.tlog.codec import MAX_SIZE
from yoq_audit.tlog.errors import ProofError
from yoq_audit.tlog.hashes import EMPTY_ROOT, HASH_SIZE, NODE_PREFIX, hash_node

Subtree = Callable[[int, int], bytes]
"""(level, index) -> the hash of the complete subtree over leaves [index * 2^level, (index + 1) * 2^level)."""


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, the largest first.

    There is one for each binary digit 1 of the size, so the edge of a tree of a million leaves is at most 20 hashes.
    It is enough to append leaves and to give the root at any moment.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._size = size
        self._hashes = list(hashes)
        if not 0 <= size <= MAX_SIZE or len(self._hashes) != size.bit_count():
            raise ValueError(f"{len(self._hashes)} hashes are not the edge of a tree of size {size}")
        if any(len(node) != HASH_SIZE for node in self._hashes):
            raise ValueError(f"a hash of the edge is not {HASH_SIZE} bytes long")

    def __repr__(self) -> str:
        return f"Frontier(size={self._size}, root={self.root.hex()})"

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The edge; `Frontier(size, hashes)` goes on from it."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash at the right. Its length is not looked at."""
        # Called by the million: the node hash is written out, because a call costs much beside one short hash.
        hashes, below = self._hashes, self._size
        while below & 1:
            leaf = sha256(NODE_PREFIX + hashes.pop() + leaf).digest()
            below >>= 1
        hashes.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes at the right, in order: the same as `append` for each, faster."""
        hashes, size, sha, prefix = self._hashes, self._size, sha256, NODE_PREFIX
        pop, push = hashes.pop, hashes.append
        try:
            for leaf in leaves:
                node, below = leaf, size
                while below & 1:
                    node = sha(prefix + pop() + node).digest()
                    below >>= 1
                push(node)
                size += 1
        finally:  # also when `leaves` raises: what it gave before is in the tree
            self._size = size

    @property
    def root(self) -> bytes:
        """The tree's root: the complete subtrees joined from the right, the smallest two first."""
        if not self._hashes:
            return EMPTY_ROOT
        *larger, root = self._hashes
        for left in reversed(larger):
            root = hash_node(left, root)
        return root


def compute_root(size: int, subtree: Subtree) -> bytes:
    """Compute the root of the tree of this size, from its complete subtrees."""
    return compute_range_root(0, size, subtree)


def prove_inclusion(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Prove that leaf `index` is in the tree of this size (RFC 9162 section 2.1.3.1), the leaf's sibling first."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"a tree of size {size} has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(compute_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(compute_range_root(start, middle, subtree))
            start = middle
    return path[::-1]


def prove_consistency(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Prove that the tree of size `old` is the beginning of the tree of size `new` (RFC 9162 section 2.1.4.1).

    It is empty for equal sizes, and from size 0: every tree begins with the empty one.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ProofError(f"a tree of size {new} has no beginning of size {old}")
    if old == 0:
        return []
    path: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + split(end - start)
        if old <= middle:
            path.append(compute_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(compute_range_root(start, middle, subtree))
            start = middle
    if start > 0:  # else the subtree reached is the old tree itself, whose root the verifier has
        path.append(compute_range_root(start, end, subtree))
    return path[::-1]


def verify_inclusion(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that leaf `index` is in the tree of this size and root (RFC 9162 section 2.1.3.2); else ProofError."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"a tree of size {size} has no leaf {index}")
    _check_hashes(leaf_hash, root, *path)
    # Below the level where the leaf's way leaves the right edge every level has a sibling; above only its left turns.
    inner = (index ^ (size - 1)).bit_length()
    needed = inner + (index >> inner).bit_count()
    if len(path) != needed:
        raise ProofError(f"leaf {index} of {size} needs {needed} hashes, not {len(path)}")
    at, last, computed = index, size - 1, leaf_hash
    for sibling in path:
        if at & 1 or at == last:
            computed = hash_node(sibling, computed)
            at, last = _climb(at, last)
        else:
            computed = hash_node(computed, sibling)
        at, last = at >> 1, last >> 1
    if last or computed != root:
        raise ProofError(f"leaf {index} of {size}: the path leads to another root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree (old, old_root) is the beginning of (new, new_root) (RFC 9162 section 2.1.4.2).

    Size 0: the proof is empty and the empty tree, whose root must be `EMPTY_ROOT`, is the beginning of every tree.
    Equal sizes: the proof is empty and the roots must be equal. Raises ProofError if it does not hold.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ProofError(f"a tree of size {new} has no beginning of size {old}")
    _check_hashes(old_root, new_root, *path)
    if old == 0 and old_root != EMPTY_ROOT:
        raise ProofError("the root given for size 0 is not that of the empty tree")
    if old in (0, new):
        if path:
            raise ProofError(f"from {old} to {new} the proof is empty, not {len(path)} hashes")
        if old == new and old_root != new_root:
            raise ProofError(f"two different roots for size {old}")
        return
    if not path:
        raise ProofError(f"from {old} to {new} the proof cannot be empty")
    _fold_consistency(old, new, old_root, new_root, list(path))


def _fold_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> None:
    """Compute both roots from the path and compare: 0 < old < new."""
    if old.bit_count() == 1:  # the old tree is itself a subtree of the new one
        path = [old_root, *path]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    computed_old = computed_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError(f"from {old} to {new} the proof has too many hashes")
        if at & 1 or at == last:
            computed_old = hash_node(sibling, computed_old)
            computed_new = hash_node(sibling, computed_new)
            at, last = _climb(at, last)
        else:
            computed_new = hash_node(computed_new, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(f"from {old} to {new} the proof has too few hashes")
    if computed_old != old_root:
        raise ProofError(f"from {old} to {new} the proof leads to another old root")
    if computed_new != new_root:
        raise ProofError(f"from {old} to {new} the proof leads to another new root")


def _climb(at: int, last: int) -> tuple[int, int]:
    """Skip the levels at which the last node has no sibling and is promoted as it is."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _check_hashes(*hashes: bytes) -> None:
    """Raise ProofError for a hash that has not the length of one; joined ones could be split elsewhere."""
    if any(len(node) != HASH_SIZE for node in hashes):
        raise ProofError(f"a hash is not {HASH_SIZE} bytes long")


def split(count: int) -> int:
    """Return the largest power of two strictly less than `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _list_complete(start: int, end: int, subtree: Subtree) -> list[bytes]:
    """List the complete subtrees over leaves [start, end), the largest first; `start` is a multiple of their sizes."""
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(subtree(level, start >> level))
        start += 1 << level
    return hashes


def compute_range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """Compute the root over leaves [start, end), a node of the tree."""
    return Frontier(end - start, _list_complete(start, end, subtree)).root
