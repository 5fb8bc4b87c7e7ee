"""Stopping the program: what SIGTERM lets finish, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.raw_http import connect, head
from tests.support.served import Served, serve

pytestmark = pytest.mark.program

BODY = b'{"name":"slow","value":"hunter2"}'


def half_a_request(program: Served) -> socket.socket:
    """A connection on which the first half of a request's body was sent, and its route is waiting for the rest."""
    connection = connect(program.url)
    connection.sendall(head("POST", "/v1/secrets", ADMIN, f"Content-Length: {len(BODY)}") + BODY[:10])
    # A complete request sent after it and answered: by now the server has taken up the first one, too.
    assert program("GET", "/version").status_code == 200
    time.sleep(0.2)
    return connection


def refuses(program: Served, seconds: float = 20) -> bool:
    """Whether nothing answers on the program's port any more, or does so within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connect(program.url).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("signal_sent", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished(served: Served, signal_sent: signal.Signals) -> None:
    """After SIGTERM a request that had begun is answered and recorded, no new one is taken, and the exit code is 0."""
    with half_a_request(served) as slow, connect(served.url) as idle:
        idle.sendall(head("GET", "/version"))
        assert b"200 OK" in idle.recv(4096)  # and it stays open, as a keep-alive connection does
        served.process.send_signal(signal_sent)
        assert refuses(served)
        slow.sendall(BODY[10:])
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK")
    assert served.process.wait(30) == 0
    assert "Traceback" not in served.log.read_text()
    with serve(served.log.parent, **_settings(served)) as again:
        assert again("GET", "/v1/audit").json()[0]["target"] == "slow"


def test_requests_that_never_end_do_not_stop_it_from_stopping(tmp_path: Path) -> None:
    """A body that never arrives whole and a head that never ends hold up the end for a bounded time only."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN) as program, half_a_request(program), connect(program.url) as head_only:
        head_only.sendall(b"GET /ver")
        program.process.terminate()
        assert program.process.wait(40) == 0
        assert refuses(program)


def test_counted_attempts_are_recorded_at_the_end(served: Served) -> None:
    """Failed attempts that are counted, and not yet recorded, are recorded when the program ends."""
    for _ in range(4):
        assert requests.get(served.url + "/v1/audit", timeout=30).status_code == 401
    served.process.terminate()
    assert served.process.wait(30) == 0
    with serve(served.log.parent, **_settings(served)) as again:
        denied = [entry for entry in again("GET", "/v1/audit").json() if entry["action"] == "access_denied"]
    assert sum(entry["details"]["count"] for entry in denied) == 4


def test_a_killed_program_loses_nothing_that_it_acknowledged(served: Served) -> None:
    """Kill -9 leaves no worker on the port; a restart finds every acknowledged write with its one entry."""
    acknowledged: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"secret-{writer}-{number}"
            try:
                answer = served("POST", "/v1/secrets", json={"name": name, "value": "hunter2"})
            except requests.RequestException:
                return
            assert answer.status_code == 200
            acknowledged.append(name)
            number += 1

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 20
    while len(acknowledged) < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    served.process.kill()
    served.process.wait(10)
    stop.set()
    for writer in writers:
        writer.join(30)
    assert len(acknowledged) >= 40
    assert refuses(served)
    with serve(served.log.parent, **_settings(served)) as again:
        written = [entry for entry in again("GET", "/v1/audit?limit=500").json() if entry["action"] == "secret_set"]
        stored = again("GET", "/v1/secrets").json()
        assert again("POST", "/v1/secrets", json={"name": "after", "value": "x"}).status_code == 200
    targets = [entry["target"] for entry in written]
    assert sorted(targets) == sorted(set(targets))
    if len(targets) < 500:  # what is stored is what is recorded, acknowledged or not
        assert sorted(stored) == sorted(targets)
    assert set(acknowledged[-100:]) <= set(targets)
    assert set(acknowledged) <= set(stored)


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """The program outlives its worker: killed, it is replaced, and what it acknowledged is there."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN) as program:
        assert program("POST", "/v1/secrets", json={"name": "before", "value": "x"}).status_code == 200
        pid = program.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        deadline = time.monotonic() + 30
        names = None
        while names is None and time.monotonic() < deadline:
            try:
                names = program("GET", "/v1/secrets").json()
            except requests.ConnectionError:
                time.sleep(0.1)
        assert names == ["before"]


def _settings(program: Served) -> dict[str, str]:
    return {
        name: value
        for name, value in program.environment.items()
        if name.startswith("YOQ_") and name not in ("YOQ_DATA_DIR", "YOQ_NODE")
    }
