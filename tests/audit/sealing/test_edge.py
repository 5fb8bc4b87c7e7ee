"""The edge of the tree: what the database says of it is built upon only as far as it follows from what was signed."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.door import behind
from tests.support.log_keys import list_signers, read_health
from tests.support.tampering import add_entries, attack, format_bytes, make_log, seal, verify_log
from yoq_audit.tlog.errors import LogError

NEWEST = "(SELECT max(size) FROM audit_checkpoint)"


def read_sizes(url: str) -> list[int]:
    """The sizes for which something was signed."""
    return [row["size"] for row in behind(url, "SELECT size FROM audit_checkpoint WHERE note IS NOT NULL ORDER BY 1")]


def test_numbers_that_nobody_signed_stop_nothing(app: Flask, api: Api, database_url: str) -> None:
    """How far the log is sealed is not taken from a column: new entries are sealed, and in the next export."""
    make_log(app, 5)
    attack(database_url, "UPDATE audit_checkpoint SET last_entry = 9999999, horizon = 0, sealed_at = 0")
    add_entries(app, 3)
    assert seal(app) == 3
    assert read_health(app) is None
    assert api("GET", "/v1/audit/export").text.count("\n") == 9
    assert verify_log(app)["size"] == 9


def test_a_size_that_was_made_up_is_not_signed(app: Flask, database_url: str) -> None:
    """A row that waits for a signature gets none, unless its root is that of the entries."""
    make_log(app, 5)
    root = format_bytes(database_url, b"x" * 32)
    columns = "size, root, note, last_entry, horizon, sealed_at"
    for size in (6, 4000):
        attack(database_url, f"INSERT INTO audit_checkpoint ({columns}) VALUES ({size}, {root}, NULL, 5, 0, 0)")
        assert (read_health(app) or "").startswith("nothing is sealed: ")
        assert read_sizes(database_url) == [5]
        attack(database_url, f"DELETE FROM audit_checkpoint WHERE size = {size}")
        assert read_health(app) is None


def test_entries_that_change_between_commit_and_signature(
    app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a crash left a size without its signature, it is signed later only for the same entries."""
    make_log(app, 5)
    add_entries(app, 2)
    with monkeypatch.context() as patch:
        patch.setattr("yoq_audit.sealing.keys.sign_checkpoint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal(app)
    was = behind(database_url, "SELECT actor FROM audit_log")[0]["actor"]
    newest = "id = (SELECT max(id) FROM audit_log)"
    attack(database_url, f"UPDATE audit_log SET actor = 'somebody' WHERE {newest}")
    with pytest.raises(LogError, match="7 committed entries"):
        seal(app)
    assert read_sizes(database_url) == [5]
    attack(database_url, f"UPDATE audit_log SET actor = '{was}' WHERE {newest}")
    seal(app)
    assert read_sizes(database_url) == [5, 7]
    assert verify_log(app)["ok"]


def test_a_note_that_this_log_did_not_sign(app: Flask, database_url: str) -> None:
    """A newest checkpoint that is not signed for its size and root is not built upon."""
    make_log(app, 5, 2)
    add_entries(app, 1)
    for change in (
        "note = 'nonsense'",
        "note = (SELECT note FROM audit_checkpoint WHERE size = 5)",
        f"root = {format_bytes(database_url, b'x' * 32)}",
    ):
        kept = behind(database_url, "SELECT root, note FROM audit_checkpoint ORDER BY size DESC")[0]
        attack(database_url, f"UPDATE audit_checkpoint SET {change} WHERE size = 7")
        assert (read_health(app) or "").startswith("nothing is sealed: "), change
        root = format_bytes(database_url, bytes(kept["root"]))
        attack(database_url, f"UPDATE audit_checkpoint SET note = '{kept['note']}', root = {root} WHERE size = 7")
    assert read_health(app) is None
    assert read_sizes(database_url) == [5, 7, 8]


@pytest.mark.parametrize("count", [5, 300])
def test_a_tile_that_was_altered_is_not_built_upon(app: Flask, database_url: str, count: int) -> None:
    """No root is signed that is not an extension of the one before: that would be a fork of this log's own making."""
    make_log(app, count)
    tiles = behind(database_url, "SELECT level, number, hashes FROM audit_tile ORDER BY level DESC, number DESC")
    add_entries(app, 1)
    for tile in tiles[:2]:
        where = f"WHERE level = {tile['level']} AND number = {tile['number']}"
        hashes = bytes(tile["hashes"])
        altered = format_bytes(database_url, bytes([hashes[0] ^ 1]) + hashes[1:])
        attack(database_url, f"UPDATE audit_tile SET hashes = {altered} {where}")
        assert (read_health(app) or "").startswith("nothing is sealed: ")
        assert len(list_signers(database_url)) == 1
        attack(database_url, f"UPDATE audit_tile SET hashes = {format_bytes(database_url, hashes)} {where}")
    assert read_health(app) is None
    assert verify_log(app)["size"] == count + 1


@pytest.mark.parametrize("index", [5, 40_000])
def test_a_place_that_nothing_was_sealed_at(app: Flask, database_url: str, index: int) -> None:
    """An entry that waits is not taken for sealed because somebody gave it a place."""
    make_log(app, 5)
    add_entries(app, 1)
    entry = behind(database_url, "SELECT max(id) AS id FROM audit_log")[0]["id"]
    behind(database_url, f"INSERT INTO audit_leaf (leaf_index, entry_id) VALUES ({index}, {entry})")
    assert (read_health(app) or "").startswith("nothing is sealed: ")
    assert not verify_log(app)["ok"]
    attack(database_url, f"DELETE FROM audit_leaf WHERE leaf_index = {index}")
    assert read_health(app) is None
    assert verify_log(app)["size"] == 6


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_size_that_is_no_number(app: Flask, database_url: str) -> None:
    """SQLite stores a text as a size, and sorts it behind all of them; that is told, not stumbled over."""
    make_log(app, 5)
    row = "SELECT 'x', root, NULL, last_entry, horizon, sealed_at FROM audit_checkpoint"
    columns = "size, root, note, last_entry, horizon, sealed_at"
    attack(database_url, f"INSERT INTO audit_checkpoint ({columns}) {row}")
    add_entries(app, 1)
    assert (read_health(app) or "").startswith("nothing is sealed: ")
    assert not verify_log(app)["ok"]
