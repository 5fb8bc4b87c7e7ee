"""The work of queries: how much of its tables a database really read for each statement that the program sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from flask import Flask
from sqlalchemy import Engine, event

from yoq_web import db

STEPS = 100
"""SQLite is asked each time after so many steps of its machine."""


@dataclass
class Work:
    """A statement, how many rows (PostgreSQL) or steps of its machine (SQLite) it took, and which tables it scanned."""

    statement: str
    amount: int = 0
    scanned: set[str] = field(default_factory=set)
    plan: str = ""


@contextmanager
def hearing(app: Flask) -> Iterator[list[Work]]:
    """The work of all statements that reach the driver meanwhile. Those that read are run once more for PostgreSQL."""
    with app.app_context():
        engine = db.engine
    heard: list[Work] = []
    with (_on_sqlite if engine.dialect.name == "sqlite" else _on_postgresql)(engine, heard):
        yield heard


@contextmanager
def _listening(engine: Engine, checkout: Any, checkin: Any) -> Iterator[None]:
    event.listen(engine, "checkout", checkout)
    event.listen(engine, "checkin", checkin)
    try:
        yield
    finally:
        event.remove(engine, "checkout", checkout)
        event.remove(engine, "checkin", checkin)


@contextmanager
def _on_sqlite(engine: Engine, heard: list[Work]) -> Iterator[None]:
    def note(statement: str) -> None:
        heard.append(Work(statement))

    def count() -> None:
        if heard:
            heard[-1].amount += STEPS

    def begin(connection: Any, *_: Any) -> None:
        connection.set_trace_callback(note)
        connection.set_progress_handler(count, STEPS)

    def end(connection: Any, *_: Any) -> None:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 0)

    with _listening(engine, begin, end):
        yield


@contextmanager
def _on_postgresql(engine: Engine, heard: list[Work]) -> Iterator[None]:
    class ExplainingCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            text = query if isinstance(query, str) else query.decode()
            kind = text.split(maxsplit=1)[0].upper()
            if kind in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
                heard.append(_explain(self.connection, text, params, run=kind == "SELECT"))
            return super().execute(query, params, **options)

    def begin(connection: Any, *_: Any) -> None:
        connection.cursor_factory = ExplainingCursor

    def end(connection: Any, *_: Any) -> None:
        connection.cursor_factory = psycopg.Cursor

    with _listening(engine, begin, end):
        yield


def _explain(connection: psycopg.Connection[Any], statement: str, values: Any, *, run: bool) -> Work:
    how = "ANALYZE, TIMING OFF, BUFFERS OFF, " if run else ""
    [(found,)] = psycopg.Cursor(connection).execute(f"EXPLAIN ({how}FORMAT JSON) {statement}".encode(), values)
    work = Work(statement, plan=json.dumps(found[0]["Plan"], indent=1))
    _add_node(found[0]["Plan"], work)
    return work


def _add_node(node: dict[str, Any], work: Work) -> None:
    if "Relation Name" in node and node["Node Type"] == "Seq Scan":
        work.scanned.add(node["Relation Name"])
    if "Scan" in node["Node Type"] and "Actual Rows" in node:
        removed = sum(number for name, number in node.items() if name.startswith("Rows Removed by"))
        work.amount += int((node["Actual Rows"] + removed) * node["Actual Loops"])
    for child in node.get("Plans", ()):
        _add_node(child, work)
