"""The database itself refuses to change or remove a row of the log, whoever asks: in every table and every column."""

from __future__ import annotations

import time

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.audit_tables import COLUMNS, TABLES, make_full_log, read_all
from tests.support.door import behind, entries
from tests.support.tampering import add_entries, attack, format_bytes, make_log, verify_log
from yoq_web.database.session import unit_of_work


def test_no_column_of_any_table_can_be_updated(app: Flask, database_url: str) -> None:
    """Not one column of one row, not even to what it is, whatever SQLite calls it."""
    make_full_log(app)
    before = read_all(database_url)
    assert all(before.values()), "a table is empty: nothing of it is tried"
    columns = [*COLUMNS, *((name, "rowid") for name in TABLES if database_url.startswith("sqlite"))]
    changeable = []
    for table, column in columns:
        try:
            behind(database_url, f"UPDATE {table} SET {column} = {column}")
        except DBAPIError as refused:
            if f"{table} is append-only" not in str(refused):
                raise
        else:
            changeable.append((table, column))
    # A tile grows: setting it to what it is changes nothing.
    assert {table for table, _ in changeable} <= {"audit_tile"}, changeable
    assert read_all(database_url) == before


@pytest.mark.parametrize("where", ["", " WHERE {key} = (SELECT max({key}) FROM {table})"])
def test_no_row_of_any_table_can_be_deleted(app: Flask, database_url: str, where: str) -> None:
    """Neither all nor one, sealed or not."""
    make_full_log(app)
    add_entries(app, 1)
    before = read_all(database_url)
    for table, columns in TABLES.items():
        with pytest.raises(DBAPIError, match=f"{table} is append-only"):
            behind(database_url, f"DELETE FROM {table}{where.format(key=columns[0], table=table)}")
    assert read_all(database_url) == before


@pytest.mark.parametrize("backend", ["postgresql"])
def test_no_table_can_be_emptied(app: Flask, database_url: str) -> None:
    """PostgreSQL's TRUNCATE is refused, too."""
    make_full_log(app)
    before = read_all(database_url)
    for table in TABLES:
        with pytest.raises(DBAPIError, match=f"{table} is append-only"):
            behind(database_url, f"TRUNCATE {table}")
    assert read_all(database_url) == before


def test_a_tile_only_grows(app: Flask, database_url: str) -> None:
    """Neither are hashes changed that it has, nor is it shortened, or put elsewhere."""
    make_log(app, 5)
    hashes = bytes(behind(database_url, "SELECT hashes FROM audit_tile")[0]["hashes"])
    for changed in (b"x" + hashes[1:], hashes[:32], b""):
        with pytest.raises(DBAPIError, match="audit_tile is append-only"):
            behind(database_url, f"UPDATE audit_tile SET hashes = {format_bytes(database_url, changed)}")
    for column in ("level", "number"):
        with pytest.raises(DBAPIError, match="audit_tile is append-only"):
            behind(database_url, f"UPDATE audit_tile SET {column} = {column} + 1")
    make_log(app, 300)
    assert verify_log(app)["ok"]


def test_a_checkpoint_is_only_signed(app: Flask, database_url: str) -> None:
    """A row that waits for its signature gets that and nothing else, once; and none is added but the next one."""
    make_log(app, 5)
    note = behind(database_url, "SELECT note FROM audit_checkpoint")[0]["note"]
    attack(database_url, "UPDATE audit_checkpoint SET note = NULL")
    columns = "size, root, note, last_entry, horizon, sealed_at"
    refused = [
        *(f"UPDATE audit_checkpoint SET note = 'x', {name} = {name} + 1" for name in columns.split(", ")[3:]),
        "UPDATE audit_checkpoint SET note = 'x', size = 6",
        f"UPDATE audit_checkpoint SET note = 'x', root = {format_bytes(database_url, b'x' * 32)}",
        *(
            f"INSERT INTO audit_checkpoint ({columns}) SELECT {size}, root, {signed}, 1, 1, 1 FROM audit_checkpoint"
            for size in (4, 6, 4000)
            for signed in ("NULL", "'x'")
        ),
    ]
    for statement in refused:
        with pytest.raises(DBAPIError, match="audit_checkpoint is append-only"):
            behind(database_url, statement)
    behind(database_url, f"UPDATE audit_checkpoint SET note = '{note}'")
    make_log(app, 3)
    assert verify_log(app)["ok"]


def test_no_bundle_is_marked_as_pruned_that_is_not_the_next(app: Flask, database_url: str) -> None:
    """Whoever marks one that stands keeps its entries from going, and a late record from being stored."""
    make_full_log(app)
    for number in (0, 1, 2, 10**9):
        row = f"({number}, 0, {time.time_ns()}, {format_bytes(database_url, bytes(2048))})"
        with pytest.raises(DBAPIError):
            behind(database_url, f"INSERT INTO audit_pruned (number, first_time, last_time, events) VALUES {row}")


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("key", ["id, ", ""], ids=["by id", "by event"])
def test_no_entry_can_be_replaced(app: Flask, database_url: str, key: str) -> None:
    """Through a connection of ours, a plugin's say, SQLite's REPLACE is refused like what it does: a deletion."""
    make_log(app, 3)
    before = entries(database_url)
    others = ", ".join(name for name in TABLES["audit_log"] if name not in ("id", "actor"))
    replacing = f"INSERT OR REPLACE INTO audit_log ({key}actor, {others}) SELECT {key}'x', {others} FROM audit_log"
    with app.app_context(), unit_of_work() as session, pytest.raises(DBAPIError, match="audit_log is append-only"):
        session.execute(text(replacing))
    assert entries(database_url) == before
