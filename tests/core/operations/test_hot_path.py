"""The price of a record: which statements an audited write costs, and that the trail builds no ORM objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Engine, event

from tests.conftest import Api
from yoq_audit.storage.models import Entry
from yoq_web import db

SET = {"name": "db", "value": "hunter2"}


@contextmanager
def listening(target: Any, name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Hear an event of SQLAlchemy for a while."""
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """All that reaches the driver meanwhile, SQLAlchemy's statements and others, inserts cut to their table."""
    heard: list[str] = []
    with app.app_context():
        engine = db.engine
    hear = _on_sqlite if engine.dialect.name == "sqlite" else _on_postgresql
    with hear(engine, lambda statement: heard.append(_short(statement))):
        yield heard


@contextmanager
def _on_sqlite(engine: Engine, note: Callable[[str], None]) -> Iterator[None]:
    with (
        listening(engine, "checkout", lambda connection, *_: connection.set_trace_callback(note)),
        listening(engine, "checkin", lambda connection, *_: connection.set_trace_callback(None)),
    ):
        yield


@contextmanager
def _on_postgresql(engine: Engine, note: Callable[[str], None]) -> Iterator[None]:
    class ListeningCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            note(str(query))
            return super().execute(query, *arguments, **options)

    with (
        listening(engine, "checkout", lambda connection, *_: setattr(connection, "cursor_factory", ListeningCursor)),
        listening(engine, "checkin", lambda connection, *_: setattr(connection, "cursor_factory", psycopg.Cursor)),
        # The driver begins and commits without a cursor.
        listening(engine, "begin", lambda _connection: note("BEGIN")),
        listening(engine, "commit", lambda _connection: note("COMMIT")),
    ):
        yield


def _short(statement: str) -> str:
    """A statement; of an insert its beginning, like `INSERT INTO audit_log`."""
    return " ".join(re.findall(r"\w+", statement)[:3]) if statement.startswith("INSERT") else statement


@pytest.mark.parametrize(
    ("backend", "begin"), [("sqlite", "BEGIN IMMEDIATE"), ("postgresql", "BEGIN")], indirect=["backend"]
)
def test_setting_a_secret_is_one_short_transaction(app: Flask, api: Api, begin: str) -> None:
    """Over HTTP with the admin token: the upsert, the entry in its savepoint, one commit, and nothing else."""
    api("POST", "/v1/secrets", json=SET)  # the process's first one looks for the key, too
    with statements(app) as heard:
        assert api("POST", "/v1/secrets", json=SET).status_code == 200
    assert heard == [
        begin,
        "INSERT INTO secrets",
        "SAVEPOINT yoq_record",
        "INSERT INTO audit_log",
        "RELEASE SAVEPOINT yoq_record",
        "COMMIT",
    ]


def test_a_named_token_costs_one_more_statement(app: Flask, api: Api) -> None:
    """A named token is looked up once a request, before the transaction that writes, and nothing else is asked."""
    writer = api.token("secrets:write")
    writer("POST", "/v1/secrets", json=SET)
    with statements(app) as heard:
        assert writer("POST", "/v1/secrets", json=SET).status_code == 200
    assert len([statement for statement in heard if statement.startswith("SELECT")]) == 1
    assert heard.count("COMMIT") == 1
    assert len([statement for statement in heard if statement.startswith("INSERT")]) == 2


def test_a_denial_costs_its_entry_and_no_more(app: Flask, api: Api) -> None:
    """Refusing a token without the scope is one short transaction as well."""
    reader = api.token("secrets:read")
    with statements(app) as heard:
        assert reader("POST", "/v1/secrets", json=SET).status_code == 403
    writes = [statement for statement in heard if not statement.startswith(("SELECT", "BEGIN", "ROLLBACK"))]
    assert writes == ["SAVEPOINT yoq_record", "INSERT INTO audit_log", "RELEASE SAVEPOINT yoq_record", "COMMIT"]


def test_no_orm_object_is_built_for_the_trail(app: Flask, api: Api) -> None:
    """Neither storing an entry nor reading fifty of them builds an object of the model."""
    built: list[object] = []

    def note(instance: object, *_: object) -> None:
        built.append(instance)

    with listening(Entry, "load", note), listening(Entry, "init", note):
        for number in range(60):
            assert api("POST", "/v1/secrets", json=SET | {"name": f"n{number}"}).status_code == 200
        assert len(api.entries(50)) == 50
        assert not built
        with app.app_context():  # the listeners do hear
            Entry()
            db.session.get(Entry, api.entries(1)[0]["id"])
        assert len(built) == 2


def test_reading_the_newest_entries_is_one_statement(app: Flask, api: Api) -> None:
    """However many entries are asked for, the trail is read in one statement, in a transaction that writes nothing."""
    for number in range(20):
        api("POST", "/v1/secrets", json=SET | {"name": f"n{number}"})
    with statements(app) as heard:
        assert len(api.entries(20)) == 20
    said = [statement for statement in heard if statement != "ROLLBACK" and not statement.startswith("SET TRANSACTION")]
    assert [statement.split()[0] for statement in said] == ["BEGIN", "SELECT"]
