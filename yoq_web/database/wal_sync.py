"""Syncing SQLite's write-ahead log: once for all who committed meanwhile, and before anybody is told that it is done.

SQLite's own commit waits for the disk with the database's lock held, and all who come behind wait with it. So where
this is used a commit only writes (`synchronous=NORMAL`); who committed lets the next one have the lock and waits here.
The first who comes has the disk take the log, and with it the commits of all who came before it began.

Each operation is a transaction of its own as ever: none fails with another's, and what a killed process committed is
there. Only a machine that loses its power loses what was not synced yet: the last commits, in the order in which they
came, of which nobody was told. For those milliseconds others may read what may be lost so.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from urllib.parse import quote

from sqlalchemy.exc import OperationalError
from structlog import get_logger

log = get_logger("yoq_web")

UNSYNCED = "the disk did not take the write-ahead log: nothing is acknowledged until all of it is in the database"

LATE = "the disk does not take the write-ahead log in time"

PATIENCE = 1.0
"""How long to wait for those who read and so keep the log from being emptied, in seconds."""

# Which spares the file's times, where there is such a call (macOS has none).
_sync_file = getattr(os, "fdatasync", os.fsync)


class Batch:
    """Those who wait for the same sync. `synced` says whether it succeeded, None before it began."""

    synced: bool | None = None


class WalSync:
    """The log of one database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._file: int | None = None
        # Closing a connection, which the garbage collector may do anywhere, may close the file.
        self._turn = threading.RLock()
        self._next = Batch()
        self.concern: str | None = None
        """What is to be said of it: that a sync failed, whose commits may not be on disk."""

    def open(self, path: str) -> None:
        """Use the file of this name from now on. Raises sqlite3.OperationalError."""
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise sqlite3.OperationalError(f"unable to open the write-ahead log: {error.strerror}") from error
        with self._turn:
            self.close()
            self._file = file

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def wait(self, patience: float) -> None:
        """Wait until all that was committed before is on disk, for so many seconds behind others.

        Raises OperationalError if it may not be.
        """
        batch = self._next
        if not self._turn.acquire(timeout=patience):
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(LATE))
        try:
            if batch.synced is None:
                self._next = Batch()  # who commits from now on may come too late for this sync
                batch.synced = False
                batch.synced = self._sync()
        finally:
            self._turn.release()
        if not batch.synced:
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(UNSYNCED))

    def _sync(self) -> bool:
        try:
            if self.concern is None and self._file is not None:
                _sync_file(self._file)
            else:
                self._empty()
        except (OSError, sqlite3.Error) as error:
            if self.concern is None:
                log.critical(UNSYNCED, database=self._database, error=str(error))
            self.concern = UNSYNCED
            return False
        self.concern = None
        return True

    def _empty(self) -> None:
        """Have all of the log in the database, synced, and the log begun anew. Raises OSError and sqlite3.Error.

        A system that could not write a page may forget that it still has to: a second sync succeeds without it.
        """
        name = f"file:{quote(self._database)}?mode=rw"
        with closing(sqlite3.connect(name, uri=True, timeout=PATIENCE)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OSError("others read what was there before")
