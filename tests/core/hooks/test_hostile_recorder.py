"""A recorder that does its worst inside an operation's transaction: change and record stand together or fall loudly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from flask import Flask, current_app, g
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.plugins import Made
from yoq_web import Actor, Event, db
from yoq_web.actors import set_actor
from yoq_web.policies.models import Policy
from yoq_web.secrets.operations import secret_set

Attack = Callable[[Event, Session], object]


def broken() -> Policy:
    """A row that no database takes."""
    return Policy(source=None, target="b", action="allow", created_at=1)


def flush(event: Event, session: Session) -> None:
    """Flush a broken row."""
    session.add(broken())
    session.flush()


def flush_and_go_on(event: Event, session: Session) -> None:
    """Flush a broken row and pass over the error."""
    with suppress(Exception):
        flush(event, session)


def execute_and_go_on(event: Event, session: Session) -> None:
    """Execute nonsense and pass over the error, which on PostgreSQL spoils the transaction."""
    with suppress(Exception):
        session.connection().execute(text("SELECT nothing FROM nowhere"))


def commit_and_go_on(event: Event, session: Session) -> None:
    """Try every way to commit or roll back that a session has, and pass over the errors."""
    for owner in (session, session.connection(), db.session(), db.session.connection()):
        for end in ("commit", "rollback", "close", "invalidate"):
            if owner is not session or end in ("commit", "rollback"):
                with suppress(Exception):
                    getattr(owner, end)()


def spoil_change(event: Event, session: Session) -> None:
    """Undo the change, then fail."""
    session.execute(text("DELETE FROM secrets"))
    raise RuntimeError("and away")


def forget(event: Event, session: Session) -> None:
    """Empty `g`."""
    vars(g).clear()


def spoil_g(event: Event, session: Session) -> None:
    """Put nonsense in the place of what the core keeps."""
    for name in list(vars(g)):
        setattr(g, name, 5)
    set_actor(Actor("token", "mallory", ()))


def nest(event: Event, session: Session) -> None:
    """Begin another operation inside this one."""
    with secret_set.performed("nested"):
        pass


def nest_apart(event: Event, session: Session) -> None:
    """Begin another operation in an app context of its own, where it would wait for this one for ever."""
    with current_app.app_context():
        set_actor(Actor("local", "local", ("*",)))
        nest(event, session)


def nest_denied(event: Event, session: Session) -> None:
    """Begin another operation apart that is not allowed, whose denial would have to be recorded."""
    with current_app.app_context():
        set_actor(Actor("token", "nobody"))
        nest(event, session)


ISOLATED: dict[str, Attack] = {
    "raises": lambda event, session: 1 / 0,
    "commits": lambda event, session: session.commit(),
    "rolls back": lambda event, session: session.rollback(),
    "closes": lambda event, session: session.close(),
    "invalidates": lambda event, session: session.invalidate(),
    "commits the connection": lambda event, session: session.connection().commit(),
    "rolls back the connection": lambda event, session: session.connection().rollback(),
    "closes the connection": lambda event, session: session.connection().close(),
    "detaches the connection": lambda event, session: session.connection().detach(),
    "leaves a savepoint open": lambda event, session: session.connection().begin_nested(),
    "commits the door's session": lambda event, session: db.session.commit(),
    "rolls back the door's session": lambda event, session: db.session.rollback(),
    "removes the door's session": lambda event, session: db.session.remove(),
    "changes the door's session": lambda event, session: db.session.add(broken()),
    "tries everything": commit_and_go_on,
    "flushes a broken row": flush,
    "flushes a broken row and goes on": flush_and_go_on,
    "leaves a broken row": lambda event, session: session.add(broken()),
    "executes nonsense and goes on": execute_and_go_on,
    "spoils the change": spoil_change,
    "returns nonsense": lambda event, session: object(),
    "empties g": forget,
    "spoils g": spoil_g,
    "nests": nest,
    "nests apart": nest_apart,
    "nests what is denied": nest_denied,
}

LOUD: dict[str, Attack] = {
    "commits the transaction": lambda event, session: session.connection().get_transaction().commit(),  # type: ignore[union-attr]
    "rolls back the transaction": lambda event, session: session.connection().get_transaction().rollback(),  # type: ignore[union-attr]
    "releases the savepoint": lambda event, session: session.connection().exec_driver_sql("RELEASE yoq_record"),
}
"""Attacks past SQLAlchemy's own interface. They cannot be kept apart from the operation: it fails, whole."""

IN_SQL: dict[str, Attack] = {
    "rolls back in SQL": lambda event, session: session.connection().exec_driver_sql("ROLLBACK"),
    "commits in SQL": lambda event, session: session.connection().exec_driver_sql("COMMIT"),
}
"""SQLite refuses these, PostgreSQL does them."""


def hostile(make_app: MakeApp, attack: Attack) -> Flask:
    """An application with a recorder that attacks when a secret is set, before the audit plugin has its turn."""

    def record(event: Event, session: Session) -> None:
        if event.operation is secret_set and event.outcome == "ok":
            attack(event, session)

    return make_app(Made("hostile", yoq_record_operation=record))


@pytest.mark.parametrize("name", ISOLATED)
def test_a_recorder_that_is_kept_apart(make_app: MakeApp, name: str) -> None:
    """The operation goes on: change and record are stored, by whom it was, and the next one works as well."""
    assert_kept_apart(make_app, ISOLATED[name])


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("name", IN_SQL)
def test_sqlite_lets_no_recorder_end_the_transaction(make_app: MakeApp, name: str) -> None:
    """Not in plain SQL either: the recorder has failed, and the operation goes on."""
    assert_kept_apart(make_app, IN_SQL[name])


def assert_kept_apart(make_app: MakeApp, attack: Attack) -> None:
    """Two operations succeed and are recorded in spite of a recorder."""
    api = Api(hostile(make_app, attack))
    for secret in ("a", "b"):
        answer = api("POST", "/v1/secrets", json={"name": secret, "value": "v"})
        assert (answer.status_code, answer.text) == (200, '{"status":"ok"}')
        assert api("GET", f"/v1/audit/entries/{answer.headers['Audit-Id']}").json["target"] == secret  # type: ignore[index]
    assert api("GET", "/v1/secrets").json == ["a", "b"]
    assert api("GET", "/v1/policies").json == []
    # What a recorder tried to do by itself did not happen, and is on record where it was told apart.
    entries = [entry for entry in api.entries() if entry["target"] != "nested" or entry["outcome"] == "ok"]
    assert [(entry["action"], entry["target"], entry["outcome"], entry["actor"]) for entry in entries] == [
        ("secret_list", None, "ok", "api-token"),
        ("secret_set", "b", "ok", "api-token"),
        ("secret_set", "a", "ok", "api-token"),
    ]


@pytest.mark.parametrize("name", LOUD)
def test_a_recorder_that_breaks_the_transaction(make_app: MakeApp, name: str) -> None:
    """The operation fails and says so: nothing is changed, the failure is recorded, and other operations work."""
    assert_loud(make_app, LOUD[name])


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_recorder_that_rolls_back_behind_everybodys_back(make_app: MakeApp) -> None:
    """PostgreSQL does that, and the operation fails as loudly."""
    assert_loud(make_app, IN_SQL["rolls back in SQL"])


def assert_loud(make_app: MakeApp, attack: Attack) -> None:
    """Two operations fail because of a recorder, and others work."""
    api = Api(hostile(make_app, attack))
    for _ in range(2):
        assert api("POST", "/v1/secrets", json={"name": "a", "value": "v"}).status_code >= 500
    assert api("GET", "/v1/secrets").json == []
    assert [(entry["action"], entry["outcome"]) for entry in api.entries()] == [
        ("secret_list", "ok"),
        ("secret_set", "failed"),
        ("secret_set", "failed"),
    ]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_recorder_that_commits_behind_everybodys_back(make_app: MakeApp) -> None:
    """PostgreSQL does that as well; it is not answered as if all were well."""
    api = Api(hostile(make_app, IN_SQL["commits in SQL"]))
    assert api("POST", "/v1/secrets", json={"name": "a", "value": "v"}).status_code >= 500
    assert [(entry["action"], entry["outcome"]) for entry in api.entries()] == [("secret_set", "failed")]
    assert api("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "deny"}).status_code == 200
