"""A disk whose syncs can be watched, held up and made to fail, and what it would hold if the power went."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.door import behind
from yoq_web.database import wal_sync


class Disk:
    """The disk of an SQLite database in this folder. Nothing is on it but what was there at the last sync."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.syncs = 0
        self.attempts = 0
        self.failing = False
        self.fails_at = 0
        """Which attempt fails, if one does."""
        self.syncing = threading.Event()
        """Set while a sync is under way."""
        self.go_on = threading.Event()
        """Syncs wait for it."""
        self.go_on.set()
        monkeypatch.setattr(wal_sync, "_sync_file", self._sync)

    def _sync(self, file: int) -> None:
        self.syncing.set()
        assert self.go_on.wait(30)
        self.syncing.clear()
        self.attempts += 1
        if self.failing or self.attempts == self.fails_at:
            raise OSError(errno.EIO, "injected")
        os.fsync(file)
        kept = self._folder / "disks" / str(self.syncs + 1)
        kept.mkdir(parents=True)
        for name in ("yoq.db", "yoq.db-wal"):
            shutil.copy(self._folder / name, kept)
        self.syncs += 1

    def read(self, statement: str, syncs: int | None = None) -> list[Any]:
        """What a statement reads after a power cut that came then, by default now: the values of its first column."""
        kept = self._folder / "disks" / str(self.syncs if syncs is None else syncs) / "yoq.db"
        assert kept.exists(), "nothing was ever synced"
        return [next(iter(row.values())) for row in behind(f"sqlite:///{kept}", statement)]


class Turn:
    """A lock that counts who has come for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.came = 0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, timeout: float) -> bool:
        """Count, and take it."""
        self.came += 1
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Let it go."""
        self._lock.release()
