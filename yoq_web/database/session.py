"""The database of the application: the models' base class, the session, and the one place that commits."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, cast

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, Executable, MetaData, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, registry

from yoq_web.app_local import AppLocal
from yoq_web.database.engine import (
    compute_patience_ms,
    has_deadline,
    make_options,
    set_rules,
)
from yoq_web.database.file_watch import confirm_commit, watch_files
from yoq_web.database.rights import CommitRefused, allow_commits, forbid_ending, make_reader
from yoq_web.settings import Settings

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
"""The database: `db.session` is the session of the request or command."""

ENDINGS = ("commit", "rollback", "close", "reset", "invalidate", "detach")
"""The methods of a session or a connection that would end a unit of work from inside."""

current_write_lock: AppLocal[threading.Lock] = AppLocal("write_lock", lambda _app: threading.Lock())
"""On SQLite the threads of one process wait here for each other, instead of polling the file's lock."""

_forbidden: ContextVar[str] = ContextVar("yoq_forbidden", default="")
"""Why no unit of work may begin here; empty if one may."""


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app its engine, with this project's rules on it."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {}).update(make_options(settings))
    db.init_app(app)
    with app.app_context():
        set_rules(db.engine)
        watch_files(app, db.engine, settings)
        if not settings.on_sqlite:
            from yoq_web.database.silence import watch_server  # noqa: PLC0415 - SQLite needs no other driver

            watch_server(db.engine)


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """Hold one transaction that writes: it commits when the block ends, and rolls back when it raises.

    When the block is left, what it committed is on disk.

    Yields the app context's session. What it read before is read anew, under the write lock. Raises RuntimeError if the
    session holds changes made outside: they would be lost or slip in unrecorded.
    """
    session = db.session()
    if why := _forbidden.get():
        raise RuntimeError(why)
    end_reading(session)
    # A second one would wait for itself for ever.
    with _hold_write_lock(session.get_bind()), forbid_units_of_work("a unit of work began inside another one"):
        connection = session.connection(execution_options={"yoq_writes": True})
        try:
            if has_deadline() and session.get_bind().dialect.name == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {compute_patience_ms()}"))
            with forbid_endings(session), forbid_ending(connection):
                yield session
                session.flush()
            with allow_commits():
                session.commit()
        except BaseException:
            session.rollback()
            raise
    # Without the write lock: who has it meanwhile commits, too, and shares the next sync.
    confirm_commit()


@contextmanager
def open_reader() -> Iterator[Any]:
    """Open a connection of the driver for reading, in no transaction, which threads may share; it is closed at last."""
    connection = db.engine.raw_connection()
    try:
        make_reader(connection.driver_connection)
        yield connection.driver_connection
    finally:
        connection.invalidate()


def end_reading(session: Session) -> None:
    """End what a session only read: it holds no connection any more. Raises RuntimeError if it holds changes."""
    if session.new or session.dirty or session.deleted:
        raise RuntimeError("the session holds changes made outside an operation; make them inside its block")
    session.rollback()


def release_connection() -> None:
    """Give back the connection of a request that only read so far, before it waits for something else.

    One that is broken by then is thrown away: what was read was read, and whoever needs one next gets another.
    """
    if not _forbidden.get() and db.session.registry.has():
        session = db.session()
        if not (session.new or session.dirty or session.deleted):
            try:
                session.rollback()
            except SQLAlchemyError:
                session.invalidate()


@contextmanager
def forbid_units_of_work(why: str) -> Iterator[None]:
    """Let no unit of work begin in this thread for a while; whoever tries is told why."""
    before = _forbidden.set(why)
    try:
        yield
    finally:
        _forbidden.reset(before)


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
    if not lock.acquire(timeout=compute_patience_ms() / 1000):
        raise PoolTimeout("another operation of this process holds the database")
    try:
        yield
    finally:
        lock.release()


def upsert(model: type[Model], *, key: tuple[str, ...], update: tuple[str, ...]) -> Executable:
    """Build an INSERT, to be executed with a row; on a clash of the columns `key` it sets `update` instead."""
    return _upsert(model, db.engine.dialect.name, key, update)


# Kept for the life of the process: building the statement takes four times as long as executing it.
@functools.cache
def _upsert(model: type[Model], dialect: str, key: tuple[str, ...], update: tuple[str, ...]) -> Executable:
    table = cast("Table", model.__table__)
    insert: sqlite.Insert | postgresql.Insert
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_update(index_elements=key, set_={name: insert.excluded[name] for name in update})
