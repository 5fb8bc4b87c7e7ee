"""No silent gaps: who reads the log is told what was pruned, or that it is another log, before the next entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.backup import begin_anew
from tests.support.commandline import output, run
from tests.support.retention import make_old_log
from tests.support.tampering import seal
from tests.support.trail import find_next, read_ids
from yoq_audit.export import feeds, follow_routes, sealed_log
from yoq_web.times import format_time

PRUNED = {"gap": "pruned", "from": 0, "to": 511}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream looks again at once, and sends a heartbeat each time that it found nothing."""
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    monkeypatch.setattr(sealed_log, "FRESH_SECONDS", 0)
    monkeypatch.setattr(follow_routes, "HEARTBEAT_SECONDS", 0)


@pytest.fixture
def pruned(app: Flask) -> Flask:
    """An application of whose 600 old entries 512 were pruned."""
    make_old_log(app, 600)
    output(app, "audit", "prune", "--older-than", "1d")
    return app


def events(api: Api, query: str = "", last: str = "") -> list[dict[str, str]]:
    """What a stream sends up to its first heartbeat, each event as its fields."""
    answer = api("GET", f"/v1/audit/stream?{query}", headers={"Last-Event-ID": last}, buffered=False)
    assert answer.status_code == 200, answer.text
    seal(api.app)
    found: list[dict[str, str]] = []
    for piece in answer.iter_encoded():
        for event in piece.decode().removesuffix("\n\n").split("\n\n"):
            if event.endswith(": heartbeat"):
                answer.close()
                return found
            found.append(dict(line.split(": ", 1) for line in event.split("\n")))
    raise AssertionError("the stream ended")


def gaps(sent: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The gaps that a stream told of, which stand before all entries."""
    kinds = [event["event"] for event in sent if "event" in event]
    assert kinds == sorted(kinds, key=lambda kind: kind == "entry")
    return [json.loads(event["data"]) for event in sent if event.get("event") == "gap"]


def test_a_stream_says_what_was_pruned(pruned: Flask, api: Api) -> None:
    """From behind the minimum index, by a place, an event's id or a time; not where nothing is missing."""
    assert gaps(events(api, "start=0")) == [PRUNED]
    assert gaps(events(api, "start=511&actor=nobody")) == [PRUNED | {"from": 511}]
    assert gaps(events(api, last="10")) == [PRUNED | {"from": 11}]
    assert gaps(events(api, "since=52w")) == [PRUNED]
    for query, last in (("start=512", ""), ("", "511"), ("", ""), ("since=1h", ""), ("start=512&since=52w", "")):
        assert gaps(events(api, query, last)) == [], (query, last)
    first = next(event for event in events(api, "start=0") if event.get("event") == "entry")
    assert first["id"].startswith("512-")
    assert json.loads(first["data"])["place"] == 512


def test_a_stream_says_that_it_is_another_log(app: Flask, api: Api, backend: str, tmp_path: Path) -> None:
    """An event's id names its log: in another one the stream says so and begins at its beginning."""
    for _ in range(3):
        api("GET", "/v1/secrets")
    before = [event for event in events(api, "start=0") if event.get("event") == "entry"][-1]["id"]
    assert gaps(events(api, last=before)) == []
    output(app, "audit", "key", "rotate")
    assert gaps(events(api, last=before)) == []
    begin_anew(app, backend, tmp_path)
    sent = events(api, last=before)
    [gap] = gaps(sent)
    assert (gap["gap"], gap["before"]) == ("other log", before.partition("-")[2])
    now = [event for event in sent if event.get("event") == "entry"]
    assert [json.loads(event["data"])["place"] for event in now] == list(range(len(now)))
    assert {event["id"].partition("-")[2] for event in now} == {gap["log"]}
    assert gaps(events(api, last=now[-1]["id"])) == []


def test_an_export_says_what_was_pruned(pruned: Flask, api: Api) -> None:
    """Before its first entry, in each format; not where the time that is asked for is whole."""
    lines = [json.loads(line) for line in api("GET", "/v1/audit/export").text.splitlines()]
    assert lines[0] == PRUNED
    assert [line["place"] for line in lines[1:]] == list(range(512, 511 + len(lines)))
    assert json.loads(output(pruned, "audit", "export", "--format", "ocsf").splitlines()[0]) == PRUNED
    csv = output(pruned, "audit", "export", "--format", "csv").splitlines()
    assert csv[1] == '"gap: places 0 to 511 of the log were pruned"'
    until = format_time(1_000_000)
    for query, told in ({"actor=nobody": True, "since=52w": True, f"until={until}": True, "since=1h": False}).items():
        content = api("GET", f"/v1/audit/export?{query}").text
        assert content.startswith(json.dumps(PRUNED, separators=(",", ":"))) == told, query


def test_what_is_pruned_meanwhile_is_told_where_it_would_have_stood(app: Flask, api: Api) -> None:
    """An export that is overtaken by a prune says which entries it did not come to, and repeats or skips no other."""
    make_old_log(app, 2000)
    answer = api("GET", "/v1/audit/export", buffered=False)
    pieces = answer.iter_encoded()
    first = next(pieces).decode()
    output(app, "audit", "prune", "--older-than", "1d")
    lines = [json.loads(line) for line in (first + b"".join(pieces).decode()).splitlines()]
    [gap] = [line for line in lines if "gap" in line]
    assert gap == {"gap": "pruned", "from": 1024, "to": 1791}
    places = [line["place"] for line in lines if "place" in line]
    assert places == [*range(1024), *range(1792, 1792 + len(places) - 1024)]


def test_the_command_resumes_where_a_line_says(pruned: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit follow --json` gives each entry its place; what is missing is a line, or on standard error for people."""

    def wait(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("yoq_audit.export.commands.time.sleep", wait)
    whole = [json.loads(line) for line in output(pruned, "audit", "follow", "--start", "0", "--json").splitlines()]
    assert whole[0] == PRUNED
    assert whole[1]["place"] == 512
    place = whole[10]["place"]
    rest = [
        json.loads(line) for line in output(pruned, "audit", "follow", "--start", str(place + 1), "--json").splitlines()
    ]
    assert rest[:-1] == whole[11:]
    done = run(pruned, "audit", "follow", "--start", "3")
    assert (done.exit_code, done.stderr) == (0, "places 3 to 511 of the log were pruned\n")


def test_a_walk_says_what_was_pruned(pruned: Flask, api: Api) -> None:
    """The page that begins or ends the trail says so, and so does one that a prune overtook; others do not."""
    told = "pruned;from=0;to=511"
    for query, gap in {
        "order=asc&limit=5": told,
        "order=asc&limit=5&since=52w": told,
        "order=asc&limit=5&since=1h": None,
        "limit=5": None,
        "limit=500": told,
        "limit=0": told,
    }.items():
        assert api("GET", f"/v1/audit?{query}").headers.get("Audit-Gap") == gap, query
    following = find_next(api("GET", "/v1/audit?order=asc&limit=5")) or ""
    assert "Audit-Gap" not in api("GET", following).headers
    done = run(pruned, "audit", "list", "--order", "asc", "--limit", "3", "--json")
    assert done.stderr.startswith("places 0 to 511 of the log were pruned\n")
    assert len(json.loads(done.stdout)) == 3
    assert run(pruned, "audit", "list", "--limit", "3").stderr.startswith("there are more")


def test_a_walk_that_a_prune_overtakes_says_so(app: Flask, api: Api) -> None:
    """What was there when the walk began and is gone when it comes there is not passed over in silence."""
    make_old_log(app, 600)
    page = api("GET", "/v1/audit?order=asc&limit=5")
    assert "Audit-Gap" not in page.headers
    output(app, "audit", "prune", "--older-than", "1d")
    overtaken = api("GET", find_next(page) or "")
    assert overtaken.headers["Audit-Gap"] == "pruned;from=0;to=511"
    assert "Audit-Gap" not in api("GET", find_next(overtaken) or "").headers


def test_a_cursor_of_another_log_is_refused(app: Flask, api: Api, backend: str, tmp_path: Path) -> None:
    """A page of another log is not taken for the next one."""
    for _ in range(5):
        api("GET", "/v1/secrets")
    seal(app)
    following = find_next(api("GET", "/v1/audit?limit=2")) or ""
    output(app, "audit", "key", "rotate")
    assert read_ids(api("GET", following))
    begin_anew(app, backend, tmp_path)
    seal(app)
    refused = api("GET", following)
    assert refused.status_code == 400
    assert "another log" in (refused.json or {})["detail"]
