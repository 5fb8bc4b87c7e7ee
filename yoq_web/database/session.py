"""The database: models' base class, connection rules for SQLite and PostgreSQL, and the one place that commits."""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, cast

from flask import Flask, g, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, Connection, Engine, Executable, MetaData, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, registry
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.settings import Settings

BUSY_TIMEOUT_MS = 15_000
"""How long another writer may hold SQLite's lock before we give up, in milliseconds."""


_registries: dict[str, registry] = {}


class Model(DeclarativeBase):
    """Base class of every table, the core's and the plugins'."""

    # Batch migrations of SQLite address constraints by name, so each has one that does not depend on the database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    def __init_subclass__(cls, **options: Any) -> None:
        # The models of a registry are configured together, and one that cannot be breaks them all: each package has
        # its own, so that a plugin's mistake is its own.
        package = cls.__module__.partition(".")[0]
        if package != "yoq_web":
            cls._sa_registry = _registries.setdefault(package, registry(metadata=cls.metadata))
        super().__init_subclass__(**options)


metadata = Model.metadata
"""Where every table is declared; for tables that are declared without a model class."""

# expire_on_commit=False: what an operation made can be read after its block without asking the database again.
db = SQLAlchemy(metadata=Model.metadata, disable_autonaming=True, session_options={"expire_on_commit": False})

ENDINGS = ("commit", "rollback", "close", "reset", "invalidate", "detach")
"""The methods of a session or a connection that would end a unit of work from inside."""

current_write_lock: AppLocal[threading.Lock] = AppLocal("write_lock", lambda _app: threading.Lock())
"""On SQLite the threads of one process wait here for each other, instead of polling the file's lock."""

_writing: ContextVar[bool] = ContextVar("yoq_writing", default=False)
_may_commit: ContextVar[bool] = ContextVar("yoq_may_commit", default=False)


class CommitRefused(RuntimeError):
    """Something other than the unit of work tried to commit: it would have changed data without a record."""


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app its engine, with this project's connection rules on it and on no other engine."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    # hide_parameters: a failing statement must not carry its values, which may be secret, into logs and errors.
    options: dict[str, Any] = {"hide_parameters": True}
    if settings.on_sqlite:
        options |= {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000}, "pool_size": 20, "max_overflow": 60}
    else:
        # PostgreSQL has 100 connections unless told, for all processes together: further requests wait for one.
        options |= {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 10}
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {}).update(options)
    db.init_app(app)
    with app.app_context():
        engine = db.engine
    event.listen(engine, "commit", _refuse_foreign_commit)
    for options_set in ("set_connection_execution_options", "set_engine_execution_options"):
        event.listen(engine, options_set, _refuse_isolation_level)
    if settings.on_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        _watch_file(engine)


def make_files(settings: Settings) -> None:
    """Make the data directory, and an empty private file for an embedded database that is not there yet.

    Raises SettingsError if the settings cannot be used, or the files not be made.
    """
    if settings.error is not None:
        raise settings.error
    files.make_data_dir(settings.data_dir)
    if settings.on_sqlite:
        files.make_private(make_url(settings.database_url).database)


def make_engine(url: URL) -> Engine:
    """An engine on a database that is being made or looked at, and that a crash may spoil: it is not the app's."""
    engine = create_engine(url, hide_parameters=True, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_other)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_other(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("foreign_keys=ON", "journal_mode=DELETE", "synchronous=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # With the driver's own transaction handling a SAVEPOINT as first statement commits on release, and DDL is not
    # rolled back; without it we say BEGIN ourselves, in _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A checkpoint stops all writers; at SQLite's 1,000 pages it comes every few hundred operations. 8,000 are 32 MB.
    # Only with recursive triggers does REPLACE ask those on deletion, which keep a table append-only.
    for pragma in (
        "foreign_keys=ON",
        "recursive_triggers=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=8000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _watch_file(engine: Engine) -> None:
    """Use the file that bears the database's name, and no other: neither a new one, nor one moved away or deleted.

    SQLite makes a missing file, and goes on writing to one that is gone: what it acknowledged would be lost.
    """
    path = engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        return

    def identity() -> tuple[int, int] | None:
        try:
            found = os.stat(path)  # noqa: PTH116 - on the hot path: a Path costs more than the call
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def before_connecting(_dialect: object, record: ConnectionPoolEntry, _arguments: object, _named: object) -> None:
        record.info["yoq_file"] = identity()
        if record.info["yoq_file"] is None:
            raise sqlite3.OperationalError("the database file is gone")

    def before_use(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info.get("yoq_file") != identity():
            raise DisconnectionError("the database file was moved or replaced")

    event.listen(engine, "do_connect", before_connecting)
    event.listen(engine, "checkout", before_use)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another writer came between;
    # BEGIN IMMEDIATE waits its turn instead.
    if not connection.get_execution_options().get("yoq_writes"):
        connection.exec_driver_sql("BEGIN")
        return
    if not _has_deadline():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_compute_patience_ms()}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _refuse_foreign_commit(connection: Connection) -> None:
    if not _may_commit.get():
        # SQLAlchemy takes a commit that raises for the end of the transaction: without this the connection would go
        # back to the pool in the middle of it, and whoever gets it next would commit the refused changes.
        connection.connection.rollback()
        raise CommitRefused("only an operation commits: change data inside `with OPERATION.performed() as session:`")


def _refuse_isolation_level(_connection: Connection | Engine, options: Mapping[str, Any]) -> None:
    # AUTOCOMMIT would commit without being asked, and any other level would undo what _prepare_sqlite set up.
    if "isolation_level" in options:
        raise CommitRefused("the isolation level is not to be chosen: only an operation commits")


@contextmanager
def allow_commits() -> Iterator[None]:
    """Let this thread commit for a while: the unit of work and migrations."""
    # Not a mark on the connection: it is another thread's as soon as the commit has returned it to the pool.
    before = _may_commit.set(True)
    try:
        yield
    finally:
        _may_commit.reset(before)


def set_deadline(seconds: float) -> None:
    """Let what this request changes wait so long in all, from now, for other writers: its client waits no longer."""
    g.yoq_deadline = time.monotonic() + seconds


def _has_deadline() -> bool:
    return has_app_context() and "yoq_deadline" in g


def _compute_patience_ms() -> int:
    """How long to wait for other writers, in milliseconds."""
    if not _has_deadline():
        return BUSY_TIMEOUT_MS
    # Not 0, which to PostgreSQL is for ever.
    return max(1, min(BUSY_TIMEOUT_MS, int((g.yoq_deadline - time.monotonic()) * 1000)))


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One transaction that writes: commits when the block ends, rolls back when it raises.

    Yields the app context's session. What it read before is read anew, under the write lock. Raises RuntimeError if the
    session holds changes made outside: they would be lost or slip in unrecorded.
    """
    session = db.session()
    if session.new or session.dirty or session.deleted:
        raise RuntimeError("the session holds changes made outside an operation; make them inside its block")
    if _writing.get():
        # It would wait for itself for ever.
        raise RuntimeError("a unit of work began inside another one")
    session.rollback()
    with _hold_write_lock(session.get_bind()):
        session.connection(execution_options={"yoq_writes": True})
        inside = _writing.set(True)
        try:
            if _has_deadline() and session.get_bind().dialect.name == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {_compute_patience_ms()}"))
            with forbid_endings(session):
                yield session
                session.flush()
            with allow_commits():
                session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            _writing.reset(inside)


@contextmanager
def forbid_endings(owner: Session | Connection) -> Iterator[None]:
    """Refuse for a while every call that would end the transaction of a session or connection, before it does harm."""
    vars(owner).update(dict.fromkeys(ENDINGS, _refuse_ending))
    try:
        yield
    finally:
        for name in ENDINGS:
            del vars(owner)[name]


def _refuse_ending(*_arguments: object, **_options: object) -> NoReturn:
    raise CommitRefused("the transaction is the door's: it commits when the block ends, and rolls back when it raises")


@contextmanager
def _hold_write_lock(engine: Engine | Connection) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    lock = current_write_lock()
    # No longer than for another process: an operation that hangs must not take every thread with it.
    if not lock.acquire(timeout=_compute_patience_ms() / 1000):
        raise PoolTimeout("another operation of this process holds the database")
    try:
        yield
    finally:
        lock.release()


def upsert(model: type[Model], *, key: tuple[str, ...], update: tuple[str, ...]) -> Executable:
    """An INSERT, to be executed with a row, that on a clash of the columns `key` sets the columns `update` instead."""
    return _upsert(model, db.engine.dialect.name, key, update)


# Kept for the life of the process: building the statement takes four times as long as executing it.
@functools.cache
def _upsert(model: type[Model], dialect: str, key: tuple[str, ...], update: tuple[str, ...]) -> Executable:
    table = cast("Table", model.__table__)
    insert: sqlite.Insert | postgresql.Insert
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_update(index_elements=key, set_={name: insert.excluded[name] for name in update})
