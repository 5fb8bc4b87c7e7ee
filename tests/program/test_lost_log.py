"""The write-ahead log is lost while the program serves, and then that is killed: nothing acknowledged is gone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.core.database.test_file_watch import LOSSES
from tests.program.test_outage import WAITING_SECONDS, await_health, kill, on_record, put
from tests.support.served import command, serve
from yoq_web.database.file_watch import BEGUN_ANEW


@pytest.mark.program
@pytest.mark.parametrize("how", LOSSES)
def test_lost_under_load(tmp_path: Path, how: str) -> None:
    """What was acknowledged before, meanwhile and after has its entry, and the log of the trail holds."""
    settings = {"YOQ_API_TOKEN": ADMIN}
    acknowledged: list[requests.Response] = []
    over = threading.Event()

    def load(worker: int) -> None:
        number = 0
        while not over.is_set():
            try:
                answer = put(program, f"n{worker}-{number}")
            except requests.RequestException:
                return
            number += 1
            if answer.status_code == 200:
                acknowledged.append(answer)

    def await_further(count: int) -> None:
        wanted = len(acknowledged) + count
        deadline = time.monotonic() + WAITING_SECONDS
        while len(acknowledged) < wanted:
            assert time.monotonic() < deadline, program.log.read_text()
            time.sleep(0.01)

    with serve(tmp_path, **settings) as program, ThreadPoolExecutor(4) as clients:
        jobs = [clients.submit(load, worker) for worker in range(4)]
        await_further(20)
        LOSSES[how](tmp_path / "yoq.db-wal")
        await_further(20)
        kill(program)
        over.set()
        for job in jobs:
            job.result(30)
    with serve(tmp_path, **settings) as program:
        await_health(program, status="ok")
        assert set(on_record(f"sqlite:///{tmp_path / 'yoq.db'}", acknowledged)) == {"ok"}
    assert command(tmp_path, "audit", "verify", **settings).returncode == 0


@pytest.mark.program
def test_lost_while_nobody_asks(tmp_path: Path) -> None:
    """What was acknowledged before is kept within seconds, without a request, and /health says that it was lost."""
    settings = {"YOQ_API_TOKEN": ADMIN}
    with serve(tmp_path, **settings) as program:
        acknowledged = [put(program, f"n{number}") for number in range(10)]
        LOSSES["deleted"](tmp_path / "yoq.db-wal")
        deadline = time.monotonic() + WAITING_SECONDS
        while BEGUN_ANEW not in program.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        await_health(program, status="degraded", database=BEGUN_ANEW)
        kill(program)
    with serve(tmp_path, **settings) as program:
        await_health(program, status="ok")
        assert set(on_record(f"sqlite:///{tmp_path / 'yoq.db'}", acknowledged)) == {"ok"}
