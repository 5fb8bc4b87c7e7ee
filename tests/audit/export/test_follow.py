"""Following the trail: in process, event by event, with the clock in the test's hands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.support.commandline import failure, run
from tests.support.export import fill_log
from tests.support.tampering import seal
from tests.support.trail import insert, make_engine, make_entry
from yoq_audit.export import feeds, follow_routes, sealed_log
from yoq_audit.sealing.sealer import current_sealing
from yoq_web.server import current_shutdown

HEARTBEAT = ": heartbeat"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream looks again at once, and sends a heartbeat each time that it found nothing."""
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    monkeypatch.setattr(sealed_log, "FRESH_SECONDS", 0)
    monkeypatch.setattr(follow_routes, "HEARTBEAT_SECONDS", 0)


class Stream:
    """A client of the stream that reads only when told to."""

    def __init__(self, api: Api, query: str = "", **headers: str) -> None:
        self.app = api.app
        self.answer: TestResponse = api("GET", f"/v1/audit/stream?{query}", headers=headers, buffered=False)
        assert self.answer.status_code == 200, self.answer.text
        self.last = ""
        self._pieces: Iterator[bytes] = self.answer.iter_encoded()
        next(self._pieces)  # where it begins

    def read(self) -> list[dict[str, Any]]:
        """The entries that are there by now."""
        seal(self.app)
        return self.rest(until=HEARTBEAT)

    def rest(self, until: str | None = None) -> list[dict[str, Any]]:
        """The entries up to the next heartbeat, or up to the end."""
        found = []
        for piece in self._pieces:
            for event in piece.decode().removesuffix("\n\n").split("\n\n"):
                lines = event.split("\n")
                for line in lines:
                    self.last = line.removeprefix("id: ") if line.startswith("id: ") else self.last
                if lines[-1].startswith("data: "):
                    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data"]
                    found.append(json.loads(lines[-1].removeprefix("data: ")))
                elif lines[-1] == until:
                    return found
                self.comment = lines[-1]
        assert until is None, f"the stream ended: {self.comment}"
        return found

    def close(self) -> None:
        """Go away, as a client does."""
        self.answer.close()


def targets(entries: list[dict[str, Any]]) -> list[Any]:
    """What the entries are about."""
    return [found["target"] for found in entries]


def act(api: Api, *names: str) -> None:
    """Leave an entry for each name."""
    for name in names:
        assert api("POST", "/v1/secrets", json={"name": name, "value": "x"}).status_code == 200


def test_a_stream_gives_each_entry_once_from_where_it_should(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole log, from a place, from a time or from now on; then what comes; resumed with nothing lost or twice."""
    monkeypatch.setattr(sealed_log, "PAGE", 4)
    fill_log(api.app, database_url, 10)
    old = [f"target-{number}" for number in range(10)]
    now, whole = Stream(api), Stream(api, "start=0")
    assert targets(now.read()) == [None, None]  # that both are followed
    assert targets(whole.read()) == [*old, None, None]
    some = Stream(api, "start=3&actor=actor-4&actor=api-token&action=secret_set")
    assert targets(some.read()) == ["target-4", "target-9"]
    recent = Stream(api, "since=2026-09-21T14:13:28Z&action=secret_set")
    assert targets(recent.read()) == ["target-8", "target-9"]
    assert [targets(stream.read()) for stream in (now, whole)] == [[None, None]] * 2
    act(api, "a", "b")
    for stream in (now, whole, some, recent):
        assert targets(stream.read()) == ["a", "b"]
        assert stream.read() == []
        stream.close()
    act(api, "c")
    resumed = Stream(api, "action=secret_set", **{"Last-Event-ID": some.last})
    assert targets(resumed.read()) == ["c"]
    # Where nothing matched, heartbeats carry the place: who resumes does not look at everything again.
    nothing = Stream(api, "actor=nobody")
    assert nothing.read() == []
    places = [stream.last.partition("-") for stream in (resumed, nothing)]
    assert int(places[1][0]) > int(places[0][0]) - 1
    assert places[0][2] == places[1][2] != ""
    [first, *_] = [found for found in api.entries() if found["action"] == "audit_follow"]
    assert first["details"] == {"start": None, "filters": ["actor=nobody"]}


def test_bad_beginnings_are_refused(api: Api) -> None:
    """A place that the log does not have, an id that is none, an unknown filter: 400, and nothing is recorded."""
    act(api, "a")
    for query, last, problem in (
        ("start=100", "", "invalid start"),
        ("start=-1", "", "invalid start"),
        ("start=x", "", "invalid start"),
        ("start=99999999999999999999999", "", "invalid start"),
        ("", "7", "invalid start"),
        ("", "18446744073709551615", "invalid start"),
        ("", "01", "invalid Last-Event-ID"),
        ("", "x", "invalid Last-Event-ID"),
        ("", "0-", "invalid Last-Event-ID"),
        ("", "0-X", "invalid Last-Event-ID"),
        ("", "-a1", "invalid Last-Event-ID"),
        ("actors=x", "", "unknown parameter actors"),
    ):
        answer = api("GET", f"/v1/audit/stream?{query}", headers={"Last-Event-ID": last})
        assert (answer.status_code, answer.json["error"]) == (400, problem)  # type: ignore[index]
    assert [found["action"] for found in api.entries()] == ["secret_set"]
    assert api.token("secrets:read")("GET", "/v1/audit/stream").status_code == 403


def test_a_stream_ends_with_its_token(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked, expired, or with a scope that another token lacks: it ends, and says why; the others go on."""
    act(api, "a")
    admin, ci = Stream(api), Stream(api.token("audit:read"))
    assert len(ci.read()) == 1
    assert api("DELETE", "/v1/tokens/ci").status_code == 200
    act(api, "b")
    assert targets(ci.rest()) == []
    assert ci.comment == ": the token is not good any more"
    assert "b" in targets(admin.read())
    answer = api("POST", "/v1/tokens", json={"name": "short", "scopes": ["audit:read"], "ttl": "1h"})
    assert answer.status_code == 201, answer.text
    short = Stream(api.with_token(answer.json["token"]))  # type: ignore[index]
    assert len(short.read()) == 1
    monkeypatch.setattr("yoq_web.tokens.authentication.time.time", lambda: 2**33)
    assert short.rest() == []
    assert short.comment == ": the token is not good any more"


def test_a_stream_ends_in_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its life, when nothing is sealed any more, and when the server ends: with a reason, never without."""
    act(api, "a")
    stream = Stream(api, "start=0")
    assert len(stream.read()) == 2
    current_shutdown(api.app).set()
    assert stream.rest() == []
    assert stream.comment == ": the server ends"
    current_shutdown(api.app).clear()
    troubled = Stream(api)
    monkeypatch.setattr(current_sealing(api.app), "failure", "nothing is sealed: the key is gone")
    assert troubled.rest() == []
    assert troubled.comment == ": nothing is sealed"
    monkeypatch.undo()
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    monkeypatch.setattr(feeds, "LIFE_SECONDS", 0)
    assert len(Stream(api).rest()) <= 1


def test_there_are_only_so_many_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit 503 with Retry-After; a client that goes away, and one that never read, leave their place."""
    monkeypatch.setitem(feeds.MOST, "streams", 2)
    act(api, "a")
    first, second = Stream(api), api("GET", "/v1/audit/stream", buffered=False)
    refused = api("GET", "/v1/audit/stream")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert api("GET", "/v1/audit/export").status_code == 200
    first.close()
    second.close()
    for _ in range(3):
        Stream(api).close()
        assert api("GET", "/v1/audit/stream?start=1000").status_code == 400


def test_it_holds_no_connection_while_it_waits(api: Api) -> None:
    """Between two looks no stream and no export has a connection of the database."""
    from yoq_web import db  # noqa: PLC0415 - the only use

    act(api, "a")
    streams = [Stream(api, "start=0") for _ in range(3)]
    export = api("GET", "/v1/audit/export", buffered=False)
    for stream in streams:
        assert stream.read()
    next(export.iter_encoded())
    with api.app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_entry_that_is_committed_late_is_not_missed(api: Api, database_url: str) -> None:
    """PostgreSQL: an entry with a lower id than those already streamed comes when it is committed."""
    act(api, "a")
    stream = Stream(api, "action=secret_set")
    assert stream.read() == []
    with make_engine(database_url).connect() as other:
        insert(other, [make_entry(1, target="late")])
        act(api, "b")
        assert targets(stream.read()) == ["b"]
        assert other.execute(text("SELECT max(id) FROM audit_log WHERE target = 'late'")).scalar()
        other.commit()
    assert targets(stream.read()) == ["late"]
    assert stream.read() == []


def test_the_command_follows_the_database(api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit follow` shows what was and what comes, until interrupted: exit code 0; bad options are told."""
    app = api.app
    fill_log(app, database_url, 3)
    looks = iter(["x", "y"])

    def wait(_seconds: float) -> None:
        name = next(looks, None)
        if name is None:
            raise KeyboardInterrupt
        act(api, name)

    def following(*options: str) -> str:
        nonlocal looks
        looks = iter(["x", "y"])
        with monkeypatch.context() as waiting:
            waiting.setattr("yoq_audit.export.commands.time.sleep", wait)
            done = run(app, "audit", "follow", *options)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout

    shown = [json.loads(line) for line in following("--start", "0", "--action", "secret_set", "--json").splitlines()]
    assert targets(shown) == ["target-0", "target-1", "target-2", "x", "y"]
    header, *rows = following("--action", "secret_set").splitlines()
    assert header.split() == ["TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME"]
    assert [row.split()[1:] for row in rows] == [["api-token", "secret_set", name, "ok"] for name in ("x", "y")]
    assert "the log has" in failure(app, "audit", "follow", "--start", "1000")
    follows = [found for found in api.entries() if found["action"] == "audit_follow"]
    assert [(found["actor"], found["details"]["start"]) for found in follows] == [("local", None), ("local", 0)]
