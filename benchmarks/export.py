"""`audit export` at a million entries against reading the same rows with the bare driver; and its peak memory."""

from __future__ import annotations

import multiprocessing
import resource
import sqlite3
import time
from pathlib import Path

from benchmarks.rows import Row
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

GOALS = {"ndjson": ">= 0.6", "csv": ">= 0.45", "ocsf": ">= 0.35", "ndjson with proofs": ">= 0.45"}
WAYS = [*((name, False) for name in FORMATS), ("ndjson", True), ("followed", False)]


def measure(folder: Path) -> list[Row]:
    """The rate of an export in each format as a share of the rate of the bare cursor."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(fill, (folder,))
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        alone = bare(folder)
        for name, with_proofs in WAYS:
            with context.Pool(1) as pool:  # a process of its own, whose memory is that of this export alone
                seconds, memory = pool.apply(export, (folder, name, with_proofs))
            what = f"{name}{' with proofs' if with_proofs else ''}"
            found.setdefault(what, []).append(alone / seconds)
            print(f"  {what}: {ENTRIES / seconds:,.0f} entries a second, peak memory {memory // 1024} MB")
    return [Row(f"export as {name} / the bare cursor", ratios, GOALS.get(name, "")) for name, ratios in found.items()]


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
