"""Audited against un-audited writes over HTTP: the production server, the same write, in turn."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from benchmarks import plugin
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade

TOKEN = "b" * 64
CLIENTS = 8
WRITES = 150
"""Requests of each client in a round."""
ROUNDS = 9


def application() -> Flask:
    """The application with the measuring plugin, for the server."""
    return create_app(plugins=(plugin,))


def serve() -> None:
    """Serve `application` as `yoq-web serve` does; run in a process of its own."""
    from granian import Granian  # noqa: PLC0415 - only the serving process needs it
    from granian.constants import Interfaces  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    from yoq_web.http.concurrency import REQUESTS  # noqa: PLC0415

    Granian(
        "benchmarks.over_http:application",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        blocking_threads=REQUESTS,
        websockets=False,
        log_level=LogLevels.error,
        factory=True,
    ).serve()


def measure(folder: Path) -> float:
    """The rate of audited writes as a share of the rate of un-audited ones: the median of the rounds."""
    environment = os.environ | {"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN}
    app = create_app({"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN}, plugins=(plugin,))
    with app.app_context():
        upgrade()
        db.session.connection().exec_driver_sql(
            "CREATE TABLE bench_values (name VARCHAR PRIMARY KEY, text VARCHAR NOT NULL, updated_at INTEGER NOT NULL)"
        )
        from yoq_web.database.rights import allow_commits  # noqa: PLC0415 - a benchmark's table needs no migration

        with allow_commits():
            db.session.commit()
        db.engine.dispose()
    with served(environment) as port:
        _round(port, "plain")
        _round(port, "audited")
        ratios = []
        for _ in range(ROUNDS):
            plain, audited = _round(port, "plain"), _round(port, "audited")
            ratios.append(plain / audited)
        print(f"  rounds: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")
        return statistics.median(ratios)


@contextmanager
def served(environment: dict[str, str]) -> Iterator[int]:
    """The server in a process of its own, answering at the port that this yields."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.over_http", str(port)], env=environment)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _round(port: int, route: str) -> float:
    """Seconds that all clients together take for their writes."""
    threads = [threading.Thread(target=_write, args=(port, route, number)) for number in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _write(port: int, route: str, client: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for number in range(WRITES):
        body = json.dumps({"name": f"{client}-{number % 20}", "text": "a value of some length"})
        connection.request("POST", f"/v1/bench/{route}", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"the server answered {answer.status}")
    connection.close()


if __name__ == "__main__":
    serve()
