"""Exclusion: who uses a database holds its lock file with others; a restore holds it alone.

On PostgreSQL there is no file: a restore asks the server who is connected.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from yoq_web.problems import Problem
from yoq_web.settings import Settings

WAIT_SECONDS = 10.0
"""How long a command waits for a restore to end."""


class InUse(Problem):
    """The database is not to be had in the way that was asked (409)."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(409, error, detail)


def database_file(settings: Settings) -> Path | None:
    """The file of an SQLite database, or None."""
    path = make_url(settings.database_url).database if settings.on_sqlite else None
    return Path(path).absolute() if path and path != ":memory:" and not path.startswith("file:") else None


def hold(settings: Settings, wait: float = 0.0) -> int | None:
    """Take a share of the database's lock; returns a handle that holds it until it is closed. Raises InUse."""
    path = database_file(settings)
    if path is None or not path.parent.is_dir():
        return None
    until = time.monotonic() + wait
    while (handle := _taken(path, fcntl.LOCK_SH)) is None:
        if time.monotonic() >= until:
            raise InUse("the database is being restored", "try again when that has ended")
        time.sleep(0.05)
    return handle


@contextmanager
def shared(settings: Settings) -> Iterator[None]:
    """Use the database beside others; waits a while for a restore to end. Raises InUse."""
    handle = hold(settings, WAIT_SECONDS)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Use the database alone. Raises InUse if a server or a command uses it."""
    path = database_file(settings)
    if path is None:
        yield
        return
    handle = _taken(path, fcntl.LOCK_EX)
    if handle is None:
        raise InUse("the database is in use", f"a server or a command of yoq-web has {path} open; stop it first")
    try:
        yield
    finally:
        os.close(handle)


def _taken(path: Path, how: int) -> int | None:
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
