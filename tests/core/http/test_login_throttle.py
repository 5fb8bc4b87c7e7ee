"""Attempts without valid credentials: limited per address, counted in the trail, and harmless to everybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import ADMIN, Api
from tests.support.door import entries
from tests.support.served import serve
from yoq_web import db
from yoq_web.http.login_throttle import ADDRESSES, PER_MINUTE, LoginThrottle, current_throttle


class Clock:
    """A clock that the test sets; it begins ten seconds into a minute."""

    def __init__(self) -> None:
        self.now = 60_000_010.0 // 60 * 60 + 10

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


@pytest.fixture
def clock(app: Flask) -> Iterator[Clock]:
    """The clock by which `app` counts attempts."""
    clock = Clock()
    current_throttle.put(app, LoginThrottle(clock))
    yield clock
    with app.app_context():
        db.session.remove()


class Stranger:
    """Somebody without valid credentials, at one address."""

    def __init__(self, api: Api, address: str | None = "192.0.2.1", token: str | None = "0" * 64) -> None:
        self.api = api.with_token(token)
        self.address = address

    def __call__(self, path: str = "/v1/audit", method: str = "GET", **options: Any) -> TestResponse:
        """Try once."""
        return self.api(method, path, environ_overrides={"REMOTE_ADDR": self.address}, **options)

    def statuses(self, times: int) -> list[int]:
        """Try several times."""
        return [self().status_code for _ in range(times)]


def flush(app: Flask, *, everything: bool = False) -> None:
    """What the server does every few seconds, and at its end for all."""
    with app.app_context():
        current_throttle(app).flush(everything=everything)


def trail(url: str) -> list[tuple[str, int]]:
    """Who attempted how often, as the entries say it."""
    return [(entry["peer"], json.loads(entry["details"])["count"]) for entry in entries(url)]


def test_the_first_attempt_is_recorded_at_once(clock: Clock, api: Api, database_url: str) -> None:
    """An attempt without a valid token is on record when it is answered: from where, at what, by nobody we know."""
    answer = Stranger(api)("/v1/secrets", "POST", json={"name": "db", "value": "hunter2"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    (entry,) = entries(database_url)
    told = {name: entry[name] for name in ("event_id", "actor", "actor_kind", "action", "target", "outcome", "peer")}
    assert told == {
        "event_id": answer.headers["Audit-Id"],
        "actor": "unauthenticated",
        "actor_kind": "unauthenticated",
        "action": "access_denied",
        "target": "POST /v1/secrets",
        "outcome": "denied",
        "peer": "192.0.2.1",
    }
    assert json.loads(entry["details"]) == {"method": "POST", "path": "/v1/secrets", "count": 1}


@pytest.mark.parametrize("token", [None, "", "short", "A" * 64, "0" * 65, "\N{ARABIC-INDIC DIGIT ONE}" * 64])
def test_every_bad_token_is_an_attempt(clock: Clock, api: Api, database_url: str, token: str | None) -> None:
    """No token and a token of the wrong form count like one that is unknown."""
    stranger = Stranger(api, token=None)
    stranger.api.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    assert stranger().status_code == 401
    assert trail(database_url) == [("192.0.2.1", 1)]


def test_too_many_attempts_are_told_to_wait(clock: Clock, api: Api) -> None:
    """After ten failures in a minute an address is answered 429 and when to come again; then it may fail anew."""
    stranger = Stranger(api)
    assert stranger.statuses(PER_MINUTE) == [401] * PER_MINUTE
    answer = stranger()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "50")
    assert answer.json is not None
    assert answer.json["error"] == "rate limit exceeded"
    clock.now += 49
    assert stranger().headers["Retry-After"] == "1"
    clock.now += 1
    assert stranger().status_code == 401


def test_a_minute_of_attempts_is_two_entries(clock: Clock, app: Flask, api: Api, database_url: str) -> None:
    """The first is an entry, all that follow in the same minute are one more, with their number, when it is over."""
    Stranger(api).statuses(25)
    flush(app)
    assert trail(database_url) == [("192.0.2.1", 1)]
    clock.now += 60
    flush(app)
    flush(app)
    assert trail(database_url) == [("192.0.2.1", 1), ("192.0.2.1", 24)]
    assert entries(database_url)[1]["target"] == "GET /v1/audit"


def test_a_single_attempt_is_one_entry(clock: Clock, app: Flask, api: Api, database_url: str) -> None:
    """Where nothing followed the first attempt nothing more is recorded."""
    Stranger(api)()
    clock.now += 60
    flush(app)
    assert trail(database_url) == [("192.0.2.1", 1)]


def test_addresses_are_counted_apart(clock: Clock, api: Api) -> None:
    """One address that is told to wait does not make another one wait."""
    assert Stranger(api, "192.0.2.1").statuses(PER_MINUTE + 1)[-1] == 429
    assert Stranger(api, "192.0.2.2").statuses(1) == [401]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("not an address", None, True),
    ],
)
def test_what_counts_as_one_address(clock: Clock, api: Api, one: str, other: str | None, together: bool) -> None:
    """An IPv6 network of 64 bits is one address, and an IPv4 peer is the same one whichever way a socket shows it."""
    Stranger(api, one).statuses(PER_MINUTE)
    assert Stranger(api, other).statuses(1) == [429 if together else 401]


def test_a_flood_from_everywhere_stays_small(clock: Clock, app: Flask, api: Api, database_url: str) -> None:
    """Whatever is sent, a minute adds a bounded number of entries, and the counts in them add up to what was sent."""
    sent = 0
    for number in range(ADDRESSES + 20):
        for _ in range(3):
            Stranger(api, f"198.51.100.{number}")(f"/v1/{number}")
            sent += 1
    clock.now += 60
    flush(app)
    stored = trail(database_url)
    assert len(stored) <= 2 * (ADDRESSES + 1)
    assert sum(count for _, count in stored) == sent
    assert sum(count for peer, count in stored if peer == "others") == 3 * 20


def test_honest_callers_pass_during_a_flood(clock: Clock, api: Api) -> None:
    """Valid tokens work from the very address that is told to wait, and while strangers come from everywhere."""
    reader = api.token("secrets:read")
    stranger = Stranger(api)
    stranger.statuses(PER_MINUTE + 1)
    for number in range(ADDRESSES + 2):
        Stranger(api, f"198.51.100.{number}")()
    here = {"REMOTE_ADDR": stranger.address}
    assert api("GET", "/v1/audit", environ_overrides=here).status_code == 200
    assert reader("GET", "/v1/secrets", environ_overrides=here).status_code == 200
    assert api("GET", "/health", environ_overrides=here).status_code == 200
    assert stranger().status_code == 429


def test_what_is_left_is_recorded_at_the_end(clock: Clock, app: Flask, api: Api, database_url: str) -> None:
    """A process that ends records the counts of the minute that is not over yet, each once."""
    Stranger(api).statuses(3)
    flush(app, everything=True)
    flush(app, everything=True)
    assert trail(database_url) == [("192.0.2.1", 1), ("192.0.2.1", 2)]


def test_queries_are_never_recorded(clock: Clock, app: Flask, api: Api, database_url: str) -> None:
    """A query string may hold what somebody took for a place to put a token: it is in no entry."""
    stranger = Stranger(api)
    for _ in range(2):
        stranger("/v1/audit?token=hunter2", "POST")
    api.token("secrets:read")("GET", "/v1/audit?token=hunter2")
    flush(app, everything=True)
    assert len(entries(database_url)) == 4
    assert "hunter2" not in str(entries(database_url))
    assert stranger.api.headers["Authorization"].removeprefix("Bearer ") not in str(entries(database_url))


def test_a_known_token_without_the_scope_is_recorded_by_name(clock: Clock, api: Api, database_url: str) -> None:
    """A denial of a known token is no anonymous attempt: each is an entry under its name, and none is limited."""
    reader = api.token("secrets:read", name="ci")
    answers = [reader("GET", "/v1/audit") for _ in range(PER_MINUTE + 2)]
    assert {answer.status_code for answer in answers} == {403}
    stored = [(entry["actor"], entry["action"], entry["outcome"]) for entry in entries(database_url)[1:]]
    assert stored == [("ci", "access_denied", "denied")] * len(answers)


@pytest.mark.program
def test_a_stopping_server_records_its_counts(database_url: str, tmp_path: Path) -> None:
    """SIGTERM loses no count: what the served program still had in memory is in the trail afterwards."""
    with serve(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN) as program:
        for _ in range(3):
            assert program("GET", "/v1/audit", headers={"Authorization": "Bearer none"}).status_code == 401
    assert sum(count for _, count in trail(database_url)) == 3
