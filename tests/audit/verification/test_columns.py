"""Every column of every table of the log has something that covers it, which the docs say and which is tried here."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.audit_tables import COLUMNS, TABLES, make_full_log
from tests.support.door import behind
from tests.support.log_keys import read_health
from tests.support.pages import page
from tests.support.tampering import add_entries, attack, format_bytes, verify_log

ROWS = {
    "audit_log": "id = (SELECT entry_id FROM audit_leaf WHERE leaf_index = 280)",
    "audit_leaf": "leaf_index = 280",
    "audit_tile": "level = 0 AND number = 1",
    "audit_checkpoint": "size = (SELECT min(size) FROM audit_checkpoint)",
    "audit_key": "announcement IS NOT NULL",
    "audit_minimum": "minimum = 256",
    "audit_erased": "leaf_index = 300",
    "audit_pruned": "number = 0",
}
"""A row of each table that is changed."""

CHANGES = {
    ("audit_log", "id"): "UPDATE audit_leaf SET entry_id = entry_id + 100000 WHERE leaf_index = 280",
    ("audit_pruned", "first_time"): "UPDATE audit_pruned SET first_time = last_time + 1 WHERE number = 0",
    ("audit_pruned", "last_time"): "UPDATE audit_pruned SET last_time = (SELECT max(cutoff) FROM audit_minimum)",
    ("audit_pruned", "events"): "UPDATE audit_pruned SET events = substr(events, 1, 8)",
}
"""What is changed beyond, or in place of, the one value."""


def list_covers() -> dict[tuple[str, str], str]:
    """What the docs say that covers each column, by table and column."""
    rows = [line.split("|") for line in page("audit/columns.md").splitlines() if line.startswith("| `")]
    names = [(row[1].strip(" `").partition("."), row[2].strip()) for row in rows]
    return {(table, column): cover for (table, _, column), cover in names}


def test_the_docs_name_every_column() -> None:
    """A column that is added gets a row that says what covers it, and nothing else has one."""
    covers = list_covers()
    assert set(covers) == set(COLUMNS)
    assert set(covers.values()) == {"signed", "derived", "bounded", "hint"}


def make_change(url: str, table: str, column: str) -> list[str]:
    """Statements that put something else into the column of one row."""
    special = CHANGES.get((table, column))
    if special and table == "audit_pruned":
        return [special]
    row = behind(url, f"SELECT {column} AS it FROM {table} WHERE {ROWS[table]}")[0]
    value = row["it"]
    if isinstance(value, int):
        other = f"{column} + 100000"
    elif isinstance(value, bytes | memoryview):
        other = format_bytes(url, bytes([bytes(value)[0] ^ 1]) + bytes(value)[1:])
    else:
        other = "'somebody'"
    change = f"UPDATE {table} SET {column} = {other} WHERE {ROWS[table]}"
    return [change, *([special] if special else [])]


def test_a_change_of_any_column_is_told(app: Flask, database_url: str) -> None:
    """Verify names what was changed; a hint it does not name, and then everything goes on as before."""
    make_full_log(app)
    assert verify_log(app)["findings"] == []
    behind(database_url, *(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}" for table in TABLES))
    quiet = set()
    for table, column in COLUMNS:
        attack(database_url, *make_change(database_url, table, column))
        if verify_log(app)["ok"]:
            quiet.add((table, column))
        for name in (table, "audit_leaf"):
            attack(database_url, f"DELETE FROM {name}", f"INSERT INTO {name} SELECT * FROM kept_{name}")
    assert verify_log(app)["findings"] == []
    assert quiet == {name for name, cover in list_covers().items() if cover == "hint"}


@pytest.mark.parametrize("value", [0, 2**62])
def test_hints_do_nothing(app: Flask, database_url: str, value: int) -> None:
    """Whatever they say, new entries are sealed, and the log holds."""
    make_full_log(app)
    attack(
        database_url,
        f"UPDATE audit_checkpoint SET horizon = {value}, sealed_at = {value}",
        f"UPDATE audit_key SET added_at = {value}",
    )
    before = verify_log(app)
    add_entries(app, 3)
    assert read_health(app) is None
    after = verify_log(app)
    assert (before["ok"], after["ok"], after["size"] - before["size"]) == (True, True, 3)


def test_more_that_is_told_of_retention(app: Flask, database_url: str) -> None:
    """Marks that are missing, too many, or of what stands, and an erased place that nothing marks."""
    make_full_log(app)
    behind(database_url, *(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}" for name in TABLES))
    row = "first_time, last_time, events FROM audit_pruned WHERE number = 0"
    for table, change in (
        ("audit_pruned", "DELETE FROM audit_pruned"),
        ("audit_pruned", f"INSERT INTO audit_pruned (number, first_time, last_time, events) SELECT 1, {row}"),
        ("audit_pruned", f"INSERT INTO audit_pruned (number, first_time, last_time, events) SELECT 9, {row}"),
        ("audit_erased", "DELETE FROM audit_erased"),
        ("audit_erased", "INSERT INTO audit_erased (leaf_index, event_id, announced_by) VALUES (3, 'x', 'y')"),
    ):
        attack(database_url, change)
        assert [finding["kind"] for finding in verify_log(app)["findings"]] == ["retention"], change
        attack(database_url, f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM kept_{table}")
    assert verify_log(app)["ok"]
