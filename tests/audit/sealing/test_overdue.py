"""An entry that waits for longer than sealing can explain is told, by /health and verify, whatever kept it waiting."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import MakeApp
from tests.support.clocks import YEAR, clock_moved
from tests.support.commandline import output
from tests.support.door import acting, behind
from tests.support.retention import make_old_event
from tests.support.tampering import add_entries, attack, list_findings, make_log, seal, verify_log
from yoq_audit.sealing import overdue
from yoq_audit.storage.log import append
from yoq_audit.verification import commands
from yoq_web.database.session import unit_of_work
from yoq_web.hooks.periodic import notify_pulse

SAID = "an entry is not sealed for longer than sealing can explain: "


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at every beat, and again at once."""
    monkeypatch.setattr(overdue, "LOOK_SECONDS", 0)
    monkeypatch.setattr(commands, "AGAIN_SECONDS", 0)


def add_old(app: Flask, age: int) -> str:
    """Leave an entry that says that it is so many seconds old; returns its event's id."""
    event = make_old_event(age)
    with acting(app), unit_of_work() as session:
        append(event, session)
    return event.id


def read_health(app: Flask, monkeypatch: pytest.MonkeyPatch, later: int) -> str | None:
    """What /health says of the log after a beat, and after one more so many seconds later."""
    now, monotonic = time.time, time.monotonic
    notify_pulse(app)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + later)
        patch.setattr(time, "monotonic", lambda: monotonic() + later)
        notify_pulse(app)
        notify_pulse(app)
        answer = app.test_client().get("/health").json or {}
    said: str | None = answer.get("plugins", {}).get("audit")
    return said


def test_a_log_that_is_sealed_is_well(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that are sealed are none that wait, however old they are."""
    make_log(app, 3)
    add_old(app, 400)
    assert read_health(app, monkeypatch, 400) is None
    assert verify_log(app)["oldest_pending_seconds"] is None


def test_nobody_seals(make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine that has the key is away, the others say so, after some time; so does verify."""
    here = make_app()
    make_log(here, 2)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = make_app(YOQ_DATA_DIR=str(tmp_path / "elsewhere"))
    event = add_old(elsewhere, 200)
    assert read_health(elsewhere, monkeypatch, 0) is None
    said = read_health(elsewhere, monkeypatch, 300) or ""
    assert said.startswith(f"{SAID}{event}, 50")
    report = verify_log(elsewhere)
    assert [finding["kind"] for finding in report["findings"]] == ["pending"]
    assert 200 <= report["oldest_pending_seconds"] < 260
    seal(here)
    assert read_health(elsewhere, monkeypatch, 400) is None
    assert verify_log(elsewhere)["ok"]


def test_an_entry_that_was_passed_over(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose number is below those that are sealed is not sealed: it is found when it is some minutes old."""
    make_log(app, 3)
    attack(database_url, "UPDATE audit_log SET id = id + 5000", "UPDATE audit_leaf SET entry_id = entry_id + 5000")
    attack(database_url, "UPDATE audit_checkpoint SET sealed_at = 1, horizon = 0")
    event = make_old_event(150)
    with acting(app), unit_of_work() as session:
        append(event, session)
    attack(database_url, f"UPDATE audit_log SET id = -7 WHERE event_id = '{event.id}'")
    assert read_health(app, monkeypatch, 0) is None
    assert (read_health(app, monkeypatch, 130) or "").startswith(f"{SAID}{event.id}, 2")
    assert ("inserted", -7) in list_findings(app, "kind", "entry")


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_it_is_found_after_a_clock_jumped(
    app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """A clock that was wrong for a while, ahead or behind, makes no process pass over what waits later."""
    make_log(app, 1)
    with clock_moved(jump):
        notify_pulse(app)
    event = make_old_event(100)
    with acting(app), unit_of_work() as session:
        append(event, session)
    attack(database_url, f"UPDATE audit_log SET id = -7 WHERE event_id = '{event.id}'")
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + 40)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 40)
    read_health(app, monkeypatch, 0)
    assert (read_health(app, monkeypatch, 130) or "").startswith(f"{SAID}{event.id}, ")


def test_a_person_reads_how_old_the_oldest_is(app: Flask) -> None:
    """What waits is told with the age of the oldest."""
    make_log(app, 1)
    add_entries(app, 2)
    assert "2 pending (the oldest for " in output(app, "audit", "verify")


def test_what_comes_late_is_not_overdue(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was in a spool for a day is old when it is stored: verify gives it the time to be sealed."""
    make_log(app, 1)
    add_old(app, 86_400)
    monkeypatch.setattr(time, "sleep", lambda _seconds: seal(app))
    assert verify_log(app)["ok"]
    assert len(behind(database_url, "SELECT * FROM audit_leaf")) == 2
