"""Faults of databases: locked by others, without the trail's table, sessions that end, freeze or crash."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from faults.fault import Scene
from faults.files import full_disk
from faults.site import Database
from tests.support.door import behind

OTHERS = b" FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SESSIONS = b"SELECT pid" + OTHERS
TERMINATE = b"SELECT pg_terminate_backend(pid)" + OTHERS

REFUSING: dict[Database, tuple[str, str]] = {
    "sqlite": (
        "CREATE TRIGGER away BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'away'); END",
        "DROP TRIGGER away",
    ),
    "postgresql": (
        "ALTER TABLE audit_log ADD CONSTRAINT away CHECK (false) NOT VALID",
        "ALTER TABLE audit_log DROP CONSTRAINT away",
    ),
}
"""How the trail is made to take nothing, and to take entries again."""


@contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Let another program hold what is written to: SQLite's file, or a table of PostgreSQL's."""
    if scene.site.database == "postgresql":
        with scene.site.connect() as connection, connection.transaction():
            table = scene.random.choice(("secrets", "audit_log"))
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            scene.wait(0.5, 2.0)
            yield
        return
    other = sqlite3.connect(scene.site.data / "yoq.db", timeout=60, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        scene.wait(0.5, 2.0)
        yield
    finally:
        other.close()


@contextmanager
def no_trail(scene: Scene) -> Iterator[None]:
    """Have the trail's table take no entry, so that the spool has to."""
    refuse, take = REFUSING[scene.site.database]
    wait = "?timeout=60" if scene.site.database == "sqlite" else ""
    behind(f"{scene.site.database_url}{wait}", refuse)
    try:
        yield
    finally:
        behind(f"{scene.site.database_url}{wait}", take)


@contextmanager
def no_trail_kill(scene: Scene) -> Iterator[None]:
    """Have it take none, and kill the server while it lives on its spool; it starts before the table takes any."""
    with no_trail(scene):
        scene.wait(0.5, 1.5)
        scene.site.kill()
        scene.site.start()
        yield


@contextmanager
def no_trail_full_disk(scene: Scene) -> Iterator[None]:
    """Have it take none, and fill the disk that the spool is on."""
    with no_trail(scene), full_disk(scene):
        yield


@contextmanager
def terminated_sessions(scene: Scene) -> Iterator[None]:
    """End all sessions with the database, again and again."""
    for _ in range(5):
        with scene.site.connect() as connection:
            connection.execute(TERMINATE)
        scene.wait(0.1, 0.4)
    yield


@contextmanager
def frozen_sessions(scene: Scene) -> Iterator[None]:
    """Stop the processes of all sessions, as a database's machine that hangs does."""
    pids = _list_sessions(scene)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        scene.wait(1.0, 4.0)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def crashed_database(scene: Scene) -> Iterator[None]:
    """Kill one session with SIGKILL: PostgreSQL then ends all of them and recovers."""
    with suppress(ProcessLookupError):
        os.kill(scene.random.choice(_list_sessions(scene)), signal.SIGKILL)
    scene.wait(0.5, 1.5)
    yield


def _list_sessions(scene: Scene) -> list[int]:
    with scene.site.connect() as connection:
        return [row[0] for row in connection.execute(SESSIONS).fetchall()]
