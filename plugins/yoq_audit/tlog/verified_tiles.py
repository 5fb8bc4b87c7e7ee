"""Tiles that are what was signed: each is held against the tile above it, and the uppermost against the root."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from yoq_audit.tlog.errors import TileError
from yoq_audit.tlog.hashes import HASH_SIZE
from yoq_audit.tlog.tiles import TILE, Tile, compute_tile_root, make_subtree
from yoq_audit.tlog.tree import compute_root


class VerifiedTiles:
    """The tiles of the tree of a signed size and root, read with `read`. Raises TileError for any that is not of it."""

    def __init__(self, read: Callable[[Tile], bytes], size: int, root: bytes) -> None:
        self._read = read
        self._size = size
        # This goes over every hash of the partial tiles, one of which is the uppermost.
        self._edge: dict[Tile, bytes] = {}
        if size and compute_root(size, make_subtree(self._read_partial, size)) != root:
            raise TileError("the tree is not the one that was signed")
        self._upper = lru_cache(maxsize=64)(self._verify)

    def read_leaves(self, number: int) -> bytes:
        """Read the leaf hashes below a bundle, joined."""
        return self._verify(0, number)

    def _read_partial(self, tile: Tile) -> bytes:
        data = self._read(tile)[: tile.width * HASH_SIZE]
        if not tile.full:
            self._edge[tile] = data
        return data

    def _verify(self, level: int, index: int) -> bytes:
        tile = Tile.at(level, index, self._size)
        if tile is None:
            raise TileError(f"a tree of size {self._size} has no tile {level}/{index}")
        if not tile.full:
            return self._edge[tile]
        data = self._read(tile)
        above = self._upper(level + 1, index // TILE)
        slot = index % TILE * HASH_SIZE
        if compute_tile_root(data) != above[slot : slot + HASH_SIZE]:
            raise TileError(f"{tile.path} is not what was signed")
        return data
