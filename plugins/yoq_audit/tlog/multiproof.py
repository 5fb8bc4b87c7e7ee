"""One proof for several leaves: the leaf hashes, and the hashes of what lies between them, from left to right.

Going down the tree of RFC 9162 section 2.1 from its root, a part that holds none of the leaves is one hash; every other
part is split as the tree is. For a single leaf these are the hashes of its inclusion path and its own, in another
order; for all leaves they are the leaf hashes alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from yoq_audit.tlog.codec import MAX_SIZE
from yoq_audit.tlog.errors import ProofError
from yoq_audit.tlog.hashes import HASH_SIZE, hash_node
from yoq_audit.tlog.tree import Subtree, compute_range_root, split


def prove(indexes: Sequence[int], size: int, subtree: Subtree) -> list[bytes]:
    """Prove that these leaves, ascending, are in the tree of this size."""
    _check(indexes, size)
    hashes: list[bytes] = []
    _collect(indexes, 0, size, subtree, hashes)
    return hashes


def fold(indexes: Sequence[int], size: int, hashes: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the root to which the proof leads, and the leaves' hashes, in order. Raises ProofError if it is none."""
    _check(indexes, size)
    if any(len(found) != HASH_SIZE for found in hashes):
        raise ProofError(f"a hash is not {HASH_SIZE} bytes long")
    leaves: list[bytes] = []
    given = iter(hashes)
    try:
        root = _fold(indexes, 0, size, given, leaves)
    except StopIteration:
        raise ProofError("the proof has too few hashes") from None
    if next(given, None) is not None:
        raise ProofError("the proof has too many hashes")
    return root, leaves


def _check(indexes: Sequence[int], size: int) -> None:
    ascending = all(before < after for before, after in pairwise(indexes))
    if not indexes or not ascending or indexes[0] < 0 or indexes[-1] >= size or size > MAX_SIZE:
        raise ProofError(f"these are no leaves, in order, of a tree of size {size}")


def _collect(indexes: Sequence[int], start: int, end: int, subtree: Subtree, hashes: list[bytes]) -> None:
    """Add to `hashes` what proves those leaves that are in the range from `start` to `end`."""
    if not indexes:
        hashes.append(compute_range_root(start, end, subtree))
    elif len(indexes) == end - start:
        hashes.extend([subtree(0, index) for index in indexes])
    else:
        middle = start + split(end - start)
        cut = bisect_left(indexes, middle)
        _collect(indexes[:cut], start, middle, subtree, hashes)
        _collect(indexes[cut:], middle, end, subtree, hashes)


def _fold(indexes: Sequence[int], start: int, end: int, given: Iterator[bytes], leaves: list[bytes]) -> bytes:
    if not indexes:
        return next(given)
    if end - start == 1:
        leaves.append(next(given))
        return leaves[-1]
    middle = start + split(end - start)
    cut = bisect_left(indexes, middle)
    left = _fold(indexes[:cut], start, middle, given, leaves)
    return hash_node(left, _fold(indexes[cut:], middle, end, given, leaves))
