"""Clients that take their time: bodies that trickle, answers that nobody reads, connections that say nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.agents import JOIN
from tests.support.raw_http import connect, head
from tests.support.served import PROGRAM, Served, environment, free_port, serve

pytestmark = pytest.mark.program

PATIENCE = 2
"""Seconds that whoever asks for the server's health waits for it."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One program for the tests of this file."""
    with serve(tmp_path_factory.mktemp("slow"), YOQ_API_TOKEN=ADMIN, YOQ_JOIN_TOKEN=JOIN) as running:
        yield running


@pytest.fixture(scope="module")
def reader(program: Served) -> str:
    """The weakest token: all that it may post is a dry run."""
    made = program("POST", "/v1/tokens", json={"name": "reader", "scopes": ["apps:read"]})
    token: str = made.json()["token"]
    return token


@contextmanager
def trickling(program: Served, count: int, path: str, token: str) -> Iterator[list[socket.socket]]:
    """So many requests whose bodies arrive a byte at a time, without an end, for as long as the block lasts."""
    over = threading.Event()
    with ExitStack() as stack:
        senders = [stack.enter_context(connect(program.url)) for _ in range(count)]
        for sender in senders:
            sender.sendall(head("POST", path, token, "Content-Length: 100000"))

        def trickle() -> None:
            while not over.wait(0.25):
                for sender in senders:
                    try:
                        sender.sendall(b" ")
                    except OSError:  # the server has ended this one
                        continue

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield senders
        finally:
            over.set()
            thread.join()


def answer_of(sender: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and document of what the server says on a connection, until it ends it."""
    received = b""
    try:
        while part := sender.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    top, _, body = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)


def logged_statuses(program: Served) -> dict[object, int]:
    """The status of every request that the log tells of, by the request's id."""
    lines = [json.loads(line) for line in program.log.read_text().splitlines() if line.startswith("{")]
    return {line["request_id"]: line["status"] for line in lines if line["event"] == "request"}


@pytest.mark.parametrize("count", [64, 200])
@pytest.mark.parametrize("kind", ["reader", "agent"])
def test_bodies_that_trickle_hold_up_nobody(program: Served, reader: str, kind: str, count: int) -> None:
    """However many bodies trickle in, whoever needs no body is answered at once, and so are others' bodies."""
    path, token = ("/apps/dry-run", reader) if kind == "reader" else ("/agents/register", JOIN)
    with trickling(program, count, path, token):
        for _ in range(3):
            assert requests.get(program.url + "/health", timeout=PATIENCE).json() == {"status": "ok"}
            assert requests.get(program.url + "/version", timeout=PATIENCE).status_code == 200
        secret = {"name": "beside", "value": "hunter2"}
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: program("POST", "/v1/secrets", json=secret).status_code, range(16)))
        assert set(answers) == {200}


def test_bodies_that_trickle_hold_no_connection_of_the_database(served: Served) -> None:
    """Whoever waits for a body does not keep the database connection that its token was looked up with."""
    token = served("POST", "/v1/tokens", json={"name": "reader", "scopes": ["apps:read"]}).json()["token"]
    with trickling(served, 90, "/apps/dry-run", token):
        for number in range(20):
            secret = {"name": f"s{number}", "value": "hunter2"}
            headers = {"Authorization": f"Bearer {served.environment['YOQ_API_TOKEN']}"}
            answer = requests.post(served.url + "/v1/secrets", json=secret, headers=headers, timeout=PATIENCE)
            assert answer.status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(program: Served, reader: str) -> None:
    """Who stalls is told 408 after a while, who lets too many bodies wait 429; both connections are ended.

    They are told in the form that the route has.
    """
    with trickling(program, 20, "/v1/apps/diff", reader) as senders, ThreadPoolExecutor(20) as readers:
        answers = list(readers.map(answer_of, senders))
    with trickling(program, 20, "/apps/dry-run", reader) as senders, ThreadPoolExecutor(20) as readers:
        plain = list(readers.map(answer_of, senders))
    texts = {408: "request timed out", 429: "too many slow bodies"}
    assert {status for status, _ in answers} == {status for status, _ in plain} == set(texts)
    for status, document in plain:
        assert document == {"error": texts[status]}
    for status, document in answers:
        assert document["status"] == status
        assert document["error"] == texts[status]
        assert document["request_id"]
    told = {document["request_id"]: status for status, document in answers}
    deadline = time.monotonic() + 15
    while not told.items() <= logged_statuses(program).items() and time.monotonic() < deadline:
        time.sleep(0.05)  # a thread says so when it has noticed that its connection has ended
    assert told.items() <= logged_statuses(program).items()


@contextmanager
def silent(program: Served, count: int) -> Iterator[None]:
    """So many connections that never say anything; each that the server ends is opened anew."""
    over = threading.Event()

    def keep_open() -> None:
        with ExitStack() as stack:
            opened: list[socket.socket] = []
            while not over.is_set():
                opened = [one for one in opened if not is_ended(one)]
                for _ in range(count - len(opened)):
                    with suppress(OSError):
                        opened.append(stack.enter_context(connect(program.url, seconds=0.5)))
                begun.set()
                over.wait(0.2)

    begun = threading.Event()
    thread = threading.Thread(target=keep_open)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        over.set()
        thread.join()


def is_ended(connection: socket.socket) -> bool:
    """Whether the server has ended a connection on which it says nothing."""
    try:
        connection.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    connection.close()
    return True


def test_connections_without_end_do_not_use_up_the_open_files(tmp_path: Path) -> None:
    """Where few files may be open, connections that say nothing take only so many: work goes on, and is recorded."""

    def work(client: int) -> list[requests.Response]:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {ADMIN}"
            session.get(program.url + "/version", timeout=30)
            ready.wait()
            secrets = [{"name": f"s{client}-{number}", "value": "hunter2"} for number in range(25)]
            return [session.post(program.url + "/v1/secrets", json=secret, timeout=30) for secret in secrets]

    with serve(tmp_path, open_files="512", YOQ_API_TOKEN=ADMIN) as program, ThreadPoolExecutor(8) as clients:
        assert "at most 208 connections at once: the limit of open files is 512" in program.log.read_text()
        ready = threading.Event()
        working = [clients.submit(work, number) for number in range(8)]
        with silent(program, 600):
            ready.set()
            answers = [answer for done in working for answer in done.result()]
        assert {answer.status_code for answer in answers} == {200}
        recorded = {entry["event_id"] for entry in program("GET", "/v1/audit?limit=500").json()}
        assert recorded == {answer.headers["Audit-Id"] for answer in answers}
        assert "could not be recorded" not in program.log.read_text()


def test_too_few_open_files_to_serve(tmp_path: Path) -> None:
    """Where there is no room for connections the program does not start, and says what it needs."""
    arguments = ["/bin/sh", "-c", 'ulimit -n 256 && exec "$@"', "sh", str(PROGRAM), "serve", "--port", str(free_port())]
    ended = subprocess.run(
        arguments, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]  # the log's lines are JSON
    assert said == ["256 open files are too few: let this process have 368 or more, with ulimit -n"]
