"""The write-ahead log is deleted, moved or replaced while it is in use: what was acknowledged is in the database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from tests.conftest import Api, MakeApp
from tests.support.door import Probe, acting, entries, policies, probe_act
from yoq_web import db
from yoq_web.database import file_watch
from yoq_web.policies.models import Policy

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

ROW = {"target": "b", "action": "allow", "created_at": 1}


def replace(log: Path) -> None:
    """Put an older copy in the log's place."""
    draft = log.with_name("draft")
    draft.write_bytes(log.read_bytes()[: 32 + 2 * 4120])
    draft.replace(log)


def delete_both(log: Path) -> None:
    """Delete the log and its index."""
    log.unlink()
    index(log).unlink()


def index(log: Path) -> Path:
    """The log's index, which all processes share."""
    return log.with_name("yoq.db-shm")


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda log: log.unlink(),
    "deleted with its index": delete_both,
    "its index deleted": lambda log: index(log).unlink(),
    "moved": lambda log: log.rename(log.with_name("elsewhere")),
    "replaced": replace,
    "replaced by an empty file": lambda log: (
        log.with_name("draft").write_bytes(b"") or log.with_name("draft").replace(log)
    ),
}
"""What can happen to it. Each is what a process that is killed afterwards leaves to the next one."""


def survivors(folder: Path) -> list[tuple[str, str]]:
    """Target and outcome of the entries that are there if the process is killed now."""
    left = folder / "left"
    shutil.rmtree(left, ignore_errors=True)
    left.mkdir()
    for path in folder.glob("yoq.db*"):
        if path.name in ("yoq.db", "yoq.db-wal"):
            shutil.copy(path, left)
    return [(entry["target"], entry["outcome"]) for entry in entries(f"sqlite:///{left / 'yoq.db'}")]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log's place. Its index is looked at every time."""
    monkeypatch.setattr(file_watch, "INTERVAL", 0)
    return tmp_path / "yoq.db-wal"


@pytest.mark.parametrize("how", LOSSES)
def test_what_was_acknowledged_before_is_kept(make_app: MakeApp, tmp_path: Path, log: Path, how: str) -> None:
    """The next request of any kind puts it into the database, and it goes on."""
    app = make_app(Probe())
    with acting(app), probe_act.performed("before"):
        pass
    LOSSES[how](log)
    assert Api(app)("GET", "/v1/policies").status_code == 200
    assert survivors(tmp_path) == [("before", "ok")]
    with acting(app), probe_act.performed("after"):
        pass
    assert survivors(tmp_path) == [("before", "ok"), ("after", "ok")]
    assert log.exists()
    assert Api(app)("GET", "/health").json == {"status": "degraded", "database": file_watch.BEGUN_ANEW}


@pytest.mark.parametrize("how", LOSSES)
def test_what_is_committed_into_a_lost_log_is_kept(make_app: MakeApp, tmp_path: Path, log: Path, how: str) -> None:
    """It is in the database before anybody is told that it was done, whoever else has connections."""
    app = make_app(Probe())
    with acting(app), db.engine.connect(), db.engine.connect() as other:
        other.close()
        with probe_act.performed("before"):
            pass
        with probe_act.performed("meanwhile"):
            LOSSES[how](log)
        assert survivors(tmp_path) == [("before", "ok"), ("meanwhile", "ok")]


def test_what_cannot_be_kept_is_not_acknowledged(
    make_app: MakeApp, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads what was before, nobody is told that it was done, and nothing begins; then it is kept."""
    monkeypatch.setattr(file_watch, "PATIENCE", 0.2)
    app = make_app(Probe())
    api = Api(app)

    def perform(target: str, *, losing: bool = False) -> None:
        with acting(app), probe_act.performed(target) as session:
            session.execute(insert(Policy).values(ROW | {"source": target}))
            if losing:
                log.unlink()

    perform("first")
    with app.app_context():
        reading = db.engine.connect()
    assert reading.scalar(text("SELECT count(*) FROM policies")) == 1
    with pytest.raises(OperationalError, match="write-ahead log"):
        perform("second", losing=True)
    with pytest.raises(OperationalError, match="write-ahead log"):
        perform("third")
    assert api("GET", "/v1/policies").status_code == 503
    health = api("GET", "/health")
    assert (health.status_code, health.json["database"]) == (503, file_watch.LOST)  # type: ignore[index]
    assert reading.scalar(text("SELECT count(*) FROM policies")) == 1
    reading.close()
    perform("last")
    url = f"sqlite:///{tmp_path / 'yoq.db'}"
    assert policies(url) == ["first", "second", "last"]
    stored = [(entry["target"], entry["outcome"]) for entry in entries(url)]
    assert sorted(stored) == [("first", "ok"), ("last", "ok"), ("second", "ok"), ("third", "failed")]


def test_what_stood_in_its_place_is_kept_aside(make_app: MakeApp, tmp_path: Path, log: Path) -> None:
    """It is neither read, as SQLite would at its next start, nor deleted: it may hold what somebody else wrote."""
    app = make_app(Probe())
    with acting(app), probe_act.performed("before"):
        pass
    old = log.read_bytes()
    with acting(app), probe_act.performed("then"):
        pass
    draft = tmp_path / "draft"
    draft.write_bytes(old)
    draft.replace(log)
    with acting(app), probe_act.performed("after"):
        pass
    assert [path.read_bytes() for path in tmp_path.glob("yoq.db-wal.found-*")] == [old]
    assert survivors(tmp_path) == [("before", "ok"), ("then", "ok"), ("after", "ok")]


@contextmanager
def other_process(path: Path) -> Iterator[None]:
    """A process that has the database open."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM policies').fetchall()\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, os.fspath(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"open\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(30)


def test_another_process_that_has_it_open(make_app: MakeApp, tmp_path: Path, log: Path) -> None:
    """No other log is begun beside the one that it still uses: that would mix them up. When it ends, it goes on."""
    app = make_app(Probe())
    api = Api(app)
    with acting(app), probe_act.performed("before"):
        pass
    with other_process(tmp_path / "yoq.db"):
        log.unlink()
        with acting(app), probe_act.performed("meanwhile"):
            pass
        with acting(app), pytest.raises(OperationalError, match="write-ahead log"), probe_act.performed("refused"):
            pass
        health = api("GET", "/health")
        assert (health.status_code, health.json["database"]) == (503, file_watch.IN_USE)  # type: ignore[index]
        assert survivors(tmp_path) == [("before", "ok"), ("meanwhile", "ok")]
    with acting(app), probe_act.performed("after"):
        pass
    stored = sorted(survivors(tmp_path))
    assert stored == [("after", "ok"), ("before", "ok"), ("meanwhile", "ok"), ("refused", "failed")]


def test_what_is_no_loss(make_app: MakeApp, tmp_path: Path, log: Path) -> None:
    """Checkpoints of every kind, a database written anew, and processes that come and go leave the log in place."""
    app = make_app(Probe())
    api = Api(app)
    with acting(app), probe_act.performed("before"):
        pass
    for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(RESTART)", "VACUUM"):
        other = sqlite3.connect(tmp_path / "yoq.db", isolation_level=None)
        other.execute(statement).fetchall()
        other.close()
        with other_process(tmp_path / "yoq.db"), acting(app), probe_act.performed(statement):
            pass
    with app.app_context():
        db.engine.dispose()
    assert not log.exists()
    assert api("GET", "/health").json == {"status": "ok"}
