"""Every query of the log, on a long one: none reads more of it than it must, whatever a database knows of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.conftest import Api, MakeApp
from tests.support.commandline import run
from tests.support.long_log import REAL, fill
from tests.support.trail import find_next
from tests.support.work import hearing
from yoq_audit import commands, yoq_pulse
from yoq_audit.retention.schedule import current_schedule
from yoq_audit.sealing.clock_watch import current_clock_watch
from yoq_audit.sealing.overdue import current_overdue
from yoq_audit.storage.models import Entry
from yoq_web import db

ENTRIES = 40_000
"""Of fewer it is no mistake to read all where a few hundred are wanted."""

STEP_SECONDS = 432
"""200 a day: so many are counted where nobody asks for another time."""

LONG = {"audit_log", "audit_leaf"}
"""The tables that grow with the log."""

FILTERED = (
    "",
    "order=asc",
    "actor=founder",
    "action=secret_set",
    "target=app-1/a",
    "target=job-1*",
    "outcome=ok",
    "outcome=failed",
    "request_id=00000000000000000000000000000007",
    "peer=198.51.100.7",
    "peer=192.0.2.0/24",
    "not=actor=ci",
    "since=10d",
    "until=10d",
    "actor=ci&since=30d&until=10d",
)

COMMANDS = {
    "list": ["list"],
    "show": ["show {newest}", "show {beginning}", "show {oldest}", "show none"],
    "stats": ["stats"],
    "prove": ["prove {newest} -o - --entry -"],
    "prune": ["prune --older-than {age}d"],
    "erase": ["erase {erasable} --reason asked --yes"],
    "key": ["key", "key rotate"],
    "settle": ["settle none --yes"],
}
"""Commands that read the log, each with how it is called."""

OTHERS = {
    "export": "as its route",
    "follow": "as the stream",
    "verify": "reads the whole log",
    "accept-head": "reads the whole log",
    "verify-export": "reads a file",
    "check-proof": "reads a file",
    "check-consistency": "reads files",
    "archive": "reads files",
}
"""The other commands, and why they are left out."""


@pytest.fixture
def long(make_app: MakeApp) -> Flask:
    """An application with a long log. What PostgreSQL's statistics say of it is from when it was short."""
    app = make_app()
    with app.app_context():
        fill(ENTRIES, STEP_SECONDS)
    return make_app()  # another process


def change(url: str, *statements: str) -> None:
    """Change the database behind the application's back."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def list_requests(app: Flask, known: dict[str, str]) -> list[str]:
    """List requests of every route of the trail."""
    paths = {
        "/v1/audit": [f"?limit=50&{given}" for given in FILTERED],
        "/v1/audit/stats": [""],
        "/v1/audit/export": ["?since=1d"],
        "/v1/audit/stream": ["?since=1d"],
        "/v1/audit/entries/<event_id>": ["{oldest}", "none"],
        "/v1/audit/entries/<event_id>/proof": ["{newest}/proof"],
        "/v1/audit/log/checkpoint": [""],
        "/v1/audit/log/key": [""],
        "/v1/audit/log/key/announcements": [""],
        "/v1/audit/log/tile/<level>/<path:place>": ["0/001", "1/000.p/7"],
        "/v1/audit/log/tile/entries/<path:place>": ["010"],
        "/v1/audit/log/consistency": ["?from=5"],
        "/v1/audit/log/retention": [""],
    }
    assert paths.keys() == {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1/audit")}
    asked = [(rule.partition("<")[0] + end).format(**known) for rule, ends in paths.items() for end in ends]
    return [*asked, "/health", "/metrics"]


def read_everything(app: Flask, turn: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each way to read the log, by what it is, to be called before the next one is asked for."""
    api = Api(app)

    def pulse() -> None:
        with app.app_context():
            for looking in (current_overdue(), current_clock_watch(), current_schedule()):
                looking.next_look = 0.0
            yoq_pulse()

    def get(path: str) -> None:
        answer = api("GET", path, buffered="stream" not in path)
        if answer.is_streamed:
            for _ in range(2):
                next(answer.response)  # type: ignore[call-overload]
            answer.close()
        assert answer.status_code == (404 if path.endswith("/none") else 200), answer.text

    def perform(line: str) -> None:
        result = run(app, "audit", *line.split())
        assert result.exit_code == ("none" in line), result.output

    yield "a request that writes", lambda: api("POST", "/v1/secrets", json={"name": "a", "value": "b"})
    yield "the list, before it is sealed", lambda: get("/v1/audit")
    yield "the pulse", pulse
    yield "the pulse, at rest", pulse
    with app.app_context():
        erasable, oldest = (db.session.get_one(Entry, number).event_id for number in (REAL - turn, REAL - 100))
    newest = api.entries(1)[0]["event_id"]
    known = {"erasable": erasable, "oldest": oldest, "newest": newest, "beginning": newest[:-2]}
    for path in list_requests(app, known):
        yield f"GET {path}", functools.partial(get, path)
    first = api("GET", "/v1/audit?limit=50")
    second = find_next(first)
    assert second
    yield "the second page", functools.partial(get, second)
    for lines in COMMANDS.values():
        for line in lines:
            yield line, functools.partial(perform, line.format(**known, age=198 - 2 * turn))


def find_excess(app: Flask, turn: int, most: int, only: str = "") -> list[str]:
    """Find what reads too much: who sends it, how much it takes, which tables it scans, and the statement."""
    found = []
    for name, call in read_everything(app, turn):
        if not name.startswith(only):
            continue
        with hearing(app) as heard:
            call()
        assert heard, name
        found += [
            f"{name}: {work.amount} {sorted(work.scanned)} {work.statement}"
            for work in heard
            if work.amount > most or work.scanned & LONG
        ]
    return found


def test_every_command_is_looked_at() -> None:
    """Whoever adds a command says how it is called here, or why it is left out."""
    assert commands.group.commands.keys() == {*COMMANDS, *OTHERS}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sqlite_reads_no_more_of_the_log_than_it_must(long: Flask) -> None:
    """Whatever reads the log takes as much of a long one as of a short one."""
    assert find_excess(long, 0, 30_000) == []


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_postgresql_reads_no_more_of_the_log_than_it_must(long: Flask, database_url: str) -> None:
    """The same, whether the server's statistics are from when it was short, or of now; the list needs none at all."""
    assert find_excess(long, 0, 5_000) == []
    change(database_url, "DELETE FROM pg_statistic", "UPDATE pg_class SET reltuples = -1 WHERE relname ~ '^audit_'")
    assert find_excess(long, 1, 5_000, only="GET /v1/audit?") == []
    change(database_url, "ANALYZE")
    assert find_excess(long, 2, 5_000, only="GET /v1/audit/") == []
