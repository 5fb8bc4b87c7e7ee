"""A backup and a restore against copying the same file and syncing it; and the peak memory of each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.rows import Row
from yoq_web import create_app, db
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.backup.operations import take_backup
from yoq_web.backup.restoration import Restore
from yoq_web.database.migrations import upgrade

MEGABYTES = int(os.environ.get("BENCH_MEGABYTES", "256"))
ROUNDS = 3
PIECE = 16 * 1024


def measure(folder: Path) -> list[Row]:
    """The time of a copy as a share of a backup's, and of a restore's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_fill, (folder,))
    return [
        Row("copying a database's file / backing it up encrypted", _compare(folder, "backup", _take), ">= 0.3"),
        Row(
            "copying a database's file / restoring it with every check", _compare(folder, "restore", _restore), ">= 0.2"
        ),
    ]


def _compare(folder: Path, what: str, work: Callable[[Path], None]) -> list[float]:
    ratios = []
    for _ in range(ROUNDS):
        copying = _copied(folder / "yoq.db", folder / "copy")
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # whose memory is that of the work alone
            ours, memory, before = pool.apply(_timed, (folder, work))
        ratios.append(copying / ours)
        size = (folder / "yoq.db").stat().st_size / 1e6
        speed = f"{size / ours:.0f} MB/s, copying {size / copying:.0f} MB/s"
        added = f"peak memory {memory // 1024} MB, of which the program itself {before // 1024} MB"
        print(f"  {what} of {size:.0f} MB: {ours:.1f} s, {speed}, {added}")
    return ratios


def _fill(folder: Path) -> None:
    """Make a database of this size, of which most is in the table of secrets."""
    app = create_app({"YOQ_DATA_DIR": str(folder)})
    with app.app_context():
        upgrade()
        db.engine.dispose()
    with closing(sqlite3.connect(folder / "yoq.db")) as bare, bare:
        rows = ((f"s{number}", os.urandom(PIECE)) for number in range(MEGABYTES * 1_000_000 // PIECE))
        bare.execute("INSERT INTO secret_keys (id, master, wrapped, created_at) VALUES ('none', 'none', x'00', 0)")
        bare.executemany("INSERT INTO secrets VALUES (?, 'none', x'00', ?, 0, 0)", rows)
    with closing(sqlite3.connect(folder / "yoq.db")) as bare:
        bare.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _timed(folder: Path, work: Callable[[Path], None]) -> tuple[float, int, int]:
    """The seconds, and the process's peak memory in kilobytes, at the end and at the start."""
    app = create_app({"YOQ_DATA_DIR": str(folder)})
    with app.app_context():
        set_actor(make_local_actor())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        take_backup(folder / "backup", replace=True)
        started = time.perf_counter()
        work(folder)
        spent = time.perf_counter() - started
        db.engine.dispose()
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, before


def _take(folder: Path) -> None:
    take_backup(folder / "backup", replace=True)


def _restore(folder: Path) -> None:
    with Restore(folder / "backup", keep=False).prepare():
        pass


def _copied(source: Path, target: Path) -> float:
    started = time.perf_counter()
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(1024 * 1024):
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    return time.perf_counter() - started
