"""Whoever changes the log in the database, past the triggers: `audit verify` names what was changed and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.door import behind
from tests.support.tampering import attack, binary, entry_at, fill, found, log_of, seal, verified
from yoq_audit.sealing import keys
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign
from yoq_web.files import replace

ALTERATIONS = {
    "actor": "'somebody'",
    "actor_kind": "'local'",
    "action": "'secret_set'",
    "target": "NULL",
    "outcome": "'denied'",
    "reason": "'because'",
    "request_id": "'r'",
    "node": "'node-9'",
    "peer": "'192.0.2.1'",
    "version": "2",
    "recorded_at": "recorded_at + 1",
    "time": "time + 7",
    "details": "'[]'",
}


@pytest.mark.parametrize("field", ALTERATIONS)
def test_an_altered_entry(app: Flask, database_url: str, field: str) -> None:
    """The entry, the field and what stood there before are named."""
    log_of(app, 20)
    entry = entry_at(database_url, 7)
    before = behind(database_url, f"SELECT {field} AS it FROM audit_log WHERE id = {entry}")[0]["it"]
    attack(database_url, f"UPDATE audit_log SET {field} = {ALTERATIONS[field]} WHERE id = {entry}")
    (finding,) = verified(app)["findings"]
    assert (finding["kind"], finding["entry"], finding["index"], finding["field"]) == ("altered", entry, 7, field)
    shown = "null" if before is None else f'"{before}"' if isinstance(before, str) else str(before)
    assert finding["was"] == shown
    assert finding["message"].startswith(f"entry {entry} ({finding['event_id']}) altered: {field}")


@pytest.mark.parametrize("field", ["event_id", "nonce"])
def test_an_altered_field_that_nothing_else_holds(app: Flask, database_url: str, field: str) -> None:
    """Where nobody can know what stood there, the entry is named."""
    log_of(app, 20)
    entry = entry_at(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET {field} = 'x' WHERE id = {entry}")
    assert found(app, "kind", "entry", "index") == [("altered", entry, 7)]


def test_an_altered_id(app: Flask, database_url: str) -> None:
    """An entry under another id is told with both."""
    log_of(app, 20)
    entry = entry_at(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET id = 4000 WHERE id = {entry}")
    assert found(app, "kind", "field", "was", "now", "index") == [("altered", "id", str(entry), "4000", 7)]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("value", ["CAST(x'ff' AS TEXT)", "x'00'", "CAST(actor AS BLOB)", "'a' || char(0) || 'b'"])
def test_what_is_no_text(app: Flask, database_url: str, value: str) -> None:
    """SQLite stores anything anywhere; it is told like any alteration."""
    log_of(app, 20)
    entry = entry_at(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET actor = {value} WHERE id = {entry}")
    assert found(app, "kind", "entry", "field", "was") == [("altered", entry, "actor", '"tester"')]


def test_a_removed_entry(app: Flask, database_url: str) -> None:
    """An entry that is gone is named by its id and its number, whether or not its place is."""
    log_of(app, 20)
    entry, other = entry_at(database_url, 7), entry_at(database_url, 9)
    attack(database_url, f"DELETE FROM audit_log WHERE id IN ({entry}, {other})")
    assert found(app, "kind", "entry", "index") == [("removed", entry, 7), ("removed", other, 9)]
    attack(database_url, f"DELETE FROM audit_leaf WHERE entry_id = {entry}")
    assert found(app, "kind", "entry", "index") == [("removed", None, 7), ("removed", other, 9)]


def test_an_entry_whose_gap_is_closed(app: Flask, database_url: str) -> None:
    """Removing an entry and moving the others up hides nothing."""
    log_of(app, 20)
    entry = entry_at(database_url, 15)
    shift = [f"UPDATE audit_leaf SET leaf_index = {index - 1} WHERE leaf_index = {index}" for index in range(16, 20)]
    gone = (f"DELETE FROM audit_log WHERE id = {entry}", f"DELETE FROM audit_leaf WHERE entry_id = {entry}")
    attack(database_url, *gone, *shift)
    told = found(app, "kind", "index")
    assert ("removed", 15) in told
    assert [index for kind, index in told if kind == "moved"] == [15, 16, 17, 18, 19]


def test_an_inserted_entry(app: Flask, database_url: str) -> None:
    """An entry among those that were sealed is named."""
    log_of(app, 20)
    entry = entry_at(database_url, 7)
    columns = (
        "recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, details, "
        "version, nonce"
    )
    # An id of its own below the others: what is behind them might be an entry that waits to be sealed.
    attack(
        database_url,
        f"INSERT INTO audit_log (id, event_id, {columns}) SELECT -5, 'forged', {columns} FROM audit_log "
        f"WHERE id = {entry}",
        "UPDATE audit_checkpoint SET sealed_at = 1",
    )
    assert found(app, "kind", "entry", "event_id") == [("inserted", -5, "forged")]


def test_a_moved_entry(app: Flask, database_url: str) -> None:
    """Entries that changed places are both named."""
    log_of(app, 20)
    first, second = entry_at(database_url, 3), entry_at(database_url, 8)
    change = [
        f"UPDATE audit_leaf SET entry_id = -1 WHERE leaf_index = {3}",
        f"UPDATE audit_leaf SET entry_id = {first} WHERE leaf_index = {8}",
        f"UPDATE audit_leaf SET entry_id = {second} WHERE leaf_index = {3}",
    ]
    attack(database_url, *change)
    assert found(app, "kind", "entry", "index") == [("moved", second, 3), ("moved", first, 8)]


def test_a_lost_place(app: Flask, database_url: str) -> None:
    """A sealed entry whose place was taken away is not one that waits."""
    log_of(app, 20)
    entry = entry_at(database_url, 19)
    attack(database_url, "DELETE FROM audit_leaf WHERE leaf_index = 19")
    report = verified(app)
    assert [(finding["kind"], finding["entry"], finding["index"]) for finding in report["findings"]] == [
        ("moved", entry, 19)
    ]
    assert report["pending"] == 0


CUT = (
    "DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_leaf WHERE leaf_index >= 10)",
    "DELETE FROM audit_leaf WHERE leaf_index >= 10",
    "DELETE FROM audit_checkpoint WHERE size > 10",
)


def test_a_log_that_is_cut_off(app: Flask, database_url: str) -> None:
    """The end is taken away without a trace in the database: the head outside knows."""
    log_of(app, 10)
    tile = behind(database_url, "SELECT hashes FROM audit_tile")[0]["hashes"]
    log_of(app, 10)
    attack(database_url, *CUT, f"UPDATE audit_tile SET hashes = {binary(database_url, tile)}")
    (finding,) = verified(app)["findings"]
    assert finding["kind"] == "cut off"
    assert finding["message"] == "the log is cut off: the head kept outside has 20 entries, the log 10"


def rows(app: Flask, url: str) -> tuple[Signer, dict[str, Any]]:
    """The log's key and its newest checkpoint."""
    with app.app_context():
        key = keys.read_signer()
    assert key is not None
    return key, behind(url, "SELECT size, root, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1")[0]


def test_an_unknown_key(app: Flask, database_url: str) -> None:
    """A checkpoint that somebody else signed is told, also if their key is put into the database."""
    log_of(app, 5, 5)
    key, newest = rows(app, database_url)
    forger = Signer.generate(key.name)
    note = sign(Checkpoint(key.name, 10, bytes(newest["root"])).text, forger)
    attack(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = 10")
    assert found(app, "kind", "message") == [("key", "checkpoint of size 10 signed by an unknown key")]
    attack(database_url, f"INSERT INTO audit_key (vkey, added_at) VALUES ('{forger.vkey}', 1)")
    foreign = f"the key {key.name}+{forger.verifier.key_id.hex()} in the database is not this log's"
    assert found(app, "kind", "message") == [
        ("key", foreign),
        ("key", "checkpoint of size 10 signed by an unknown key"),
    ]


def test_an_altered_checkpoint(app: Flask, database_url: str) -> None:
    """A checkpoint with another root, a wrong signature or none any more is named by its size."""
    log_of(app, 5, 5, 5, 5)
    attack(
        database_url,
        f"UPDATE audit_checkpoint SET root = {binary(database_url, bytes(32))} WHERE size = 5",
        "UPDATE audit_checkpoint SET note = NULL WHERE size = 10",
        "UPDATE audit_checkpoint SET note = (SELECT note FROM audit_checkpoint WHERE size = 20) WHERE size = 15",
    )
    assert found(app, "kind", "size") == [("checkpoint", 5), ("checkpoint", 10), ("checkpoint", 15)]


def test_a_fork(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Two roots signed for one size: in the database beside the tree, or in the head outside."""
    log_of(app, 5, 5)
    key, _ = rows(app, database_url)
    other = sign(Checkpoint(key.name, 5, b"x" * 32).text, key)
    root = binary(database_url, b"x" * 32)
    attack(database_url, f"UPDATE audit_checkpoint SET root = {root}, note = '{other}' WHERE size = 5")
    assert found(app, "kind", "size") == [("fork", 5)]
    replace(tmp_path / "log.head", sign(Checkpoint(key.name, 10, b"y" * 32).text, key).encode())
    assert found(app, "kind", "size") == [("fork", 5), ("fork", 10)]


def test_a_broken_head(app: Flask, tmp_path: Path) -> None:
    """A head that nobody of this log signed vouches for nothing, and is told."""
    log_of(app, 5)
    replace(tmp_path / "log.head", b"nonsense\n")
    assert found(app, "kind") == [("head",)]


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (1, 0)])
def test_an_altered_tile(app: Flask, database_url: str, place: tuple[int, int]) -> None:
    """A tile with another hash, or one that is gone, is named by level and number; the entries are right."""
    log_of(app, 600)
    level, number = place
    where = f"WHERE level = {level} AND number = {number}"
    held = bytes(behind(database_url, f"SELECT hashes FROM audit_tile {where}")[0]["hashes"])
    changed = held[:40] + bytes([held[40] ^ 1]) + held[41:]
    attack(database_url, f"UPDATE audit_tile SET hashes = {binary(database_url, changed)} {where}")
    (message,) = found(app, "kind", "message")
    assert message[0] == "tile"
    assert message[1].startswith(f"tile {level}/{number} altered")
    attack(database_url, f"DELETE FROM audit_tile {where}", "UPDATE audit_tile SET level = level")
    (message,) = found(app, "kind", "message")
    assert message[1].startswith(f"tile {level}/{number} missing")


def test_tiles_with_a_shifted_border(app: Flask, database_url: str) -> None:
    """Tiles whose bytes are right one after the other, but not each by itself, are both named."""
    log_of(app, 600)
    first, second = (
        bytes(row["hashes"])
        for row in behind(database_url, "SELECT hashes FROM audit_tile WHERE level = 0 AND number < 2 ORDER BY number")
    )
    statements = [
        f"UPDATE audit_tile SET hashes = {binary(database_url, data)} WHERE level = 0 AND number = {number}"
        for number, data in enumerate((first + second[:1], second[1:]))
    ]
    attack(database_url, *statements)
    told = [message.partition(" (")[0] for (message,) in found(app, "message")]
    assert told == ["tile 0/0 altered", "tile 0/1 altered"]


def test_an_entry_altered_together_with_its_tile(app: Flask, database_url: str) -> None:
    """Whoever also rewrites the tile is betrayed by the tree above it, and the checkpoints tell between which."""
    log_of(app, 100, 20, 400)
    entry = entry_at(database_url, 110)
    attack(database_url, f"UPDATE audit_log SET actor = 'somebody' WHERE id = {entry}")
    rewrite(database_url, 0)
    (finding,) = verified(app)["findings"]
    assert finding["kind"] == "altered"
    assert finding["message"] == "tile 0/0 altered, and entries with it: between the places 100 and 119"


def rewrite(url: str, number: int) -> None:
    """Rewrite a tile of level 0 from the entries as they are."""
    from tests.audit.sealing.test_sealer import stored_leaves  # noqa: PLC0415 - only here
    from yoq_audit.tlog.hashing import hash_leaf  # noqa: PLC0415 - as above

    hashes = b"".join(hash_leaf(leaf) for leaf in stored_leaves(url)[256 * number : 256 * number + 256])
    attack(url, f"UPDATE audit_tile SET hashes = {binary(url, hashes)} WHERE level = 0 AND number = {number}")


def test_several_kinds_at_once(app: Flask, database_url: str) -> None:
    """One finding hides no other."""
    log_of(app, 300)
    one, two, three, four = (entry_at(database_url, index) for index in (10, 20, 30, 290))
    attack(
        database_url,
        f"UPDATE audit_log SET actor = 'somebody' WHERE id = {one}",
        f"DELETE FROM audit_log WHERE id = {two}",
        f"UPDATE audit_log SET outcome = 'denied' WHERE id = {four}",
        f"UPDATE audit_leaf SET leaf_index = 30000 WHERE entry_id = {three}",
        "UPDATE audit_checkpoint SET note = NULL WHERE size < 300",
        "DELETE FROM audit_tile WHERE level = 1",
    )
    fill(app, 3)
    report = verified(app)
    told = {(finding["kind"], finding.get("entry"), finding.get("index")) for finding in report["findings"]}
    assert {("altered", one, 10), ("removed", two, 20), ("altered", four, 290)} <= told
    assert ("tile", None, None) in told
    assert ("moved", three, 30) in told
    assert not {kind for kind, entry, _ in told if entry == three} - {"moved"}
    assert report["pending"] == 3


def test_an_entry_moved_out_of_the_tree(app: Flask, database_url: str) -> None:
    """Its place is told; one that never had a place there is told as inserted."""
    log_of(app, 20)
    moved, inserted = entry_at(database_url, 7), 10_000
    attack(
        database_url,
        f"UPDATE audit_leaf SET leaf_index = 30000 WHERE entry_id = {moved}",
        f"INSERT INTO audit_leaf (leaf_index, entry_id) VALUES (40000, {inserted})",
    )
    assert found(app, "kind", "entry", "index") == [("inserted", inserted, None), ("moved", moved, 7)]


def test_findings_are_bounded(app: Flask, database_url: str) -> None:
    """The first hundred are described and the others counted."""
    log_of(app, 150)
    attack(database_url, "UPDATE audit_log SET actor = 'somebody'")
    report = verified(app)
    assert len(report["findings"]) == 100
    assert report["found"] == 150
    seal(app)
