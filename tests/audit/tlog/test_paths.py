"""Paths of tiles and entry bundles: one spelling each, and all others refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoq_audit.tlog.errors import PathError
from yoq_audit.tlog.tiles import MAX_INDEX, Bundle, Tile, parse_path

PATHS: dict[str, Tile | Bundle] = {
    "tile/15/x455/667": Tile(15, 455_667),
    "tile/15/x123/x456/789.p/41": Tile(15, 123_456_789, 41),
    "tile/entries/x123/x456/789": Bundle(123_456_789),
    "tile/63/x999/x999/x999/x999/x999/999.p/255": Tile(63, 10**18 - 1, 255),
    "tile/0/000": Tile(0, 0),
    "tile/0/000.p/1": Tile(0, 0, 1),
    "tile/1/005": Tile(1, 5),
    "tile/10/999": Tile(10, 999),
    "tile/0/x001/000": Tile(0, 1000),
    "tile/0/x001/x234/067": Tile(0, 1_234_067),
    "tile/entries/000.p/255": Bundle(0, 255),
}
BAD_LEVELS = ("64", "99", "100", "-1", "+1", "abc", "", "00", "01", "1 ", " 1", "1_0", "\uff11", "Entries", "entries/")
BAD_PLACES = (
    "x001", "x001/", "x001/x234", "x001/x234/", "001/002", "x001/0002", "x001/-002", "067.p", "067.p/", "067.p/abc",
    "067.p/256", "067.p/257", "067.p/999", "067.p/1000", "067.p/0", "067.p/00", "067.p/01", "067.p/-1", "067.p/+1",
    "067.p/1/", "067.p/1.p/1", "067.P/1", "067p/1", "x001/x999/x999/x999/x999/x999/999", "x000/001", "x000/x001/067",
    "x000/000", "", "/", "0", "00", "0000", "67", "1000", "abc", "-01", "+01", "x067", "X001/002", "xx001/002",
    "x01/002", "x001//002", "x001/002/", "/067", "067/", "067\n", " 067", "067 ",
    "\uff10\uff16\uff17", "067.p/\uff11", "0_7", "067?", "067.p/1\n",
)  # fmt: skip


def refused(path: str) -> None:
    """No parser takes the path."""
    for parse in (parse_path, Tile.parse, Bundle.parse):
        with pytest.raises(PathError):
            parse(path)


@pytest.mark.parametrize("path", PATHS)
def test_paths_both_ways(path: str) -> None:
    """The published paths, and the edges of what is allowed, parse to their tile and format back to themselves."""
    resource = PATHS[path]
    assert parse_path(path) == type(resource).parse(path) == resource
    assert resource.path == path
    with pytest.raises(PathError):
        (Bundle if isinstance(resource, Tile) else Tile).parse(path)


@pytest.mark.parametrize("level", BAD_LEVELS)
def test_levels_that_must_fail(level: str) -> None:
    """What is no canonical decimal from 0 to 63 is no level."""
    refused(f"tile/{level}/067")


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("under", ["tile/0/", "tile/entries/"])
def test_places_that_must_fail(under: str, place: str) -> None:
    """A second spelling of an index or a width, or none at all, is refused below a level and for entries."""
    refused(under + place)


@pytest.mark.parametrize("path", ["", "tile", "tile/", "tile/0", "0/000", "/tile/0/000", "tiles/0/000", "x/tile/0/000"])
def test_other_paths_that_must_fail(path: str) -> None:
    """What is not under `tile/` is no tile."""
    refused(path)


@given(
    path=st.from_regex(
        re.compile(r"tile/(entries|\d{1,2})/(x?\d{3}/){0,7}\d{3}(\.p/\d{1,3})?", re.ASCII), fullmatch=True
    )
)
@settings(deadline=None, max_examples=300)
def test_one_spelling_for_each_path(path: str) -> None:
    """Whatever parses formats back to exactly what was parsed."""
    try:
        resource = parse_path(path)
    except PathError:
        return
    assert resource.path == path


@given(level=st.integers(0, 63), index=st.integers(0, MAX_INDEX), width=st.integers(1, 256))
@settings(deadline=None, max_examples=200)
def test_every_tile_has_a_path(level: int, index: int, width: int) -> None:
    """Every tile and bundle comes back from its own path."""
    for resource in (Tile(level, index, width), Bundle(index, width)):
        assert parse_path(resource.path) == resource
        assert resource.full == (width == 256)


@pytest.mark.parametrize(
    ("level", "index", "width"),
    [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 10**18, 1), (0, 0, 0), (0, 0, -1), (0, 0, 257)],
)
def test_tiles_that_cannot_be(level: int, index: int, width: int) -> None:
    """A tile outside the format cannot be made."""
    with pytest.raises(PathError):
        Tile(level, index, width)
    if 0 <= level <= 63:
        with pytest.raises(PathError):
            Bundle(index, width)


def test_the_bundle_of_an_entry() -> None:
    """An entry is found in the partial bundle of a small log and in the full one of a larger."""
    assert Bundle.of(251, 255).path == "tile/entries/000.p/255"
    assert Bundle.of(3, 257).path == "tile/entries/000"
    assert Bundle.of(256, 257).path == "tile/entries/001.p/1"
    assert Bundle.of(69_999, 70_000) == Bundle(273, 112)
    for index, size in ((-1, 5), (5, 5), (0, 0)):
        with pytest.raises(PathError):
            Bundle.of(index, size)


def test_what_pruning_may_drop() -> None:
    """A tile ends where the entries below its last hash end, a bundle like a tile of level 0."""
    assert (Bundle(3).start, Bundle(3).end, Tile(0, 3).end, Tile(1, 2).end) == (768, 1024, 1024, 196_608)
