"""Rights on the application's connections: who may commit, end a transaction, or write at all.

Plugins are trusted code, and code in the process can get round this. It finds mistakes, where it costs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

_may_commit: ContextVar[bool] = ContextVar("yoq_may_commit", default=False)
_may_write: ContextVar[bool] = ContextVar("yoq_may_write", default=True)

READING = "yoq_reading"
"""The mark of a pooled connection on which the present transaction only reads."""

AUTHORIZER = "yoq_authorizer"
"""What an SQLite connection asks; kept beside it."""

CHANGES = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_SAVEPOINT})
"""What needs a transaction: without one each of these, or the release of a savepoint, commits by itself."""


class CommitRefused(RuntimeError):
    """Something other than the unit of work tried to commit: it would have changed data without a record."""


def guard_engine(engine: Engine) -> None:
    """Have these rights looked at on an engine's connections."""
    event.listen(engine, "commit", _refuse_foreign_commit)
    for options_set in ("set_connection_execution_options", "set_engine_execution_options"):
        event.listen(engine, options_set, _refuse_isolation_level)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _authorize)
        event.listen(engine, "begin", _begin_on_sqlite)
        event.listen(engine, "checkin", _end_on_sqlite)
        event.listen(engine, "rollback", _allow_rollback)
    else:
        event.listen(engine, "connect", _forbid_changes)
        event.listen(engine, "begin", _begin_on_postgresql)
        event.listen(engine, "checkin", _forbid_changes)


@contextmanager
def allow_commits() -> Iterator[None]:
    """Let this thread commit for a while: the unit of work and migrations."""
    # Not a mark on the connection: it is another thread's as soon as the commit has returned it to the pool.
    before = _may_commit.set(True)
    try:
        yield
    finally:
        _may_commit.reset(before)


@contextmanager
def forbid_ending(connection: Connection) -> Iterator[None]:
    """Let nothing end the transaction of an SQLite connection for a while, the driver included."""
    authorizer = connection.connection.info.get(AUTHORIZER)
    if authorizer is None:
        yield
        return
    authorizer.may_end = False
    try:
        yield
    finally:
        authorizer.may_end = True


@contextmanager
def forbid_writing() -> Iterator[None]:
    """Let the transactions that begin in this thread meanwhile read and not write."""
    before = _may_write.set(False)
    try:
        yield
    finally:
        _may_write.reset(before)


def make_reader(connection: Any) -> None:
    """Have a driver's connection read only, for the rest of its life. Threads may share it then."""
    if isinstance(connection, sqlite3.Connection):
        # SQLite asks the authorizer, which waits for the interpreter, while it holds the connection; a thread that has
        # the interpreter and waits for the connection waits for ever.
        connection.set_authorizer(None)
        connection.execute("PRAGMA query_only=ON")


def _allow_rollback(connection: Connection) -> None:
    # SQLAlchemy's own, after a flush that failed for instance: nothing more is done in that transaction.
    if not connection.invalidated and (authorizer := connection.connection.info.get(AUTHORIZER)):
        authorizer.may_end = True


def _refuse_foreign_commit(connection: Connection) -> None:
    if not _may_commit.get():
        # SQLAlchemy takes a commit that raises for the end of the transaction: without this the connection would go
        # back to the pool in the middle of it, and whoever gets it next would commit the refused changes.
        _allow_rollback(connection)
        connection.connection.rollback()
        raise CommitRefused("only an operation commits: change data inside `with OPERATION.performed() as session:`")


def _refuse_isolation_level(_connection: Connection | Engine, options: Mapping[str, Any]) -> None:
    # AUTOCOMMIT would commit without being asked, and any other level would undo what was set up.
    if "isolation_level" in options:
        raise CommitRefused("the isolation level is not to be chosen: only an operation commits")


def _begin_on_postgresql(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    if not driver.closed:
        driver.read_only = not _may_write.get()


def _forbid_changes(connection: DBAPIConnection | None, _record: ConnectionPoolEntry) -> None:
    # The driver itself then begins with BEGIN READ ONLY, and no commit of its own changes a thing. One that is closed
    # would say that it cannot, in place of what is wrong with it.
    if connection is not None and not connection.closed:
        connection.read_only = True


def _begin_on_sqlite(connection: Connection) -> None:
    if not _may_write.get():
        connection.connection.info[READING] = True
        _set_query_only(connection.connection.dbapi_connection, "ON")


def _end_on_sqlite(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    if record.info.pop(READING, False) and connection is not None:
        _set_query_only(connection, "OFF")


def _set_query_only(connection: Any, value: str) -> None:
    # It has all statements prepared anew, which costs a tenth of a write: so only for those who must not write.
    connection.execute(f"PRAGMA query_only={value}")


def _authorize(connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[AUTHORIZER] = authorizer = _Authorizer(connection)
    connection.set_authorizer(authorizer)


class _Authorizer:
    """What SQLite asks while it prepares a statement for one connection.

    The driver keeps prepared statements: what was allowed once is not asked about again on that connection. COMMIT and
    ROLLBACK it prepares anew each time, unless they are executed as statements, which nobody here does. Threads do not
    share a connection that has one: see make_reader().
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.may_end = True

    def __call__(self, action: int, first: str | None, *_names: object) -> int:
        """Allow a commit to whoever may commit, a rollback unless forbidden, and changes in transactions only."""
        if action == sqlite3.SQLITE_TRANSACTION:
            allowed = first == "BEGIN" or (self.may_end and (first == "ROLLBACK" or _may_commit.get()))
        else:
            allowed = action not in CHANGES or self._connection.in_transaction
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
