"""Entry bundles: their bytes, their limits, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.naive_tlog import NaiveLog, numbered
from yoq_audit.tlog.errors import TileError
from yoq_audit.tlog.tiles import MAX_ENTRY, Bundle, decode_bundle, encode_bundle

SIZE = 70_000


def test_bundles_of_a_large_log() -> None:
    """Each bundle is its entries behind their lengths, and hashes to the tile of level 0 with the same place."""
    log = numbered(SIZE)
    for index in (0, 1, 255, 256, 273):
        bundle = Bundle.of(index * 256, SIZE)
        entries = list(log.entries[bundle.start : bundle.start + bundle.width])
        data = encode_bundle(entries)
        assert data == b"".join(bytes(divmod(len(entry), 256)) + entry for entry in entries)
        assert decode_bundle(data) == entries
        assert NaiveLog(decode_bundle(data)).tile(0, 0, bundle.width) == log.tile(0, index, bundle.width)


@given(entries=st.lists(st.binary(max_size=600), max_size=20))
@settings(deadline=None, max_examples=100)
def test_bundles_both_ways(entries: list[bytes]) -> None:
    """Any entries come back from their bundle, empty ones too; cut anywhere, it never gives the same entries."""
    data = encode_bundle(entries)
    assert decode_bundle(data) == entries
    for cut in range(max(0, len(data) - 40), len(data)):
        with suppress(TileError):
            shorter = decode_bundle(data[:cut])
            assert shorter == entries[: len(shorter)] != entries


def test_the_limits_of_a_bundle() -> None:
    """The longest entry is 65,535 bytes and the most are 256."""
    longest = bytes(MAX_ENTRY)
    assert decode_bundle(encode_bundle([longest])) == [longest]
    assert len(decode_bundle(encode_bundle([b""] * 256))) == 256
    for entries in ([bytes(MAX_ENTRY + 1)], [b""] * 257):
        with pytest.raises(TileError):
            encode_bundle(entries)


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x01", b"\x00\x02a", b"\x00\x01ab", b"\x00\x01a\x00", b"\xff\xff", b"\x00\x00" * 257]
)
def test_bundles_that_must_fail(data: bytes) -> None:
    """A bundle that ends within an entry or its length, has bytes left over, or holds too many entries is refused."""
    with pytest.raises(TileError):
        decode_bundle(data)
