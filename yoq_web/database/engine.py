"""Engines: how connections to SQLite and PostgreSQL are set up, and how long they wait."""

from __future__ import annotations

import time
from typing import Any

from flask import has_app_context
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from yoq_web.app_local import ContextLocal
from yoq_web.database.rights import guard_engine
from yoq_web.settings import Settings

BUSY_TIMEOUT_MS = 15_000
"""How long another writer may hold SQLite's lock before we give up, in milliseconds."""

_deadline: ContextLocal[float | None] = ContextLocal("deadline", None)
"""When a request's client gives up, in the time of time.monotonic()."""

SQLITE_POOL = {"pool_size": 20, "max_overflow": 60}
POSTGRES_POOL = {"pool_size": 10, "max_overflow": 10}
"""Connections of one process: those that stay open, and those that are added while they are needed."""

SQLITE_FILES = 3
"""Descriptors of one connection: of the database, its write-ahead log, and what readers share."""


def make_options(settings: Settings) -> dict[str, Any]:
    """Return create_engine()'s options for the application's database."""
    # hide_parameters: a failing statement must not carry its values, which may be secret, into logs and errors.
    options: dict[str, Any] = {"hide_parameters": True}
    if settings.on_sqlite:
        return options | SQLITE_POOL | {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000}}
    # PostgreSQL has 100 connections unless told, for all processes together: further requests wait for one.
    return options | POSTGRES_POOL | {"pool_pre_ping": True}


def count_files(settings: Settings) -> int:
    """Return how many descriptors the database takes at most."""
    if settings.on_sqlite:
        return SQLITE_FILES * sum(SQLITE_POOL.values())
    return sum(POSTGRES_POOL.values())


def set_rules(engine: Engine) -> None:
    """Put this project's rules of connections and commits on the application's engine, and on no other."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    guard_engine(engine)


def make_engine(url: URL) -> Engine:
    """Make an engine on a database that is being made or looked at, and that a crash may spoil: it is not the app's."""
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
    # What a savepoint changes beyond 64 KB goes to a temporary file unless told otherwise, and at the end of the
    # descriptors there is none: the entry was not stored, the change was. Who sorts much sets it back for a while.
    for pragma in (
        "foreign_keys=ON",
        "recursive_triggers=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=8000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another writer came between;
    # BEGIN IMMEDIATE waits its turn instead.
    if not connection.get_execution_options().get("yoq_writes"):
        connection.exec_driver_sql("BEGIN")
        return
    if not has_deadline():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={compute_patience_ms()}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def set_deadline(seconds: float) -> None:
    """Let what this request changes wait so long in all, from now, for other writers: its client waits no longer."""
    _deadline.put(time.monotonic() + seconds)


def has_deadline() -> bool:
    """Tell whether this request's client gives up at some moment."""
    return has_app_context() and _deadline() is not None


def measure_overtime() -> float:
    """Return for how many seconds this request's client has waited longer than it was said to, 0 if it has not."""
    deadline = _deadline() if has_app_context() else None
    return max(0.0, time.monotonic() - deadline) if deadline is not None else 0.0


def compute_patience_ms() -> int:
    """Return how long to wait for other writers, in milliseconds."""
    deadline = _deadline() if has_app_context() else None
    if deadline is None:
        return BUSY_TIMEOUT_MS
    # Not 0, which to PostgreSQL is for ever.
    return max(1, min(BUSY_TIMEOUT_MS, int((deadline - time.monotonic()) * 1000)))
