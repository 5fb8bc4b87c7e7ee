"""Backups on a schedule: when one is due, who takes it, what becomes of the old ones, and what /health says."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.backup import url_of, use_postgres_programs
from tests.support.commandline import output
from tests.support.door import behind
from tests.support.served import serve
from yoq_web.backup import schedule
from yoq_web.backup.schedule import (
    LEASE_SECONDS,
    RETRY_SECONDS,
    START_SECONDS,
    TAKEOVER_SECONDS,
    Run,
    current_schedule,
    is_due,
)
from yoq_web.backup.workdir import lock_workdir
from yoq_web.hooks.periodic import run_periodic_tasks
from yoq_web.settings import current_settings

HOUR = 3600
NOW = 1_790_000_000


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of PostgreSQL's that backups need."""
    use_postgres_programs(monkeypatch)


class Clock:
    """The wall clock that the schedule looks at, which tests put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(schedule.time, "time", lambda: self.now)  # type: ignore[attr-defined]  # all of the process


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)


def pulse(*apps: Flask) -> None:
    """A second passes in these servers, in which each looks; what they begin is waited for."""
    for app in apps:
        current_schedule(app).next_look = 0
        run_periodic_tasks(app)
    for app in apps:
        if worker := current_schedule(app).worker:
            worker.join(30)


def trail(app: Flask) -> list[tuple[Any, ...]]:
    """(action, actor, outcome, reason) of every entry that has ended, the oldest first."""
    rows = behind(url_of(app), "SELECT action, actor, outcome, reason FROM audit_log ORDER BY id")
    return [tuple(row.values()) for row in rows if row["outcome"] != "started"]


def kept(folder: Path) -> list[str]:
    """The names of the backups in a folder."""
    return sorted(path.name for path in folder.glob("*.yoqbackup"))


TAKEN = ("backup", "system", "ok", None)
REMOVED = ("backup_delete", "system", "ok", None)


def health(app: Flask) -> str | None:
    """What /health says of backups."""
    said: str | None = app.test_client().get("/health").get_json().get("backups")
    return said


@pytest.mark.parametrize("backend", ["sqlite"])
def test_taken_when_due_and_the_old_ones_removed(make_app: MakeApp, tmp_path: Path, clock: Clock) -> None:
    """The first at once, then one each interval, each an entry of the system's; so many stay, and can be restored.

    What was missed while nobody served is made up for once.
    """
    app = make_app(YOQ_BACKUP_SCHEDULE="6h", YOQ_BACKUP_KEEP="1")
    pulse(app)
    pulse(app)
    assert trail(app) == [TAKEN]
    clock.now += 60 * HOUR
    app = make_app(YOQ_BACKUP_SCHEDULE="6h", YOQ_BACKUP_KEEP="1")
    for _ in range(3):
        pulse(app)
    assert trail(app) == [TAKEN, TAKEN, REMOVED]
    (name,) = kept(tmp_path / "backups")
    assert output(app, "backup", "list").split()[0] == name
    assert "can be restored" in output(app, "restore", str(tmp_path / "backups" / name), "--verify")
    found = re.search(r"\nyoq_backup_last_success_timestamp_seconds (\S+)", Api(app)("GET", "/metrics").text)
    assert found
    assert float(found[1]) == int(clock.now)
    assert health(app) is None


@pytest.mark.parametrize("backend", ["sqlite"])
def test_none_unless_asked_for(app: Flask, tmp_path: Path) -> None:
    """Without the setting there are none."""
    pulse(app)
    assert (trail(app), kept(tmp_path / "backups")) == ([], [])


@pytest.mark.parametrize("backend", ["sqlite"])
def test_only_its_own_are_removed(make_app: MakeApp, tmp_path: Path, clock: Clock) -> None:
    """What others put there stays, as do backups that were asked for, and what somebody changed or put in the place."""
    folder = tmp_path / "kept"
    folder.mkdir()
    app = make_app(YOQ_BACKUP_SCHEDULE="1h", YOQ_BACKUP_KEEP="1", YOQ_BACKUP_DIR=str(folder))
    (folder / "20200101-000000.yoqbackup").write_text("somebody's")
    (folder / ".notes.0123abcd").write_text("somebody's, too")
    (folder / ".20200101-000000.yoqbackup.0123abcd").write_text("what a killed run left where files need names")
    asked = Api(app)("POST", "/v1/backups", json={}).get_json()["name"]
    for _ in range(2):
        pulse(app)
        clock.now += HOUR
    changed = max(folder.glob("*.yoqbackup"), key=lambda path: path.stat().st_mtime_ns).name
    (folder / changed).write_text("another one")
    for _ in range(2):
        pulse(app)
        clock.now += HOUR
    names = kept(folder)
    assert {"20200101-000000.yoqbackup", asked, changed} < set(names)
    assert sorted(path.name for path in folder.iterdir() if path.name not in names) == [
        ".notes.0123abcd",
        "scheduled.json",
    ]
    assert len(names) == 4
    assert trail(app).count(REMOVED) == 2
    # A list that cannot be read is nobody's word.
    (folder / "scheduled.json").write_text('[{"name": "../yoq.db"}, 7')
    pulse(app)
    assert len(kept(folder)) == 5
    (folder / "scheduled.json").write_text(json.dumps([{"name": "../yoq.db", "size": 1, "modified_ns": 1}]))
    clock.now += HOUR
    pulse(app)
    assert len(kept(folder)) == 6
    assert (tmp_path / "yoq.db").exists()


def test_a_failure_is_recorded_told_and_tried_again(make_app: MakeApp, tmp_path: Path, clock: Clock) -> None:
    """A folder that is away: an entry with the reason, words in /health, another try; then all is well."""
    folder = tmp_path / "away"
    app = make_app(YOQ_BACKUP_SCHEDULE="24h", YOQ_BACKUP_DIR=str(folder))
    pulse(app)
    pulse(app)
    failed = ("backup", "system", "failed", f"the directory of backups is missing: {folder}")
    assert trail(app) == [failed]
    assert health(app) == "the last scheduled one failed: the directory of backups is missing"
    # Whoever else shares the database says so, too.
    assert health(make_app(YOQ_BACKUP_SCHEDULE="24h")) == health(app)
    assert health(make_app()) is None
    folder.mkdir()
    clock.now += RETRY_SECONDS
    pulse(app)
    assert trail(app) == [failed, TAKEN]
    assert health(app) is None


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_may_be_wrong_with_the_folder_and_the_key(make_app: MakeApp, tmp_path: Path, clock: Clock) -> None:
    """Whatever stands in the way, the run is an entry with the reason, nothing is left half, and nothing else stops."""
    app = make_app(YOQ_BACKUP_SCHEDULE="1h")
    (tmp_path / "backups").write_text("a file in its place")
    pulse(app)
    assert trail(app)[-1][3] == "a file cannot be read or written: File exists"
    (tmp_path / "backups").unlink()
    (tmp_path / "backup.key").write_text("no key")
    (tmp_path / "backup.key").chmod(0o644)
    clock.now += HOUR
    pulse(app)
    assert "open to other users" in trail(app)[-1][3]
    (tmp_path / "backup.key").unlink()
    (tmp_path / "backups").symlink_to("/proc")  # a folder in which nobody can make a file
    clock.now += HOUR
    pulse(app)
    assert health(app) == "the last scheduled one failed: a file cannot be read or written"
    (tmp_path / "backups").unlink()
    clock.now += HOUR
    pulse(app)
    assert [outcome for _, _, outcome, _ in trail(app)] == ["failed", "failed", "failed", "ok"]
    assert len(list((tmp_path / "backups").iterdir())) == 2


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_old_one_that_cannot_be_removed(
    make_app: MakeApp, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is good, and not taken again for that; the removal is recorded as failed, told, and made up for."""
    app = make_app(YOQ_BACKUP_SCHEDULE="1h", YOQ_BACKUP_KEEP="1")
    pulse(app)
    clock.now += HOUR
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _refuse)
        pulse(app)
    assert trail(app)[2][:3] == ("backup_delete", "system", "failed")
    assert health(app) == "old ones cannot be removed: a file cannot be read or written"
    clock.now += RETRY_SECONDS
    pulse(app)
    assert len(trail(app)) == 3
    clock.now += HOUR
    pulse(app)
    assert trail(app)[3:] == [TAKEN, REMOVED, REMOVED]
    assert health(app) is None


def _refuse(path: Path, **_options: bool) -> None:
    if path.suffix == ".yoqbackup":
        raise PermissionError(1, "Operation not permitted")
    path.rename(path.with_suffix(".removed"))


def test_of_several_servers_one_takes_it(make_app: MakeApp, tmp_path: Path, clock: Clock, backend: str) -> None:
    """Servers that share a database share the schedule; who took the last takes the next, another one if it is gone."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    own = {"YOQ_BACKUP_SCHEDULE": "6h"}
    apps = [
        make_app(YOQ_NODE=folder.name, YOQ_DATA_DIR=str(folder if backend == "postgresql" else tmp_path), **own)
        for folder in folders
    ]
    for _ in range(2):
        pulse(*apps)
        pulse(*reversed(apps))
        clock.now += 6 * HOUR
    nodes = behind(url_of(apps[0]), "SELECT node FROM audit_log WHERE outcome = 'ok' ORDER BY id")
    assert len(nodes) == 2
    if backend == "postgresql":
        assert {row["node"] for row in nodes} == {"a"}
        pulse(apps[1])
        assert len(trail(apps[1])) == 2
        clock.now += TAKEOVER_SECONDS
        pulse(apps[1])
        assert (len(kept(folders[0] / "backups")), len(kept(folders[1] / "backups"))) == (2, 1)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_not_while_somebody_is_at_work(make_app: MakeApp) -> None:
    """While another backup, or a restore, is at work it waits, and that is no failure."""
    app = make_app(YOQ_BACKUP_SCHEDULE="1h")
    with lock_workdir(current_settings(app)):
        pulse(app)
    assert trail(app) == []
    pulse(app)
    assert trail(app) == [TAKEN]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_overdue(make_app: MakeApp, clock: Clock) -> None:
    """That none succeeded for two intervals is told, also where none ever did."""
    app = make_app(YOQ_BACKUP_SCHEDULE="1h")
    assert health(app) is None
    clock.now += 2 * HOUR + 1
    overdue = "no scheduled one has succeeded for more than two intervals"
    assert health(app) == overdue
    pulse(app)
    assert health(app) is None
    clock.now += 2 * HOUR + 1
    assert health(app) == overdue


@pytest.mark.parametrize(
    ("last", "after", "here", "due"),
    [
        (Run("a", NOW, NOW + 10, NOW), HOUR - 1, True, False),
        (Run("a", NOW, NOW + 10, NOW), HOUR, True, True),
        (Run("a", NOW, NOW + 10, NOW), HOUR, False, False),
        (Run("a", NOW, NOW + 10, NOW), HOUR + TAKEOVER_SECONDS, False, True),
        # A run that takes longer than the interval: the next begins with the next interval that is left.
        (Run("a", NOW, NOW + HOUR + 10, NOW), HOUR + 11, True, False),
        (Run("a", NOW, NOW + HOUR + 10, NOW), 2 * HOUR, True, True),
        # One that is under way, or was killed.
        (Run("a", NOW), START_SECONDS - 1, True, False),
        (Run("a", NOW), START_SECONDS, True, True),
        (Run("a", NOW), LEASE_SECONDS - 1, False, False),
        (Run("a", NOW), LEASE_SECONDS, False, True),
        # One that failed.
        (Run("a", NOW, NOW + 10, None), RETRY_SECONDS, True, False),
        (Run("a", NOW, NOW + 10, None), 10 + RETRY_SECONDS, True, True),
        (Run("a", NOW, NOW + 10, NOW - HOUR), 10 + TAKEOVER_SECONDS, False, True),
        # Clocks that jump: none waits for a time that is years away; and machines whose clocks differ do not alternate.
        (Run("a", NOW + 10**8, NOW + 10**8, NOW + 10**8), 0, True, True),
        (Run("a", NOW, NOW + 10, NOW), -100, False, False),
        (Run("a", NOW, NOW - 10**8, NOW), HOUR, True, True),
        (Run("a", NOW, NOW + 10, NOW), 10**9, True, True),
    ],
)
def test_when_the_next_one_is_due(last: Run, after: int, here: bool, due: bool) -> None:
    """After each end that a run may have, and for each clock."""
    assert is_due(last, NOW + after, HOUR, here=here) is due


@pytest.mark.parametrize("backend", ["sqlite"])
def test_settings_of_no_use(make_app: MakeApp) -> None:
    """Each is refused when the program starts, and the line says what it must be."""
    wrong = {
        "YOQ_BACKUP_SCHEDULE": ("1", "24", "0h", "30s", "-1h", "1.5h", "0 3 * * *", "daily", "99999w", "1h "),
        "YOQ_BACKUP_KEEP": ("0", "-1", "1.5", "all", "100000"),
    }
    for variable, texts in wrong.items():
        for text in texts:
            with pytest.raises(Exception, match=f"{variable} must be a number"):
                make_app(**{variable: text})


@pytest.mark.program
@pytest.mark.parametrize("backend", ["postgresql"])
def test_killed_in_the_middle(tmp_path: Path, database_url: str) -> None:
    """After a kill -9 during a run there is no file; it is recorded as interrupted, and one taken after the start."""
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": "a" * 64, "YOQ_BACKUP_SCHEDULE": "24h"}
    hanging = tmp_path / "bin"
    hanging.mkdir()
    (hanging / "pg_dump").write_text("#!/bin/sh\nexec sleep 8\n")
    (hanging / "pg_dump").chmod(0o755)

    def find(outcome: str) -> list[str]:
        query = "SELECT outcome FROM audit_log WHERE action = 'backup' ORDER BY id"
        for _ in range(200):
            found = [row["outcome"] for row in behind(database_url, query)]
            if outcome in found:
                break
            time.sleep(0.1)
        return found

    with serve(tmp_path, **settings, PATH=f"{hanging}:{os.environ['PATH']}") as program:
        assert find("started") == ["started"]
        program.process.kill()
        program.process.wait(10)
    behind(database_url, f"UPDATE backup_schedule SET begun_at = begun_at - {START_SECONDS}")
    with serve(tmp_path, **settings):
        assert find("ok") == ["started", "interrupted", "started", "ok"]
        assert len(kept(tmp_path / "backups")) == 1
    assert not list(tmp_path.glob(".yoq-work-*"))
