"""The migration that lets an event have an intent and an outcome: rows, triggers and indexes stay, with data."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic import command as alembic
from alembic.util import CommandError
from flask import Flask
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_failure_policy import SET
from tests.support.commandline import output
from tests.support.depot import Depot
from tests.support.door import behind, entries
from yoq_web import create_app, db
from yoq_web.database.migrations import find_lineage, make_configuration

BEFORE, AFTER = "audit005", "head"


def to(app: Flask, revision: str) -> None:
    """Bring the audit log to a revision."""
    with app.app_context():
        move = alembic.downgrade if revision == BEFORE else alembic.upgrade
        move(make_configuration(find_lineage("audit")), revision)
        db.engine.dispose()


@pytest.fixture
def older(make_app: MakeApp) -> Flask:
    """An application whose audit log has twenty entries, all sealed."""
    app = make_app(Depot())
    for number in range(20):
        assert Api(app)("POST", "/v1/secrets", json=SET | {"name": f"n{number}"}).status_code == 200
    assert Api(app)("GET", "/v1/audit/log/checkpoint").status_code == 200
    return app


def definitions(url: str) -> dict[str, str]:
    """The indexes and triggers of the table, by name, as the database has them."""
    if url.startswith("sqlite"):
        query = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'audit_log' AND type <> 'table'"
    else:
        query = (
            "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE tablename = 'audit_log' UNION ALL "
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'audit_log'::regclass"
        )
    return {
        row["name"]: row["sql"] for row in behind(url, query) if row["sql"] and "audit_log_event_id" not in row["name"]
    }


def test_down_and_up_with_data(older: Flask, database_url: str) -> None:
    """Every row, its nonce and its number stay, so does what keeps them from being changed, and the log verifies."""
    rows = entries(database_url)
    new = {f"ix_audit_log_{name}" for name in ("settled", "started", "actor_kind", "peer")}
    after = definitions(database_url)
    assert new <= set(after)
    to(older, BEFORE)
    before = definitions(database_url)
    # A later revision has the one trigger asked at every update.
    moment = {"audit_log_no_update"}
    assert {name: before[name] for name in before.keys() - moment} == {
        name: sql for name, sql in after.items() if name not in new | moment
    }
    assert entries(database_url) == rows
    with pytest.raises(IntegrityError):
        behind(database_url, copied("started"))
    to(older, AFTER)
    assert definitions(database_url) == after
    assert entries(database_url) == rows
    with pytest.raises(IntegrityError):
        behind(database_url, copied("failed"))
    with pytest.raises(DBAPIError, match="append-only"):
        behind(database_url, "UPDATE audit_log SET actor = 'x'")
    with pytest.raises(DBAPIError, match="append-only"):
        behind(database_url, "DELETE FROM audit_log")
    assert output(older, "audit", "verify").startswith("the log holds; 20 entries, 20 sealed")
    assert Api(older)("POST", "/v1/depot/north").status_code == 200
    with pytest.raises(CommandError, match="has two entries"):
        to(older, BEFORE)
    assert len(entries(database_url)) == 22


def copied(outcome: str) -> str:
    """A statement that stores a second entry for the first event."""
    columns = "recorded_at, time, actor, actor_kind, action, target, node, details, version"
    return (
        f"INSERT INTO audit_log (event_id, outcome, {columns}) "
        f"SELECT event_id, '{outcome}', {columns} FROM audit_log WHERE id = 1"
    )


def test_the_printed_migration_makes_the_same(tmp_path: Path) -> None:
    """What `db upgrade --sql` prints for SQLite makes the same table, indexes and triggers as the upgrade itself."""

    def made(folder: Path) -> tuple[Flask, Path]:
        folder.mkdir()
        return create_app({"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": ADMIN}), folder / "yoq.db"

    def found(path: Path) -> set[tuple[Any, ...]]:
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'audit_log'").fetchall()
        connection.close()
        return {(kind, name, " ".join((sql or "").split())) for kind, name, sql in rows}

    app, upgraded = made(tmp_path / "upgraded")
    output(app, "db", "upgrade")
    printing, printed = made(tmp_path / "printed")
    script = printing.test_cli_runner().invoke(args=["db", "upgrade", "--sql"])
    assert script.exit_code == 0
    connection = sqlite3.connect(printed)
    connection.executescript(script.stdout)
    connection.close()
    assert found(printed) == found(upgraded)
