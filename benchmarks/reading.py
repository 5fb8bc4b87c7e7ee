"""Reading a long log against one of a thousand entries, on both databases: pages, filters, sealing, proofs, health."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from benchmarks.rows import Row
from tests.support import postgres as postgres_server
from tests.support.long_log import ACTIONS, TARGETS, fill
from yoq_audit import read_log
from yoq_audit.query.cursor import Cursor
from yoq_audit.query.filters import Selection
from yoq_audit.query.snapshot import Snapshot
from yoq_audit.sealing import sealer
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1_000_000"))
FEW = 1000
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "100"))
TOKEN = "b" * 64
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
STEP_SECONDS = 3
"""From one entry to the next: ten million take a year."""


@dataclass(frozen=True)
class Log:
    """A log of so many entries, the application that has it, and a client."""

    size: int
    app: Flask
    client: FlaskClient

    def get(self, path: str) -> None:
        """Ask for something."""
        answer = self.client.get(path, headers=HEADERS)
        if answer.status_code != 200 or not answer.data:
            raise SystemExit(f"{path}: {answer.text[:200]}")

    def write(self) -> str:
        """Perform an operation; returns the id of its event."""
        answer = self.client.post("/v1/secrets", json={"name": "a", "value": "b"}, headers=HEADERS)
        return str(answer.headers["Audit-Id"])


Timed = Callable[[Log, random.Random], Callable[[], object]]


def page(query: str) -> Timed:
    """A page of the list."""
    return lambda log, chance: (
        lambda: log.get(
            f"/v1/audit?limit=50{query}".format(action=chance.choice(ACTIONS), few=chance.randrange(TARGETS))
        )
    )


def deep(log: Log, chance: random.Random) -> Callable[[], object]:
    """A page in the middle of a walk."""
    position = log.size // 2 + chance.randrange(log.size // 4)
    cursor = Cursor((position,), Snapshot(log.size)).encode(Selection(), "desc")
    return lambda: log.get(f"/v1/audit?limit=50&cursor={cursor}")


def seal(log: Log, _chance: random.Random) -> Callable[[], object]:
    """Sealing what was just written."""
    log.write()

    def work() -> None:
        with log.app.app_context():
            sealer.seal()

    return work


def prove(log: Log, _chance: random.Random) -> Callable[[], object]:
    """Proving what was just written, which is sealed for it."""
    event_id = log.write()
    return lambda: log.get(f"/v1/audit/entries/{event_id}/proof")


def follow(log: Log, _chance: random.Random) -> Callable[[], object]:
    """Reading the last entries of the sealed log, as those do who follow it."""

    def work() -> None:
        with log.app.app_context():
            read_log(log.size - 60, limit=50)

    return work


WORK: dict[str, Timed] = {
    "newest": page(""),
    "oldest": page("&order=asc"),
    "deep page": deep,
    "actor, frequent": page("&actor=api-token"),
    "actor, rare and long ago": page("&actor=founder"),
    "action": page("&action={action}"),
    "target": page("&target=app-{few}/a"),
    "target, frequent prefix": page("&target=app-*"),
    "target, rare prefix": page("&target=job-1*"),
    "outcome=ok": page("&outcome=ok"),
    "outcome=failed": page("&outcome=failed"),
    "node": page("&node=node-1"),
    "peer, rare network": page("&peer=192.0.2.0/24"),
    "since": page("&since=40m"),
    "until": page("&until=20m"),
    "statistics of 40 minutes": lambda log, _: lambda: log.get("/v1/audit/stats?since=40m"),
    "health": lambda log, _: lambda: log.get("/health"),
    "a sealing": seal,
    "a proof": prove,
    "following": follow,
}


def measure(folder: Path) -> list[Row]:
    """How many times as long each work takes on the long log."""
    found = measure_on("SQLite", "<= 1.2", [open_log(folder / str(size), size) for size in (FEW, ENTRIES)])
    with postgres_server.running() as server:
        logs = [open_log(folder / f"pg{size}", size, server.url(server.create())) for size in (FEW, ENTRIES)]
        return found + measure_on("PostgreSQL", "<= 1.5", logs)


def measure_on(database: str, goal: str, logs: list[Log]) -> list[Row]:
    """The ratios of the medians on one database."""
    print(f"  {database}, {ENTRIES:,} entries")
    found: list[Row] = []
    for name, timed in WORK.items():
        spent: dict[int, list[float]] = {log.size: [] for log in logs}
        chance = random.Random(name)  # noqa: S311 - which values are asked for, the same in each run
        for number in range(REQUESTS):
            for log in logs:
                work = timed(log, chance)
                started = time.perf_counter()
                work()
                if number >= REQUESTS // 10:  # the first ones warm up
                    spent[log.size].append(time.perf_counter() - started)
        few, many = (statistics.median(spent[log.size]) for log in logs)
        found.append(Row(f"{database}, {ENTRIES:,} entries / {FEW:,}: {name}", [many / few], goal))
        print(f"  {name:<28} {few * 1000:6.2f} ms  {many * 1000:6.2f} ms  {many / few:5.2f}")
    for log in logs:
        with log.app.app_context():
            db.engine.dispose()
    return found


def open_log(folder: Path, size: int, url: str | None = None) -> Log:
    """An application with so many entries; in another process, as it were, than the one that filled it."""
    folder.mkdir()
    config = {"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN} | ({"YOQ_DATABASE_URL": url} if url else {})
    started = time.perf_counter()
    with _run_once(config) as app, app.app_context():
        upgrade()
        fill(size, STEP_SECONDS)
    if size > FEW:
        print(f"  filled in {time.perf_counter() - started:.0f} s")
    app = create_app(config)
    return Log(size, app, app.test_client())


@contextmanager
def _run_once(config: dict[str, str]) -> Iterator[Flask]:
    app = create_app(config)
    yield app
    with app.app_context():
        db.engine.dispose()
