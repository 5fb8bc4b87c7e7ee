"""What the tests of the door share: a plugin with an operation, an actor, and a look behind the application's back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Blueprint, Flask
from sqlalchemy import PoolProxiedConnection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from yoq_web import Actor, Contribution, Event, Operation, Status, Veto, db, endpoint, hookimpl
from yoq_web.actors import set_actor

probe_act = Operation("probe_act", "Act on a probe", "probe:write", details=("note", "many"))
probe_other = Operation("probe_other", "Act on another probe", "probe:other")


class Probe:
    """A plugin whose operations the tests perform. It keeps the events it is told of; `veto` refuses them."""

    name = "probe"

    def __init__(self, veto: Exception | None = None) -> None:
        self.veto = veto
        self.asked: list[Event] = []
        self.committed: list[Event] = []
        self.failed: list[Event] = []

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Bring the operations and routes that break the door's rules, and one that keeps them."""
        return Contribution(operations=(probe_act, probe_other), blueprints=(_blueprint(),))

    @hookimpl
    def yoq_before_operation(self, event: Event) -> None:
        """Keep the event; refuse it if told to."""
        self.asked.append(event)
        if self.veto:
            raise self.veto

    @hookimpl
    def yoq_operation_committed(self, event: Event) -> None:
        """Keep the event."""
        self.committed.append(event)

    @hookimpl
    def yoq_operation_failed(self, event: Event) -> None:
        """Keep the event."""
        self.failed.append(event)


VETO = Veto("not on a Friday")


def _blueprint() -> Blueprint:
    blueprint = Blueprint("probe", __name__)

    @blueprint.post("/v1/probe/kept")
    @endpoint(probe_act)
    def kept() -> Status:
        """Perform the operation."""
        with probe_act.performed("kept"):
            return Status(status="ok")

    @blueprint.post("/v1/probe/idle")
    @endpoint(probe_act)
    def idle() -> Status:
        """Answer without having done anything."""
        return Status(status="ok")

    @blueprint.get("/v1/probe/idle")
    @endpoint(probe_act)
    def idle_reading() -> Status:
        """Answer without having performed the operation that is declared."""
        return Status(status="ok")

    @blueprint.post("/v1/probe/failing")
    @endpoint(probe_act)
    def failing() -> Status:
        """Fail inside the operation, with a message that nobody may see."""
        with probe_act.performed("failing"):
            raise ValueError("hunter2")

    @blueprint.post("/v1/probe/beat")
    @endpoint(scope="probe:write", unaudited="a heartbeat is not sensitive")
    def beat() -> Status:
        """Change nothing that matters."""
        return Status(status="ok")

    return blueprint


@contextmanager
def acting(app: Flask, *scopes: str) -> Iterator[None]:
    """An app context in which the token `tester` acts with these scopes, any if none is named."""
    with app.app_context():
        set_actor(Actor("token", "tester", scopes or ("*",)))
        try:
            yield
        finally:
            db.session.remove()


def behind(url: str, *statements: str) -> list[dict[str, Any]]:
    """Run statements on the database behind the application's back; returns the rows of the last one."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        rows: list[dict[str, Any]] = []
        for statement in statements:
            result = connection.execute(text(statement))
            rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
    engine.dispose()
    return rows


def entries(url: str) -> list[dict[str, Any]]:
    """The stored trail, the oldest entry first."""
    return behind(url, "SELECT * FROM audit_log ORDER BY id")


def policies(url: str) -> list[str]:
    """The sources of the stored policies, which the tests of the door use as something to change."""
    return [row["source"] for row in behind(url, "SELECT source FROM policies ORDER BY id")]


def lose_the_next_answer(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next commit done, and its answer lost."""
    with app.app_context():
        dialect = db.engine.dialect
    commit = dialect.do_commit

    def commit_and_break(connection: PoolProxiedConnection) -> None:
        commit(connection)
        monkeypatch.undo()
        raise OperationalError("COMMIT", {}, Exception("connection lost"))

    monkeypatch.setattr(dialect, "do_commit", commit_and_break)
