"""What the tests of scheduled backups share: a clock that is put forward, and what a second does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.backup import url_of
from tests.support.door import behind
from yoq_web.backup import schedule
from yoq_web.backup.schedule import current_schedule
from yoq_web.hooks.periodic import run_periodic_tasks

HOUR = 3600


class Clock:
    """The wall clock that the schedule looks at, which tests put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(schedule.time, "time", lambda: self.now)  # type: ignore[attr-defined]  # all of the process


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
