"""The tile writer (C2SP tlog-tiles, "Merkle Tree"): as the tree grows it is fed leaf hashes and gives full tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from yoq_audit.tlog.codec import MAX_SIZE
from yoq_audit.tlog.errors import TileError
from yoq_audit.tlog.hashes import HASH_SIZE
from yoq_audit.tlog.tiles import MAX_LEVEL, TILE, TILE_BITS, Tile, compute_tile_root, make_subtree
from yoq_audit.tlog.tree import compute_root

FULL = TILE * HASH_SIZE


class TileWriter:
    """A tree that grows: its size and the bytes of its partial tiles, which are all that later tiles depend on.

    `read` gives the bytes of the partial tiles of the tree it starts from (or more of them, as for `subtree_from`).
    """

    def __init__(self, size: int = 0, read: Callable[[Tile], bytes] | None = None) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"no tree size: {size}")
        self.size = size
        self._partial: list[bytearray] = []
        for level in range(MAX_LEVEL + 1):
            hashes = size >> TILE_BITS * level
            if hashes == 0:
                break
            held = b""
            if hashes % TILE:
                tile = Tile(level, hashes // TILE, hashes % TILE)
                held = read(tile)[: tile.width * HASH_SIZE] if read else b""
                if len(held) != tile.width * HASH_SIZE:
                    raise TileError(f"{tile.path} has {len(held)} bytes")
            self._partial.append(bytearray(held))

    def append(self, leaf_hashes: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Add leaf hashes at the right, in order; returns the tiles that became full, each after those below it.

        After an error the object is of no further use: it does not say which tiles became full before.
        """
        full: list[tuple[Tile, bytes]] = []
        if not self._partial:
            self._partial.append(bytearray())
        held = self._partial[0]
        for leaf in leaf_hashes:
            if len(leaf) != HASH_SIZE:
                raise TileError(f"a leaf hash is not {HASH_SIZE} bytes long")
            held += leaf
            self.size += 1
            if len(held) == FULL:
                self._close(0, full)
        return full

    @property
    def partials(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree as it is now, from the leaves upwards."""
        return [
            (Tile(level, (self.size >> TILE_BITS * level) // TILE, len(held) // HASH_SIZE), bytes(held))
            for level, held in enumerate(self._partial)
            if held
        ]

    @property
    def root(self) -> bytes:
        """The root of the tree as it is now."""
        partials = dict(self.partials)
        return compute_root(self.size, make_subtree(partials.__getitem__, self.size))

    def _close(self, level: int, full: list[tuple[Tile, bytes]]) -> None:
        """Give out the full tile of a level and add its root to the level above, which may become full by it."""
        data = bytes(self._partial[level])
        self._partial[level].clear()
        full.append((Tile(level, (self.size >> TILE_BITS * (level + 1)) - 1), data))
        if level + 1 == len(self._partial):
            self._partial.append(bytearray())
        self._partial[level + 1] += compute_tile_root(data)
        if len(self._partial[level + 1]) == FULL:
            self._close(level + 1, full)
