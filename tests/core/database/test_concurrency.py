"""Many at once: nothing is lost, nothing fails, and a killed process takes nothing acknowledged with it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
import requests
from flask import Flask

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.door import acting, behind, entries
from tests.support.served import command, environment, serve
from tests.support.writer import COUNTER, Counting, add_one, counting_add
from yoq_web.database import engine
from yoq_web.secrets.operations import get_secret

THREADS = 8
PROCESSES = 3
EACH = 25
ROUNDS = 3
RULE = {"source": "a", "target": "b", "action": "allow"}


@pytest.fixture
def app(make_app: MakeApp, database_url: str) -> Flask:
    """An application with the counter."""
    behind(database_url, *COUNTER)
    return make_app(Counting())


def counted(url: str) -> int:
    """Where the counter stands."""
    value: int = behind(url, "SELECT value FROM counter")[0]["value"]
    return value


def start(data_dir: Path, url: str, prefix: str, count: int) -> subprocess.Popen[str]:
    """A process that writes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.writer", prefix, str(count)],
        env=environment(data_dir, YOQ_DATABASE_URL=url),
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(stream: IO[str] | None) -> Iterator[str]:
    """The whole lines of a process's output."""
    assert stream is not None
    for line in stream:
        if line.endswith("\n"):
            yield line.strip()


def settle(url: str) -> None:
    """Wait until the database has ended what killed processes left it to do."""
    busy = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
    deadline = time.monotonic() + 30
    while url.startswith("postgresql") and len(behind(url, busy)) > 1:  # the one is this query
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_threads_lose_nothing(app: Flask, database_url: str) -> None:
    """Threads that read and write the same row take turns: every increment counts and has one entry."""

    def work(thread: int) -> None:
        with acting(app):
            for number in range(EACH):
                add_one(f"{thread}-{number}")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert counted(database_url) == THREADS * EACH
    stored = Counter((entry["target"], entry["outcome"]) for entry in entries(database_url))
    assert stored == {(f"{thread}-{number}", "ok"): 1 for thread in range(THREADS) for number in range(EACH)}


def test_requests_at_once_lose_nothing(app: Flask, api: Api, database_url: str) -> None:
    """Over HTTP, threads that set the same secrets all succeed, and each answer names an entry of its own."""

    def work(thread: int) -> list[str]:
        client = api.with_token(ADMIN)
        answers = [client("POST", "/v1/secrets", json={"name": f"n{n}", "value": str(thread)}) for n in range(10)]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.headers["Audit-Id"] for answer in answers]

    with ThreadPoolExecutor(THREADS) as pool:
        ids = [audit_id for part in pool.map(work, range(THREADS)) for audit_id in part]
    assert sorted(ids) == sorted(entry["event_id"] for entry in entries(database_url))
    assert len(set(ids)) == THREADS * 10


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_operation_that_hangs_does_not_hang_the_others(
    app: Flask, api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind an operation that does not end, writers are told so in bounded time, and readers pass."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    inside, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with acting(app), counting_add.performed("slow"):
            inside.set()
            assert go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(hang)
        try:
            assert inside.wait(30)
            assert api("POST", "/v1/policies", json=RULE).status_code == 503
            assert api("GET", "/v1/policies").text == "[]"
        finally:
            go_on.set()
        slow.result(30)
    assert api("POST", "/v1/policies", json=RULE).status_code == 200
    assert [(entry["action"], entry["outcome"]) for entry in entries(database_url)] == [
        ("counting_add", "ok"),
        ("policy_add", "failed"),
        ("policy_add", "ok"),
    ]


def test_processes_lose_nothing(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Processes that share the database and the data directory take turns as threads do, from the first start on."""
    writers = [start(tmp_path, database_url, f"p{number}-", EACH) for number in range(PROCESSES)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert (writer.returncode, errors) == (0, "")
    names = {f"p{number}-{n}" for number in range(PROCESSES) for n in range(EACH)}
    assert counted(database_url) == len(names)
    stored = Counter((entry["action"], entry["target"], entry["outcome"]) for entry in entries(database_url))
    assert stored == {(action, name, "ok"): 1 for action in ("secret_set", "counting_add") for name in names}
    with acting(app):  # one key for all, though each found none when it started
        assert {get_secret(name) for name in names} == {"hunter2"}


def test_a_killed_process_loses_nothing_acknowledged(app: Flask, database_url: str, tmp_path: Path) -> None:
    """After kill -9 amid writes each change has exactly one entry, and all that was acknowledged is there."""
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        with start(tmp_path, database_url, f"r{number}-", 100_000) as writer:
            said = lines(writer.stdout)
            acknowledged.update(next(said) for _ in range(10 + 7 * number))
            writer.kill()
            acknowledged.update(said)
    settle(database_url)
    stored = Counter((entry["action"], entry["target"]) for entry in entries(database_url))
    assert set(stored.values()) == {1}
    named = {action: {target for found, target in stored if found == action} for action, _ in stored}
    secrets = {row["name"] for row in behind(database_url, "SELECT name FROM secrets")}
    assert secrets == named["secret_set"]
    assert counted(database_url) == len(named["counting_add"])
    assert acknowledged <= named["counting_add"] <= secrets
    with acting(app):
        assert get_secret(min(acknowledged)) == "hunter2"


@pytest.mark.program
def test_a_killed_server_loses_nothing_acknowledged(database_url: str, tmp_path: Path) -> None:
    """After kill -9 of the served program in the middle of requests every 200 has its change and its entry."""
    answered: dict[str, str] = {}
    enough = threading.Event()

    def work(client: int) -> None:
        for number in range(100_000):
            name = f"{client}-{number}"
            try:
                answer = program("POST", "/v1/secrets", json={"name": name, "value": "hunter2"})
            except requests.ConnectionError:
                return
            assert answer.status_code == 200
            answered[answer.headers["Audit-Id"]] = name
            if len(answered) >= 30:
                enough.set()

    with serve(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN) as program, ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(work, number) for number in range(4)]
        assert enough.wait(30)
        program.process.kill()
        for client in clients:
            client.result(30)
    settle(database_url)
    stored = {entry["event_id"]: entry["target"] for entry in entries(database_url)}
    assert answered.items() <= stored.items()
    secrets = [row["name"] for row in behind(database_url, "SELECT name FROM secrets")]
    assert sorted(secrets) == sorted(stored.values())
    verified = command(tmp_path, "audit", "verify", YOQ_DATABASE_URL=database_url)
    assert verified.returncode == 0, verified.stdout
