"""The folder in which a backup or a restore works: private, beside the database, one at a time, gone at the end."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from yoq_web import files
from yoq_web.database.locks import InUse, find_database_file
from yoq_web.problems import Problem
from yoq_web.settings import Settings

NAME = "yoq-work"
LOCK = "yoq-work.lock"


@contextmanager
def hold_workdir(settings: Settings) -> Iterator[Path]:
    """Hold a folder for copies of the database. Raises InUse if a backup or a restore is at work, else as below."""
    with lock_workdir(settings) as alone:
        if not alone:
            raise make_busy()
        with make_workdir(settings) as folder:
            yield folder


@contextmanager
def lock_workdir(settings: Settings) -> Iterator[bool]:
    """Keep every other backup and restore away while the block lasts; yields False if one is at work already."""
    with files.lock(_find_base(settings) / LOCK, wait=False) as held:
        yield held


class Busy(InUse):
    """Another backup or restore is at work."""


def make_busy() -> Busy:
    """Make the error for whoever finds another backup or restore at work."""
    return Busy("another backup or restore is at work", "try again when that has ended")


@contextmanager
def make_workdir(settings: Settings) -> Iterator[Path]:
    """Make the folder, for whoever holds the lock; what an interrupted backup or restore left is removed first.

    Raises a Problem (507) if the disk is full.
    """
    base = _find_base(settings)
    files.remove_drafts(base)
    try:
        with files.make_draft_folder(base, NAME) as folder:
            yield folder
    except OSError as error:
        raise translate_disk_error(error) from error
    except sqlite3.Error as error:
        if "full" in str(error):
            raise Problem(507, "the disk is full", "nothing was left behind") from error
        raise Problem(503, "the database cannot be copied", str(error)) from error


def _find_base(settings: Settings) -> Path:
    file = find_database_file(settings)
    return file.parent if file else settings.data_dir


def translate_disk_error(error: OSError) -> Problem:
    """Translate an error of the disk to what it means to whoever asked."""
    if isinstance(error, Problem):
        return error
    full = error.errno in (28, 122, 27)  # ENOSPC, EDQUOT, EFBIG
    if full:
        return Problem(507, "the disk is full", "nothing was left behind")
    said, cause = "a file cannot be read or written", error.strerror or type(error).__name__
    return Problem(500, said, cause, reason=f"{said}: {cause}")


def swap_files(current: Path, new: Path, *, keep: bool) -> str | None:
    """Put a database's file in the place of the present one; returns where the present one is kept.

    An interruption leaves the one or the other in place, whole. Raises InUse if anybody has the present one open.
    """
    if current.exists():
        _close_database(current)
    with new.open("rb") as file:
        files.give_away(file.fileno(), current.parent)
        os.fsync(file.fileno())
    kept = None
    if keep and current.exists() and current.stat().st_size:
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        kept = current.with_name(f"{current.name}.before-restore-{moment}-{secrets.token_hex(2)}")
        os.link(current, kept)
    os.chmod(new, 0o600)  # noqa: PTH101 - beside the other calls of os
    os.replace(new, current)  # noqa: PTH105 - as above
    files.sync_folder(current.parent)
    return str(kept) if kept else None


def _close_database(path: Path) -> None:
    """Have everything in the database's own file: a log left beside it would be taken for the new one's."""
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            # Only whoever is alone may leave the write-ahead log.
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise InUse("the database is in use", f"another program has {path} open: {error}") from None
    beside = [name for end in ("-wal", "-journal") if (name := path.with_name(path.name + end)).exists()]
    if mode != "delete" or any(name.stat().st_size for name in beside):
        raise InUse("the database is in use", f"another program has {path} open")
    for name in (*beside, path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
