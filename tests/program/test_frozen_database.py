"""A PostgreSQL server that is stopped in the middle: it takes connections, and says nothing on any."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests
from sqlalchemy import make_url

from tests.conftest import ADMIN
from tests.program.test_outage import WAITING_SECONDS, await_health, on_record, put
from tests.support.door import behind, entries
from tests.support.postgres import Postgres
from tests.support.served import Served

pytestmark = [pytest.mark.program, pytest.mark.parametrize("backend", ["postgresql"])]

PATIENCE = 2
"""Seconds that whoever asks for the server's health waits for it."""

CLIENTS = 80
"""More than requests may be at work."""


def ask(program: Served, path: str) -> requests.Response:
    """Get something that needs no database, as somebody who does not wait for long."""
    return requests.get(program.url + path, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=PATIENCE)


def test_a_database_that_is_frozen_under_load(served: Served, postgres: Postgres, database_url: str) -> None:
    """Requests are answered 503, whatever needs no database as ever; what was acknowledged or refused is on record."""
    answers: list[requests.Response] = []
    over = threading.Event()

    def load(client: int) -> None:
        number = 0
        while not over.is_set():
            answers.append(put(served, f"n{client}-{number}"))
            number += 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        try:
            jobs = [clients.submit(load, client) for client in range(CLIENTS)]
            while not answers:
                time.sleep(0.01)
            with postgres.frozen():
                found: list[int] = []
                deadline = time.monotonic() + WAITING_SECONDS
                while 503 not in found and time.monotonic() < deadline:
                    found.append(ask(served, "/health").status_code)
                    assert ask(served, "/version").status_code == 200
                    assert ask(served, "/metrics").status_code == 200
                assert ask(served, "/health").json()["status"] == "unavailable"
                refused = put(served, "refused")
                assert (refused.status_code, refused.json()["error"]) == (503, "database unavailable")
                over.set()
                for job in jobs:
                    job.result(WAITING_SECONDS)
        finally:
            over.set()
    assert {answer.status_code for answer in answers} == {200, 503}
    await_health(served, status="ok")
    done = [answer for answer in answers if answer.status_code == 200]
    assert set(on_record(database_url, [*done, put(served, "last")])) == {"ok"}
    # Who was refused may have been too late for the answer, but not for the change: the trail says which.
    outcomes = on_record(database_url, [answer for answer in [*answers, refused] if "Audit-Id" in answer.headers])
    assert set(outcomes) == {"ok", "failed"}
    changed = {row["name"] for row in behind(database_url, "SELECT name FROM secrets")}
    assert changed == {entry["target"] for entry in entries(database_url) if entry["outcome"] == "ok"}


def test_statements_that_take_long_are_no_frozen_database(served: Served, database_url: str) -> None:
    """While the server answers others, whoever waits for a lock waits on."""
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with ThreadPoolExecutor(1) as clients:
        with psycopg.connect(url) as session:
            session.execute("LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE")
            waiting = clients.submit(put, served, "patient")
            time.sleep(6)
            assert not waiting.done()
        assert waiting.result(WAITING_SECONDS).status_code == 200
