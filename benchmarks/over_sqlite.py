"""Our audited write against the bare driver doing the same two writes in one transaction, in one thread."""

from __future__ import annotations

import itertools
import sqlite3
import time
import uuid
from pathlib import Path

from flask import Flask

from benchmarks import plugin
from benchmarks.plugin import Value, bench_set
from benchmarks.rows import Row
from yoq_web import create_app, db
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.database.migrations import upgrade
from yoq_web.database.rights import allow_commits
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

_numbers = itertools.count()
"""SQLite writes no page that gets what it has: each value is another one."""


def make_database(folder: Path) -> Flask:
    """Make an application with a migrated database and the measuring plugin's table."""
    app = create_app({"YOQ_DATA_DIR": str(folder)}, plugins=(plugin,))
    with app.app_context():
        upgrade()
        db.session.connection().exec_driver_sql(TABLE)  # a benchmark's table needs no migration
        with allow_commits():
            db.session.commit()
        db.engine.dispose()
    return app


def measure(folder: Path) -> list[Row]:
    """The rate of our audited writes as a share of the bare driver's."""
    with make_database(folder).app_context():
        set_actor(make_local_actor())
        bare = sqlite3.connect(folder / "yoq.db", isolation_level=None)
        for pragma in ("synchronous=FULL", "wal_autocheckpoint=8000", "temp_store=MEMORY"):  # as ours
            bare.execute(f"PRAGMA {pragma}")
        _bare(bare), _ours()  # warms up
        ratios = [_bare(bare) / _ours() for _ in range(ROUNDS)]
        [(entries,)] = bare.execute("SELECT count(*) FROM audit_log WHERE action = 'bench_set'")
        bare.close()
        db.engine.dispose()
    if entries != 2 * WRITES * (ROUNDS + 1):
        raise SystemExit(f"{entries} entries were left")
    return [Row("our audited write / bare sqlite3 doing the same two writes, in process", ratios)]


def _bare(connection: sqlite3.Connection) -> float:
    started = time.perf_counter()
    for number in range(WRITES):
        now = time.time_ns() // 1000
        connection.execute("BEGIN IMMEDIATE")
        text = f"a value of some length {next(_numbers)}"
        connection.execute(UPSERT, (f"bare-{number % 20}", text, now // 1_000_000))
        entry = (str(uuid.uuid4()), now // 1_000_000, now, "local", "local", "bench_set", f"bare-{number % 20}", "ok")
        connection.execute(ENTRY, (*entry, None, None, "node-1", None, "{}", 1))
        connection.execute("COMMIT")
    return time.perf_counter() - started


def _ours() -> float:
    started = time.perf_counter()
    for number in range(WRITES):
        name = f"ours-{number % 20}"
        with bench_set.performed(name) as session:
            row = {"name": name, "text": f"a value of some length {next(_numbers)}", "updated_at": int(time.time())}
            session.execute(upsert(Value, key=("name",), update=("text", "updated_at")), row)
    return time.perf_counter() - started
