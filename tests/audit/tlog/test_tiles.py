"""Tiles: which there are and their bytes, against the naive definition beyond 256 and beyond 65,536 entries."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.naive_tlog import NaiveLog, numbered
from yoq_audit.tlog.errors import TileError
from yoq_audit.tlog.tile_writer import TileWriter
from yoq_audit.tlog.tiles import Tile, compute_tile_root, list_new_tiles, list_tiles, make_subtree
from yoq_audit.tlog.tree import compute_root, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion

SIZE = 70_000
SIZES = (1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_048, SIZE)


@pytest.fixture(scope="module")
def log() -> NaiveLog:
    """A log with more than one full tile of level 1."""
    return numbered(SIZE)


@pytest.fixture(scope="module")
def stored(log: NaiveLog) -> dict[str, bytes]:
    """Every tile of that log at its full size, by path, written by the naive definition."""
    return {tile.path: log.tile(tile.level, tile.index, tile.width) for tile in list_tiles(SIZE)}


def test_the_specifications_example() -> None:
    """70,000 entries make the tiles that the specification lists, and 256 make a full tile with one hash above it."""
    tiles = list(list_tiles(SIZE))
    assert [sum(tile.full for tile in tiles if tile.level == level) for level in range(3)] == [273, 1, 0]
    assert [tile.path for tile in tiles if not tile.full] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [tile.path for tile in list_tiles(256)] == ["tile/0/000", "tile/1/000.p/1"]
    assert list(list_tiles(0)) == []


@given(old=st.integers(0, 200_000), more=st.integers(0, 1000))
@example(old=65_535, more=1)
@example(old=255, more=1)
@example(old=256, more=0)
@settings(deadline=None, max_examples=60)
def test_new_tiles_are_the_difference(old: int, more: int) -> None:
    """New tiles are exactly those of the new size that the old size had not, in the same order."""
    before = set(list_tiles(old))
    assert list(list_new_tiles(old, old + more)) == [tile for tile in list_tiles(old + more) if tile not in before]


@given(size=st.integers(0, 200_000), level=st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_a_tile_at_a_size(size: int, level: int) -> None:
    """Asked for one tile at a size, the answer is the one listed for that size, or that there is none."""
    listed = [tile for tile in list_tiles(size) if tile.level == level]
    assert [Tile.at(level, index, size) for index in range(len(listed) + 1)] == [*listed, None]


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (0, 2**64)])
def test_a_log_never_shrinks(old: int, new: int) -> None:
    """There are no new tiles from a larger size to a smaller, or beyond 64 bits."""
    with pytest.raises(ValueError, match="never of size"):
        list(list_new_tiles(old, new))


def test_tiles_of_a_growing_log(log: NaiveLog, stored: dict[str, bytes]) -> None:
    """Written in batches, every full tile is given out once; bytes, partial tiles and roots are as defined."""
    writer = TileWriter()
    written: dict[str, bytes] = {}
    leaves = log.leaf_hashes(SIZE)
    for end in SIZES:
        old = writer.size
        full = writer.append(leaves[old:end])
        assert writer.size == end
        partials = writer.partials
        assert {tile for tile, _ in full} == {tile for tile in list_new_tiles(old, end) if tile.full}
        assert [tile for tile, _ in partials] == [tile for tile in list_tiles(end) if not tile.full]
        for tile, data in full:
            assert tile.path not in written
            written[tile.path] = data
        for tile, data in partials:
            assert data == log.tile(tile.level, tile.index, tile.width)
        assert writer.root == log.mth(0, end)
        held = dict(partials)
        writer = TileWriter(end, held.__getitem__)  # go on from what a database would hold
    assert {**written, **{tile.path: data for tile, data in writer.partials}} == stored


def test_growth_starts_from_whole_tiles() -> None:
    """A tree cannot go on from partial tiles that are missing or too short, nor take what is no hash."""
    with pytest.raises(TileError):
        TileWriter(3)
    with pytest.raises(TileError):
        TileWriter(3, lambda _: bytes(64))
    with pytest.raises(TileError):
        TileWriter().append([b"short"])
    with pytest.raises(ValueError, match="size"):
        TileWriter(-1)


@pytest.mark.parametrize("size", SIZES)
def test_proofs_from_tiles(log: NaiveLog, size: int) -> None:
    """From the tiles of a size alone come its root and proofs; no tile is read that the size has not."""
    exist = set(list_tiles(size))
    asked = set()

    def read(tile: Tile) -> bytes:
        asked.add(tile)
        return log.tile(tile.level, tile.index, tile.width)

    subtree = make_subtree(read, size)
    root = log.mth(0, size)
    assert compute_root(size, subtree) == root
    for index in {0, size // 3, size // 2, size - 1}:
        path = prove_inclusion(index, size, subtree)
        assert path == log.path(index, size)
        verify_inclusion(index, size, log.mth(index, index + 1), path, root)
    for old in {1, size // 3, size // 2, size - 1, size}:
        path = prove_consistency(old, size, subtree)
        assert path == log.proof(old, size)
        verify_consistency(old, size, log.mth(0, old), root, path)
    assert asked <= exist


def test_subtrees_from_tiles(log: NaiveLog, stored: dict[str, bytes]) -> None:
    """Each complete subtree of a level, from the leaves to the highest, is the defined hash."""
    subtree = make_subtree(lambda tile: stored[tile.path], SIZE)
    for level in range(17):
        for index in {0, 1, (SIZE >> level) // 2, (SIZE >> level) - 1}:
            if index < SIZE >> level:
                assert subtree(level, index) == log.subtree(level, index)


def test_a_longer_tile_serves_for_a_partial_one(log: NaiveLog, stored: dict[str, bytes]) -> None:
    """An old size is computed from a newer tree's tiles, because a partial tile is the beginning of a longer one."""
    for size in (1, 300, 65_537):
        subtree = make_subtree(
            lambda tile: log.tile(tile.level, tile.index, 256 if tile.index == 0 and not tile.level else tile.width),
            size,
        )
        assert compute_root(size, subtree) == log.mth(0, size)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(32 * 9), bytes(32 * 10 + 1), bytes(32 * 257)])
def test_tiles_of_wrong_length(data: bytes) -> None:
    """A tile that is too short, too long or not whole hashes is refused."""
    with pytest.raises(TileError, match=r"tile/0/000\.p/10 has"):
        compute_root(10, make_subtree(lambda _: data, 10))


@pytest.mark.parametrize(("level", "index"), [(0, 10), (3, 1), (4, 0), (-1, 0), (0, -1), (64, 0)])
def test_subtrees_that_are_not_complete(level: int, index: int) -> None:
    """A subtree that the tree does not have whole is refused before any tile is read."""
    with pytest.raises(TileError, match="no complete subtree"):
        make_subtree(lambda _: pytest.fail("a tile was read"), 10)(level, index)


def test_the_root_of_a_tile(log: NaiveLog) -> None:
    """A full tile's root is its hash in the tile above; of a partial tile there is none."""
    assert compute_tile_root(log.tile(0, 3, 256)) == log.mth(768, 1024)
    for data in (log.tile(0, 0, 255), b"", bytes(8193)):
        with pytest.raises(TileError):
            compute_tile_root(data)
