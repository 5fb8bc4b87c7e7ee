"""What is acknowledged is on disk: commits share a sync, nobody is told before it, and all are if it fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, insert, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.conftest import Api, MakeApp
from tests.support.disk import Disk, Turn
from tests.support.door import Probe, acting, entries, policies, probe_act
from yoq_audit.sealing import keys, sealer
from yoq_web import db
from yoq_web.database import engine, wal_sync
from yoq_web.database.engine import set_rules
from yoq_web.database.file_watch import current_file_watch
from yoq_web.database.migrations import upgrade
from yoq_web.operations.replay import replay
from yoq_web.policies.models import Policy

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

TRAIL = "SELECT target FROM audit_log WHERE outcome = 'ok'"
SOURCES = "SELECT source FROM policies"
ROW = {"target": "b", "action": "allow", "created_at": 1}
THREADS = 8
EACH = 6


@pytest.fixture
def probe() -> Probe:
    """A plugin that keeps what it is told."""
    return Probe()


@pytest.fixture
def app(make_app: MakeApp, probe: Probe) -> Flask:
    """An application with the probe's operations."""
    return make_app(probe)


@pytest.fixture
def disk(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk that it writes to."""
    return Disk(tmp_path, monkeypatch)


def add(app: Flask, name: str) -> None:
    """Perform an operation that adds a policy."""
    with acting(app), probe_act.performed(name) as session:
        session.execute(insert(Policy).values(ROW | {"source": name}))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def held_up(app: Flask, disk: Disk, names: list[str]) -> Iterator[list[Future[None]]]:
    """Operations of which the first one's sync does not end while the block lasts, and the others come behind it."""
    turn = Turn()
    watch = current_file_watch(app)
    assert watch is not None
    add(app, "warm")
    watch._sync._turn = turn  # type: ignore[assignment]  # as much of a lock as is used
    disk.go_on.clear()
    with ThreadPoolExecutor(len(names)) as pool:
        try:
            futures = [pool.submit(add, app, names[0])]
            assert disk.syncing.wait(30)
            futures += [pool.submit(add, app, name) for name in names[1:]]
            wait_for(lambda: turn.came == len(names))
            yield futures
        finally:
            disk.go_on.set()


def test_nobody_is_told_before_it_is_on_disk(app: Flask, disk: Disk, probe: Probe, database_url: str) -> None:
    """While the disk has not taken it an operation is not answered, and no plugin is told; then both."""
    with held_up(app, disk, ["a", "b"]) as futures:
        assert policies(database_url) == ["warm", "a", "b"]  # others see it: it is committed
        assert not any(future.done() for future in futures)
        assert [event.target for event in probe.committed] == ["warm"]
    assert [future.result(30) for future in futures] == [None, None]
    wait_for(lambda: {event.target for event in probe.committed} == {"warm", "a", "b"})


def test_who_commits_meanwhile_shares_the_next_sync(app: Flask, disk: Disk) -> None:
    """However many have committed while the disk was busy, one sync is for all of them."""
    names = [str(number) for number in range(THREADS)]
    with held_up(app, disk, names) as futures:
        before = disk.syncs
    for future in futures:
        future.result(30)
    assert disk.syncs == before + 2
    assert set(disk.read(TRAIL)) == {"warm", *names}


def test_a_slow_operation_holds_up_no_answer_of_who_came_before(app: Flask, disk: Disk) -> None:
    """Behind one that has committed another may take its time with the database: the first is answered all the same."""
    inside, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with acting(app), probe_act.performed("slow"):
            inside.set()
            assert go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        try:
            with held_up(app, disk, ["first"]) as (first,):
                slow = pool.submit(hang)
                assert inside.wait(30)
            assert first.result(30) is None
            assert not slow.done()
            assert sorted(disk.read(SOURCES)) == ["first", "warm"]
        finally:
            go_on.set()
        slow.result(30)


def test_a_disk_that_takes_its_time_hangs_nobody_who_waits(
    app: Flask, disk: Disk, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits behind a sync that does not end is told so in bounded time, and the trail says once what is true."""
    with held_up(app, disk, ["first"]) as (first,), monkeypatch.context() as patch:
        patch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
        with pytest.raises(OperationalError, match=wal_sync.LATE):
            add(app, "second")
    assert first.result(30) is None
    with app.app_context():
        replay()
    stored = sorted((entry["target"], entry["outcome"]) for entry in entries(database_url))
    assert stored == [("first", "ok"), ("second", "ok"), ("warm", "ok")]


def test_a_power_cut_takes_nothing_that_was_acknowledged(app: Flask, disk: Disk) -> None:
    """At each answer the disk has the change and its entry; and whatever it has, neither is there without the other."""
    answered: dict[str, int] = {}

    def work(thread: int) -> None:
        for number in range(EACH):
            name = f"{thread}-{number}"
            add(app, name)
            answered[name] = disk.syncs

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert len(answered) == THREADS * EACH
    for syncs in sorted(set(answered.values())):
        kept = set(disk.read(TRAIL, syncs))
        assert {name for name, at in answered.items() if at <= syncs} <= kept
        assert set(disk.read(SOURCES, syncs)) == kept


def test_a_migration_is_on_disk_when_it_is_done(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `db upgrade` made is there after a power cut."""
    folder = tmp_path / "fresh"
    fresh = make_app(YOQ_DATA_DIR=str(folder), YOQ_DATABASE_URL=f"sqlite:///{folder / 'yoq.db'}")
    disk = Disk(folder, monkeypatch)
    with fresh.app_context():
        upgrade()
    assert disk.read("SELECT count(*) FROM audit_log") == [0]


def test_a_failed_sync_fails_all_who_waited_for_it(
    app: Flask, disk: Disk, probe: Probe, database_url: str, tmp_path: Path
) -> None:
    """Nobody is told that it was done; the trail says of each once what is true; and nothing later is built on it."""
    with held_up(app, disk, ["a", "b", "c", "d"]) as (first, *others):
        disk.fails_at = disk.attempts + 2
    assert first.result(30) is None
    assert all(wal_sync.UNSYNCED in str(other.exception(30)) for other in others)
    assert {event.target for event in probe.committed} == {"warm", "a"}
    wait_for(lambda: {event.target for event in probe.failed} == {"b", "c", "d"})
    # They were committed, and stay: the entries that say so are theirs.
    names = ["warm", "a", "b", "c", "d"]
    assert sorted(policies(database_url)) == sorted(names)
    stored = Counter((entry["target"], entry["outcome"]) for entry in entries(database_url))
    assert stored == {(name, "ok"): 1 for name in names}
    # A system that forgot what it could not write says of the next sync that it succeeded. All of it was written anew.
    alone = tmp_path / "alone.db"
    alone.write_bytes((tmp_path / "yoq.db").read_bytes())
    assert sorted(policies(f"sqlite:///{alone}")) == sorted(names)
    add(app, "after")
    assert Api(app)("GET", "/health").json == {"status": "ok"}


def test_nothing_is_acknowledged_until_the_log_is_in_the_database(
    app: Flask, disk: Disk, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sync that failed each operation is refused while a reader keeps the log in use; /health says why."""
    monkeypatch.setattr(wal_sync, "PATIENCE", 0.02)
    api = Api(app)
    add(app, "before")
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM policies").fetchone()
        disk.failing = True
        answers = [api("POST", "/v1/secrets", json={"name": "n", "value": "hunter2"}) for _ in range(2)]
        disk.failing = False
        answers.append(api("POST", "/v1/secrets", json={"name": "n", "value": "hunter2"}))
        assert [answer.status_code for answer in answers] == [503, 503, 503]
        assert api("GET", "/health").json["database"] == wal_sync.UNSYNCED  # type: ignore[index]
    reader.close()
    answers.append(api("POST", "/v1/secrets", json={"name": "n", "value": "hunter2"}))
    assert answers[-1].status_code == 200
    ids = [answer.headers["Audit-Id"] for answer in answers]
    wait_for(lambda: api("GET", "/health").json == {"status": "ok"})
    stored = [entry["event_id"] for entry in entries(database_url) if entry["action"] == "secret_set"]
    assert sorted(stored) == sorted(ids)


def test_nothing_is_signed_before_it_is_on_disk(app: Flask, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that another process has just committed is signed when a power cut could not take it any more."""
    add(app, "a")
    sign, signed = keys.sign_checkpoint, []

    def stop(size: int, *rest: Any) -> Any:
        if size:
            raise SystemExit
        return sign(size, *rest)

    def look(size: int, *rest: Any) -> Any:
        if size:
            signed.append((size, disk.read("SELECT count(*) FROM audit_leaf")))
        return sign(size, *rest)

    with app.app_context():
        monkeypatch.setattr(keys, "sign_checkpoint", stop)
        with monkeypatch.context() as patch:
            patch.setattr(wal_sync, "_sync_file", lambda _file: None)  # the other process is about to sync
            with suppress(SystemExit):
                sealer.seal()
        monkeypatch.setattr(keys, "sign_checkpoint", look)
        sealer.seal()
    assert signed == [(1, [1])]


def test_a_database_without_such_a_log_syncs_by_itself(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system lets SQLite have none, what is done is acknowledged all the same, and on disk."""
    watch = current_file_watch(app)
    assert watch is not None
    monkeypatch.setattr(watch, "_log_path", f"{watch._log_path}-nowhere")
    monkeypatch.setattr(watch, "_index_path", f"{watch._index_path}-nowhere")
    add(app, "a")
    with app.app_context():
        assert db.session.scalar(text("PRAGMA synchronous")) == 2


def test_a_database_that_is_not_watched_syncs_by_itself(app: Flask, tmp_path: Path) -> None:
    """Where nobody syncs for it, SQLite waits for the disk at each commit as ever."""
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}", poolclass=NullPool)
    set_rules(other)
    with app.app_context(), db.engine.connect() as watched, other.connect() as alone:
        assert [one.scalar(text("PRAGMA synchronous")) for one in (watched, alone)] == [1, 2]
