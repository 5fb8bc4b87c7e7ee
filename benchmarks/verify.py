"""`audit verify` at a million entries against hashing the same leaves with hashlib alone; and its peak memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from yoq_audit.sealing import sealer
from yoq_audit.storage.log import STORED
from yoq_audit.tlog.leaf import encode_leaf
from yoq_audit.verification.commands import verify_log
from yoq_audit.verification.reader import FIRST_FIELD, PLACED
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1_000_000"))
ROUNDS = 3


def measure(folder: Path) -> list[Row]:
    """The rate of a verification as a share of the rate of hashing the leaves."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(fill, (folder,))
    ratios = []
    for _ in range(ROUNDS):
        with context.Pool(1) as pool:  # a process of its own, whose memory is that of verifying alone
            ours, memory = pool.apply(verify, (folder,))
        alone = _alone(folder)
        ratios.append(alone / ours)
        print(f"  {ENTRIES} entries: {ours:.1f} s, hashing alone {alone:.2f} s, peak memory {memory // 1024} MB")
    return [Row(f"`audit verify` of {ENTRIES:,} entries / hashing their leaves alone", ratios, ">= 0.33")]


def fill(folder: Path) -> None:
    """Make a database with so many sealed entries."""
    app = create_app({"YOQ_DATA_DIR": str(folder)})
    with app.app_context():
        upgrade()
        with sqlite3.connect(folder / "yoq.db") as bare:
            names = ", ".join(STORED)
            marks = ", ".join("?" * len(STORED))
            bare.executemany(f"INSERT INTO audit_log ({names}) VALUES ({marks})", _rows())  # noqa: S608 - our own names
        bare.close()
        started = time.perf_counter()
        sealer.seal()
        print(f"  sealed in {time.perf_counter() - started:.1f} s")
        db.engine.dispose()


def _rows() -> Iterator[tuple[Any, ...]]:
    start = 1_790_000_000_000_000
    for number in range(ENTRIES):
        moment = start + number * 1_000
        event_id = f"{moment // 1000:012x}"
        event_id = f"{event_id[:8]}-{event_id[8:]}-7000-8000-{number:012x}"
        yield (
            moment // 1_000_000,
            "api-token",
            "secret_set",
            f"service-{number % 1000}/password",
            "ok",
            event_id,
            moment,
            "api-token",
            None,
            f"{number:032x}",
            "node-1",
            "127.0.0.1",
            '{"bytes":24,"reason":"rotation"}',
            1,
            os.urandom(16).hex(),
        )


def verify(folder: Path) -> tuple[float, int]:
    """The seconds that a verification takes, and the process's peak memory in kilobytes."""
    app = create_app({"YOQ_DATA_DIR": str(folder)})
    with app.app_context():
        started = time.perf_counter()
        report = verify_log()
        spent = time.perf_counter() - started
        if not report.ok or report.size != ENTRIES:
            raise SystemExit(f"the log does not hold: {report.findings[:3]}")
        db.engine.dispose()
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _alone(folder: Path) -> float:
    """The seconds that hashing the leaves takes, held in memory and ready."""
    connection = sqlite3.connect(folder / "yoq.db")
    spent = 0.0
    rows = connection.execute(PLACED, (0, ENTRIES))
    while batch := rows.fetchmany(50_000):
        leaves = [b"\0" + encode_leaf(row[FIRST_FIELD:]) for row in batch]
        started = time.perf_counter()
        for leaf in leaves:
            sha256(leaf).digest()
        spent += time.perf_counter() - started
    connection.close()
    return spent
