"""Scheduled backups that fail: each is an entry with the reason, /health says so, and the next makes up for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.conftest import MakeApp
from tests.support.backup_schedule import HOUR, REMOVED, TAKEN, Clock, health, kept, pulse, trail
from tests.support.door import behind
from tests.support.served import serve
from yoq_web.backup.schedule import RETRY_SECONDS, START_SECONDS


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
