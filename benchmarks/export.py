"""`audit export` at a million entries against reading the same rows with the bare driver; and its peak memory."""

from __future__ import annotations

import multiprocessing
import resource
import sqlite3
import time
from pathlib import Path

from benchmarks.verify import ENTRIES, ROUNDS, fill
from yoq_audit.export.formats import FORMATS
from yoq_audit.export.operations import Export, Follower
from yoq_audit.export.sealed_log import current_sealed_log
from yoq_audit.query.filters import Selection
from yoq_audit.storage.log import STORED
from yoq_audit.storage.tree import find_signed_tree
from yoq_web import create_app, db

BARE = (
    f"SELECT leaf_index, {', '.join(STORED)} FROM audit_leaf "  # noqa: S608 - our own names
    "JOIN audit_log ON audit_log.id = audit_leaf.entry_id ORDER BY leaf_index"
)

WAYS = [*((name, False) for name in FORMATS), ("ndjson", True), ("followed", False)]


def measure(folder: Path) -> float:
    """The rate of an export as ndjson as a share of the rate of the bare cursor, the best of the rounds each."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(fill, (folder,))
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        spent = {"the bare cursor": bare(folder)}
        for name, with_proofs in WAYS:
            with context.Pool(1) as pool:  # a process of its own, whose memory is that of this export alone
                seconds, memory = pool.apply(export, (folder, name, with_proofs))
            what = f"{name}{' with proofs' if with_proofs else ''}, peak memory {memory // 1024} MB"
            spent[what.partition(",")[0]] = seconds
            print(f"  {what}: {ENTRIES / seconds:,.0f} entries a second, {spent['the bare cursor'] / seconds:.2f}")
        for name, seconds in spent.items():
            best[name] = min(seconds, best.get(name, seconds))
    for name, seconds in best.items():
        print(f"  {name}: {seconds:.1f} s, {best['the bare cursor'] / seconds:.2f}")
    return best["the bare cursor"] / best["ndjson"]


def bare(folder: Path) -> float:
    """The seconds that the driver's cursor takes for all rows."""
    connection = sqlite3.connect(folder / "yoq.db")
    started = time.perf_counter()
    rows = connection.execute(BARE)
    while rows.fetchmany(512):
        pass
    connection.close()
    return time.perf_counter() - started


def export(folder: Path, name: str, with_proofs: bool) -> tuple[float, int]:
    """The seconds that an export to a file takes, and the process's peak memory in kilobytes."""
    app = create_app({"YOQ_DATA_DIR": str(folder)})
    with app.app_context():
        sealed = find_signed_tree(db.session())
    if sealed is None or sealed.size != ENTRIES:
        raise SystemExit("the log is not sealed")
    started = time.perf_counter()
    if name == "followed":
        pieces = Follower(current_sealed_log(app), Selection(), 0).read_new(sealed.size)
        count = sum(len(piece.rows) for piece in pieces)
        if count != ENTRIES:
            raise SystemExit(f"{count} entries were followed")
    else:
        with (folder / "export").open("wb") as file:
            for piece in Export(current_sealed_log(app), Selection(), name, with_proofs, sealed).write():
                file.write(piece)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
