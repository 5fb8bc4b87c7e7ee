"""The tree by its definitions in RFC 6962 section 2.1, word by word: slow, and sharing nothing with the package."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


class NaiveLog:
    """Entries and every hash the RFC defines over them; subtrees are remembered, because tests ask often."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = entries
        self.known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        """MTH(D[start:end])."""
        if (start, end) not in self.known:
            self.known[start, end] = self._mth(start, end)
        return self.known[start, end]

    def _mth(self, start: int, end: int) -> bytes:
        count = end - start
        if count == 0:
            return sha256().digest()
        if count == 1:
            return sha256(b"\x00" + self.entries[start]).digest()
        k = split(count)
        return sha256(b"\x01" + self.mth(start, start + k) + self.mth(start + k, end)).digest()

    def leaf_hashes(self, size: int) -> list[bytes]:
        """The leaf hashes of the first entries."""
        return [self.mth(index, index + 1) for index in range(size)]

    def subtree(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree."""
        return self.mth(index << level, (index + 1) << level)

    def path(self, m: int, size: int, start: int = 0) -> list[bytes]:
        """PATH(m, D[start:start+size])."""
        if size == 1:
            return []
        k = split(size)
        if m < k:
            return [*self.path(m, k, start), self.mth(start + k, start + size)]
        return [*self.path(m - k, size - k, start + k), self.mth(start, start + k)]

    def proof(self, m: int, size: int) -> list[bytes]:
        """PROOF(m, D[0:size]), and nothing from size 0."""
        return self.subproof(m, size, known=True) if m else []

    def subproof(self, m: int, size: int, *, known: bool, start: int = 0) -> list[bytes]:
        """SUBPROOF(m, D[start:start+size], known)."""
        if m == size:
            return [] if known else [self.mth(start, start + size)]
        k = split(size)
        if m <= k:
            return [*self.subproof(m, k, known=known, start=start), self.mth(start + k, start + size)]
        return [*self.subproof(m - k, size - k, known=False, start=start + k), self.mth(start, start + k)]

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The bytes of a tile, by the formula of tlog-tiles."""
        span = 256**level
        first = index * 256
        return b"".join(self.mth((first + i) * span, (first + i + 1) * span) for i in range(width))


def split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def numbered(count: int) -> NaiveLog:
    """A log of so many different entries."""
    return NaiveLog([b"entry %d" % number for number in range(count)])
