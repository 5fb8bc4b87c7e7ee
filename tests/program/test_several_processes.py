"""Several programs on one database: one truth about tokens, one trail, and no writer that loses another's work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import requests

from tests.conftest import ADMIN
from tests.support.served import Served, serve

pytestmark = pytest.mark.program

NODES = ("node-a", "node-b", "node-c")
EACH = 12
"""Writes of every program in the concurrent test."""


@pytest.fixture
def programs(backend: str, database_url: str, tmp_path: Path) -> Iterator[list[Served]]:
    """Three programs on one PostgreSQL database; two on one SQLite file."""
    nodes = NODES if backend == "postgresql" else NODES[:2]
    with ExitStack() as running:
        yield [
            running.enter_context(serve(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN, YOQ_NODE=node))
            for node in nodes
        ]


def test_a_token_revoked_through_one_is_refused_by_all_at_once(programs: list[Served]) -> None:
    """A token made through one program is good in every other, and revoked through one it is refused by all."""
    made = programs[0]("POST", "/v1/tokens", json={"name": "ci", "scopes": ["secrets:read"]}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    for program in programs:
        for _ in range(2):
            assert program("GET", "/v1/secrets", headers=headers).status_code == 200
    assert programs[0]("DELETE", "/v1/tokens/ci").status_code == 200
    for program in programs:
        assert program("GET", "/v1/secrets", headers=headers).status_code == 401


def test_all_write_one_trail_and_say_which_wrote_what(programs: list[Served]) -> None:
    """Every program shows the same trail, in one order, with the node that acted."""
    for program in programs:
        node = program.environment["YOQ_NODE"]
        assert program("POST", "/v1/secrets", json={"name": node, "value": "hunter2"}).status_code == 200
    trails = [program("GET", "/v1/audit").json() for program in programs]
    nodes = [program.environment["YOQ_NODE"] for program in reversed(programs)]
    assert [(entry["target"], entry["node"]) for entry in trails[0]] == [(node, node) for node in nodes]
    assert all(trail == trails[0] for trail in trails)


def test_concurrent_writes_all_succeed_and_leave_one_entry_each(programs: list[Served]) -> None:
    """Writers of the same things through every program are all served; each write leaves one entry, of its node."""

    def write(job: tuple[Served, int]) -> requests.Response:
        program, number = job
        if number % 3 == 2:
            rule = {"source": "web", "target": "db", "action": "allow"}
            return program("POST", "/v1/policies", json=rule)
        return program("POST", "/v1/secrets", json={"name": "shared", "value": f"hunter{number}"})

    jobs = [(program, number) for number in range(EACH) for program in programs]
    with ThreadPoolExecutor(4 * len(programs)) as writers:
        answers = list(writers.map(write, jobs))
    assert Counter(answer.status_code for answer in answers) == {200: len(jobs)}
    entries = programs[0]("GET", "/v1/audit?limit=500").json()
    assert {entry["event_id"] for entry in entries} == {answer.headers["Audit-Id"] for answer in answers}
    assert Counter(entry["node"] for entry in entries) == dict.fromkeys((entry["node"] for entry in entries), EACH)
    assert programs[-1]("GET", "/v1/secrets").json() == ["shared"]
    assert len(programs[-1]("GET", "/v1/policies").json()) == 1


@pytest.mark.parametrize("backend", ["postgresql"])
def test_waiting_requests_do_not_use_up_the_servers_connections(programs: list[Served], database_url: str) -> None:
    """More requests than PostgreSQL has connections may wait at once: all are served in the end."""
    set_it = {"name": "shared", "value": "hunter2"}
    assert programs[0]("POST", "/v1/secrets", json=set_it).status_code == 200
    jobs = programs * 50
    with ThreadPoolExecutor(len(jobs)) as clients, psycopg.connect(database_url.replace("+psycopg", "")) as holder:
        holder.execute("SELECT name FROM secrets WHERE name = 'shared' FOR UPDATE")
        sent = [clients.submit(program, "POST", "/v1/secrets", json=set_it) for program in jobs]
        _await_waiting(holder, 2 * len(programs))
        holder.commit()
        statuses = Counter(answer.result().status_code for answer in sent)
    assert statuses == {200: len(jobs)}


def _await_waiting(connection: psycopg.Connection, number: int) -> None:
    """Return when so many transactions wait for a lock, and what is under way has had time to become more."""
    deadline = time.monotonic() + 20
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while time.monotonic() < deadline:
        row = connection.execute(query).fetchone()
        if row and row[0] >= number:
            time.sleep(1)
            return
        time.sleep(0.05)
    raise AssertionError("nobody waits")
