"""Whoever changes the log in the database, past the triggers: `audit verify` names what was changed and where."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.door import behind
from tests.support.tampering import (
    attack,
    find_entry,
    format_bytes,
    list_findings,
    make_log,
    seal,
    verify_log,
)

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
    make_log(app, 20)
    entry = find_entry(database_url, 7)
    before = behind(database_url, f"SELECT {field} AS it FROM audit_log WHERE id = {entry}")[0]["it"]
    attack(database_url, f"UPDATE audit_log SET {field} = {ALTERATIONS[field]} WHERE id = {entry}")
    (finding,) = verify_log(app)["findings"]
    assert (finding["kind"], finding["entry"], finding["index"], finding["field"]) == ("altered", entry, 7, field)
    shown = "null" if before is None else f'"{before}"' if isinstance(before, str) else str(before)
    assert finding["was"] == shown
    assert finding["message"].startswith(f"entry {entry} ({finding['event_id']}) altered: {field}")


@pytest.mark.parametrize("field", ["event_id", "nonce"])
def test_an_altered_field_that_nothing_else_holds(app: Flask, database_url: str, field: str) -> None:
    """Where nobody can know what stood there, the entry is named."""
    make_log(app, 20)
    entry = find_entry(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET {field} = 'x' WHERE id = {entry}")
    assert list_findings(app, "kind", "entry", "index") == [("altered", entry, 7)]


def test_an_altered_id(app: Flask, database_url: str) -> None:
    """An entry under another id is told with both."""
    make_log(app, 20)
    entry = find_entry(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET id = 4000 WHERE id = {entry}")
    assert list_findings(app, "kind", "field", "was", "now", "index") == [("altered", "id", str(entry), "4000", 7)]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("value", ["CAST(x'ff' AS TEXT)", "x'00'", "CAST(actor AS BLOB)", "'a' || char(0) || 'b'"])
def test_what_is_no_text(app: Flask, database_url: str, value: str) -> None:
    """SQLite stores anything anywhere; it is told like any alteration."""
    make_log(app, 20)
    entry = find_entry(database_url, 7)
    attack(database_url, f"UPDATE audit_log SET actor = {value} WHERE id = {entry}")
    assert list_findings(app, "kind", "entry", "field", "was") == [("altered", entry, "actor", '"tester"')]


def test_a_removed_entry(app: Flask, database_url: str) -> None:
    """An entry that is gone is named by its id and its number, whether or not its place is."""
    make_log(app, 20)
    entry, other = find_entry(database_url, 7), find_entry(database_url, 9)
    attack(database_url, f"DELETE FROM audit_log WHERE id IN ({entry}, {other})")
    assert list_findings(app, "kind", "entry", "index") == [("removed", entry, 7), ("removed", other, 9)]
    attack(database_url, f"DELETE FROM audit_leaf WHERE entry_id = {entry}")
    assert list_findings(app, "kind", "entry", "index") == [("removed", None, 7), ("removed", other, 9)]


def test_an_entry_whose_gap_is_closed(app: Flask, database_url: str) -> None:
    """Removing an entry and moving the others up hides nothing."""
    make_log(app, 20)
    entry = find_entry(database_url, 15)
    shift = [f"UPDATE audit_leaf SET leaf_index = {index - 1} WHERE leaf_index = {index}" for index in range(16, 20)]
    gone = (f"DELETE FROM audit_log WHERE id = {entry}", f"DELETE FROM audit_leaf WHERE entry_id = {entry}")
    attack(database_url, *gone, *shift)
    told = list_findings(app, "kind", "index")
    assert ("removed", 15) in told
    assert [index for kind, index in told if kind == "moved"] == [15, 16, 17, 18, 19]


def test_an_inserted_entry(app: Flask, database_url: str) -> None:
    """An entry among those that were sealed is named."""
    make_log(app, 20)
    entry = find_entry(database_url, 7)
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
    assert list_findings(app, "kind", "entry", "event_id") == [("inserted", -5, "forged")]


def test_a_moved_entry(app: Flask, database_url: str) -> None:
    """Entries that changed places are both named."""
    make_log(app, 20)
    first, second = find_entry(database_url, 3), find_entry(database_url, 8)
    change = [
        f"UPDATE audit_leaf SET entry_id = -1 WHERE leaf_index = {3}",
        f"UPDATE audit_leaf SET entry_id = {first} WHERE leaf_index = {8}",
        f"UPDATE audit_leaf SET entry_id = {second} WHERE leaf_index = {3}",
    ]
    attack(database_url, *change)
    assert list_findings(app, "kind", "entry", "index") == [("moved", second, 3), ("moved", first, 8)]


def test_a_lost_place(app: Flask, database_url: str) -> None:
    """A sealed entry whose place was taken away is not one that waits."""
    make_log(app, 20)
    entry = find_entry(database_url, 19)
    attack(database_url, "DELETE FROM audit_leaf WHERE leaf_index = 19")
    report = verify_log(app)
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
    make_log(app, 10)
    tile = behind(database_url, "SELECT hashes FROM audit_tile")[0]["hashes"]
    make_log(app, 10)
    attack(database_url, *CUT, f"UPDATE audit_tile SET hashes = {format_bytes(database_url, tile)}")
    (finding,) = verify_log(app)["findings"]
    assert finding["kind"] == "cut off"
    assert finding["message"] == "the log is cut off: the head kept outside has 20 entries, the log 10"


def test_an_entry_moved_out_of_the_tree(app: Flask, database_url: str) -> None:
    """Its place is told; one that never had a place there is told as inserted."""
    make_log(app, 20)
    moved, inserted = find_entry(database_url, 7), 10_000
    attack(
        database_url,
        f"UPDATE audit_leaf SET leaf_index = 30000 WHERE entry_id = {moved}",
        f"INSERT INTO audit_leaf (leaf_index, entry_id) VALUES (40000, {inserted})",
    )
    assert list_findings(app, "kind", "entry", "index") == [("inserted", inserted, None), ("moved", moved, 7)]


def test_findings_are_bounded(app: Flask, database_url: str) -> None:
    """The first hundred are described and the others counted."""
    make_log(app, 150)
    attack(database_url, "UPDATE audit_log SET actor = 'somebody'")
    report = verify_log(app)
    assert len(report["findings"]) == 100
    assert report["found"] == 150
    seal(app)
