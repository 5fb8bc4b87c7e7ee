"""`GET /v1/audit/stats` and `yoq-web audit stats`: counts that add up to what the list shows."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, output
from tests.support.trail import SECOND, START, make_entry, make_url, store
from yoq_web.http.login_throttle import current_throttle
from yoq_web.times import format_time

ROWS = [
    make_entry(
        number,
        time=START + number * 600 * SECOND,
        actor=("api-token", "ci", "local")[number % 3],
        action=("secret_set", "backup")[number % 2],
        outcome=("ok", "ok", "failed", "denied")[number % 4],
    )
    for number in range(100)
]
BEGUN = [make_entry(200, time=START, outcome="started"), make_entry(201, time=START, outcome="started", actor="ci")]
ENDED = [{**BEGUN[0], "outcome": "interrupted", "nonce": "e" * 32}]
SHOWN = [*ROWS, BEGUN[1], *ENDED]
ALL = {"since": format_time(START - SECOND), "until": format_time(START + 10**12)}


@pytest.fixture
def filled(api: Api, database_url: str) -> Api:
    """A client of an application with entries of seventeen hours."""
    store(database_url, [*ROWS, *BEGUN, *ENDED])
    return api


def test_the_counts_are_those_of_the_list(filled: Api) -> None:
    """By period, actor, action and outcome, the highest first; what only began is counted until it has ended."""
    answer = filled("GET", make_url({**ALL, "bucket": "6h"}, "/v1/audit/stats")).json
    assert answer is not None
    assert (answer["since"], answer["until"], answer["bucket"]) == (ALL["since"], ALL["until"], "6h")
    assert answer["total"] == len(SHOWN)
    for name in ("actor", "action", "outcome"):
        counts = Counter(row[name] for row in SHOWN)
        assert answer[f"{name}s"] == counts
        assert list(answer[f"{name}s"].values()) == sorted(counts.values(), reverse=True)
    periods = Counter(row["time"] - row["time"] % (6 * 3600 * SECOND) for row in SHOWN)
    expected = [{"start": format_time(start), "count": number} for start, number in sorted(periods.items())]
    assert answer["buckets"] == expected


def test_filters_and_times(filled: Api) -> None:
    """The list's filters narrow the counts; `since` is the first moment, `until` the first no more."""
    counted = filled("GET", make_url({**ALL, "actor": ["ci", "local"], "outcome": "failed"}, "/v1/audit/stats")).json
    listed = filled("GET", make_url({**ALL, "actor": ["ci", "local"], "outcome": "failed", "limit": 500})).json
    assert counted is not None
    assert listed is not None
    assert counted["total"] == len(listed) > 0
    assert counted["outcomes"] == {"failed": len(listed)}
    hour = {"since": format_time(START + 600 * SECOND), "until": format_time(START + 4200 * SECOND)}
    counted = filled("GET", make_url(hour, "/v1/audit/stats")).json
    assert counted is not None
    assert (counted["total"], counted["bucket"]) == (6, "1m")


def test_the_last_day_unless_told(api: Api) -> None:
    """Without a time the last 24 hours are counted, by half-hours at the finest; reading leaves no entry."""
    assert api("GET", "/v1/secrets").status_code == 200
    for _ in range(2):
        answer = api("GET", "/v1/audit/stats").json
        assert answer is not None
        assert (answer["total"], answer["bucket"]) == (1, "1h")
        assert answer["actions"] == {"secret_list": 1}
        assert len(answer["buckets"]) == 1


def test_reading_needs_the_scope(api: Api) -> None:
    """Counts are open to those who may read the trail."""
    assert api.token("audit:read", name="auditor")("GET", "/v1/audit/stats").status_code == 200
    assert api.token("secrets:*", name="other")("GET", "/v1/audit/stats").status_code == 403
    assert api.with_token(None)("GET", "/v1/audit/stats").status_code == 401


def test_the_command(app: Flask, filled: Api) -> None:
    """The command prints tables, or what the route answers; it takes the same options as the list."""
    options = ["--since", ALL["since"], "--until", ALL["until"], "--bucket", "1d", "--actor", "ci"]
    printed = output(app, "audit", "stats", *options)
    assert printed.splitlines()[0].split() == ["FROM", "ENTRIES"]
    assert "\nACTOR                        ENTRIES\nci                           34\n" in printed
    shown = json.loads(output(app, "audit", "stats", "--json", *options))
    assert shown == filled("GET", make_url({**ALL, "bucket": "1d", "actor": "ci"}, "/v1/audit/stats")).json
    assert "invalid bucket" in failure(app, "audit", "stats", *options[:4], "--bucket", "1m")


def test_attempts_that_were_recorded_together_are_counted(api: Api, app: Flask, database_url: str) -> None:
    """Each attempt without credentials counts, under its address; what else has such a detail counts once."""
    stranger = api.with_token("wrong")
    for _ in range(7):
        assert stranger("GET", '/v1/secrets?x="count":99,').status_code == 401
    with app.app_context():
        current_throttle().flush(everything=True)
    odd = [
        ("secret_set", '{"count":50}'),
        ("access_denied", "no JSON"),
        ("access_denied", '{"count":"9"}'),
        ("access_denied", "{}"),
    ]
    rows = [
        make_entry(number, time=time.time_ns() // 1000 - SECOND, action=action, details=details, peer="192.0.2.7")
        for number, (action, details) in enumerate(odd)
    ]
    store(database_url, rows)
    counted = api("GET", "/v1/audit/stats").json or {}
    assert counted["actions"] == {"access_denied": 7 + 3, "secret_set": 1}
    assert counted["peers"] == {"127.0.0.1": 7, "192.0.2.7": 4}
    assert (counted["total"], counted["entries"]) == (11, 2 + 4)
    assert sum(bucket["count"] for bucket in counted["buckets"]) == 11
    counted = api("GET", "/v1/audit/stats?action=access_denied&peer=127.0.0.0/8&kind=unauthenticated").json or {}
    assert (counted["total"], counted["peers"]) == (7, {"127.0.0.1": 7})
    printed = output(app, "audit", "stats")
    assert "\nPEER                         ENTRIES\n127.0.0.1                    7\n" in printed
