"""`GET /v1/audit?limit=50` on a long trail against one of a thousand entries: newest, each filter, a deep page."""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from benchmarks.rows import Row
from yoq_audit.query.cursor import Cursor
from yoq_audit.query.filters import Selection
from yoq_audit.query.snapshot import Snapshot
from yoq_audit.storage.log import STORED
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade
from yoq_web.times import format_time

ENTRIES = int(os.environ.get("BENCH_TRAIL", "1_000_000"))
FEW = 1000
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "200"))
TOKEN = "b" * 64
START = 1_790_000_000_000_000
STEP = 3_000_000
"""Microseconds from one entry to the next: ten million take a year."""

ACTIONS = ("secret_set", "secret_list", "policy_add", "token_create", "app_apply", "agent_register", "secret_delete")

TARGETS = 15
"""So few that each has a page full of entries on the short trail, too: both answer with as much."""

Query = Callable[[int, random.Random], str]


def measure(folder: Path) -> list[Row]:
    """How many times as long a page takes on the long trail, for each query: the ratio of the medians."""
    trails = {size: trail(folder / str(size), size) for size in (FEW, ENTRIES)}
    print(f"  {ENTRIES:,} entries, {(folder / str(ENTRIES) / 'yoq.db').stat().st_size / 1e9:.1f} GB")
    found: list[Row] = []
    for name, query in QUERIES.items():
        spent: dict[int, list[float]] = {size: [] for size in trails}
        chance = random.Random(name)  # noqa: S311 - which values are asked for, the same in each run
        for number in range(REQUESTS):
            for size, (_, client) in trails.items():
                seconds = timed(client, query(size, chance))
                if number >= REQUESTS // 10:  # the first ones warm up
                    spent[size].append(seconds)
        few, many = (statistics.median(spent[size]) for size in (FEW, ENTRIES))
        found.append(Row(f"a page of {ENTRIES:,} entries / of {FEW:,}: {name}", [many / few], "<= 1.2"))
        print(f"  {name:<28} {few * 1000:6.2f} ms  {many * 1000:6.2f} ms  {many / few:5.2f}")
    for app, _ in trails.values():
        with app.app_context():
            db.engine.dispose()
    return found


def timed(client: FlaskClient, path: str) -> float:
    """The seconds that one page takes."""
    started = time.perf_counter()
    answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    spent = time.perf_counter() - started
    if answer.status_code != 200 or not answer.json:
        raise SystemExit(f"{path}: {answer.text[:200]}")
    return spent


def deep(size: int, chance: random.Random) -> str:
    """A page in the middle of a walk."""
    position = size // 2 + chance.randrange(size // 4)
    return f"/v1/audit?limit=50&cursor={Cursor((position,), Snapshot(size)).encode(Selection(), 'desc')}"


def at(size: int, part: float) -> str:
    """A time when this part of the trail had been stored."""
    return format_time(START + int(size * part) * STEP)


QUERIES: dict[str, Query] = {
    "newest": lambda *_: "/v1/audit?limit=50",
    "oldest": lambda *_: "/v1/audit?limit=50&order=asc",
    "deep page": deep,
    "actor, frequent": lambda *_: "/v1/audit?limit=50&actor=api-token",
    "actor, rare and long ago": lambda *_: "/v1/audit?limit=50&actor=founder",
    "action": lambda _, chance: f"/v1/audit?limit=50&action={chance.choice(ACTIONS)}",
    "target": lambda _, chance: f"/v1/audit?limit=50&target=service-{chance.randrange(TARGETS)}/password",
    "target, frequent prefix": lambda *_: "/v1/audit?limit=50&target=service-*",
    "target, rare prefix": lambda _, chance: f"/v1/audit?limit=50&target=job-{chance.randrange(10)}*",
    "outcome=ok": lambda *_: "/v1/audit?limit=50&outcome=ok",
    "outcome=failed": lambda *_: "/v1/audit?limit=50&outcome=failed",
    "node": lambda _, chance: f"/v1/audit?limit=50&node=node-{chance.randrange(3)}",
    "request_id": lambda size, chance: f"/v1/audit?limit=50&request_id={chance.randrange(size):032x}",
    "since": lambda size, _: f"/v1/audit?limit=50&since={at(size, 0.9)}",
    "until": lambda size, chance: f"/v1/audit?limit=50&until={at(size, chance.uniform(0.2, 0.8))}",
}


def trail(folder: Path, size: int) -> tuple[Flask, FlaskClient]:
    """An application with so many entries."""
    folder.mkdir()
    app = create_app({"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN})
    with app.app_context():
        upgrade()
        db.engine.dispose()
    started = time.perf_counter()
    fill(folder / "yoq.db", size)
    if size > FEW:
        print(f"  filled in {time.perf_counter() - started:.0f} s")
    return app, app.test_client()


def fill(path: Path, size: int) -> None:
    """Store so many entries in a database: fast, not safely. The indexes are made afterwards, as they grow slowly."""
    bare = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=FILE"):
        bare.execute(f"PRAGMA {pragma}")
    indexes = bare.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'audit_log' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        bare.execute(f"DROP INDEX {name}")
    bare.execute("BEGIN")
    marks = ", ".join("?" * len(STORED))
    bare.executemany(f"INSERT INTO audit_log ({', '.join(STORED)}) VALUES ({marks})", rows(size))  # noqa: S608 - our own names
    for _, sql in indexes:
        bare.execute(sql)
    bare.execute("COMMIT")
    bare.execute("PRAGMA journal_mode=WAL")
    bare.close()


def rows(size: int) -> Iterator[tuple[Any, ...]]:
    """Entries of a year: few actors, few targets, one in sixteen failed, the first hundred by somebody else."""
    chance = random.Random(1)  # noqa: S311 - made-up entries, the same in each run
    for number in range(size):
        moment = START + number * STEP
        stamp = f"{moment // 1000:012x}"
        early = number < size // 10 and number < 100
        yield (
            moment // 1_000_000,
            "founder" if early else "api-token" if number % 4 else "ci",
            ACTIONS[number % len(ACTIONS)],
            f"job-{number % 10}/{number}" if early else f"service-{number % TARGETS}/password",
            "failed" if number % 16 == 0 else "ok",
            f"{stamp[:8]}-{stamp[8:]}-7000-8000-{chance.getrandbits(48):012x}",
            moment,
            "admin",
            None,
            f"{number:032x}",
            f"node-{number % 3}",
            "127.0.0.1",
            '{"bytes":24,"reason":"rotation"}',
            1,
            f"{chance.getrandbits(128):032x}",
        )
