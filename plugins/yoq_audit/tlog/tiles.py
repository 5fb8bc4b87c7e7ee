"""Tiles and entry bundles: the tree and its entries as files that never change (C2SP tlog-tiles, "APIs").

A tile holds up to 256 consecutive hashes of every eighth level of the tree; an entry bundle holds the entries below
a tile of level 0. A partial tile becomes longer as the tree grows, under another path each time; a full one is final.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Self

from yoq_audit.tlog.codec import MAX_SIZE
from yoq_audit.tlog.errors import PathError, TileError
from yoq_audit.tlog.hashes import HASH_SIZE, NODE_PREFIX
from yoq_audit.tlog.tree import Subtree

TILE = 256
"""How many hashes a full tile holds."""
TILE_BITS = 8
"""How many levels of the tree a tile covers."""
MAX_LEVEL = 63
MAX_INDEX = 10**18 - 1
"""Six groups of three digits; a seventh would not fit into 64 bits."""
MAX_ENTRY = 65_535
"""The longest entry that a bundle can hold."""

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)

_PAIRS = Struct(f"{2 * HASH_SIZE}s").iter_unpack


@dataclass(frozen=True, slots=True)
class Tile:
    """The first `width` hashes of the tile `index` at `level`; a full tile has 256."""

    level: int
    index: int
    width: int = TILE

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL:
            raise PathError(f"no tile level: {self.level}")
        _check_place(self.index, self.width)

    @property
    def full(self) -> bool:
        """Whether the tile has all its hashes and will not change again."""
        return self.width == TILE

    @property
    def end(self) -> int:
        """The index of the first entry behind the full tile: pruning up to there may drop it ("Pruning")."""
        return (self.index + 1) << TILE_BITS * (self.level + 1)

    @property
    def path(self) -> str:
        """Where the tile is served, without the log's prefix."""
        return f"tile/{self.level}/{_format_place(self.index, self.width)}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a tile's path, `tile/<L>/<N>[.p/<W>]`; any other spelling is refused with PathError."""
        level, index, width = _parse(path)
        if level is None:
            raise PathError(f"an entry bundle, not a tile: {path!r}")
        return cls(level, index, width)

    @classmethod
    def at(cls, level: int, index: int, size: int) -> Self | None:
        """Return the tile as a tree of this size has it: full, partial or not at all ("Partial Tiles")."""
        width = min(TILE, (size >> TILE_BITS * level) - index * TILE)
        return cls(level, index, width) if width > 0 else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """The first `width` entries below the tile `index` of level 0; a full bundle has 256."""

    index: int
    width: int = TILE

    def __post_init__(self) -> None:
        _check_place(self.index, self.width)

    @property
    def full(self) -> bool:
        """Whether the bundle has all its entries and will not change again."""
        return self.width == TILE

    @property
    def start(self) -> int:
        """The index of the bundle's first entry."""
        return self.index * TILE

    @property
    def end(self) -> int:
        """The index of the first entry behind the full bundle: pruning up to there may drop it ("Pruning")."""
        return (self.index + 1) * TILE

    @property
    def path(self) -> str:
        """Where the bundle is served, without the log's prefix."""
        return f"tile/entries/{_format_place(self.index, self.width)}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a bundle's path, `tile/entries/<N>[.p/<W>]`; any other spelling is refused with PathError."""
        level, index, width = _parse(path)
        if level is not None:
            raise PathError(f"a tile, not an entry bundle: {path!r}")
        return cls(index, width)

    @classmethod
    def of(cls, index: int, size: int) -> Self:
        """Return the bundle that holds entry `index` in a log of this size."""
        if not 0 <= index < size:
            raise PathError(f"a log of size {size} has no entry {index}")
        first = index - index % TILE
        return cls(index // TILE, min(TILE, size - first))


def parse_path(path: str) -> Tile | Bundle:
    """Read the path of a tile or an entry bundle; any spelling but the one that they give is a PathError."""
    level, index, width = _parse(path)
    return Bundle(index, width) if level is None else Tile(level, index, width)


def list_tiles(size: int) -> Iterator[Tile]:
    """List every tile of a tree of this size, full and partial, level by level from the leaves."""
    return list_new_tiles(0, size)


def list_new_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """List the tiles that a tree of the new size has and one of the old size had not, level by level from the leaves.

    These are the tiles that became full, and the partial tiles that are longer than before. A partial tile that did
    not change is not among them.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError(f"a log of size {new_size} was never of size {old_size}")
    for level in range(MAX_LEVEL + 1):
        old, new = old_size >> TILE_BITS * level, new_size >> TILE_BITS * level
        if old == new:  # then they are equal at every level above
            return
        for index in range(old // TILE, new // TILE):
            yield Tile(level, index)
        if new % TILE:
            yield Tile(level, new // TILE, new % TILE)


def make_subtree(read: Callable[[Tile], bytes], size: int) -> Subtree:
    """Return a function that gives the hashes of complete subtrees, from the tiles of a tree of this size.

    `read` is asked only for tiles that a tree of this size has. For a partial tile it may also give more of the tile,
    up to the full one: the further hashes are not used. What it gives is remembered for the last few tiles.
    """

    @lru_cache(maxsize=32)
    def tile_bytes(tile: Tile) -> bytes:
        data = read(tile)
        if len(data) % HASH_SIZE or not tile.width * HASH_SIZE <= len(data) <= TILE * HASH_SIZE:
            raise TileError(f"{tile.path} has {len(data)} bytes")
        return data

    def subtree(level: int, index: int) -> bytes:
        if level < 0 or index < 0 or (index + 1) << level > size:
            raise TileError(f"a tree of size {size} has no complete subtree {index} of level {level}")
        tile_level, height = divmod(level, TILE_BITS)
        first = index << height  # the subtree's hashes stand at [first, first + 2^height) of the tiles' level
        place = first // TILE
        tile = Tile(tile_level, place, min(TILE, (size >> TILE_BITS * tile_level) - place * TILE))
        offset = first % TILE * HASH_SIZE
        return _compute_root(tile_bytes(tile)[offset : offset + (HASH_SIZE << height)])

    return subtree


def compute_tile_root(data: bytes) -> bytes:
    """Compute the root over the hashes of a full tile, which is one hash of the tile above it."""
    if len(data) != TILE * HASH_SIZE:
        raise TileError(f"a full tile has {TILE * HASH_SIZE} bytes, not {len(data)}")
    return _compute_root(data)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Write an entry bundle ("Log entries"): each entry behind its length as a big-endian uint16."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise TileError(f"an entry of {len(entry)} bytes is longer than {MAX_ENTRY}")
        parts += (len(entry).to_bytes(2, "big"), entry)
    if len(parts) > 2 * TILE:
        raise TileError(f"a bundle holds at most {TILE} entries")
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """Read the entries of a bundle. Bytes that end within an entry, or more than 256 entries, are refused."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data):
            raise TileError(f"the bundle is cut off in its entry {len(entries)}")
        entries.append(data[start:at])
    if len(entries) > TILE:
        raise TileError(f"a bundle holds at most {TILE} entries")
    return entries


def _compute_root(data: bytes) -> bytes:
    """Compute the root over a power of two of joined hashes."""
    while len(data) > HASH_SIZE:
        # hash_node() spelt out: the call takes a third of the time, and verifying does little else.
        data = b"".join([sha256(NODE_PREFIX + pair).digest() for (pair,) in _PAIRS(data)])
    return data


def _check_place(index: int, width: int) -> None:
    if not 0 <= index <= MAX_INDEX:
        raise PathError(f"no tile index: {index}")
    if not 1 <= width <= TILE:
        raise PathError(f"no tile width: {width}")


def _format_place(index: int, width: int) -> str:
    """Write `<N>[.p/<W>]`: groups of three digits, all but the last with an x before them."""
    groups = f"{index % 1000:03}"
    while index := index // 1000:
        groups = f"x{index % 1000:03}/{groups}"
    return groups if width == TILE else f"{groups}.p/{width}"


def _parse(path: str) -> tuple[int | None, int, int]:
    """Return level (None for entries), index and width of a path in its one spelling."""
    found = _PATH.fullmatch(path)
    if not found or found["index"].startswith("x000"):  # a first group of zeros is a second spelling
        raise PathError(f"no path of a tile or an entry bundle: {path[:100]!r}")
    index = int(found["index"].replace("x", "").replace("/", ""))
    width = TILE
    if found["width"] and (width := int(found["width"])) >= TILE:
        raise PathError(f"a partial tile has at most {TILE - 1} hashes: {path!r}")
    return None if found["level"] == "entries" else int(found["level"]), index, width
