"""Clocks that were wrong: what they say keeps nothing for ever, and lets nothing go that is not old."""

from __future__ import annotations

import json
import time

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.clocks import DAY, HOUR, YEAR, clock_moved
from tests.support.commandline import failure, output
from tests.support.retention import count_entries, make_old_event, prune, read_minimum, store
from tests.support.tampering import attack, verify_log
from yoq_audit.retention import schedule
from yoq_web import db

AHEAD = -10 * YEAR


def make_log(app: Flask, ages: list[int], sealed: int) -> list[str]:
    """A log of entries that are so many seconds old by their own clocks, sealed by one that is so many seconds behind.

    Returns their ids.
    """
    with clock_moved(-sealed):
        events = [make_old_event(age - sealed, number) for number, age in enumerate(ages)]
        return store(app, events, sealed=0)


def with_one_ahead(age: int, ahead: int = AHEAD) -> list[int]:
    """The ages of a bundle's entries, of which one was recorded by a clock that was ahead."""
    return [age] * 100 + [ahead] + [age] * 155


def test_one_entry_ahead_holds_nothing_up(app: Flask, api: Api, database_url: str) -> None:
    """Its age is counted from when it was sealed: with its bundle it goes as soon as that is old enough."""
    ids = make_log(app, with_one_ahead(3 * DAY), 3 * DAY)
    assert count_entries(database_url) == 256
    assert prune(app, "--dry-run") == 256
    assert prune(app) == 256
    assert (read_minimum(api), count_entries(database_url)) == (256, 1)
    assert verify_log(app)["ok"]
    assert "it was pruned: number 100" in api("GET", f"/v1/audit/entries/{ids[100]}").text
    # The entry that is gone was of that time, as far as anybody can tell from it.
    cutoff = api.entries(1)[0]["details"]["cutoff"]
    assert cutoff > (time.time() + 9 * YEAR) * 1e6
    # And later ones need not be.
    make_log(app, [2 * DAY] * 256, 2 * DAY)
    assert output(app, "audit", "prune", "--older-than", "36h").startswith("nothing to prune")
    store(app, [make_old_event(0, 1)], sealed=0)


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_what_holds_it_up_is_named(app: Flask, api: Api) -> None:
    """An entry that is too young, or lies in the future and was sealed just now: which, of when, and why."""
    ids = make_log(app, with_one_ahead(3 * DAY), 0)
    said = output(app, "audit", "prune", "--older-than", "1d")
    assert said.startswith("nothing to prune: no whole bundle is older than 1d\n")
    assert f"number 100 of the log ({ids[100]})" in said
    assert "lies in the future" in said
    held = json.loads(output(app, "audit", "prune", "--older-than", "1d", "--json"))["held_by"]
    assert (held["index"], held["event_id"], held["in_future"]) == (100, ids[100], True)
    assert held["time"].startswith(str(time.gmtime(time.time() + 10 * YEAR).tm_year))
    assert held["sealed"].endswith("Z")


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_young_entry_is_named(app: Flask) -> None:
    """So is one whose clock was right."""
    ids = make_log(app, [3 * DAY] * 40 + [HOUR] + [3 * DAY] * 215, HOUR)
    said = output(app, "audit", "prune", "--older-than", "1d")
    assert f"number 40 of the log ({ids[40]})" in said
    assert "future" not in said
    held = json.loads(output(app, "audit", "prune", "--older-than", "1d", "--json"))["held_by"]
    assert (held["index"], held["in_future"]) == (40, False)


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_checkpoint_ahead_is_not_believed(app: Flask, api: Api) -> None:
    """What was sealed by the wrong clock too is as old as the next checkpoint that a right one made."""
    ids = make_log(app, [AHEAD] * 256, AHEAD)
    said = output(app, "audit", "prune", "--older-than", "1h")
    assert f"number 255 of the log ({ids[255]})" in said
    assert "no checkpoint since was made by a clock that can be believed" in said
    make_log(app, [2 * DAY], 2 * DAY)
    assert output(app, "audit", "prune", "--older-than", "3d").startswith("nothing to prune")
    assert prune(app) == 256
    assert verify_log(app)["ok"]


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_clock_that_was_behind_lets_nothing_go(app: Flask, api: Api) -> None:
    """What was recorded and sealed by a clock that jumped back is no older than what was sealed before it."""
    make_log(app, [2 * DAY] * 256, 2 * DAY)
    assert prune(app) == 256
    for back in (3 * YEAR, 5 * DAY):
        make_log(app, [back] * 150, back)  # in truth just now
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")
    make_log(app, [0], 0)  # the clock is right again
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")
    assert read_minimum(api) == 256


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_first_start_without_a_clock(app: Flask) -> None:
    """A machine whose clock begins in 1970 has made nothing that is old: then the program was not there."""
    make_log(app, [int(time.time())] * 256, int(time.time()) - DAY)
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_what_a_spool_brings_late_is_kept(app: Flask) -> None:
    """An entry is as old as its place in the log: nobody could read it before."""
    make_log(app, [9 * DAY] * 256, 0)
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_altered_times_of_checkpoints_let_nothing_go(app: Flask, database_url: str) -> None:
    """Who can write to the database can set them, and no signature covers them: entries' own times still count."""
    make_log(app, [HOUR] * 300, HOUR)
    attack(database_url, "UPDATE audit_checkpoint SET sealed_at = 1767225600")
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_the_schedule_goes_by_the_same(make_app: MakeApp, database_url: str) -> None:
    """YOQ_AUDIT_RETENTION prunes what one entry of the future would hold up."""
    app = make_app(YOQ_AUDIT_RETENTION="2d")
    make_log(app, with_one_ahead(3 * DAY), 3 * DAY)
    with app.app_context():
        for _ in range(5):
            schedule.run_due()
            db.session.remove()
    assert count_entries(database_url) == 1


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_clock_that_jumps_prunes_nothing_at_once(make_app: MakeApp, database_url: str) -> None:
    """A running server whose clock jumps waits before it prunes by it: somebody may set it right."""
    app = make_app(YOQ_AUDIT_RETENTION="2d")
    make_log(app, [DAY] * 300, DAY)
    with app.app_context():
        schedule.run_due()
        schedule.current_schedule().next_look = schedule.current_schedule().next_plan = 0.0
        with clock_moved(10 * YEAR):
            schedule.run_due()
            assert schedule.current_schedule().plan is None
            schedule.run_due()
        db.session.remove()
    assert count_entries(database_url) == 300


def test_an_entry_ahead_can_be_erased(app: Flask, api: Api) -> None:
    """Whatever its time, and that of its checkpoint: if a spool hands it over again, that is noticed."""
    young, first = make_log(app, [0, AHEAD], 0)
    [second] = make_log(app, [AHEAD], AHEAD)
    assert "too young" in failure(app, "audit", "erase", young, "--reason", "x", "--yes")
    for event_id in (first, second):
        assert output(app, "audit", "erase", event_id, "--reason", "x", "--yes").startswith(f"erased: {event_id}")
    assert api("GET", "/v1/audit/log/retention").get_json()["erased"] == [1, 2]
    assert verify_log(app)["ok"]


@pytest.mark.parametrize("backend", ["sqlite"])  # the rule is no database's
def test_a_little_ahead_is_too_young_until_then(app: Flask) -> None:
    """Clocks differ by minutes: such an entry is erased when its time has passed, and the refusal says when."""
    ids = make_log(app, [-600], 0)
    said = failure(app, "audit", "erase", ids[0], "--reason", "x", "--yes")
    assert "too young" in said
    assert time.strftime("%Y-%m-%d") in said or "future" in said
    with clock_moved(700):
        assert output(app, "audit", "erase", ids[0], "--reason", "x", "--yes").startswith("erased")
