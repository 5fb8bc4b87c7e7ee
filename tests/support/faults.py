"""Faults of a test's making, at a numbered statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import Connection, event

from yoq_web import db


class Injected(Exception):
    """A fault of the test's making."""


@contextmanager
def failing_at(app: Flask, number: int) -> Iterator[list[int]]:
    """Make the numbered statement of the block fail; yields how many were executed."""
    executed: list[int] = []

    def count(_c: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        executed.append(len(executed))
        if len(executed) == number:
            raise Injected(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", count)
