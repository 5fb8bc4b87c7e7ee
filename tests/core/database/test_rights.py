"""What connections refuse to code that goes round the unit of work by mistake, with the driver's own means."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import insert, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.door import Probe, acting, behind, entries, policies, probe_act
from tests.support.plugins import Made
from yoq_web import Denied, Event, db
from yoq_web.policies.models import Policy

SQLITE = pytest.mark.parametrize("backend", ["sqlite"])

ROW: dict[str, Any] = {"source": "a", "target": "b", "action": "allow", "created_at": 1}
INSERT = "INSERT INTO policies (source, target, action, created_at) VALUES ('a', 'b', 'allow', 1)"

ENDINGS: dict[str, Callable[[Any], object]] = {
    "commit": lambda driver: driver.commit(),
    "rollback": lambda driver: driver.rollback(),
    "COMMIT": lambda driver: driver.execute("COMMIT"),
    "END TRANSACTION": lambda driver: driver.execute("END TRANSACTION"),
    "ROLLBACK": lambda driver: driver.execute("ROLLBACK"),
    "a script": lambda driver: driver.executescript("COMMIT; BEGIN"),
}
"""Ways to end a transaction behind SQLAlchemy's back."""


def end(session: Session, how: str) -> None:
    """Change something, and end the transaction."""
    session.execute(insert(Policy).values(ROW))
    ENDINGS[how](session.connection().connection.dbapi_connection)


@SQLITE
@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("where", ["body", "veto", "recorder"])
def test_nobody_ends_an_operations_transaction(make_app: MakeApp, database_url: str, where: str, how: str) -> None:
    """Neither what runs in it nor a plugin that is asked or told there: nothing of the change is stored without it."""
    done: list[str] = []

    def once(session: Session) -> None:
        if not done:
            done.append(where)
            end(session, how)

    def before(event: Event, session: Session) -> None:
        once(session)

    def record(event: Event, session: Session) -> None:
        once(session)

    hooks = {"veto": {"yoq_before_operation": before}, "recorder": {"yoq_record_operation": record}}
    app = make_app(Probe(), Made("hasty", **hooks.get(where, {"yoq_health": lambda: None})))
    with acting(app):
        with suppress(Exception), probe_act.performed("first") as session:
            if where == "body":
                once(session)
        with probe_act.performed("second") as session:
            session.execute(insert(Policy).values(ROW | {"source": "second"}))
    assert done == [where]
    assert policies(database_url) == ["second"]
    outcomes = {"body": "failed", "veto": "denied", "recorder": "ok"}
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("first", outcomes[where]), ("second", "ok")]


OUTSIDE: dict[str, tuple[str, ...]] = {
    "by itself": (INSERT,),
    "in a transaction": ("BEGIN", INSERT, "COMMIT"),
    "in a savepoint": ("SAVEPOINT mine", INSERT, "RELEASE mine"),
    "an update": ("UPDATE secrets SET name = 'x'",),
    "a deletion": ("DELETE FROM secrets",),
    "a table": ("CREATE TABLE mine (id INTEGER)",),
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_the_driver_changes_nothing_outside(make_app: MakeApp, database_url: str, how: str) -> None:
    """Outside of an operation the driver's connection changes nothing: neither a new one nor one that wrote before."""
    app = make_app()
    assert Api(app)("POST", "/v1/secrets", json={"name": "n", "value": "v"}).status_code == 200
    for fresh in (False, True):
        with app.app_context():
            if fresh:
                db.engine.dispose()
            with closing(db.engine.raw_connection()) as connection:
                driver: Any = connection.dbapi_connection
                with pytest.raises((sqlite3.DatabaseError, ReadOnlySqlTransaction), match=r"not authorized|read-only"):
                    list(map(driver.execute, OUTSIDE[how]))
                with suppress(sqlite3.DatabaseError):
                    driver.commit()
    with pytest.raises(DatabaseError):
        behind(database_url, "SELECT * FROM mine")
    assert policies(database_url) == []
    assert Api(app)("GET", "/v1/secrets").json == ["n"]
    assert Api(app)("DELETE", "/v1/secrets/n").status_code == 200


def test_an_operation_may_look_through_another_connection(make_app: MakeApp, database_url: str) -> None:
    """A second connection begins and ends as it likes meanwhile; the operation's own is not touched by that."""
    with acting(make_app(Probe())):
        with probe_act.performed("b") as session:
            session.execute(insert(Policy).values(ROW))
            with db.engine.connect() as other:
                assert other.scalar(text("SELECT count(*) FROM policies")) == 0
            with session.begin_nested():
                session.execute(insert(Policy).values(ROW | {"source": "c"}))
        assert policies(database_url) == ["a", "c"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_connection_may_be_ended_by_its_body_no_more_than_the_session(
    make_app: MakeApp, database_url: str, end: str
) -> None:
    """Through SQLAlchemy as well: the operation fails, nothing of it is stored, and the next one works."""
    with acting(make_app(Probe())):
        with suppress(Exception), probe_act.performed("first") as session:
            session.execute(insert(Policy).values(ROW))
            getattr(session.connection(), end)()
            session.execute(insert(Policy).values(ROW | {"source": "b"}))
        with probe_act.performed("second") as session:
            session.execute(insert(Policy).values(ROW | {"source": "second"}))
    assert policies(database_url) == ["second"]
    stored = [(entry["target"], entry["outcome"]) for entry in entries(database_url)]
    assert stored == [("first", "failed"), ("second", "ok")]


def write(how: str) -> None:
    """Try to change something from where a plugin may only read."""
    if how == "session":
        db.session.execute(insert(Policy).values(ROW))
    elif how == "flush":
        db.session.add(Policy(**ROW))
        db.session.flush()
    else:
        with db.engine.connect() as connection:
            connection.execute(insert(Policy).values(ROW))


@pytest.mark.parametrize("how", ["session", "flush", "connection"])
def test_a_veto_beside_the_transaction_may_not_write(make_app: MakeApp, database_url: str, how: str) -> None:
    """It is refused at once, and holds no lock for as long as it thinks on; reading works, before and after."""
    tried, think, seen = threading.Event(), threading.Event(), []

    def before(event: Event) -> None:
        if event.target == "slow":
            seen.append(db.session.scalar(text("SELECT count(*) FROM policies")))
            try:
                write(how)
            finally:
                tried.set()
                think.wait(60)

    app = make_app(Probe(), Made("writer", yoq_before_operation=before))

    def perform(target: str) -> None:
        with acting(app), probe_act.performed(target) as session:
            session.execute(insert(Policy).values(ROW | {"source": target}))

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(perform, "slow")
        assert tried.wait(60)
        perform("other")
        think.set()
        with pytest.raises(Denied, match="the plugin writer failed"):
            slow.result(60)
    perform("last")
    assert seen == [0]
    assert policies(database_url) == ["other", "last"]
