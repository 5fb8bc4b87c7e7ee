"""A fault at each statement of the door: the trail is true whatever fails, and what was answered is so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Engine, event

from tests.conftest import Api
from tests.support.door import behind
from yoq_audit.sealing import sealer
from yoq_web import db
from yoq_web.operations.replay import replay


class Fault:
    """Fails the numbered statement that reaches the driver while it is armed."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.heard = 0

    def arm(self, number: int | None) -> None:
        """Count anew, up to the statement that is to fail."""
        self.number, self.heard = number, 0

    def pass_by(self, error: type[Exception]) -> None:
        """Called before each statement."""
        if self.number is None:
            return
        self.heard += 1
        if self.heard == self.number:
            raise error("injected")


@contextmanager
def faulty(engine: Engine) -> Iterator[Fault]:
    """Connections whose statements and commits can be made to fail."""
    fault = Fault()

    class SqliteCursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Any:
            fault.pass_by(sqlite3.OperationalError)
            return super().execute(*arguments)

    class SqliteConnection(sqlite3.Connection):
        def cursor(self, _factory: Any = None) -> Any:
            return super().cursor(SqliteCursor)

        def commit(self) -> None:
            fault.pass_by(sqlite3.OperationalError)
            super().commit()

    class PostgresCursor(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Any:
            fault.pass_by(psycopg.OperationalError)
            return super().execute(*arguments, **options)

    def connect(_dialect: object, _record: object, _arguments: object, named: dict[str, Any]) -> None:
        if engine.dialect.name == "sqlite":
            named["factory"] = SqliteConnection
        else:
            named["cursor_factory"] = PostgresCursor

    def commit(_connection: object) -> None:
        if engine.dialect.name == "postgresql":
            fault.pass_by(psycopg.OperationalError)

    engine.dispose()
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "commit", commit)
    try:
        yield fault
    finally:
        event.remove(engine, "do_connect", connect)
        event.remove(engine, "commit", commit)
        engine.dispose()


def test_the_trail_is_true_whatever_statement_fails(app: Flask, api: Api, database_url: str) -> None:
    """An operation is done and recorded `ok`, or undone and recorded `failed`; once, and as it was answered."""
    answers: dict[str, int] = {}
    with app.app_context():
        engine = db.engine
    with faulty(engine) as fault:
        for number in range(1, 60):
            fault.arm(number)
            body = {"source": "a", "target": str(number), "action": "deny"}
            answers[str(number)] = api("POST", "/v1/policies", json=body).status_code
            reached = fault.heard >= number
            fault.arm(None)
            with app.app_context():
                replay()
            if not reached:
                break
        else:
            pytest.fail("the operation never ended")
    assert number > 5  # BEGIN, the change, SAVEPOINT, the entry, RELEASE, COMMIT
    done = {row["target"] for row in behind(database_url, "SELECT target FROM policies")}
    assert done == {target for target, status in answers.items() if status == 200}
    entries = behind(database_url, "SELECT target, outcome FROM audit_log ORDER BY id")
    assert len(entries) == len(answers)
    assert {entry["target"].partition("->")[2] for entry in entries if entry["outcome"] == "ok"} == done
    assert {entry["outcome"] for entry in entries} == {"ok", "failed"}
    with app.app_context():
        assert sealer.seal() == len(entries)
    verified = app.test_cli_runner().invoke(args=["audit", "verify"])
    assert verified.exit_code == 0, verified.output
