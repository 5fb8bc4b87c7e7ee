"""Backups on a schedule: when one is due, who takes it, and what becomes of the old ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.backup import url_of
from tests.support.backup_schedule import HOUR, REMOVED, TAKEN, Clock, health, kept, pulse, trail
from tests.support.commandline import output
from tests.support.door import behind
from yoq_web.backup.schedule import LEASE_SECONDS, RETRY_SECONDS, START_SECONDS, TAKEOVER_SECONDS, Run, is_due
from yoq_web.backup.workdir import lock_workdir
from yoq_web.settings import current_settings

NOW = 1_790_000_000


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
