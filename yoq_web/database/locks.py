"""Locks: who uses a database holds its lock file with others, a restore holds it alone; advisory locks by name.

On PostgreSQL there is no file: a restore asks the server who is connected.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, make_url, text
from sqlalchemy.orm import Session

from yoq_web import files
from yoq_web.problems import Problem
from yoq_web.settings import Settings

WAIT_SECONDS = 10.0
"""How long a command waits for a restore to end."""


class InUse(Problem):
    """The database is not to be had in the way that was asked (409)."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(409, error, detail)


def find_database_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite database, or None."""
    path = make_url(settings.database_url).database if settings.on_sqlite else None
    return Path(path).absolute() if path and path != ":memory:" and not path.startswith("file:") else None


def hold_share(settings: Settings, wait: float = 0.0) -> int | None:
    """Take a share of the database's lock; returns a handle that holds it until it is closed. Raises InUse."""
    path = find_database_file(settings)
    if path is None or not path.parent.is_dir():
        return None
    until = time.monotonic() + wait
    while (handle := files.open_lock(_find_lock_file(path), shared=True, wait=False)) is None:
        if time.monotonic() >= until:
            raise InUse("the database is being restored", "try again when that has ended")
        time.sleep(0.05)
    return handle


@contextmanager
def use_shared(settings: Settings) -> Iterator[None]:
    """Use the database beside others; waits a while for a restore to end. Raises InUse."""
    handle = hold_share(settings, WAIT_SECONDS)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def use_alone(settings: Settings) -> Iterator[None]:
    """Use the database alone. Raises InUse if a server or a command uses it."""
    path = find_database_file(settings)
    if path is None:
        yield
        return
    with files.lock(_find_lock_file(path), wait=False) as held:
        if not held:
            raise InUse("the database is in use", f"a server or a command of yoq-web has {path} open; stop it first")
        yield


def _find_lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def advisory_lock(owner: Session | Connection, name: str, *, wait: bool = True) -> bool:
    """Hold the lock of this name until the transaction ends, alone among all who share the database.

    Returns whether it was to be had: without `wait` it may not be. On SQLite a transaction that writes is alone anyway.
    """
    dialect = owner.dialect if isinstance(owner, Connection) else owner.get_bind().dialect
    if dialect.name == "sqlite":
        return True
    key = int.from_bytes(hashlib.sha256(b"yoq-web lock\0" + name.encode()).digest()[:8], signed=True)
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    return owner.scalar(text(f"SELECT {function}(:key)"), {"key": key}) is not False
