"""The database itself refuses to change or remove an entry, whoever asks."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.door import behind, entries
from tests.support.tampering import RECORDED, make_log
from yoq_web.database.session import unit_of_work


@pytest.mark.parametrize("column", RECORDED)
def test_no_column_can_be_updated(app: Flask, database_url: str, column: str) -> None:
    """Not one recorded column of one entry, not even to what it is."""
    make_log(app, 3)
    before = entries(database_url)
    with pytest.raises(DBAPIError, match="audit_log is append-only"):
        behind(database_url, f"UPDATE audit_log SET {column} = {column}")
    assert entries(database_url) == before


@pytest.mark.parametrize("where", ["", " WHERE id = (SELECT max(id) FROM audit_log)"])
def test_no_entry_can_be_deleted(app: Flask, database_url: str, where: str) -> None:
    """Neither all nor one, sealed or not."""
    make_log(app, 3)
    before = entries(database_url)
    with pytest.raises(DBAPIError, match="audit_log is append-only"):
        behind(database_url, f"DELETE FROM audit_log{where}")
    assert entries(database_url) == before


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("key", ["id, ", ""], ids=["by id", "by event"])
def test_no_entry_can_be_replaced(app: Flask, database_url: str, key: str) -> None:
    """Through a connection of ours, a plugin's say, SQLite's REPLACE is refused like what it does: a deletion."""
    make_log(app, 3)
    before = entries(database_url)
    others = ", ".join(name for name in RECORDED if name not in ("id", "actor"))
    replacing = f"INSERT OR REPLACE INTO audit_log ({key}actor, {others}) SELECT {key}'x', {others} FROM audit_log"
    with app.app_context(), unit_of_work() as session, pytest.raises(DBAPIError, match="audit_log is append-only"):
        session.execute(text(replacing))
    assert entries(database_url) == before


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_table_cannot_be_emptied(app: Flask, database_url: str) -> None:
    """PostgreSQL's TRUNCATE is refused, too."""
    make_log(app, 3)
    with pytest.raises(DBAPIError, match="audit_log is append-only"):
        behind(database_url, "TRUNCATE audit_log")
    assert len(entries(database_url)) == 3


def test_every_column_is_named_here(app: Flask, database_url: str) -> None:
    """A column that is added to an entry must be protected like the others."""
    make_log(app, 1)
    assert set(entries(database_url)[0]) == set(RECORDED)
