"""Our audited write against the bare driver doing the same two writes in one transaction, in one thread."""

from __future__ import annotations

import sqlite3
import statistics
import time
import uuid
from pathlib import Path

from benchmarks import plugin
from benchmarks.plugin import Value, bench_set
from yoq_web import create_app, db
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.database.migrations import upgrade
from yoq_web.database.session import upsert

WRITES = 400
ROUNDS = 9

TABLE = "CREATE TABLE bench_values (name VARCHAR PRIMARY KEY, text VARCHAR NOT NULL, updated_at INTEGER NOT NULL)"
UPSERT = (
    "INSERT INTO bench_values (name, text, updated_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at"
)
ENTRY = (
    "INSERT INTO audit_log (event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, "
    "request_id, node, peer, details, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def measure(folder: Path) -> float:
    """The rate of our audited writes as a share of the bare driver's: the median of the rounds."""
    app = create_app({"YOQ_DATA_DIR": str(folder)}, plugins=(plugin,))
    with app.app_context():
        upgrade()
        set_actor(make_local_actor())
        bare = sqlite3.connect(folder / "yoq.db", isolation_level=None)
        bare.execute("PRAGMA synchronous=FULL")
        bare.execute(TABLE)
        ratios = []
        for _ in range(ROUNDS):
            raw, ours = _bare(bare), _ours()
            ratios.append(raw / ours)
        bare.close()
        db.engine.dispose()
    print(f"  rounds: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return statistics.median(ratios)


def _bare(connection: sqlite3.Connection) -> float:
    started = time.perf_counter()
    for number in range(WRITES):
        now = time.time_ns() // 1000
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(UPSERT, (f"bare-{number % 20}", "a value of some length", now // 1_000_000))
        entry = (str(uuid.uuid4()), now // 1_000_000, now, "local", "local", "bench_set", f"bare-{number % 20}", "ok")
        connection.execute(ENTRY, (*entry, None, None, "node-1", None, "{}", 1))
        connection.execute("COMMIT")
    return time.perf_counter() - started


def _ours() -> float:
    started = time.perf_counter()
    for number in range(WRITES):
        name = f"ours-{number % 20}"
        with bench_set.performed(name) as session:
            row = {"name": name, "text": "a value of some length", "updated_at": int(time.time())}
            session.execute(upsert(Value, key=("name",), update=("text", "updated_at")), row)
    return time.perf_counter() - started
