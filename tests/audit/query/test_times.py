"""Times as a person writes them: days and times of day, over HTTP in UTC, at the command line in the machine's zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, run
from tests.support.trail import SECOND, START, make_entry, store, walk
from yoq_audit.query.times import make_exact
from yoq_web.times import format_time

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2h", "2h"),
        ("2026-11-24T10:00:00+01:00", "2026-11-24T10:00:00+01:00"),
        ("2026-11-24", "2026-11-24T00:00:00+02:00"),
        ("2026-11-24 10:00", "2026-11-24T10:00:00+02:00"),
        ("2026-11-24T10:00:05", "2026-11-24T10:00:05+02:00"),
        ("2026-11-24 10:00Z", "2026-11-24T10:00:00Z"),
        ("2026-11-24 10:00-05:00", "2026-11-24T10:00:00-05:00"),
        ("2026-11-24 10:00 05:00", "2026-11-24T10:00:00+05:00"),
        ("2026-11-24 10:00:07 +05:30", "2026-11-24T10:00:07+05:30"),
        ("2026-11-24 10:00:07  05:30", "2026-11-24T10:00:07+05:30"),
        ("today", "2026-11-28T00:00:00+02:00"),
        ("Yesterday", "2026-11-27T00:00:00+02:00"),
        ("yesterday 22:15", "2026-11-27T22:15:00+02:00"),
        ("11:30", "2026-11-28T11:30:00+02:00"),
        ("11:31", "2026-11-27T11:31:00+02:00"),
        ("09:30z", "2026-11-28T09:30:00Z"),
        ("09:31Z", "2026-11-27T09:31:00Z"),
        ("00:30+14:00", "2026-11-28T00:30:00+14:00"),
    ],
)
def test_what_is_meant(written: str, meant: str) -> None:
    """A day is its beginning, a time of day the last one that was; the zone is the one that is written, if one is."""
    assert make_exact(written, EAST, NOW) == meant


def test_days_that_there_are_not() -> None:
    """What cannot be meant says how a time is written."""
    for written in ("2026-02-30", "24:00", "10:60", "2026-11-24T", "0000-01-01", "yesterday yesterday", "10:00 ", ""):
        with pytest.raises(ValueError, match="2h for two hours ago"):
            make_exact(written, EAST, NOW)


@pytest.mark.usefixtures("berlin")
def test_the_machines_zone() -> None:
    """A day has the offset that the zone had on it."""
    assert make_exact("2026-11-24", None, NOW) == "2026-11-24T00:00:00+01:00"
    assert make_exact("2026-07-24 10:00", None, NOW) == "2026-07-24T10:00:00+02:00"
    assert make_exact("10:00", None, NOW) == "2026-11-28T10:00:00+01:00"
    assert make_exact("today", None, datetime(2026, 11, 28, 23, 30, tzinfo=UTC)) == "2026-11-29T00:00:00+01:00"


@pytest.mark.usefixtures("berlin")
def test_the_commands_say_which_time_they_take(app: Flask, database_url: str) -> None:
    """A day at the command line is the machine's, and standard error has it with its zone."""
    store(database_url, [make_entry(number, time=START + number * 3600 * SECOND) for number in range(48)])
    # 2026-09-21 14:13:20 UTC is the first.
    done = run(app, "audit", "list", "--since", "2026-09-22", "--until", "2026-09-22 02:00", "--json")
    assert done.stderr.splitlines() == ["since 2026-09-22T00:00:00+02:00", "until 2026-09-22T02:00:00+02:00"]
    assert [entry["time"][:16] for entry in json.loads(done.stdout)] == ["2026-09-21T23:13", "2026-09-21T22:13"]
    assert run(app, "audit", "list", "--since", "2026-09-22T00:00:00Z").stderr == ""
    assert run(app, "audit", "stats", "--since", "yesterday").stderr.startswith("since 20")
    assert "invalid since" in failure(app, "audit", "export", "--since", "2026-09-31")
    exported = run(app, "audit", "export", "--since", "2026-09-22", "--until", "2026-09-22 02:00")
    assert exported.stdout.count("\n") == 2
    assert Api(app).entries()[0]["details"]["filters"] == [
        "since=2026-09-22T00:00:00+02:00",
        "until=2026-09-22T02:00:00+02:00",
    ]


def test_over_http_a_day_is_in_utc(api: Api, database_url: str) -> None:
    """Whoever asks over HTTP need not know the server's zone; the pages of a walk stay with the time of the first."""
    store(database_url, [make_entry(number, time=START + number * 3600 * SECOND) for number in range(48)])
    wanted = walk(
        api, f"/v1/audit?limit=500&since=2026-09-22T00:00:00Z&until={format_time(START + 30 * 3600 * SECOND)}"
    )
    assert wanted
    found = api("GET", "/v1/audit?limit=3&since=2026-09-22&until=2026-09-22T20:13:20Z")
    assert "since=2026-09-22T00%3A00%3A00Z" in found.headers["Link"]
    assert walk(api, "/v1/audit?limit=3&since=2026-09-22&until=2026-09-22T20:13:20Z") == wanted
    assert walk(api, "/v1/audit?limit=500&since=2026-09-22T02:00%2B02:00&until=2026-09-22T22:13:20+02:00") == wanted
    stats = api("GET", "/v1/audit/stats?since=2026-09-22&until=2026-09-22 20:13:20").json or {}
    assert (stats["since"], stats["total"]) == ("2026-09-22T00:00:00.000000Z", len(wanted))
