"""The files of a served SQLite database: no others are used, and nothing is acknowledged that only a deleted one holds.

All connections share one write-ahead log, which SQLite removes when the last of them is closed, in whichever process,
and never before. Deleted under them it still takes all they write, synced and all, and is gone with the process.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from structlog import get_logger

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.database import locks
from yoq_web.database.engine import compute_patience_ms
from yoq_web.database.wal_sync import WalSync
from yoq_web.settings import Settings

log = get_logger("yoq_web")

FILE, LOG = "yoq_file", "yoq_log"
"""What is kept beside a pooled connection: which database it was opened on, and with which log and index."""

INTERVAL = 1.0
"""How often to look at the index, in seconds. Without it nothing is lost as long as no other process comes."""

PATIENCE = 5.0
"""How long to wait for those who read and so keep the log from being written into the database, in seconds."""

LOCK_BYTES = (510, 0x40000002)
"""How many bytes of a database from where on whoever uses a log holds a lock of (SQLite's format)."""

LOST = "the write-ahead log was deleted, moved or replaced: nothing is acknowledged before another one is begun"
BEGUN_ANEW = (
    "the write-ahead log was deleted, moved or replaced; what it held is in the database, and another one is begun"
)
IN_USE = f"{LOST}, for which another process that has the database open must end"

Identity = tuple[int, int] | None
"""Which file has a name: its device and number. None if there is none."""


class FileWatch:
    """What is known of an engine's database, its write-ahead log and the log's index, which all processes share.

    Once the log or its index is not in its place nothing begins any more: a new connection would open another one, and
    mix them up. Whoever still has one to the old log writes that into the database; when all are closed, it goes on.
    """

    def __init__(self, path: str) -> None:
        self._path, self._log_path, self._index_path = path, f"{path}-wal", f"{path}-shm"
        self._changing = threading.RLock()
        self._file: Identity = None
        self._log: tuple[Identity, Identity] = (None, None)
        self._open: dict[int, Identity] = {}
        self._idle: dict[int, ConnectionPoolEntry] = {}
        self._next_look = 0.0
        self._sync = WalSync(path)
        self._rescued = False
        self.lost = False
        """Whether the log is not in its place, and no other one begun yet."""
        self._concern: str | None = None

    def listen(self, engine: Engine) -> None:
        """Look at what the engine's pool does. What prepares its connections is to listen before."""
        event.listen(engine, "do_connect", self._before_connect)
        event.listen(engine, "connect", self._after_connect)
        event.listen(engine, "checkout", self._on_checkout)
        event.listen(engine, "checkin", self._on_checkin)
        event.listen(engine, "close", self._on_close)

    @property
    def concern(self) -> str | None:
        """What is to be said of the log: until this process ends that it is lost or was, else that it is not synced."""
        return self._concern or self._sync.concern

    def confirm(self) -> None:
        """Have on disk what was committed. Raises OperationalError if the disk fails, or the log is lost with it."""
        if not self.lost:
            self._sync.wait(compute_patience_ms() / 1000)
        elif not self._rescued:
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(LOST))

    def _before_connect(self, _dialect: object, record: ConnectionPoolEntry, _arguments: object, _more: object) -> None:
        found = _identify(self._path)
        if found is None:
            raise sqlite3.OperationalError("the database file is gone")
        with self._changing:
            if found != self._file:
                self._file, self.lost = found, False
            if found not in self._open.values():
                if self.lost:
                    self._begin_anew()
            elif self.lost or self._find_log() != self._log:
                self._lose()
                raise sqlite3.OperationalError(LOST)
        record.info[FILE] = found

    def _after_connect(self, connection: Any, record: ConnectionPoolEntry) -> None:
        connection.execute("PRAGMA schema_version").fetchone()  # only who reads opens the log
        with self._changing:
            found = self._find_log()
            if record.info[FILE] not in self._open.values():
                self._log = found
                if found[0] is not None:
                    self._sync.open(self._log_path)
            record.info[LOG] = found
            self._open[id(connection)] = record.info[FILE]
        if found[0] is not None:  # there is none where the file system does not let processes share its index
            connection.execute("PRAGMA synchronous=NORMAL")  # confirm() syncs

    def _on_checkout(self, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        self._idle.pop(id(record), None)
        found = record.info.get(FILE)
        if found is None or found != _identify(self._path):
            raise DisconnectionError("the database file was moved or replaced")
        if self.lost or record.info[LOG] != self._log:
            self._rescue(connection, record, 0)
            raise DisconnectionError(LOST)

    def _on_checkin(self, connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is None:
            return
        if not self.lost and self._is_in_place():
            self._idle[id(record)] = record
        elif record.info.get(FILE) == self._file == _identify(self._path):
            self._lose()
            self._rescue(connection, record, PATIENCE)
            record.invalidate()

    def _on_close(self, connection: object, record: ConnectionPoolEntry) -> None:
        self._idle.pop(id(record), None)
        self._open.pop(id(connection), None)
        if not self._open:
            self._sync.close()

    def _find_log(self) -> tuple[Identity, Identity]:
        return _identify(self._log_path), _identify(self._index_path)

    def _is_in_place(self) -> bool:
        # After each transaction, before it counts: so it is one call that costs, and no more.
        if _identify(self._log_path) != self._log[0]:
            return False
        now = time.monotonic()
        if now < self._next_look:
            return True
        self._next_look = now + INTERVAL
        return _identify(self._index_path) == self._log[1]

    def _lose(self) -> None:
        """Let nothing begin any more, and put out of the way what stands in the log's place."""
        with self._changing:
            if self.lost:
                return
            self.lost, self._rescued, self._concern = True, False, LOST
            log.critical(LOST, database=self._path)
            if self._find_log()[0] != self._log[0]:
                self._set_aside()

    def _rescue(self, connection: Any, record: ConnectionPoolEntry, patience: float) -> None:
        """Write the lost log into the database by a connection that has it open, and close all that nobody uses.

        In vain as long as somebody reads what was there before; so try again for so many seconds.
        """
        if record.info[LOG] != self._log:
            return
        until = time.monotonic() + patience
        while not (rescued := _checkpoint(connection)) and time.monotonic() < until:
            time.sleep(0.05)
        self._rescued = rescued
        if rescued:
            with self._changing:
                idle = [self._idle.pop(key) for key in list(self._idle)]
            for other in idle:
                # Whoever takes it out of the pool right now does not find it fitting.
                other.info.pop(FILE, None)
                other.invalidate()

    def _begin_anew(self) -> None:
        """Go on with another log: nobody has the lost one open. Raises OperationalError if a process still may."""
        with Path(self._path).open("rb+") as file:
            if not files.lock_bytes(file.fileno(), *LOCK_BYTES):
                self._concern = IN_USE
                raise sqlite3.OperationalError(IN_USE)
            # Who was the last to close it wrote it into the database. SQLite would do so with a strange one, too.
            self._set_aside()
        self.lost, self._concern = False, BEGUN_ANEW
        log.warning(BEGUN_ANEW, database=self._path)

    def _set_aside(self) -> None:
        strange = Path(self._log_path)
        if strange.exists():
            strange.rename(f"{strange}.found-{time.time_ns()}")


current_file_watch: AppLocal[FileWatch | None] = AppLocal("file_watch", lambda _app: None)
"""The watch of the application's database; None if that is not a file."""


def watch_files(app: Flask, engine: Engine, settings: Settings) -> None:
    """Watch the files of an application's database from now on, if it has any."""
    if path := locks.find_database_file(settings):
        watch = FileWatch(str(path))
        watch.listen(engine)
        current_file_watch.put(app, watch)


def confirm_commit() -> None:
    """Wait until all that was committed is on disk. Raises OperationalError if it may not be.

    A unit of work does so at its end, with what it committed.
    """
    if watch := current_file_watch():
        watch.confirm()


def _identify(path: str) -> Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the hot path: a Path costs more than the call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _checkpoint(connection: Any) -> bool:
    """Write all of the log into the database, without waiting for anybody; returns whether that is done."""
    try:
        busy, written, kept = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:
        return False
    return not busy and written == kept
