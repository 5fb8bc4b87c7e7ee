"""Altered tiles, alone and together with entries: which of the two is right, and what became of the other."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.door import behind
from tests.support.tampering import (
    add_entries,
    attack,
    find_entry,
    format_bytes,
    list_findings,
    make_log,
    verify_log,
)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (1, 0)])
def test_an_altered_tile(app: Flask, database_url: str, place: tuple[int, int]) -> None:
    """A tile with another hash, or one that is gone, is named by level and number; the entries are right."""
    make_log(app, 600)
    level, number = place
    where = f"WHERE level = {level} AND number = {number}"
    held = bytes(behind(database_url, f"SELECT hashes FROM audit_tile {where}")[0]["hashes"])
    changed = held[:40] + bytes([held[40] ^ 1]) + held[41:]
    attack(database_url, f"UPDATE audit_tile SET hashes = {format_bytes(database_url, changed)} {where}")
    (message,) = list_findings(app, "kind", "message")
    assert message[0] == "tile"
    assert message[1].startswith(f"tile {level}/{number} altered")
    attack(database_url, f"DELETE FROM audit_tile {where}", "UPDATE audit_tile SET level = level")
    (message,) = list_findings(app, "kind", "message")
    assert message[1].startswith(f"tile {level}/{number} missing")


def test_tiles_with_a_shifted_border(app: Flask, database_url: str) -> None:
    """Tiles whose bytes are right one after the other, but not each by itself, are both named."""
    make_log(app, 600)
    first, second = (
        bytes(row["hashes"])
        for row in behind(database_url, "SELECT hashes FROM audit_tile WHERE level = 0 AND number < 2 ORDER BY number")
    )
    statements = [
        f"UPDATE audit_tile SET hashes = {format_bytes(database_url, data)} WHERE level = 0 AND number = {number}"
        for number, data in enumerate((first + second[:1], second[1:]))
    ]
    attack(database_url, *statements)
    told = [message.partition(" (")[0] for (message,) in list_findings(app, "message")]
    assert told == ["tile 0/0 altered", "tile 0/1 altered"]


def test_an_entry_altered_together_with_its_tile(app: Flask, database_url: str) -> None:
    """Whoever also rewrites the tile is betrayed by the tree above it, and the checkpoints tell between which."""
    make_log(app, 100, 20, 400)
    entry = find_entry(database_url, 110)
    attack(database_url, f"UPDATE audit_log SET actor = 'somebody' WHERE id = {entry}")
    rewrite(database_url, 0)
    (finding,) = verify_log(app)["findings"]
    assert finding["kind"] == "altered"
    assert finding["message"] == "tile 0/0 altered, and entries with it: between the places 100 and 119"


def rewrite(url: str, number: int) -> None:
    """Rewrite a tile of level 0 from the entries as they are."""
    from tests.audit.sealing.test_sealer import stored_leaves  # noqa: PLC0415 - only here
    from yoq_audit.tlog.hashes import hash_leaf  # noqa: PLC0415 - as above

    hashes = b"".join(hash_leaf(leaf) for leaf in stored_leaves(url)[256 * number : 256 * number + 256])
    attack(url, f"UPDATE audit_tile SET hashes = {format_bytes(url, hashes)} WHERE level = 0 AND number = {number}")


def test_several_kinds_at_once(app: Flask, database_url: str) -> None:
    """One finding hides no other."""
    make_log(app, 300)
    one, two, three, four = (find_entry(database_url, index) for index in (10, 20, 30, 290))
    attack(
        database_url,
        f"UPDATE audit_log SET actor = 'somebody' WHERE id = {one}",
        f"DELETE FROM audit_log WHERE id = {two}",
        f"UPDATE audit_log SET outcome = 'denied' WHERE id = {four}",
        f"UPDATE audit_leaf SET leaf_index = 30000 WHERE entry_id = {three}",
        "UPDATE audit_checkpoint SET note = NULL WHERE size < 300",
        "DELETE FROM audit_tile WHERE level = 1",
    )
    add_entries(app, 3)
    report = verify_log(app)
    told = {(finding["kind"], finding.get("entry"), finding.get("index")) for finding in report["findings"]}
    assert {("altered", one, 10), ("removed", two, 20), ("altered", four, 290)} <= told
    assert ("tile", None, None) in told
    assert ("moved", three, 30) in told
    assert not {kind for kind, entry, _ in told if entry == three} - {"moved"}
    assert report["pending"] == 3
